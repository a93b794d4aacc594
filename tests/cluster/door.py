"""Passes connections on into the network that it runs in.

    door.py FD PORT

FD is a listening socket of another network; whoever connects there talks to 127.0.0.1:PORT here.
"""

import socket
import sys
import threading
from contextlib import suppress


def pass_on(source: socket.socket, target: socket.socket):
    """Copies bytes until one side has ended."""
    with suppress(OSError):
        while some := source.recv(1 << 16):
            target.sendall(some)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def main(listener: socket.socket, port: int):
    while True:
        outside, _ = listener.accept()
        try:
            inside = socket.create_connection(("127.0.0.1", port))
        except OSError:
            outside.close()
            continue
        for pair in ((outside, inside), (inside, outside)):
            threading.Thread(target=pass_on, args=pair, daemon=True).start()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
