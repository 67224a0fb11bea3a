import fcntl

from kit import *


@probe("the controlling terminal", "there is none")
def dev_tty():
    return refused(lambda: os.open("/dev/tty", os.O_RDWR))


@probe("standard input, output and error", "no terminal among them")
def standard_streams():
    return not any(os.isatty(fd) for fd in (0, 1, 2)), [os.isatty(fd) for fd in (0, 1, 2)]


def ioctl(request):
    pty, _ = os.openpty()
    return lambda: check(call(16 if X86 else 29, pty, request, ctypes.create_string_buffer(b"x\0\0\0")))


def check(result):
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


@probe("type into a terminal", "refused, also with bits that the kernel does not look at")
def tiocsti():
    return each_refused([("plain", ioctl(0x5412)), ("high", ioctl(0x5412 | 1 << 32)), ("higher", ioctl(0x5412 | 1 << 63))])


@probe("paste into a console", "refused")
def tioclinux():
    return each_refused([("plain", ioctl(0x541C)), ("high", ioctl(0x541C | 1 << 40))])


@probe("choose a line discipline", "refused")
def line_discipline():
    return refused(ioctl(0x5423))


@probe("its session", "one of its own, of which nobody outside is part")
def session():
    return os.getsid(0) > 0 and os.getpgid(0) > 0, (os.getsid(0), os.getpgid(0))


@probe("a terminal of its own", "it can be made")
def own_terminal():
    pty, tty = os.openpty()
    return os.isatty(tty), os.ttyname(tty)


run()
