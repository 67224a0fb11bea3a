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

const socketsOfIp = Object.values(families).flatMap((family) =>
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

/**
 * What the egress proxy may do less than a job, beside the filter of the jobs: it makes threads and TCP and UDP sockets,
 * connects them, and reads files. It makes no other process, gives itself no address, and asks nothing of other processes.
 * That it becomes no other program it sees to itself once it runs (native/confine.c): here that is still to come.
 */
export const proxyProfile: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [
    ...socketsOfIp,
    deny(eacces, 'socket', 'bind'),
    {
      names: ['clone'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index: 0, op: 'SCMP_CMP_MASKED_EQ', value: cloneThread, valueTwo: cloneThread }],
    },
    // Its flags lie in memory, where no filter looks; who gets this takes clone.
    deny(enosys, 'clone3'),
    deny(eperm, 'clone', 'fork', 'vfork', 'execveat', 'unshare', 'setns'),
    deny(eperm, 'ptrace', 'process_vm_readv', 'process_vm_writev', 'process_madvise', 'kcmp'),
    deny(eperm, 'pidfd_open', 'pidfd_getfd', 'pidfd_send_signal', 'kill', 'tkill'),
    deny(eperm, 'rt_sigqueueinfo', 'rt_tgsigqueueinfo'),
    deny(eperm, 'mount', 'umount2', 'pivot_root', 'chroot', 'fsopen', 'move_mount', 'open_tree'),
    deny(eperm, 'bpf', 'perf_event_open', 'userfaultfd', 'keyctl', 'add_key', 'request_key'),
    deny(eperm, 'io_uring_setup', 'memfd_create', 'personality', 'open_by_handle_at'),
    deny(eperm, 'shmget', 'shmat', 'msgget', 'semget', 'mq_open'),
  ],
};
