import socket

from kit import *

offers = json.load(open(params["workspace"] + "/signals/ready"))


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(2)
        s.connect(address)


@probe("a server of another job on 127.0.0.1", "nobody answers")
def other_loopback():
    return refused(lambda: connect(socket.AF_INET, ("127.0.0.1", offers["port"])), errno.ECONNREFUSED)


@probe("an abstract Unix socket of another job", "nobody listens in its namespace, and who shares a scope has none")
def other_abstract_socket():
    return refused(lambda: connect(socket.AF_UNIX, "\0csc-neighbour"), errno.ECONNREFUSED, errno.EACCES)


@probe("shared memory and queues of another job, by key and by number", "they are not there")
def other_ipc():
    found = {
        "segment by key": libc.shmget(0x637363, 0, 0),
        "segment by number": libc.shmat(offers["segment"], 0, 0o10000),
        "queue by key": libc.msgget(0x637363, 0),
        "queue by number": libc.msgctl(offers["queue"], 2, ctypes.create_string_buffer(256)),
    }
    return offers["segment"] >= 0 and offers["queue"] >= 0 and set(found.values()) == {-1}, found


@probe("files of another job in /tmp, the home and /dev/shm", "they are not there")
def other_files():
    found = [p for p in ("/tmp", "/dev/shm", os.environ["HOME"]) if os.path.lexists(p + "/neighbour")]
    return not found, found or "none"


@probe("processes of another job, which is the same user on the host", "none is seen")
def other_processes():
    found = [pid for pid in os.listdir("/proc") if pid.isdigit() and b"resident.py" in read(f"/proc/{pid}/cmdline")]
    return not found, found or "none"


@probe("kill every process that it may", "the other job goes on")
def kill_all():
    child = os.fork()
    if child == 0:
        import time
        time.sleep(60)
        os._exit(0)
    os.kill(-1, 9)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1]), "its own child was killed"


@probe("change the priority and the limits of other processes of its user", "it has only its own")
def other_priorities():
    seen = [pid for pid in range(3, 5000) if pid != os.getpid() and exists(pid)]
    return not seen, seen or "none"


def exists(pid):
    try:
        os.getpriority(os.PRIO_PROCESS, pid)
        return True
    except OSError:
        return False


run()
