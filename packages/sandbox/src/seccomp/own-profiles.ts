import type { SeccompEntry, SeccompProfile } from './profile.ts';

// linux/sched.h and linux/net.h; all fit into the low half of an argument, the only one that the kernel reads of these.
const low32 = 0xffff_ffff;
const cloneThread = 0x10000;
const [eperm, eacces, enosys] = [1, 13, 38];
const families = { ipv4: 2, ipv6: 10 } as const;
const types = { stream: 1, datagram: 2 } as const;

const deny = (errnoRet: number, ...names: readonly string[]): SeccompEntry => ({
  names: [...names],
  action: 'SCMP_ACT_ERRNO',
  errnoRet,
  args: [],
});

const socketsOfIp: readonly SeccompEntry[] = Object.values(families).flatMap((family) =>
  Object.values(types).map(
    (type): SeccompEntry => ({
      names: ['socket'],
      action: 'SCMP_ACT_ALLOW',
      args: [
        { index: 0, op: 'SCMP_CMP_MASKED_EQ', value: low32, valueTwo: family },
        // Beside SOCK_CLOEXEC and SOCK_NONBLOCK.
        { index: 1, op: 'SCMP_CMP_MASKED_EQ', value: 0xf, valueTwo: type },
      ],
    }),
  ),
);

// Further threads, and no other process. Its flags lie in memory with clone3, where no filter looks; who gets ENOSYS
// takes clone.
const threadsAlone: readonly SeccompEntry[] = [
  {
    names: ['clone'],
    action: 'SCMP_ACT_ALLOW',
    args: [{ index: 0, op: 'SCMP_CMP_MASKED_EQ', value: cloneThread, valueTwo: cloneThread }],
  },
  deny(enosys, 'clone3'),
  deny(eperm, 'clone', 'fork', 'vfork', 'unshare', 'setns'),
];

// Neither looks into other processes, signals them, nor asks for what only they could have a use for.
const nothingOfOthers: readonly SeccompEntry[] = [
  deny(eperm, 'ptrace', 'process_vm_readv', 'process_vm_writev', 'process_madvise', 'kcmp'),
  deny(eperm, 'pidfd_open', 'pidfd_getfd', 'pidfd_send_signal', 'kill', 'tkill'),
  deny(eperm, 'rt_sigqueueinfo', 'rt_tgsigqueueinfo', 'tgkill', 'process_mrelease'),
  deny(eperm, 'sched_setaffinity', 'sched_setscheduler', 'sched_setparam', 'sched_setattr', 'ioprio_set'),
  deny(eperm, 'setpriority', 'migrate_pages', 'move_pages'),
  // Its own limits alone: of others of its user it could set them, which ends them.
  {
    names: ['prlimit64'],
    action: 'SCMP_ACT_ALLOW',
    args: [{ index: 0, op: 'SCMP_CMP_MASKED_EQ', value: low32, valueTwo: 0 }],
  },
  deny(eperm, 'prlimit64'),
  deny(eperm, 'mount', 'umount2', 'pivot_root', 'chroot', 'fsopen', 'move_mount', 'open_tree'),
  deny(eperm, 'bpf', 'perf_event_open', 'userfaultfd', 'keyctl', 'add_key', 'request_key'),
  deny(eperm, 'io_uring_setup', 'memfd_create', 'personality', 'open_by_handle_at'),
  deny(eperm, 'shmget', 'shmat', 'msgget', 'semget', 'mq_open'),
];

const noOtherProgram = deny(eperm, 'execve', 'execveat');

/**
 * What the egress proxy may do less than a job, beside the filter of the jobs: it makes threads and TCP and UDP sockets,
 * connects them, and reads files. It makes no other process, gives itself no address, and asks nothing of other processes.
 * That it becomes no other program is still to come (`startedProfile`), as it has to become Node first.
 */
export const proxyProfile: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [
    ...socketsOfIp,
    deny(eacces, 'socket', 'bind'),
    deny(eperm, 'execveat'),
    ...threadsAlone,
    ...nothingOfOthers,
  ],
};

/** What a proxy takes from itself once it runs, beside `proxyProfile`. */
export const startedProfile: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [noOtherProgram],
};

const readOnly = (names: readonly string[], flags: number): SeccompEntry[] => [
  {
    names: [...names],
    action: 'SCMP_ACT_ALLOW',
    // O_ACCMODE: neither O_WRONLY nor O_RDWR.
    args: [{ index: flags, op: 'SCMP_CMP_MASKED_EQ', value: 3, valueTwo: 0 }],
  },
  deny(eperm, ...names),
];

/** What a process takes from itself that only looks at files: all but reading them, and saying what it has seen. */
export const readerProfile: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [
    ...readOnly(['open'], 1),
    ...readOnly(['openat'], 2),
    deny(enosys, 'openat2'),
    deny(eperm, 'socket', 'socketpair', 'connect', 'bind', 'listen', 'sendto', 'sendmsg'),
    deny(eperm, 'creat', 'truncate', 'unlink', 'unlinkat', 'rename', 'renameat', 'renameat2', 'rmdir'),
    deny(eperm, 'mkdir', 'mkdirat', 'mknod', 'mknodat', 'link', 'linkat', 'symlink', 'symlinkat'),
    deny(eperm, 'chmod', 'fchmod', 'fchmodat', 'chown', 'fchown', 'lchown', 'fchownat', 'utimensat'),
    deny(eperm, 'fchmodat2', 'utime', 'utimes', 'futimesat', 'file_setattr'),
    deny(eperm, 'setxattr', 'lsetxattr', 'fsetxattr', 'removexattr', 'lremovexattr', 'fremovexattr'),
    deny(eperm, 'setxattrat', 'removexattrat', 'mq_unlink'),
    noOtherProgram,
    ...threadsAlone,
    ...nothingOfOthers,
  ],
};
