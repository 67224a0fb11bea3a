import { simulate } from '@csc-fleet/test-kit/sandbox/simulate-filter';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembleProfile } from './assemble.ts';
import { ourProfile } from './our-profile.ts';
import { parseSeccompProfile, type SeccompArgument, type SeccompProfile } from './profile.ts';
import { type Architecture, systemCalls } from './system-calls.ts';

const audits = { x86_64: 0xc000003e, aarch64: 0xc00000b7, i386: 0x40000003, arm: 0x40000028 };
const architectures: readonly Architecture[] = ['x86_64', 'aarch64'];
const allow = 0x7fff0000;
const killProcess = 0x80000000;
const errno = (code: number) => 0x00050000 | code;

const zeros = [0n, 0n, 0n, 0n, 0n, 0n];

/** What a profile says in so many words, without programs and halves: what the assembler is held against. */
function judge(profile: SeccompProfile, name: string | undefined, args: readonly bigint[]): number {
  const entry = profile.syscalls.find(
    ({ names, args: wanted }) =>
      name !== undefined && names.includes(name) && wanted.every((argument) => matches(argument, args)),
  );
  const { action, errnoRet } = entry ?? { action: profile.defaultAction, errnoRet: profile.defaultErrnoRet };
  if (action === 'SCMP_ACT_ALLOW') return allow;
  if (action === 'SCMP_ACT_ERRNO') return errno(errnoRet ?? 1);
  if (action === 'SCMP_ACT_KILL_PROCESS') return killProcess;
  if (action === 'SCMP_ACT_LOG') return 0x7ffc0000;
  return action === 'SCMP_ACT_TRAP' ? 0x00030000 : 0;
}

function matches({ index, op, value, valueTwo }: SeccompArgument, args: readonly bigint[]): boolean {
  const [argument, wanted] = [args[index] ?? 0n, BigInt(value)];
  if (op === 'SCMP_CMP_EQ') return argument === wanted;
  if (op === 'SCMP_CMP_NE') return argument !== wanted;
  if (op === 'SCMP_CMP_LT') return argument < wanted;
  if (op === 'SCMP_CMP_LE') return argument <= wanted;
  if (op === 'SCMP_CMP_GT') return argument > wanted;
  if (op === 'SCMP_CMP_GE') return argument >= wanted;
  return (argument & wanted) === BigInt(valueTwo);
}

describe.each(architectures)('our profile on %s', (architecture) => {
  const profile = ourProfile();
  const program = assembleProfile(profile, architecture);
  const numbers = systemCalls(architecture);
  const ask = (name: string, ...args: bigint[]): number =>
    simulate(program, {
      number: numbers[name] ?? -1,
      audit: audits[architecture],
      args: [...args, ...zeros].slice(0, 6),
    });

  it('answers every system call as its text says, with any arguments', () => {
    const interesting = [
      0n,
      1n,
      2n,
      3n,
      10n,
      16n,
      0x5412n,
      0x541cn,
      0x15412n,
      0x1_0000_5412n,
      0o4755n,
      0o2755n,
      0o755n,
    ];
    const more = [
      0o100n,
      0o20200000n,
      0o20644n,
      0o60644n,
      0x7e020000n,
      0x10000000n,
      0xffffffffn,
      0xffff_ffff_ffff_ffffn,
    ];
    const values = [...interesting, ...more];
    // A hundred thousand calls: asked one by one, `expect` itself would take most of the time.
    const wrong: { call: string; said: number; judged: number }[] = [];
    for (const [name, number] of Object.entries(numbers)) {
      for (let seed = 0; seed < 300; seed += 1) {
        const args = zeros.map(
          (_, index) => values[(seed * (index + 7) + index * 5 + seed) % values.length] ?? 0n,
        );
        const said = simulate(program, { number, audit: audits[architecture], args });
        const judged = judge(profile, name, args);
        if (said !== judged) wrong.push({ call: `${name}(${args.join(', ')})`, said, judged });
      }
    }
    expect(wrong).toEqual([]);
  });

  it('knows no call that is not in its table', () => {
    const known = new Set(Object.values(numbers));
    for (let number = 0; number < 1200; number += 1) {
      if (known.has(number)) continue;
      expect(simulate(program, { number, audit: audits[architecture], args: zeros })).toBe(errno(38));
    }
    expect(simulate(program, { number: 0x3fffffff, audit: audits[architecture], args: zeros })).toBe(
      errno(38),
    );
  });

  it('kills what comes from another architecture, and from the x32 ABI', () => {
    for (const audit of Object.values(audits)) {
      if (audit === audits[architecture]) continue;
      expect(simulate(program, { number: 0, audit, args: zeros })).toBe(killProcess);
    }
    const x32 = simulate(program, { number: 0x40000000, audit: audits[architecture], args: zeros });
    expect(x32).toBe(architecture === 'x86_64' ? killProcess : errno(38));
  });

  it.each([
    ...['unshare', 'setns', 'mount', 'umount2', 'pivot_root', 'chroot', 'move_mount', 'open_tree', 'fsopen'],
    ...['ptrace', 'process_vm_readv', 'process_vm_writev', 'kcmp', 'pidfd_getfd', 'bpf', 'perf_event_open'],
    ...[
      'add_key',
      'request_key',
      'keyctl',
      'userfaultfd',
      'memfd_secret',
      'init_module',
      'kexec_load',
      'reboot',
    ],
    ...[
      'name_to_handle_at',
      'open_by_handle_at',
      'fanotify_init',
      'settimeofday',
      'clock_settime',
      'sethostname',
    ],
    ...['syslog', 'acct', 'swapon', 'quotactl', 'mbind'],
  ])('denies %s', (name) => {
    expect(ask(name)).toBe(errno(1));
  });

  it('makes programs fall back from what cannot be looked into', () => {
    for (const name of ['clone3', 'openat2', 'io_uring_setup', 'io_setup']) expect(ask(name)).toBe(errno(38));
  });

  it('lets clone make threads and processes, and no namespaces', () => {
    const thread = 0x3d0f00n;
    expect(ask('clone', thread)).toBe(allow);
    expect(ask('clone', 17n)).toBe(allow);
    for (const flag of [
      0x20000n,
      0x02000000n,
      0x04000000n,
      0x08000000n,
      0x10000000n,
      0x20000000n,
      0x40000000n,
    ]) {
      expect(ask('clone', flag | 17n)).toBe(errno(1));
      expect(ask('clone', flag | 0xdead_0000_0000n)).toBe(errno(1));
    }
  });

  it('lets only local and internet sockets be made', () => {
    expect(ask('socket', 1n, 0x80001n)).toBe(allow);
    expect(ask('socket', 2n, 0x80801n)).toBe(allow);
    expect(ask('socket', 10n, 2n)).toBe(allow);
    // Raw, packet, netlink, ALG, vsock, bluetooth, a family in the high half.
    for (const [family, type, protocol = 0n] of [
      [2n, 3n],
      [10n, 3n],
      [17n, 3n],
      [16n, 3n],
      [38n, 5n],
      [40n, 1n],
      [31n, 3n],
      [0x1_0000_0002n, 1n],
      // SCTP, MPTCP, SMC, L2TP, ICMP.
      [2n, 1n, 132n],
      [2n, 1n, 262n],
      [10n, 1n, 256n],
      [2n, 2n, 115n],
      [10n, 2n, 58n],
    ] as const)
      expect(ask('socket', family, type, protocol)).toBe(errno(97));
    expect(ask('socket', 2n, 1n, 6n)).toBe(allow);
    expect(ask('socket', 10n, 2n, 17n)).toBe(allow);
    expect(ask('socketpair', 2n, 1n)).toBe(errno(97));
  });

  it('loads no module into a connection', () => {
    expect(ask('setsockopt', 3n, 6n, 31n)).toBe(errno(92));
    expect(ask('setsockopt', 3n, 6n, 1n)).toBe(allow);
  });

  it('filters ioctl by the half of the request that the kernel looks at', () => {
    for (const request of [0x5412n, 0x541cn, 0x5423n, 0xdead_0000_5412n])
      expect(ask('ioctl', 0n, request)).toBe(errno(1));
    expect(ask('ioctl', 0n, 0x5413n)).toBe(allow);
  });

  it('makes no file setuid or setgid, and no device', () => {
    for (const mode of [0o4755n, 0o2755n, 0o6777n]) {
      expect(ask('fchmod', 3n, mode)).toBe(errno(1));
      expect(ask('fchmodat', 3n, 0n, mode)).toBe(errno(1));
      expect(ask('openat', 3n, 0n, 0o101n, mode)).toBe(errno(1));
      expect(ask('mknodat', 3n, 0n, 0o100000n | mode)).toBe(errno(1));
    }
    // Without O_CREAT the mode is whatever happens to be there.
    expect(ask('openat', 3n, 0n, 0n, 0o4755n)).toBe(allow);
    expect(ask('fchmod', 3n, 0o1777n)).toBe(allow);
    expect(ask('mknodat', 3n, 0n, 0o10644n)).toBe(allow);
    expect(ask('mknodat', 3n, 0n, 0o20644n)).toBe(errno(1));
    expect(ask('mknodat', 3n, 0n, 0o60644n)).toBe(errno(1));
  });

  it('leaves the personality as it is', () => {
    expect(ask('personality', 0xffffffffn)).toBe(allow);
    expect(ask('personality', 0x0040000n)).toBe(errno(1));
  });
});

describe('assembleProfile', () => {
  const calls = ['read', 'write', 'openat', 'ioctl', 'clone', 'socket', 'exit', 'mseal'];
  const operators = ['EQ', 'NE', 'LT', 'LE', 'GT', 'GE', 'MASKED_EQ'] as const;
  const edge = fc.constantFrom(0, 1, 2, 0xffffffff, 0x100000000, 0x100000001, 0x1fffffffffffff);
  const argument = fc.record({
    index: fc.integer({ min: 0, max: 5 }),
    op: fc.constantFrom(...operators).map((name) => `SCMP_CMP_${name}` as const),
    value: edge,
    valueTwo: edge,
  });
  const action = fc.constantFrom(
    'SCMP_ACT_ALLOW',
    'SCMP_ACT_ERRNO',
    'SCMP_ACT_KILL',
    'SCMP_ACT_KILL_PROCESS',
    'SCMP_ACT_TRAP',
    'SCMP_ACT_LOG',
  );
  const entry = fc.record({
    names: fc.subarray(calls, { minLength: 1 }),
    action,
    args: fc.array(argument, { maxLength: 4 }),
    errnoRet: fc.integer({ min: 1, max: 200 }),
  });
  const defaultAction = fc.constantFrom('SCMP_ACT_ALLOW', 'SCMP_ACT_ERRNO');
  const profiles = fc.record({ defaultAction, syscalls: fc.array(entry, { maxLength: 12 }) });

  it('makes of any profile what it says, for arguments around every edge', () => {
    const wide = fc.oneof(edge.map(BigInt), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
    const args = fc.array(wide, { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(
        profiles,
        fc.constantFrom(...calls),
        args,
        fc.constantFrom(...architectures),
        (profile, name, values, architecture) => {
          const number = systemCalls(architecture)[name] ?? -1;
          const said = simulate(assembleProfile(profile, architecture), {
            number,
            audit: audits[architecture],
            args: values,
          });
          expect(said).toBe(judge(profile, name, values));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('reaches over code that is too long for a conditional jump', () => {
    const many = Array.from({ length: 60 }, (_, value) => ({
      names: calls.slice(0, 6),
      action: 'SCMP_ACT_ERRNO',
      errnoRet: value + 1,
      args: [{ index: 0, op: 'SCMP_CMP_EQ', value }],
    }));
    const parsed = parseSeccompProfile(
      Buffer.from(JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: many })),
    );
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.faults));
    const program = assembleProfile(parsed.value, 'x86_64');
    expect(program.length / 8).toBeGreaterThan(1500);
    for (const name of calls) {
      const call = {
        number: systemCalls('x86_64')[name] ?? -1,
        audit: audits.x86_64,
        args: [59n, ...zeros].slice(0, 6),
      };
      expect(simulate(program, call)).toBe(judge(parsed.value, name, call.args));
    }
    const tooLong = {
      ...parsed.value,
      syscalls: Array.from({ length: 5 }, () => parsed.value.syscalls).flat(),
    };
    expect(() => assembleProfile(tooLong, 'x86_64')).toThrow(RangeError);
  });
});

describe('parseSeccompProfile', () => {
  it('names every fault', () => {
    const parsed = parseSeccompProfile(
      Buffer.from(
        JSON.stringify({
          defaultAction: 'SCMP_ACT_TRACE',
          syscalls: [{ names: ['no_such_call'], action: 'SCMP_ACT_ERRNO', errnoRet: 5000 }],
          extra: 1,
        }),
      ),
    );
    expect(parsed.ok ? [] : parsed.faults.map(({ path }) => path).sort()).toEqual([
      'defaultAction',
      'extra',
      'syscalls[0].errnoRet',
      'syscalls[0].names[0]',
    ]);
  });
});
