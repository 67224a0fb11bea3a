import re

from kit import *


@probe("the environment of the sandbox's init", "nothing of the executor's")
def init_environment():
    seen = read("/proc/1/environ", 65536).split(b"\0") if os.access("/proc/1/environ", os.R_OK) else []
    extra = [v for v in seen if v and not v.startswith((b"PATH=", b"PWD="))]
    return not extra, extra or "only PATH"


@probe("the command line of the sandbox's init", "no path of the host")
def init_command_line():
    try:
        line = read("/proc/1/cmdline", 65536)
    except OSError as error:
        return True, error
    return b"bind" not in line and b"/shm/" not in line, line


def links(pid):
    """What the kernel says that a process has open, by number; its own look at them aside."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            pass
    return found


def tells_nothing(link):
    return link == "/dev/null" or re.fullmatch(r"anon_inode:.*|pipe:.*|/(dev/shm|tmp)/[0-9a-f]{32} \(deleted\)", link)


@probe("the names of what it and the sandbox's init have open", "none that tells of the host")
def descriptor_names():
    telling = {f"{pid}/{fd}": link for pid in (1, os.getpid()) for fd, link in links(pid).items() if not tells_nothing(link)}
    return not telling, telling or "none"


@probe("the descriptors of the sandbox's init, by opening them again", "none but its own output")
def descriptor_files():
    def attempt(fd, flags):
        try:
            os.close(os.open(f"/proc/1/fd/{fd}", flags | os.O_NONBLOCK))
            return True
        except OSError:
            return False

    opened = [fd for fd in links(1) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH | os.O_DIRECTORY) if attempt(fd, flags)]
    return set(opened) <= {"0", "1", "2"}, opened


@probe("where the sandbox's init is, and what it has mapped", "its cwd, the sandbox's own root, and the system's files")
def init_places():
    places = [os.readlink(f"/proc/1/{name}") for name in ("cwd", "root", "exe")]
    mapped = [line.split(None, 5)[5].strip() for line in open("/proc/1/maps") if len(line.split(None, 5)) > 5]
    strange = [path for path in mapped if not re.match(r"/usr/|/lib|\[", path)]
    return places[:2] == [os.getcwd(), "/"] and places[2].startswith("/usr/") and not strange, (places, strange)


@probe("its own environment", "only what was granted")
def environment():
    extra = set(os.environ) - {"HOME", "LANG", "PATH", "USER", "PWD", "GRANTED", "LC_CTYPE", "SHLVL", "_"}
    return not extra and os.environ.get("GRANTED") == "yes", sorted(extra) or "GRANTED only"


@probe("the kernel's symbols, keys, configuration, interrupts", "empty or refused")
def kernel_information():
    told = []
    for path in ("/proc/kallsyms", "/proc/keys", "/proc/key-users", "/proc/config.gz", "/proc/interrupts", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats"):
        try:
            if read(path, 64):
                told.append(path)
        except OSError:
            pass
    return not told, told or "none"


@probe("hardware below /proc", "empty")
def hardware():
    told = [p for p in ("/proc/acpi", "/proc/scsi", "/proc/asound") if os.path.isdir(p) and os.listdir(p)]
    return not told, told or "none"


@probe("its cgroup", "the root of a namespace of its own")
def cgroup():
    paths = {line.strip().split(":", 2)[2] for line in open("/proc/self/cgroup")}
    return paths == {"/"}, paths


@probe("its mounts", "no path of the host beyond what was declared")
def mounts():
    shown = ("/usr", "/bin", "/sbin", "/lib", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl", params["workspace"])
    devices = {"/" + name for name in ("null", "zero", "full", "random", "urandom", "tty")}
    # proc_pid_mountinfo(5): the fourth field is what of the file system is mounted.
    roots = {line.split()[3] for line in open("/proc/self/mountinfo")} - {"/", "/newroot"} - devices
    # The copies of /etc lie in a directory whose name says nothing.
    copies = re.compile("/libetc-[0-9a-f]{32}")
    told = [root for root in roots if not (root.startswith(shown) or copies.fullmatch(root)) or "hidden" in root]
    return not told, told or "none"


@probe("who there is", "made-up accounts only")
def accounts():
    import pwd
    return sorted(p.pw_name for p in pwd.getpwall()) == ["nobody", "user"], [p.pw_name for p in pwd.getpwall()]


@probe("secrets, of which it declared none", "no directory")
def secrets():
    return not os.path.exists("/run/secrets"), os.listdir("/run") if os.path.exists("/run") else "no /run"


@probe("the command line that the kernel shows of itself", "its own")
def own_command_line():
    line = read("/proc/self/cmdline")
    return line.split(b"\0")[0] == b"python3" and b"bwrap" not in line, line


@probe("core dumps, into a file or to a program of the host", "off: 1 is the limit of neither, which it cannot change")
def core_dumps():
    import resource
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    after = resource.getrlimit(resource.RLIMIT_CORE)
    child = os.fork()
    if child == 0:
        os.abort()
    dumped = os.WCOREDUMP(os.waitpid(child, 0)[1])
    return before == after == (params["coreBytes"],) * 2 and not dumped, [before, after, dumped]


@probe("open files at a time", "limited")
def open_files():
    import resource
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] == params["openFiles"], resource.getrlimit(resource.RLIMIT_NOFILE)


@probe("raise its own limits", "refused")
def raise_limits():
    import resource
    return each_refused([
        ("nofile", lambda: limit(resource.RLIMIT_NOFILE)),
        ("fsize", lambda: limit(resource.RLIMIT_FSIZE)),
    ])


def limit(which):
    import resource
    try:
        resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:
        raise OSError(errno.EPERM, str(error))


@probe("make itself a worse victim of the OOM killer", "it can only become a better one")
def oom_score():
    return refused(lambda: write("/proc/self/oom_score_adj", b"-1000"))


run()
