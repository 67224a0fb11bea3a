import { type CommandShort, makeContract } from '@csc-fleet/test-kit/contract';
import { describe, expect, it } from 'vitest';
import { type CeilingRequest, checkCeiling } from './ceiling.ts';
import { ceilingConfig, defaultCeiling, type HostCeiling } from './host-ceiling.ts';

const request: CeilingRequest = { allowCommands: ['true', 'sh'], approvals: 0 };

function refusedMembers(
  commands: CommandShort[],
  ceiling: Partial<HostCeiling> = {},
  changes: Partial<CeilingRequest> = {},
): string[] {
  try {
    checkCeiling(
      makeContract('/work', commands),
      { ...defaultCeiling, ...ceiling },
      { ...request, ...changes },
    );
  } catch (error) {
    expect(error).toMatchObject({ code: 'HOST_CEILING_EXCEEDED' });
    return (error as { faults: { path: string }[] }).faults.map(({ path }) => path);
  }
  return [];
}

describe('checkCeiling', () => {
  it('grants what needs neither network nor secrets', () => {
    expect(refusedMembers([{}, { id: 'b' }])).toEqual([]);
  });

  it.each(['allowlisted', 'full'] as const)('grants no network %s unless the owner says so', (network) => {
    expect(refusedMembers([{ network }])).toEqual(['commands[0].network']);
    expect(refusedMembers([{ network }], { network }, { approvals: 1 })).toEqual([]);
  });

  it('takes an approval beside policy and host for the whole network', () => {
    expect(refusedMembers([{ network: 'full' }], { network: 'full' })).toEqual(['commands[0].network']);
    expect(refusedMembers([{ network: 'allowlisted' }], { network: 'full' })).toEqual([]);
  });

  it('gives a terminal unless the owner says that there is none, and takes what is typed for code', () => {
    const asked = { terminal: true, allowCommands: ['true', 'sh'] };
    expect(refusedMembers([{}], {}, asked)).toEqual([]);
    expect(refusedMembers([{}], { terminal: false }, asked)).toEqual(['options.terminal']);
    expect(refusedMembers([{}], { terminal: false })).toEqual([]);
    expect(refusedMembers([{}], { terminal: 'signed' }, asked)).toEqual(['options.terminal']);
    expect(refusedMembers([{}], { terminal: 'signed' }, { ...asked, signed: true })).toEqual([]);
    expect(refusedMembers([{}], { terminal: false }, { ...asked, signed: true })).toHaveLength(1);
    expect(refusedMembers([{ argv: ['sh'] }], {}, asked)).toEqual(['commands[0].exec.argv[0]']);
    expect(refusedMembers([{ argv: ['sh'] }], { inlineCode: true }, asked)).toEqual([]);
  });

  it('hands out only the secrets that the owner names', () => {
    const asks = [{}, { id: 'b', secret_refs: ['token', 'other'] }];
    expect(refusedMembers(asks)).toEqual(['commands[1].secret_refs[0]', 'commands[1].secret_refs[1]']);
    expect(refusedMembers(asks, { secrets: ['token'] })).toEqual(['commands[1].secret_refs[1]']);
  });

  it('holds every path against the roots', () => {
    const asks = { read_paths: ['/work/a', '/etc/**'], write_paths: ['/workshop/x'] };
    expect(refusedMembers([asks], { pathRoots: ['/work'] })).toEqual([
      'commands[0].read_paths[1]',
      'commands[0].write_paths[0]',
    ]);
    expect(refusedMembers([asks], { pathRoots: ['/srv'] })).toContain('commands[0].cwd');
  });

  it('runs only the programs that the owner names, in a pipeline too', () => {
    const pipeline = { pipeline: [['true'], ['sh', 'script']] };
    expect(refusedMembers([pipeline], { commands: ['true'] })).toEqual([
      'commands[0].pipeline.segments[1].argv[0]',
    ]);
    expect(refusedMembers([pipeline], { commands: ['true', 'sh'] })).toEqual([]);
  });

  it('runs in a wrapper only what policy and owner both name', () => {
    const wrapped = { argv: ['env', 'A=1', 'make'] };
    const allowCommands = ['env', 'make'];
    expect(refusedMembers([wrapped], {}, { allowCommands })).toEqual([]);
    expect(refusedMembers([wrapped], {}, { allowCommands: ['env'] })).toEqual(['commands[0].exec.argv[2]']);
    expect(refusedMembers([wrapped], { commands: ['env'] }, { allowCommands })).toEqual([
      'commands[0].exec.argv',
    ]);
  });

  it('lets no interpreter read its program from a pipe', () => {
    const allowCommands = ['cat', 'sh'];
    expect(refusedMembers([{ pipeline: [['cat', 'x'], ['sh']] }], {}, { allowCommands })).toEqual([
      'commands[0].pipeline.segments[1].argv[0]',
    ]);
    expect(
      refusedMembers(
        [
          {
            pipeline: [
              ['cat', 'x'],
              ['sh', 'script'],
            ],
          },
        ],
        {},
        { allowCommands },
      ),
    ).toEqual([]);
  });

  it('runs for nobody but those whom the owner names', () => {
    const principals = ['spiffe://csc.local/client/ci-*'];
    const principal = 'spiffe://csc.local/client/alice';
    expect(refusedMembers([{}], { principals }, { principal })).toEqual(['actor']);
    expect(refusedMembers([{}], { principals }, { principal: 'spiffe://csc.local/client/ci-1' })).toEqual([]);
  });

  it('refuses inline code unless the owner lets it in', () => {
    const inline = { argv: ['sh', '-c', 'true'] };
    expect(refusedMembers([inline])).toHaveLength(1);
    expect(refusedMembers([inline], { inlineCode: true })).toEqual([]);
  });

  it('names everything at once', () => {
    const faults = refusedMembers(
      [
        { network: 'full', secret_refs: ['a'] },
        { id: 'b', network: 'allowlisted' },
      ],
      {},
    );
    expect(faults).toEqual(['commands[0].network', 'commands[0].secret_refs[0]', 'commands[1].network']);
  });
});

describe('a contract of ten thousand paths beyond the ceiling', () => {
  it('is told a hundred of them, and how many more there are', () => {
    const paths = Array.from({ length: 10_000 }, (_, index) => `/elsewhere/${index}`);
    const contract = makeContract('/w', [{ read_paths: paths }]);
    const refuse = () => checkCeiling(contract, { ...defaultCeiling, pathRoots: ['/w'] }, request);
    expect(refuse).toThrow(
      /read_paths\[99\]: is outside the path_roots of this host: \/w\n {2}and 9900 more$/,
    );
    expect(refuse).toThrow(expect.objectContaining({ faults: expect.objectContaining({ length: 100 }) }));
  });
});

describe('the config of a ceiling', () => {
  it('grants nothing by itself', () => {
    expect(ceilingConfig.parse(undefined)).toEqual(defaultCeiling);
  });

  it.each([
    { path_roots: ['relative'] },
    { path_roots: ['/a/../b'] },
    { network: 'some' },
    { egress_hosts: ['https://example.org'] },
    { principals: ['alice'] },
    { unknown: 1 },
  ])('refuses %j', (config) => {
    expect(ceilingConfig.safeParse(config).success).toBe(false);
  });
});
