import socket
import subprocess

from kit import *


@probe("capabilities, all five sets", "none")
def capabilities():
    sets = {n: status(n) for n in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    return all(int(v, 16) == 0 for v in sets.values()), sets


@probe("gain privileges by a setuid program", "no new privileges")
def no_new_privileges():
    return status("NoNewPrivs") == "1", status("NoNewPrivs")


@probe("supplementary groups", "none of the host's")
def groups():
    # One of the host that is not mapped would show as 65534.
    return set(os.getgroups()) <= {os.getgid()}, os.getgroups()


@probe("become root", "refused")
def become_root():
    return each_refused([
        ("setuid", lambda: os.setuid(0)),
        ("setgid", lambda: os.setgid(0)),
        ("setresuid", lambda: os.setresuid(0, 0, 0)),
        ("setgroups", lambda: os.setgroups([0])),
    ])


@probe("sudo, su, mount and their like", "none of them works")
def setuid_programs():
    worked = []
    for argv in (["su", "-c", "id"], ["sudo", "-n", "id"], ["mount", "-t", "tmpfs", "x", "/tmp"], ["newgrp", "root"]):
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=5)
            if b"uid=0" in done.stdout or done.returncode == 0 and argv[0] == "mount":
                worked.append(argv[0])
        except (OSError, subprocess.TimeoutExpired):
            pass
    return not worked, worked or "none"


@probe("a setuid program of the host's root in a declared tree", "it runs as the job")
def setuid_program():
    if "setuidTool" not in params:
        return True, "no root to own it"
    seen = subprocess.run([params["setuidTool"], "-u"], capture_output=True, text=True).stdout
    return seen == f"{os.getuid()}\n", seen


@probe("what its init may do", "no more than itself")
def init_privileges():
    seen = dict(line.split(":\t", 1) for line in open("/proc/1/status") if line.startswith(("Cap", "NoNewPrivs", "Seccomp:", "Uid")))
    powers = [name for name, value in seen.items() if name.startswith("Cap") and int(value, 16) != 0]
    return not powers and seen["NoNewPrivs"].strip() == "1" and seen["Seccomp"].strip() == "2", seen


@probe("gain rights by prctl and capset", "refused")
def gain_rights():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    all_set = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    prctl = 157 if X86 else 167
    return each_refused([
        ("capset", lambda: check(call(126 if X86 else 91, header, all_set))),
        ("new privileges", lambda: check(call(prctl, 38, 0, 0, 0, 0))),
        ("ambient", lambda: check(call(prctl, 47, 2, 21, 0, 0))),
        ("securebits", lambda: check(call(prctl, 28, 0x3F, 0, 0, 0))),
        ("no filter", lambda: check(call(prctl, 22, 0, 0, 0, 0))),
        ("memory map", lambda: check(call(prctl, 35, 8, 0, 0, 0))),
    ])


@probe("take the processor from others: real time, negative nice", "refused")
def priorities():
    return each_refused([
        ("fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))),
        ("round robin", lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))),
        ("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)),
        ("io", lambda: check(call(251 if X86 else 30, 1, 0, 1 << 13))),
    ])


@probe("the system call filter", "in force")
def filter_mode():
    return status("Seccomp") == "2", status("Seccomp")


@probe("loosen the filter by one of its own that allows everything", "the strictest counts")
def looser_filter():
    def attempt():
        # One BPF instruction: return SECCOMP_RET_ALLOW.
        program = ctypes.create_string_buffer((6).to_bytes(8, "little")[:4] + (0x7FFF0000).to_bytes(4, "little"), 8)
        header = (ctypes.c_uint64 * 2)(1, ctypes.addressof(program))
        check(call(157 if X86 else 167, 22, 2, header, 0, 0))
        check(call(250 if X86 else 219, 0, -3, 1))

    code = in_child(attempt)
    return code == errno.EPERM, errno.errorcode.get(code, code)


# With arguments that do nothing. EFAULT, EBADF and their like would be the kernel's own answers.
FORBIDDEN = """
acct add_key bpf chroot clock_adjtime clock_settime clone3 delete_module fanotify_init fanotify_mark finit_module fsconfig
fsmount fsopen fspick get_mempolicy init_module io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit
io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl listmount lookup_dcookie
mbind memfd_secret migrate_pages modify_ldt mount mount_setattr move_mount move_pages name_to_handle_at nfsservctl
open_by_handle_at open_tree openat2 perf_event_open pidfd_getfd pivot_root process_madvise process_mrelease process_vm_readv
process_vm_writev quotactl quotactl_fd reboot request_key set_mempolicy setdomainname sethostname setns settimeofday statmount
swapoff swapon sysfs syslog umount2 unshare uselib userfaultfd ustat vhangup _sysctl create_module vserver
""".split()


@probe("every call that a job has no use for and that has led out of sandboxes", "each is refused by the filter")
def forbidden_calls():
    seen = {}
    for name in FORBIDDEN:
        if name in params["calls"]:
            code = in_child(lambda: check(call(params["calls"][name], 0, 0, 0, 0, 0, 0)))
            if code not in (errno.EPERM, errno.ENOSYS):
                seen[name] = errno.errorcode.get(code, code)
    known = [name for name in FORBIDDEN if name in params["calls"]]
    return not seen and len(known) > 60, seen or f"{len(known)} refused"


@probe("sockets of every family", "Unix, IPv4 and IPv6 only")
def families():
    opened = set()
    for family in range(64):
        for kind in (1, 2, 3, 4, 5):
            for make in (socket.socket, socket.socketpair):
                try:
                    made = make(family, kind, 0)
                    opened.add(family)
                    for s in made if isinstance(made, tuple) else (made,):
                        s.close()
                except OSError:
                    pass
    return opened <= {1, 2, 10}, sorted(opened)


@probe("protocols that load modules: SCTP, DCCP, MPTCP, SMC, UDP-Lite, L2TP", "refused")
def protocols():
    kinds = {"sctp": (1, 132), "dccp": (6, 33), "mptcp": (1, 262), "smc": (1, 256), "udplite": (2, 136), "l2tp": (2, 115)}
    return each_refused([(n, lambda k=k, p=p: socket.socket(2, k, p).close()) for n, (k, p) in kinds.items()])


def traced(action):
    """Runs an action in a child and raises what it raised: a process that has itself traced does not go on."""
    def attempt():
        pid = os.fork()
        if pid == 0:
            try:
                action()
                os._exit(0)
            except OSError as error:
                os._exit(error.errno)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, os.WUNTRACED)[1])
        if code != 0:
            raise OSError(code, "refused")
    return attempt


def on_child(request):
    # Not its init: one that is traced and stopped would never report the end of anything.
    def attempt():
        pid = os.fork()
        if pid == 0:
            import time
            time.sleep(60)
        try:
            return check(call(101 if X86 else 117, request, pid, 0, 0))
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)

    return attempt


@probe("trace another process", "refused")
def trace():
    return each_refused([
        ("TRACEME", traced(lambda: check(call(101 if X86 else 117, 0, 0, 0, 0)))),
        ("ATTACH", on_child(16)),
        ("SEIZE", on_child(0x4206)),
    ])


@probe("read and write another process's memory", "refused")
def process_memory():
    return each_refused([
        ("readv", lambda: check(call(310 if X86 else 270, os.getpid(), 0, 0, 0, 0, 0))),
        ("writev", lambda: check(call(311 if X86 else 271, os.getpid(), 0, 0, 0, 0, 0))),
        ("kcmp", lambda: check(call(312 if X86 else 272, os.getpid(), os.getpid(), 0, 0, 0))),
        ("pidfd_getfd", lambda: check(call(438, check(call(434, os.getpid(), 0)), 0, 0))),
    ])


@probe("the kernel's keys", "refused")
def keys():
    return each_refused([
        ("add_key", lambda: check(call(248 if X86 else 217, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"k"), ctypes.c_char_p(b"v"), 1, -3))),
        ("keyctl", lambda: check(call(250 if X86 else 219, 0, -3, 1))),
        ("request_key", lambda: check(call(249 if X86 else 218, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"k"), 0, 0))),
    ])


@probe("load programs into the kernel", "refused")
def kernel_programs():
    attributes = ctypes.create_string_buffer(128)
    return each_refused([
        ("bpf", lambda: check(call(321 if X86 else 280, 0, attributes, 128))),
        ("perf_event_open", lambda: check(call(298 if X86 else 241, attributes, 0, -1, -1, 0))),
        ("init_module", lambda: check(call(175 if X86 else 105, attributes, 1, ctypes.c_char_p(b"")))),
        ("kexec_load", lambda: check(call(246 if X86 else 104, 0, 0, 0, 0))),
    ])


@probe("io_uring, past the filter", "it does not exist")
def io_uring():
    return fails(call(425, 4, ctypes.create_string_buffer(120)))


@probe("answer page faults in user space", "refused")
def userfaultfd():
    return fails(call(323 if X86 else 282, 1))


@probe("memory that the kernel cannot see", "refused")
def memfd_secret():
    return fails(call(447, 0))


@probe("the kernel's crypto over AF_ALG", "no such family")
def af_alg():
    return refused(lambda: socket.socket(38, socket.SOCK_SEQPACKET, 0))


@probe("the hypervisor over AF_VSOCK", "no such family")
def af_vsock():
    return refused(lambda: socket.socket(40, socket.SOCK_STREAM, 0))


@probe("netlink of every kind", "no such family")
def netlink():
    opened = []
    for protocol in range(23):
        try:
            socket.socket(16, socket.SOCK_RAW, protocol).close()
            opened.append(protocol)
        except OSError:
            pass
    return not opened, opened or "none"


@probe("packet and raw sockets", "refused")
def raw_sockets():
    return each_refused([
        ("packet", lambda: socket.socket(17, socket.SOCK_RAW, 0)),
        ("icmp", lambda: socket.socket(2, socket.SOCK_RAW, 1)),
        ("icmp6", lambda: socket.socket(10, socket.SOCK_RAW, 58)),
        ("bluetooth", lambda: socket.socket(31, socket.SOCK_RAW, 1)),
        ("can", lambda: socket.socket(29, socket.SOCK_RAW, 1)),
    ])


@probe("turn off address space randomisation", "refused")
def personality():
    return fails(call(135 if X86 else 92, 0x0040000))


@probe("the real-time clock", "refused")
def clock():
    return each_refused([
        ("settimeofday", lambda: check(call(164 if X86 else 170, ctypes.create_string_buffer(16), 0))),
        ("clock_settime", lambda: check(call(227 if X86 else 112, 0, ctypes.create_string_buffer(16)))),
    ])


@probe("the kernel's log and accounting, swap, reboot", "refused")
def administration():
    return each_refused([
        ("syslog", lambda: check(call(103 if X86 else 116, 3, ctypes.create_string_buffer(64), 64))),
        ("acct", lambda: check(call(163 if X86 else 89, 0))),
        ("swapon", lambda: check(call(167 if X86 else 224, ctypes.c_char_p(b"/tmp/x"), 0))),
        ("reboot", lambda: check(call(169 if X86 else 142, 0xfee1dead, 672274793, 0, 0))),
    ])


@probe("watch what others open", "refused")
def fanotify():
    return fails(call(300 if X86 else 262, 0, 0))


@probe("a call that no filter of today knows", "it does not exist")
def unknown_call():
    result = call(999)
    return result == -errno.ENOSYS, result


@probe("a call of the x32 ABI", "the process is killed")
def x32():
    if not X86:
        return True, "not this architecture"
    return killed_by_filter(lambda: call(0x40000000 + 39))


@probe("a call of 32-bit x86 (int 0x80)", "the process is killed")
def i386():
    if not X86:
        return True, "not this architecture"
    import mmap

    def attempt():
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        # mov eax, 20 (getpid); int 0x80; ret
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        ctypes.CFUNCTYPE(ctypes.c_int)(address)()

    return killed_by_filter(attempt)


run()
