import fcntl
import termios

from kit import *


@probe("the controlling terminal", "there is none")
def dev_tty():
    return refused(lambda: os.open("/dev/tty", os.O_RDWR))


@probe("standard input, output and error", "no terminal among them")
def standard_streams():
    return not any(os.isatty(fd) for fd in (0, 1, 2)), [os.isatty(fd) for fd in (0, 1, 2)]


def on_terminal(request):
    """Asks something of a terminal that is the process's own controlling one: all else is refused by the kernel anyway."""
    def attempt():
        os.setsid()
        _, tty = os.openpty()
        fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
        check(call(16 if X86 else 29, tty, request, ctypes.create_string_buffer(4)))

    return in_child(attempt)


def filtered(*requests):
    """Held where the filter's EPERM comes, and not what the kernel says of its own."""
    seen = {hex(request): errno.errorcode.get(code, code) for request in requests for code in [on_terminal(request)]}
    return set(seen.values()) == {"EPERM"}, seen


@probe("type into a terminal", "refused, also with bits that the kernel does not look at")
def tiocsti():
    return filtered(0x5412, 0x5412 | 1 << 32, 0x5412 | 1 << 63)


@probe("paste into a console", "refused, also with bits that the kernel does not look at")
def tioclinux():
    return filtered(0x541C, 0x541C | 1 << 40)


@probe("choose a line discipline", "refused, also with bits that the kernel does not look at")
def line_discipline():
    return filtered(0x5423, 0x5423 | 1 << 33)


@probe("the consoles of the host", "they are not there")
def consoles():
    return each_refused([(p, lambda p=p: os.open(p, os.O_RDWR | os.O_NOCTTY)) for p in ("/dev/console", "/dev/tty0", "/dev/tty1", "/dev/ttyS0", "/dev/hvc0", "/dev/vcs")])


@probe("its session", "one of its own, of which nobody outside is part")
def session():
    return os.getsid(0) > 0 and os.getpgid(0) > 0, (os.getsid(0), os.getpgid(0))


@probe("a terminal of its own", "it can be made")
def own_terminal():
    pty, tty = os.openpty()
    return os.isatty(tty), os.ttyname(tty)


run()
