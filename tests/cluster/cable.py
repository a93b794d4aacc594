"""A bad cable: carries Ethernet frames between a card and the switch, late, slowly, or not at all.

    cable.py CARD TAP

CARD is a card of this network namespace; TAP, which it makes, is the switch's end. Each line on
stdin is a JSON object of the properties below and is answered by one line once it holds. It needs
nothing of the kernel but tap devices: tc's netem is not in every kernel.
"""

import contextlib
import fcntl
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4
# Before each frame stands what is left to do for it, checksums and segments: so frames of 64 KiB
# pass unsplit, as between cards that do that work.
HEADER = 10
LARGEST = HEADER + (1 << 17)
# What waits at most in one direction, in bytes; more is dropped, as a router does.
ROOM = 64 << 20


@dataclass
class Properties:
    """Of one cable, the same in both directions."""

    delay: float = 0.0  # seconds, each way
    loss: float = 0.0  # part of the frames that vanish
    rate: float = 0.0  # bytes per second each way, 0 for all there is
    wall: bool = False  # whether connections that the host opens get no answer


class Direction:
    """Frames on their way, in order."""

    def __init__(self, write: Callable[[bytes], object]):
        self.write = write
        self.frames: deque[tuple[float, bytes]] = deque()
        self.waiting = 0
        self.free = 0.0  # when the last frame has left the sender

    def take(self, frame: bytes, cable: Properties):
        if random.random() < cable.loss or self.waiting + len(frame) > ROOM:
            return
        self.free = max(self.free, time.monotonic())
        if cable.rate:
            self.free += len(frame) / cable.rate
        self.frames.append((self.free + cable.delay, frame))
        self.waiting += len(frame)

    def give(self) -> float | None:
        """Delivers what is due; seconds until the next frame is."""
        while self.frames:
            due, frame = self.frames[0]
            if (left := due - time.monotonic()) > 0:
                return left
            self.frames.popleft()
            self.waiting -= len(frame)
            with contextlib.suppress(OSError):
                self.write(frame)  # a card without room, or down, loses it, as a cable does
        return None


def opens_connection(frame: bytes) -> bool:
    """Whether it is the first packet of a TCP connection over IPv4."""
    ethernet = frame[HEADER:]
    if ethernet[12:14] != b"\x08\x00" or ethernet[23] != 6:
        return False
    flags = ethernet[14 + 4 * (ethernet[14] & 15) + 13]
    return flags & 0b010010 == 0b000010


def open_card(name: str) -> socket.socket:
    card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    card.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    card.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    card.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    card.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, ROOM)
    card.setblocking(False)
    card.bind((name, ETH_P_ALL))
    return card


def open_tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    kind = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), kind))
    fcntl.ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
    return tap


def main(card_name: str, tap_name: str):
    card, tap, cable = open_card(card_name), open_tap(tap_name), Properties()
    out = Direction(lambda frame: os.write(tap, frame))
    back = Direction(card.send)
    print("ready", flush=True)
    while True:
        waits = [left for way in (out, back) if (left := way.give()) is not None]
        ready, _, _ = select.select([sys.stdin, card, tap], [], [], min(waits, default=None))
        if card in ready:
            frame = card.recv(LARGEST)
            if not (cable.wall and opens_connection(frame)):
                out.take(frame, cable)
        if tap in ready:
            with contextlib.suppress(OSError):  # it is not up yet
                back.take(os.read(tap, LARGEST), cable)
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            cable = Properties(**json.loads(line))
            print("ready", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
