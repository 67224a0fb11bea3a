"""A job that offers whatever another one on the same host might find, until it is told to go."""
import ctypes
import json
import os
import socket
import sys
import time

signals = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)

tcp = socket.create_server(("127.0.0.1", 0))
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\0csc-neighbour")
abstract.listen()
segment = libc.shmget(0x637363, 4096, 0o1666)
queue = libc.msgget(0x637363, 0o1666)
for place in ("/tmp", "/dev/shm", os.environ["HOME"]):
    with open(f"{place}/neighbour", "w") as file:
        file.write("mine")
# Only to be seen by its name: a process that is there to be found.
if os.fork() == 0:
    time.sleep(300)

with open(f"{signals}/offers", "w") as file:
    json.dump({"port": tcp.getsockname()[1], "segment": segment, "queue": queue}, file)
os.rename(f"{signals}/offers", f"{signals}/ready")
while not os.path.exists(f"{signals}/go"):
    time.sleep(0.01)

disturbed = []
for listener in (tcp, abstract):
    listener.setblocking(False)
    try:
        listener.accept()
        disturbed.append("somebody connected")
    except BlockingIOError:
        pass
for place in ("/tmp", "/dev/shm", os.environ["HOME"]):
    if open(f"{place}/neighbour").read() != "mine":
        disturbed.append(place)
print(json.dumps({"name": "undisturbed", "held": not disturbed, "seen": json.dumps(disturbed)}), flush=True)
os._exit(0)
