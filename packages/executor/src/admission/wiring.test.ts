// That each check is asked, and with what it is to be asked: tests/mutants takes them out, one at a time.
import { mkdirSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { contractSha256 } from '@csc-fleet/common/contract';
import { createSigner } from '@csc-fleet/common/crypto';
import { type CommandShort, makeContract, shell } from '@csc-fleet/test-kit/contract';
import type { OfferOverrides } from '@csc-fleet/test-kit/executor/scripted-gate';
import { makeTestDirectory, openWorkbench, type Workbench } from '@csc-fleet/test-kit/executor/workbench';
import { signSubmission } from '@csc-fleet/test-kit/submission';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { defaultCeiling, type HostCeiling } from './host-ceiling.ts';

let bench: Workbench;
afterEach(() => bench.close());

const ceiling = (changes: Partial<HostCeiling>) => ({ ...defaultCeiling, inlineCode: true, ...changes });

function offer(command: CommandShort = {}, overrides: OfferOverrides = {}): string {
  return bench.gate.offer(makeContract(bench.workspace, [command]), bench.policy, overrides);
}

async function refusal(executionId: string) {
  const { reason, message } = await bench.gate.next('refused', executionId);
  expect(bench.gate.all('accepted', executionId)).toEqual([]);
  return { reason, message };
}

describe('the ceiling is asked', () => {
  it('for whom the host runs anything', async () => {
    const principals = ['spiffe://csc.local/client/test', 'spiffe://csc.local/client/ann'];
    bench = await openWorkbench({ executor: { ceiling: ceiling({ principals }) } });
    const mallory = { ticket: { principal: 'spiffe://csc.local/client/mallory' } };
    expect(await refusal(offer({}, mallory))).toMatchObject({ reason: 'HOST_CEILING_EXCEEDED' });
    expect((await bench.gate.receipt(offer())).status).toBe('success');
  });

  it('for the whole network with the approvals that came, and none came', async () => {
    bench = await openWorkbench({
      policyLines: ['network: full'],
      executor: { ceiling: ceiling({ network: 'full' }) },
    });
    const { reason, message } = await refusal(offer({ network: 'full' }));
    expect(reason).toBe('HOST_CEILING_EXCEEDED');
    expect(message).toContain('takes policy, host and an approval');
  });

  it('with the programs of the policy, when argv is a wrapper', async () => {
    bench = await openWorkbench({ policyLines: ['allow_commands: [env]'] });
    expect((await refusal(offer({ argv: ['env', 'id'] }))).reason).toBe('HOST_CEILING_EXCEEDED');
  });

  it('for where a symlink leads, not only for what was declared', async () => {
    const root = makeTestDirectory();
    for (const name of ['open', 'closed']) mkdirSync(join(root, name));
    symlinkSync('../closed', join(root, 'open/link'));
    bench = await openWorkbench({
      policyLines: [`allowed_cwd_prefixes: [${root}]`, `allowed_read_prefixes: [${root}]`],
      executor: { executionMode: 'hardened', ceiling: ceiling({ pathRoots: [join(root, 'open')] }) },
    });
    const asks = { cwd: join(root, 'open'), read_paths: [join(root, 'open/link')] };
    expect(await refusal(offer(asks))).toMatchObject({ reason: 'HOST_CEILING_EXCEEDED' });
    const cwd = { cwd: join(root, 'open/link'), read_paths: [] };
    expect(await refusal(offer(cwd))).toMatchObject({ reason: 'HOST_CEILING_EXCEEDED' });
  });

  it('for where a network may lead, as the policy is', async () => {
    const asked: string[] = [];
    const servers = ['both', 'policy', 'ceiling'].map((name) =>
      createServer((_request, response) => {
        asked.push(name);
        response.end(name);
      }),
    );
    onTestFinished(() => servers.forEach((server) => void server.close()));
    await Promise.all(
      servers.map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))),
    );
    const hosts = servers.map((server) => `localhost:${(server.address() as AddressInfo).port}`);
    const [both = '', policy = '', own = ''] = hosts;
    bench = await openWorkbench({
      policyLines: [
        'allow_commands: [python3]',
        'network: allowlisted',
        `allowed_egress_hosts: ["${both}", "${policy}"]`,
      ],
      executor: {
        executionMode: 'hardened',
        ceiling: ceiling({ network: 'allowlisted', egressHosts: [both, own] }),
      },
    });
    // Urllib sends all but localhost's own names through the proxy of the environment; http.client is told.
    const ask = [
      'import http.client, os, sys',
      'from urllib.parse import urlsplit',
      'proxy = urlsplit(os.environ["http_proxy"])',
      'for host in sys.argv[1:]:',
      ' link = http.client.HTTPConnection(proxy.hostname, proxy.port)',
      ' link.request("GET", f"http://{host}/"); print(link.getresponse().status)',
    ].join('\n');
    const executionId = offer({ argv: ['python3', '-c', ask, ...hosts], network: 'allowlisted' });
    const receipt = await bench.gate.receipt(executionId);
    expect([receipt.status, asked]).toEqual(['success', ['both']]);
    await bench.gate.output.holds(executionId, 1);
    expect(bench.gate.output.text(executionId)).toBe('200\n403\n403\n');
  });
});

describe('what a run may use up is the least', () => {
  const limitOf = async (executionId: string, name: string): Promise<number | undefined> => {
    const { sandbox } = await bench.gate.receipt(executionId);
    return sandbox?.limits.find((limit) => limit.name === name)?.value;
  };
  const granted = (limits: object): OfferOverrides => ({
    ticket: {
      grant: {
        receipt_version: 'csc.receipt.v0.2',
        limits: { stdout_bytes: 2 ** 40, stderr_bytes: 2 ** 40, ...limits },
      },
    },
  });
  const limiting = (limits: object) => ({
    policyLines: ['policy_schema_version: csc.policy.v0.2', `limits: ${JSON.stringify(limits)}`],
  });

  it.each(['artifact_bytes', 'stdout_bytes', 'stderr_bytes'])('of what the ticket says: %s', async (name) => {
    bench = await openWorkbench(limiting({ [name]: 7000 }));
    expect(await limitOf(offer({}, granted({ [name]: 5000 })), name)).toBe(5000);
  });

  it.each(['artifact_bytes', 'stdout_bytes', 'stderr_bytes'])('of what the policy says: %s', async (name) => {
    bench = await openWorkbench(limiting({ [name]: 3000 }));
    expect(await limitOf(offer({}, granted({ [name]: 5000 })), name)).toBe(3000);
  });

  it.each<[string, { wish?: number; policy?: number; ceiling?: number }, number]>([
    ['nobody asks for more', { policy: 9000, ceiling: 9000 }, 1000],
    ['all three say so', { wish: 5000, policy: 9000, ceiling: 8000 }, 5000],
    ['the policy lets it have less', { wish: 5000, policy: 3000, ceiling: 8000 }, 3000],
    ['the ceiling lets it have less', { wish: 5000, policy: 9000, ceiling: 2000 }, 2000],
    ['the policy says nothing', { wish: 5000, ceiling: 8000 }, 1000],
    ['the ceiling says nothing', { wish: 5000, policy: 9000 }, 1000],
  ])('and output is what comes unasked, or what its submitter asks for: %s', async (_, said, most) => {
    bench = await openWorkbench({
      ...limiting(said.policy === undefined ? {} : { stdout_bytes: said.policy }),
      executor: {
        limits: { stdoutBytes: 1000 },
        ceiling: ceiling(said.ceiling === undefined ? {} : { stdoutBytes: said.ceiling }),
      },
    });
    const contract = makeContract(bench.workspace, [{}]);
    const options = said.wish === undefined ? {} : { limits: { stdout_bytes: said.wish } };
    const principal = 'spiffe://csc.local/client/test';
    const signer = createSigner(Buffer.alloc(32, 7), 'test-1');
    const submission = signSubmission(contract, {
      principal,
      signer,
      now: new Date(),
      overrides: { options },
    });
    const executionId = bench.gate.offer(contract, bench.policy, { ...granted({}), submission });
    expect(await limitOf(executionId, 'stdout_bytes')).toBe(most);
  });

  it('and of what the host says, whatever policy and ticket do', async () => {
    bench = await openWorkbench({
      ...limiting({ artifact_bytes: 3000, stdout_bytes: 3000 }),
      executor: { runLimits: { artifact_bytes: 2000 }, limits: { stdoutBytes: 1000 } },
    });
    const executionId = offer({}, granted({ artifact_bytes: 5000, stdout_bytes: 5000 }));
    expect(await limitOf(executionId, 'artifact_bytes')).toBe(2000);
    expect(await limitOf(executionId, 'stdout_bytes')).toBe(1000);
  });
});

describe('while secrets are fetched', () => {
  let ahead: number;
  let reading: PromiseWithResolvers<void>;
  let secret: PromiseWithResolvers<Buffer>;
  const token = () => Buffer.from('the-value-of-the-token');

  async function open(executionMode: 'local' | 'hardened' = 'local'): Promise<void> {
    ahead = 0;
    reading = Promise.withResolvers();
    secret = Promise.withResolvers();
    const read = (): Promise<Buffer> => {
      reading.resolve();
      return secret.promise;
    };
    const clock = { now: () => new Date(Date.now() + ahead) };
    bench = await openWorkbench({
      policyLines: ['allow_secret_refs: true'],
      executor: { executionMode, ceiling: ceiling({ secrets: ['token'] }) },
      deps: { secrets: { read }, clock },
    });
  }

  /** Offers what needs the secret, lets something happen meanwhile, and gives the reason of the refusal. */
  async function refusedAfter(
    happens: () => unknown,
    ticket: OfferOverrides['ticket'] = {},
  ): Promise<string> {
    await open();
    const executionId = offer({ secret_refs: ['token'] }, { ticket });
    await reading.promise;
    await happens();
    secret.resolve(token());
    return (await refusal(executionId)).reason;
  }

  it('a ticket may expire', async () => {
    const expire = () => {
      ahead = 31_000;
    };
    expect(await refusedAfter(expire)).toBe('TICKET_EXPIRED');
  });

  it('a ticket may be used for another execution', async () => {
    const ticket = { ticket_id: 'used-once' };
    expect(await refusedAfter(() => bench.gate.receipt(offer({}, { ticket })), ticket)).toBe(
      'TICKET_REPLAYED',
    );
  });

  it('the host may begin to drain', async () => {
    expect(await refusedAfter(() => void bench.executor.drain())).toBe('DRAINING');
  });

  it.each([
    ['of a run', 'hardened', 'receipt'],
    // Local mode has no secrets to give.
    ['of an offer that is refused', 'local', 'refused'],
  ] as const)('a buffer is filled, and emptied at the end %s', async (_what, mode, end) => {
    await open(mode);
    const [value, executionId] = [token(), offer({ secret_refs: ['token'] })];
    secret.resolve(value);
    await bench.gate.next(end, executionId);
    await bench.executor.drain();
    expect(value).toEqual(Buffer.alloc(value.length));
  });
});

describe('a command gets and shows no more than is due', () => {
  const token = 'the-value-of-the-token';
  const open = async (policyLines: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    bench = await openWorkbench({
      policyLines,
      executor: { executionMode: 'hardened', env, ceiling: ceiling({ secrets: ['token'] }) },
      deps: { secrets: { read: async () => Buffer.from(token) } },
    });
  };
  const outputOf = async (commands: readonly CommandShort[]): Promise<string> => {
    const executionId = bench.gate.offer(makeContract(bench.workspace, commands), bench.policy);
    expect((await bench.gate.receipt(executionId)).status).toBe('success');
    await bench.gate.output.holds(executionId, bench.gate.all('receipt')[0]?.outputLogLength ?? 0);
    return bench.gate.output.text(executionId);
  };

  it('has its secrets masked, and those of no other command', async () => {
    await open(['allow_secret_refs: true']);
    const show = shell('cat /run/secrets/token 2>/dev/null; echo .');
    const output = await outputOf([
      { id: 'one', argv: show, secret_refs: ['token'] },
      { id: 'two', argv: show },
    ]);
    expect(output).not.toContain(token);
    expect(output).toMatch(/^.+\.\n\.\n$/);
  });

  it('has the variables that the policy lets it have', async () => {
    const lines = ['policy_schema_version: csc.policy.v0.2', 'allowed_env: [GIVEN]'];
    await open(lines, { GIVEN: 'given', KEPT: 'kept' });
    const argv = shell('echo "$GIVEN-$KEPT"');
    expect(await outputOf([{ argv, env_allow: ['GIVEN', 'KEPT'] }])).toBe('given-\n');
  });

  it('is the program that the policy means, not what a link of that name leads to', async () => {
    await open(['allow_commands: [./tool]']);
    symlinkSync('/usr/bin/python3', join(bench.workspace, 'tool'));
    expect((await refusal(offer({ argv: ['./tool', 'x.py'] }))).reason).toBe('HOST_CEILING_EXCEEDED');
  });
});

it('the contract of a receipt is named by this host’s own hash of it, whatever a ticket writes', async () => {
  bench = await openWorkbench();
  const named = async (kind: 'receipt' | 'refused', command: CommandShort) => {
    const contract = makeContract(bench.workspace, [command]);
    const own = contractSha256(contract);
    const ticket = { contract_sha256: own.toUpperCase() };
    const { receiptJson } = await bench.gate.next(kind, bench.gate.offer(contract, bench.policy, { ticket }));
    expect(JSON.parse(receiptJson.toString())).toMatchObject({ contract_sha256: own });
  };
  await named('receipt', {});
  await named('refused', { network: 'full' });
});
