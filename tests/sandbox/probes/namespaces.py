from kit import *

CLONE = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000, "cgroup": 0x02000000}


@probe("unshare any namespace", "refused")
def unshare():
    # In children: where it works, what follows would no longer be what was to be probed.
    seen = {n: in_child(lambda: check(call(272 if X86 else 97, f))) for n, f in CLONE.items()}
    return set(seen.values()) == {errno.EPERM}, seen


@probe("clone into a new user namespace", "refused")
def clone_user():
    result = call(56 if X86 else 220, CLONE["user"] | 17, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    return fails(result)


@probe("clone3 into a new user namespace, with flags that no filter sees", "refused")
def clone3_user():
    args = (ctypes.c_uint64 * 11)(CLONE["user"], 0, 0, 0, 17)
    result = call(435, args, 88)
    if result == 0:
        os._exit(0)
    return fails(result)


@probe("enter a namespace of its init", "refused")
def setns():
    # Into its own user namespace, EINVAL would be the kernel's answer and not the filter's.
    actions = [(n, lambda n=n: check(call(308 if X86 else 268, os.open(f"/proc/1/ns/{n}", os.O_RDONLY), 0))) for n in ("user", "mnt", "pid", "net", "ipc", "uts")]
    held, seen = refused(actions[0][1], errno.EPERM)
    return each_refused(actions) if held else (held, seen)


@probe("mount a tmpfs, a proc and a bind", "refused")
def mount():
    def attempt(source, target, kind, flags):
        return lambda: check(call(165 if X86 else 40, ctypes.c_char_p(source), ctypes.c_char_p(target), ctypes.c_char_p(kind), flags, 0))

    return each_refused([
        ("tmpfs", attempt(b"none", b"/tmp", b"tmpfs", 0)),
        ("proc", attempt(b"none", b"/tmp", b"proc", 0)),
        ("bind", attempt(b"/usr", b"/tmp", b"", 4096)),
        ("sysfs", attempt(b"none", b"/tmp", b"sysfs", 0)),
    ])


@probe("remount a read-only place writable", "refused")
def remount():
    return each_refused([(p.decode(), lambda p=p: check(call(165 if X86 else 40, 0, ctypes.c_char_p(p), 0, 4096 | 32, 0))) for p in (b"/", b"/usr", b"/dev", params["shown"].encode())])


@probe("unmount what hides things", "refused")
def unmount():
    return each_refused([(p.decode(), lambda p=p: check(call(166 if X86 else 39, ctypes.c_char_p(p), 2))) for p in (b"/proc", b"/tmp", b"/dev", params["out"].encode())])


@probe("the new mount calls", "refused")
def new_mount_calls():
    return each_refused([
        ("fsopen", lambda: check(call(430, ctypes.c_char_p(b"tmpfs"), 0))),
        ("open_tree", lambda: check(call(428, -100, ctypes.c_char_p(b"/"), 1))),
        ("mount_setattr", lambda: check(call(442, -100, ctypes.c_char_p(b"/"), 0, 0, 0))),
    ])


@probe("change the root", "refused")
def change_root():
    return each_refused([
        ("chroot", lambda: os.chroot("/tmp")),
        ("pivot_root", lambda: check(call(155 if X86 else 41, ctypes.c_char_p(b"/"), ctypes.c_char_p(b"/tmp")))),
    ])


@probe("see processes of the host", "only the sandbox's own")
def processes():
    pids = sorted(int(p) for p in os.listdir("/proc") if p.isdigit())
    return pids[0] == 1 and len(pids) <= 4 and max(pids) < 1000, pids


@probe("what its init is", "bubblewrap, with pid 1")
def init():
    return read("/proc/1/comm").strip() == b"bwrap", read("/proc/1/comm")


@probe("signal a process of the host by its pid", "no such process")
def signal_host():
    return refused(lambda: os.kill(params["hostPid"], 0), errno.ESRCH)


@probe("the host's name", "a made-up one")
def hostname():
    return os.uname().nodename == "sandbox", os.uname().nodename


@probe("change the host's name", "refused")
def set_hostname():
    return fails(call(170 if X86 else 161, ctypes.c_char_p(b"x"), 1))


@probe("shared memory segments of the host", "none is seen")
def ipc():
    return len(open("/proc/sysvipc/shm").readlines()) == 1, open("/proc/sysvipc/shm").read()


@probe("map other users and groups into its user namespace", "the maps are written already")
def uid_map():
    return each_refused([
        ("uid_map", lambda: write("/proc/self/uid_map", b"0 0 1")),
        ("gid_map", lambda: write("/proc/self/gid_map", b"0 0 1")),
        ("setgroups", lambda: write("/proc/self/setgroups", b"allow")),
        ("projid_map", lambda: write("/proc/self/projid_map", b"0 0 1")),
    ])


@probe("the user it is on the host", "not root")
def host_uid():
    # Were it root there, files of the host's root would be its own.
    text = open("/proc/self/uid_map").read()
    inside, _, count = text.split()
    owners = {path: os.stat(path).st_uid for path in ("/usr", "/usr/bin/env")}
    return inside != "0" and count == "1" and os.getuid() not in owners.values(), (text, owners)


@probe("which namespaces it is in", "six of its own")
def distinct():
    own = {n: os.readlink(f"/proc/self/ns/{n}") for n in params["namespaces"]}
    same = [n for n, link in own.items() if link == params["namespaces"][n]]
    return len(own) == 7 and not same, same or "all its own"


@probe("ask about a process of the host by its pid", "no such process")
def ask_host():
    pid = params["hostPid"]
    return each_refused([
        ("priority", lambda: os.getpriority(os.PRIO_PROCESS, pid)),
        ("session", lambda: os.getsid(pid)),
        ("affinity", lambda: os.sched_getaffinity(pid)),
        ("scheduler", lambda: os.sched_getscheduler(pid)),
        ("pidfd", lambda: os.pidfd_open(pid)),
        ("files", lambda: os.listdir(f"/proc/{pid}/fd")),
    ])


run()
