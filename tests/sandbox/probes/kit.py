"""What the probes share. Each probe says what it tries and what must be seen, and gives whether that held."""
import ctypes
import errno
import json
import os
import platform
import signal
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
params = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "params.json")))
X86 = platform.machine() == "x86_64"
probes = []


def probe(tries, expects):
    def register(function):
        probes.append((function, tries, expects))
        return function

    return register


def run():
    for function, tries, expects in probes:
        try:
            held, seen = function()
        except Exception as error:  # A probe that breaks has not held.
            held, seen = False, f"{type(error).__name__}: {error}"
        print(json.dumps({"name": function.__name__, "held": bool(held), "seen": str(seen)[:500]}), flush=True)


def call(number, *args):
    """A raw system call: its result, or minus the errno."""
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return -ctypes.get_errno() if result == -1 else result


def check(result):
    """What a raw call gave, or the OSError that it stands for."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def in_child(action):
    """Runs an action in a child process: the errno that it failed with, 0, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_by_filter(action):
    """Held where the action costs a child process its life: SIGSYS, as a filter kills."""
    code = in_child(action)
    return code == -signal.SIGSYS, f"ended by signal {-code}" if code < 0 else f"lived: {code}"


def fails(result):
    """Held where a raw call failed."""
    return result < 0, errno.errorcode.get(-result, result) if result < 0 else f"succeeded with {result}"


def refused(action, *errnos):
    """Held where the action raises OSError, of these errnos if any are given."""
    try:
        value = action()
    except OSError as error:
        return not errnos or error.errno in errnos, errno.errorcode.get(error.errno, error.errno)
    return False, f"succeeded: {value!r}"


def each_refused(actions):
    """Held where every one of these named actions raises OSError."""
    done = [name for name, action in actions if not refused(action)[0]]
    return not done, f"succeeded: {done}" if done else f"{len(actions)} refused"


def read(path, size=4096):
    with open(path, "rb") as file:
        return file.read(size)


def write(path, data=b"x", flags=os.O_WRONLY):
    fd = os.open(path, flags, 0o644)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def status(name):
    for line in open("/proc/self/status"):
        if line.startswith(name + ":"):
            return line.split(":", 1)[1].strip()
