from kit import *


@probe("find descriptors that were left open", "only 0, 1 and 2")
def inherited_descriptors():
    open_now = {int(fd) for fd in os.listdir("/proc/self/fd")}
    left = []
    for fd in open_now - {0, 1, 2}:
        try:
            left.append((fd, os.readlink(f"/proc/self/fd/{fd}")))
        except OSError:
            pass
    return not left, left or sorted(open_now)


@probe("list the root directory", "only what every sandbox has, and the way to the scopes")
def root_listing():
    known = {"bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "tmp", "usr", "var"}
    extra = set(os.listdir("/")) - known - {params["top"]}
    return not extra, sorted(extra) or "nothing else"


@probe("read the host's password hashes", "no such file")
def shadow():
    return refused(lambda: read("/etc/shadow"), errno.ENOENT)


@probe("list directories of the host that nobody declared", "none is there")
def host_directories():
    there = [p for p in ("/root", "/boot", "/mnt", "/media", "/opt", "/srv", "/sys/kernel", "/var/log", "/var/lib") if os.path.lexists(p)]
    return not there, there or "none"


@probe("look for other homes", "only its own")
def homes():
    return os.listdir("/home") == ["user"], os.listdir("/home")


# The first names of docs/sandbox-etc.md.
etc_names = """
    OpenCL R alternatives ant ant.conf ca-certificates crypto-policies debian_version dotnet dpkg ethertypes fonts
    gai.conf ghostscript gitconfig glvnd gnutls gradle groff group host.conf hosts inputrc iproute2 ld.so.cache
    ld.so.conf ld.so.conf.d locale.alias locale.conf localtime login.defs lsb-release magic magic.mime mailcap
    manpath.config matplotlibrc maven mime.types mke2fs.conf mono netconfig nsswitch.conf os-release papersize passwd
    perl pki protocols rpc services sgml shells ssl terminfo texmf timezone vulkan xml *-release ImageMagick* java*
    jvm* octave* php* python*
""".split()


@probe("list /etc", "only what the table of the documents has")
def etc_listing():
    from fnmatch import fnmatch
    known = [".host", *etc_names]
    extra = {name for name in os.listdir("/etc") if not any(fnmatch(name, one) for one in known)}
    return not extra, sorted(extra) or "nothing else"


@probe("read a declared tree", "its content")
def declared_tree():
    return read(params["shown"] + "/a.json") == b"{}", "read"


@probe("read an undeclared directory beside a declared one", "no such file")
def undeclared_sibling():
    return refused(lambda: read(params["hidden"] + "/secret.txt"), errno.ENOENT)


@probe("list what lies beside the scopes", "only declared names")
def workspace_listing():
    extra = set(os.listdir(params["workspace"])) - {"shown", "globs", "out", "probes"}
    return not extra, sorted(extra) or "nothing else"


@probe("read the siblings of a pattern's matches", "only the matches are there")
def glob_siblings():
    return sorted(os.listdir(params["globs"])) == ["one.json", "two.json"], sorted(os.listdir(params["globs"]))


@probe("follow a symlink in a scope to a file outside", "it leads nowhere")
def symlink_outside():
    return each_refused([
        ("absolute", lambda: read(params["shown"] + "/to-hidden")),
        ("relative", lambda: read(params["shown"] + "/to-hidden-relative")),
        ("shadow", lambda: read(params["shown"] + "/to-shadow")),
        ("directory", lambda: os.listdir(params["shown"] + "/to-directory")),
    ])


@probe("climb out of a scope by an open directory and ..", "it ends in the sandbox's own root")
def climb_by_descriptor():
    fd = os.open(params["shown"], os.O_RDONLY | os.O_DIRECTORY)
    above = os.open("../" * 40, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    return "shadow" not in os.listdir(above) and not os.path.exists(f"/proc/self/fd/{above}/root"), os.listdir(above)


@probe("reach another root by the links of /proc", "they lead to its own, or nowhere")
def other_roots():
    own = os.stat("/")
    seen = {}
    for path in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd/" + "../" * 40, "/proc/1/root/..", "/proc/self/cwd/" + "../" * 40):
        try:
            found = os.stat(path)
            seen[path] = (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)
        except OSError:
            pass
    return all(seen.values()), [path for path, same in seen.items() if not same] or "its own root"


@probe("read a file of a declared tree that only root may read", "refused, as outside")
def owner_only():
    return refused(lambda: read(params["ownerOnly"]), errno.EACCES) if "ownerOnly" in params else (True, "no root to own it")


@probe("list the terminals of others", "none but the multiplexer")
def other_terminals():
    return set(os.listdir("/dev/pts")) <= {"ptmx"}, os.listdir("/dev/pts")


@probe("open the memory of the sandbox's init", "refused")
def init_memory():
    return refused(lambda: os.open("/proc/1/mem", os.O_RDWR))


@probe("open devices of the host", "only harmless ones are there")
def devices():
    known = {"null", "zero", "full", "random", "urandom", "tty", "console", "core", "fd", "ptmx", "pts", "shm", "stdin", "stdout", "stderr"}
    extra = set(os.listdir("/dev")) - known
    return not extra, sorted(extra) or "none"


@probe("read kernel memory and logs", "refused")
def kernel_files():
    paths = ["/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/port", "/proc/kcore", "/proc/kmsg", "/proc/kpagecount", "/proc/kpageflags"]
    return each_refused([(p, lambda p=p: read(p, 1)) for p in paths])


@probe("open a file by handle, around its path", "not even a handle is given")
def by_handle():
    handle = (ctypes.c_uint32 * 34)(128)
    mount = ctypes.c_int()
    return fails(call(303 if X86 else 264, -100, ctypes.c_char_p(params["shown"].encode()), handle, ctypes.byref(mount), 0))


@probe("read /sys", "it is not there")
def sysfs():
    return refused(lambda: os.listdir("/sys/class"))


run()
