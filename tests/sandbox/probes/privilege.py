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
    return set(os.getgroups()) <= {os.getgid(), 65534}, os.getgroups()


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


@probe("the system call filter", "in force")
def filter_mode():
    return status("Seccomp") == "2", status("Seccomp")


def in_child(action):
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
        ("TRACEME", in_child(lambda: check(call(101 if X86 else 117, 0, 0, 0, 0)))),
        ("ATTACH", on_child(16)),
        ("SEIZE", on_child(0x4206)),
    ])


def check(result):
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


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
    pid = os.fork()
    if pid == 0:
        call(0x40000000 + 39)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "killed"


@probe("a call of 32-bit x86 (int 0x80)", "the process is killed")
def i386():
    if not X86:
        return True, "not this architecture"
    import mmap
    pid = os.fork()
    if pid == 0:
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        # mov eax, 20 (getpid); int 0x80; ret
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "killed"


run()
