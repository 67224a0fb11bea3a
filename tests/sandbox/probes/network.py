import socket

from kit import *


def connect(family, address):
    def attempt():
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(2)
            s.connect(address)
            return "connected"

    return attempt


@probe("a server of the host on 127.0.0.1", "nobody answers")
def host_loopback():
    return refused(connect(socket.AF_INET, ("127.0.0.1", params["port"])))


@probe("a server of the host on ::1", "nobody answers")
def host_loopback6():
    return refused(connect(socket.AF_INET6, ("::1", params["port6"])))


@probe("the world by address", "no route")
def world():
    return refused(connect(socket.AF_INET, ("1.1.1.1", 443)))


@probe("the metadata service of a cloud", "no route")
def metadata():
    return refused(connect(socket.AF_INET, ("169.254.169.254", 80)))


@probe("UDP to anywhere", "no route")
def udp():
    def attempt():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            return s.sendto(b"x", ("8.8.8.8", 53))

    return refused(attempt)


@probe("names", "none is resolved")
def names():
    try:
        return False, socket.getaddrinfo("example.com", 80)
    except socket.gaierror as error:
        return True, error


@probe("an abstract Unix socket of the host", "nobody listens in its namespace")
def abstract_socket():
    return refused(connect(socket.AF_UNIX, "\0" + params["abstract"]))


@probe("a Unix socket of the host by path", "it is not there")
def path_socket():
    return refused(connect(socket.AF_UNIX, params["hidden"] + "/socket"))


@probe("a Unix socket of the host's root in a declared tree, which is not open to all", "refused, as outside")
def closed_socket():
    if "closedSocket" not in params:
        return True, "no root to own it"
    return refused(connect(socket.AF_UNIX, params["closedSocket"]), errno.EACCES)


@probe("interfaces", "only a loopback of its own")
def interfaces():
    seen = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
    return seen == ["lo"], seen


@probe("connections of the host", "none is seen")
def connections():
    lines = open("/proc/net/tcp").readlines()[1:] + open("/proc/net/unix").readlines()[1:]
    return not [line for line in lines if params["abstract"] in line] and len(open("/proc/net/tcp").readlines()) == 1, len(lines)


@probe("its own loopback", "it works")
def own_loopback():
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
    return True, "connected"


@probe("routes and neighbours of the host", "none")
def routes():
    seen = [line for path in ("/proc/net/route", "/proc/net/arp") for line in open(path).readlines()[1:]]
    return not seen, seen or "none"


@probe("change its interfaces", "refused")
def change_interfaces():
    import fcntl
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        # struct ifreq: SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNAME.
        request = b"lo".ljust(16, b"\0") + bytes(24)
        return each_refused([(hex(n), lambda n=n: fcntl.ioctl(s, n, request)) for n in (0x8914, 0x8916, 0x8923)])


@probe("a port below 1024", "refused")
def low_port():
    with socket.socket() as s:
        return refused(lambda: s.bind(("127.0.0.1", 80)), errno.EACCES)


@probe("variables that lead to a proxy", "none without an allowlist")
def proxy_variables():
    seen = [name for name in os.environ if "proxy" in name.lower()]
    return not seen, seen or "none"


run()
