import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleProfile } from './assemble.ts';
import { loadSeccomp } from './load.ts';
import { noUnixSockets, ourProfile } from './our-profile.ts';
import { proxyProfile, readerProfile, startedProfile } from './own-profiles.ts';
import { parseSeccompProfile } from './profile.ts';
import built from './programs.json' with { type: 'json' };

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'csc-filter-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function write(profile: unknown): string {
  const file = join(directory, 'profile.json');
  writeFileSync(file, JSON.stringify(profile));
  return file;
}

function refusal(profileFile: string): unknown {
  try {
    loadSeccomp({ profileFile });
  } catch (error) {
    const { code, faults } = error as { code: string; faults: { path: string }[] };
    return [code, ...faults.map(({ path }) => path)];
  }
  return 'taken';
}

const allowAll = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [] };
const noPing = {
  names: ['socket'],
  action: 'SCMP_ACT_ERRNO',
  args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 2 }],
};

describe('loadSeccomp', () => {
  it('gives the same program every time, with the hash of its bytes', () => {
    const { programs, sha256 } = loadSeccomp();
    expect(programs).toHaveLength(1);
    expect(sha256).toBe(createHash('sha256').update(Buffer.concat(programs)).digest('hex'));
    expect(loadSeccomp().sha256).toBe(sha256);
  });

  it('puts the profile of an operator after ours, and into the hash', () => {
    const ours = loadSeccomp();
    const both = loadSeccomp({ profileFile: write({ ...allowAll, syscalls: [noPing] }) });
    expect(both.programs).toHaveLength(2);
    expect(both.programs[0]).toEqual(ours.programs[0]);
    expect(both.sha256).not.toBe(ours.sha256);
    expect(loadSeccomp({ profileFile: write(allowAll) }).sha256).not.toBe(both.sha256);
  });

  it('needs the file that it is told of', () => {
    expect(refusal(join(directory, 'absent.json'))).toEqual(['FILE_UNREADABLE']);
  });

  it('refuses a profile that no program can hold', () => {
    const args = [{ index: 0, op: 'SCMP_CMP_EQ', value: 1 }];
    const entry = { names: ['read', 'write', 'ioctl'], action: 'SCMP_ACT_ERRNO', args };
    const profile = { ...allowAll, syscalls: Array.from({ length: 400 }, () => entry) };
    expect(refusal(write(profile))).toEqual(['CONFIG_INVALID', 'syscalls']);
  });

  it('refuses a profile for other machines', () => {
    const other = process.arch === 'x64' ? 'SCMP_ARCH_AARCH64' : 'SCMP_ARCH_X86_64';
    expect(refusal(write({ ...allowAll, architectures: [other] }))).toEqual([
      'CONFIG_INVALID',
      'architectures',
    ]);
  });
});

describe('a profile that would not do what it says', () => {
  const argument = { index: 1, op: 'SCMP_CMP_EQ', value: 1 };
  const masked = { index: 1, op: 'SCMP_CMP_MASKED_EQ' };

  it.each([
    ['a default that is no answer', { defaultAction: 'SCMP_ACT_KILL_PROCESS' }, ['defaultAction']],
    ['a default that only watches', { defaultAction: 'SCMP_ACT_LOG' }, ['defaultAction']],
    ['an errno that nothing returns', { defaultErrnoRet: 1 }, ['defaultErrnoRet']],
    ['an architecture that is killed', { architectures: ['SCMP_ARCH_X86'] }, ['architectures[0]']],
    ['members of other formats', { listenerPath: '/x', flags: [] }, ['listenerPath', 'flags']],
  ])('%s', (_, change, paths) => {
    expect(refusal(write({ ...allowAll, ...change }))).toEqual(['CONFIG_INVALID', ...paths]);
  });

  it.each([
    ['no errno', { errnoRet: -1 }, 'errnoRet'],
    ['an errno beyond the kernel', { errnoRet: 4096 }, 'errnoRet'],
    ['an errno beside another action', { action: 'SCMP_ACT_TRAP', errnoRet: 1 }, 'errnoRet'],
    ['an action that needs a supervisor', { action: 'SCMP_ACT_NOTIFY' }, 'action'],
    ['a call that does not exist', { names: ['chmodd'] }, 'names[0]'],
    ['no call', { names: [] }, 'names'],
    ['a seventh argument', { args: [{ ...argument, index: 6 }] }, 'args[0].index'],
    ['a value below 0', { args: [{ ...argument, value: -1 }] }, 'args[0].value'],
    ['a mask of nothing', { args: [{ ...masked, value: 0 }] }, 'args[0].value'],
    ['bits outside the mask', { args: [{ ...masked, value: 4, valueTwo: 2 }] }, 'args[0].valueTwo'],
    ['two values', { args: [{ ...argument, valueTwo: 2 }] }, 'args[0].valueTwo'],
    ['one argument twice', { args: [argument, { ...argument, value: 2 }] }, 'args[1].index'],
  ])('%s', (_, change, path) => {
    const syscalls = [{ names: ['chmod'], action: 'SCMP_ACT_ERRNO', ...change }];
    expect(refusal(write({ ...allowAll, syscalls }))).toEqual(['CONFIG_INVALID', `syscalls[0].${path}`]);
  });

  it('an entry that is never reached', () => {
    const syscalls = [{ names: ['read', 'socket'], action: 'SCMP_ACT_ALLOW' }, noPing];
    expect(refusal(write({ ...allowAll, syscalls }))).toEqual(['CONFIG_INVALID', 'syscalls[1].names[0]']);
    expect(refusal(write({ ...allowAll, syscalls: syscalls.toReversed() }))).toBe('taken');
  });
});

describe.each(['x86_64', 'aarch64'] as const)('the programs for %s', (architecture) => {
  it('are what the profiles assemble to', () => {
    const { ours, ...others } = built[architecture];
    expect(ours).toBe(assembleProfile(ourProfile(), architecture).toString('base64'));
    expect(others).toEqual({
      noUnixSockets: assembleProfile(noUnixSockets, architecture).toString('base64'),
      proxyOnly: assembleProfile(proxyProfile, architecture).toString('base64'),
      started: assembleProfile(startedProfile, architecture).toString('base64'),
      reader: assembleProfile(readerProfile, architecture).toString('base64'),
    });
  });
});

describe('ourProfile', () => {
  it('is what parsing it would give', () => {
    const parsed = parseSeccompProfile(readFileSync(new URL('default-profile.json', import.meta.url)));
    expect(parsed).toEqual({ ok: true, value: ourProfile() });
  });
});
