import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPlainSandbox, type PlainSandbox } from '@csc-fleet/test-kit/sandbox/plain-sandbox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemCalls } from './system-calls.ts';

const [EPERM, ENOSYS, ENOPROTOOPT, EAFNOSUPPORT] = [1, 38, 92, 97];
const SIGSYS = 31;
const atCwd = -100;
const architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
// O_DIRECTORY differs: asm/fcntl.h of arm64.
const temporaryFile = 0o20000001 | (architecture === 'aarch64' ? 0o40000 : 0o200000);

type Call = readonly [name: string | number, ...args: (number | string)[]];

// Each call in a child of its own, as it may kill. A result is an errno, 0 for success, or 200 and a signal.
const caller = `
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def argument(value):
    return ctypes.c_char_p(value.encode()) if isinstance(value, str) else ctypes.c_long(value)
results = []
for number, arguments in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        done = libc.syscall(ctypes.c_long(number), *map(argument, arguments))
        os._exit(ctypes.get_errno() if done == -1 else 0)
    status = os.waitpid(child, 0)[1]
    results.append(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 200 + os.WTERMSIG(status))
print(json.dumps(results))
`;

function attempt({ run }: PlainSandbox, calls: readonly Call[], filtered = true): unknown {
  const numbers = systemCalls(architecture);
  const known = calls.map(([name, ...args]) => [typeof name === 'number' ? name : numbers[name], args]);
  const { status, stdout, stderr } = run(['/usr/bin/python3', '-c', caller], {
    filtered,
    input: JSON.stringify(known),
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
}

let sandbox: PlainSandbox;
beforeAll(() => {
  sandbox = createPlainSandbox();
});
afterAll(() => sandbox.remove());

describe('what the kernel would do for anyone', () => {
  const granted: readonly (readonly [number, Call])[] = [
    [EPERM, ['unshare', 0x1000_0000]],
    [EPERM, ['ptrace', 0, 0, 0, 0]],
    [EPERM, ['keyctl', 0, -3, 1]],
    [EPERM, ['add_key', 'user', 'x', 'x', 1, -3]],
    [EPERM, ['personality', 0x0004_0000]],
    [EPERM, ['fchmodat', atCwd, '.', 0o4755]],
    [EPERM, ['fchmodat', atCwd, '.', 0o2755]],
    [EPERM, ['openat', atCwd, 'setuid', 0o101, 0o4755]],
    [EPERM, ['openat', atCwd, '.', temporaryFile, 0o4755]],
    [EPERM, ['mknodat', atCwd, 'setuid-too', 0o104755, 0]],
    [EAFNOSUPPORT, ['socket', 16, 3, 0]],
    [EAFNOSUPPORT, ['socket', 16, 2, 15]],
  ];

  it('is done without the filter, so that the next test says something', () => {
    const calls = granted.map(([, call]) => call);
    expect(attempt(sandbox, calls, false)).toEqual(calls.map(() => 0));
  });

  it('is refused with it', () => {
    const calls = granted.map(([, call]) => call);
    expect(attempt(sandbox, calls)).toEqual(granted.map(([errno]) => errno));
  });
});

describe('what the filter answers before the kernel looks', () => {
  it.each<readonly [errno: number, calls: readonly Call[]]>([
    [
      EPERM,
      [
        ['mount', 0, 0, 0, 0, 0],
        ['umount2', 'x', 0],
        ['fsopen', 'x', 0],
        ['open_tree', -1, 'x', 0],
      ],
    ],
    [
      EPERM,
      [
        ['move_mount', 0, 0, 0, 0, 0],
        ['pivot_root', 'x', 'x'],
        ['chroot', '.'],
        ['setns', -1, 0],
      ],
    ],
    [
      EPERM,
      [
        ['bpf', 99, 0, 0],
        ['perf_event_open', 0, 0, -1, -1, 0],
        ['userfaultfd', 1],
        ['memfd_secret', 0],
      ],
    ],
    [
      EPERM,
      [
        ['process_vm_readv', 0, 0, 0, 0, 0, 0],
        ['pidfd_getfd', -1, 0, 0],
        ['kcmp', 0, 0, 0, 0, 0],
      ],
    ],
    [
      EPERM,
      [
        ['init_module', 0, 0, 0],
        ['kexec_load', 0, 0, 0, 0],
        ['syslog', 10, 0, 0],
        ['acct', 0],
      ],
    ],
    [
      EPERM,
      [
        ['request_key', 0, 0, 0, 0],
        ['name_to_handle_at', -1, 'x', 0, 0, 0],
        ['fanotify_init', 99, 0],
      ],
    ],
    [
      EPERM,
      [
        ['clone', 0x2000_0011, 0, 0, 0, 0],
        ['clone', 0x1000_0011, 0, 0, 0, 0],
      ],
    ],
    [
      EPERM,
      [
        ['mknodat', atCwd, 'device', 0o20600, 0x103],
        ['ioctl', -1, 0x5412, 0],
        ['ioctl', -1, 0x541c, 0],
      ],
    ],
    [EPERM, [['ioctl', -1, 0xdead_0000_5412, 0]]],
    [
      ENOSYS,
      [['clone3', 0, 0], ['openat2', -1, 0, 0, 0], ['io_uring_setup', 0, 0], ['io_setup', 1, 0], [5000]],
    ],
    [
      ENOSYS,
      [
        ['landlock_create_ruleset', 0, 0, 1],
        ['landlock_add_rule', -1, 1, 0, 0],
        ['landlock_restrict_self', -1, 0],
      ],
    ],
    [
      EAFNOSUPPORT,
      [
        ['socket', 2, 3, 1],
        ['socket', 17, 3, 0],
        ['socket', 38, 5, 0],
        ['socket', 40, 1, 0],
      ],
    ],
    [
      EAFNOSUPPORT,
      [
        ['socket', 2, 1, 132],
        ['socket', 2, 2, 115],
        ['socket', 31, 3, 0],
        ['socketpair', 30, 1, 0, 0],
      ],
    ],
    [ENOPROTOOPT, [['setsockopt', -1, 6, 31, 0, 0]]],
  ])('%i for %j', (errno, calls) => {
    expect(attempt(sandbox, calls)).toEqual(calls.map(() => errno));
  });

  it('that a limit of core dumps was set, which stays: by 1 none is written, by 0 a program of the host’s gets it', () => {
    const set =
      'before=$(ulimit -S -c); ulimit -S -c $((before == 0 ? 7 : 0)) && test "$(ulimit -S -c)" = "$before"';
    expect(sandbox.run(['bash', '--norc', '-c', set])).toMatchObject({ status: 0, stderr: '' });
  });

  it('nothing for what programs need', () => {
    const { directory } = sandbox;
    expect(
      attempt(sandbox, [
        ...([1, 2, 10] as const).map((family): Call => ['socket', family, 0o2000001, 0]),
        ...([
          ['socket', 2, 2, 17],
          ['personality', 0xffff_ffff],
          ['fchmodat', atCwd, '.', 0o1755],
        ] as Call[]),
        ...([
          ['openat', atCwd, directory, 0, 0o4755],
          ['mknodat', atCwd, 'fifo', 0o10600, 0],
        ] as Call[]),
      ]),
    ).toEqual(Array(8).fill(0));
  });
});

describe('a filter of the operator', () => {
  it('takes away, and gives nothing back', () => {
    const profileFile = join(sandbox.directory, 'profile.json');
    const mkdir = { names: ['mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 30 };
    const ptrace = { names: ['ptrace'], action: 'SCMP_ACT_ALLOW' };
    writeFileSync(
      profileFile,
      JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [mkdir, ptrace] }),
    );
    const stricter = createPlainSandbox({ profileFile });
    try {
      const calls: Call[] = [['mkdirat', atCwd, 'new', 0o700], ['ptrace', 0, 0, 0, 0], ['getpid']];
      expect(attempt(stricter, calls)).toEqual([30, EPERM, 0]);
      expect(attempt(sandbox, calls)).toEqual([0, EPERM, 0]);
    } finally {
      stricter.remove();
    }
  });
});

// The calls of i386 have other numbers: what a table of x86_64 allows is something else there.
describe.runIf(architecture === 'x86_64')('the other ABIs of an x86_64 kernel', () => {
  const source = `
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
      if (argc > 1) return syscall(0x40000000 | SYS_getpid) < 0;
      int pid;
      __asm__ volatile("int $0x80" : "=a"(pid) : "a"(20) : "memory");
      return pid <= 0;
    }`;

  it('kill the process', () => {
    const built = sandbox.run(['gcc', '-x', 'c', '-o', 'abi', '-'], { input: source });
    expect(built).toMatchObject({ status: 0, stderr: '' });
    expect(sandbox.run(['./abi']).status).toBe(128 + SIGSYS);
    expect(sandbox.run(['./abi', 'x32']).status).toBe(128 + SIGSYS);
    expect(sandbox.run(['./abi', 'x32'], { filtered: false }).status).not.toBe(128 + SIGSYS);
  });
});
