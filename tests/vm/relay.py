"""QEMU starts this for each connection of the machine to its broker: the machine's end is on 0 and 1."""

import contextlib
import os
import socket
import sys
import threading

CHUNK = 65536


def inward(broker: socket.socket) -> None:
    """Carry what the broker says into the machine."""
    with contextlib.suppress(OSError):
        while chunk := broker.recv(CHUNK):
            while chunk:
                chunk = chunk[os.write(1, chunk) :]
    os._exit(0)


with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as broker:
    broker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=inward, args=(broker,), daemon=True).start()
    with contextlib.suppress(OSError):
        while chunk := os.read(0, CHUNK):
            broker.sendall(chunk)
