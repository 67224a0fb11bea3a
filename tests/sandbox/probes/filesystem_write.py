from kit import *


@probe("write into the root directory", "read-only")
def write_root():
    return refused(lambda: write("/planted", flags=os.O_WRONLY | os.O_CREAT), errno.EROFS)


@probe("write into /usr, /etc, /bin, /lib, /home, /run and /var", "read-only, or not there")
def write_system():
    paths = ["/usr/planted", "/etc/planted", "/bin/planted", "/lib/planted", "/home/planted", "/run/planted", "/var/planted", "/usr/bin/env"]
    return each_refused([(p, lambda p=p: write(p, flags=os.O_WRONLY | os.O_CREAT)) for p in paths])


@probe("make files in /dev", "read-only")
def write_dev():
    return refused(lambda: write("/dev/planted", flags=os.O_WRONLY | os.O_CREAT), errno.EROFS)


@probe("change made-up files in /etc", "read-only")
def write_etc():
    paths = ("/etc/passwd", "/etc/group", "/etc/hosts")
    # They are its own, as is all that is made up: the mode alone would not keep it from them.
    modes = [(p + " mode", lambda p=p: os.chmod(p, 0o644)) for p in paths]
    return each_refused([*modes, *[(p, lambda p=p: write(p)) for p in paths]])


@probe("write a file of a read scope", "refused")
def write_read_scope():
    return each_refused([
        ("write", lambda: write(params["shown"] + "/a.json")),
        ("create", lambda: write(params["shown"] + "/new", flags=os.O_WRONLY | os.O_CREAT)),
        ("unlink", lambda: os.unlink(params["shown"] + "/a.json")),
        ("rename", lambda: os.rename(params["shown"] + "/a.json", params["shown"] + "/b")),
        ("chmod", lambda: os.chmod(params["shown"] + "/a.json", 0o777)),
        ("truncate", lambda: os.truncate(params["shown"] + "/a.json", 0)),
        ("utime", lambda: os.utime(params["shown"] + "/a.json")),
        ("symlink", lambda: os.symlink("x", params["shown"] + "/link")),
    ])


@probe("write the files of a read pattern", "refused")
def write_glob():
    return refused(lambda: write(params["globs"] + "/one.json"))


@probe("write into the working directory, which no write scope covers", "refused")
def write_cwd():
    return refused(lambda: write("planted", flags=os.O_WRONLY | os.O_CREAT))


@probe("write beside what the working directory shows", "refused")
def write_beside():
    return each_refused([
        ("directory", lambda: os.mkdir(params["workspace"] + "/new")),
        ("file", lambda: write(params["workspace"] + "/globs/new.json", flags=os.O_WRONLY | os.O_CREAT)),
        ("remove", lambda: os.rmdir(params["workspace"] + "/globs")),
    ])


@probe("write a read scope through its descriptor in /proc", "refused")
def write_by_proc():
    fd = os.open(params["shown"] + "/a.json", os.O_RDONLY)
    return refused(lambda: write(f"/proc/self/fd/{fd}"))


@probe("write into a write scope", "it works, and is the job user's")
def write_scope():
    path = params["out"] + "/written"
    write(path, flags=os.O_WRONLY | os.O_CREAT)
    return os.stat(path).st_uid == os.getuid(), os.stat(path)


@probe("plant a symlink in a write scope and write through it", "it leads to what the sandbox has, which is read-only")
def planted_symlink():
    link = params["out"] + "/escape"
    os.symlink("/etc/planted-by-probe", link)
    return refused(lambda: write(link, flags=os.O_WRONLY | os.O_CREAT))


@probe("hard link a read-only file into a write scope", "refused")
def hard_link():
    return refused(lambda: os.link(params["shown"] + "/a.json", params["out"] + "/linked"))


@probe("hard link a system program into a write scope", "refused")
def hard_link_system():
    return refused(lambda: os.link("/usr/bin/env", params["out"] + "/env"))


@probe("move the root of a write scope away", "refused")
def move_scope():
    return refused(lambda: os.rename(params["out"], params["workspace"] + "/moved"))


@probe("remove the root of a write scope", "refused")
def remove_scope():
    return refused(lambda: os.rmdir(params["out"]))


@probe("exchange a file of a write scope for one of a read scope", "refused")
def exchange():
    path = params["out"] + "/exchanged"
    write(path, flags=os.O_WRONLY | os.O_CREAT)
    other = params["shown"] + "/a.json"
    return each_refused([
        ("rename", lambda: os.rename(path, other)),
        ("exchange", lambda: check(call(316 if X86 else 276, -100, path.encode(), -100, other.encode(), 2))),
        ("out of a scope", lambda: os.rename(other, path)),
    ])


@probe("write a read scope through memory", "refused")
def write_by_memory():
    fd = os.open(params["shown"] + "/a.json", os.O_RDONLY)
    # Shared; 1 is to be read, 3 to be written as well.
    address = check(call(9 if X86 else 222, 0, 4096, 1, 1, fd, 0))
    return each_refused([
        ("map", lambda: check(call(9 if X86 else 222, 0, 4096, 3, 1, fd, 0))),
        ("protect", lambda: check(call(10 if X86 else 226, address, 4096, 3))),
        ("open anew", lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR)),
    ])


@probe("change the programs that run: its own, and its init's", "refused")
def running_programs():
    return each_refused([(p, lambda p=p: write(p)) for p in ("/proc/self/exe", "/proc/1/exe", "/usr/bin/bwrap")])


@probe("make a file of a write scope immutable, so that nobody gets rid of it", "refused")
def immutable():
    import fcntl
    path = params["out"] + "/immutable"
    write(path, flags=os.O_WRONLY | os.O_CREAT)
    fd = os.open(path, os.O_RDONLY)
    return refused(lambda: fcntl.ioctl(fd, 0x40086602, (0x10).to_bytes(8, "little")))


@probe("make a file without a name where nothing may be written", "refused")
def nameless():
    return each_refused([(p, lambda p=p: os.open(p, os.O_WRONLY | os.O_TMPFILE)) for p in ("/", "/dev", "/usr", params["shown"])])


@probe("make a device file in a write scope", "refused")
def device_file():
    return each_refused([
        ("char", lambda: os.mknod(params["out"] + "/null", 0o20666, os.makedev(1, 3))),
        ("block", lambda: os.mknod(params["out"] + "/disk", 0o60666, os.makedev(8, 0))),
        ("whiteout", lambda: os.mknod(params["out"] + "/whiteout", 0o20000, 0)),
    ])


@probe("make a setuid or setgid file in a write scope", "refused, however it is made")
def setuid_file():
    path = params["out"] + "/tool"
    write(path, flags=os.O_WRONLY | os.O_CREAT)

    def created(mode):
        os.close(os.open(params["out"] + "/made", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        held = os.stat(params["out"] + "/made").st_mode & 0o6000 == 0
        os.unlink(params["out"] + "/made")
        if held:
            raise OSError(errno.EPERM, "the bits were dropped")

    os.umask(0)
    held = each_refused([
        ("chmod", lambda: os.chmod(path, 0o4755)),
        ("chmod setgid", lambda: os.chmod(path, 0o2755)),
        ("fchmod", lambda: os.fchmod(os.open(path, os.O_RDONLY), 0o6755)),
        ("open", lambda: created(0o4755)),
    ])
    return held[0] and os.stat(path).st_mode & 0o6000 == 0, held[1]


@probe("give a file to another user", "refused")
def chown_file():
    path = params["out"] + "/chowned"
    write(path, flags=os.O_WRONLY | os.O_CREAT)
    return refused(lambda: os.chown(path, 0, 0))


@probe("give a file capabilities", "refused")
def file_capabilities():
    path = params["out"] + "/capable"
    write(path, flags=os.O_WRONLY | os.O_CREAT)
    return refused(lambda: os.setxattr(path, "security.capability", bytes.fromhex("0000000201000000000000000000000000000000")))


@probe("write kernel settings", "refused")
def kernel_settings():
    paths = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/kernel/modprobe", "/proc/sys/net/ipv4/ip_forward"]
    return each_refused([(p, lambda p=p: os.open(p, os.O_WRONLY)) for p in paths])


@probe("open anything below /proc/sys for writing", "nothing opens")
def all_kernel_settings():
    opened = []
    for directory, _, names in os.walk("/proc/sys"):
        for name in names:
            path = os.path.join(directory, name)
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                opened.append(path)
            except OSError:
                pass
    return not opened, opened[:10] or "none"


@probe("write in /tmp, the home and /dev/shm", "they are its own and writable")
def private_places():
    for directory in ("/tmp", os.environ["HOME"], "/dev/shm"):
        write(directory + "/mine", flags=os.O_WRONLY | os.O_CREAT)
        extra = set(os.listdir(directory)) - {"mine", os.path.basename(params["stage"])}
        if extra:
            return False, f"{directory}: {extra}"
    return True, "only its own files"


run()
