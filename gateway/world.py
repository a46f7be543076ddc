"""What the gateway takes from outside: clocks, chance, a disk, lines, brokers, the command line's door.

Everything is handed to `App` in one `World`, so that a simulation runs it unchanged on a virtual clock, a disk that
forgets and brokers that vanish (tests/simulation). The defaults are the machine's own.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from gateway import console
from gateway.clock import FloorFile, SystemClock, Timekeeper
from gateway.database import Disk
from gateway.drivers.gpiochip import Chip, Gpiod
from gateway.drivers.https import Answerer, Server
from gateway.drivers.modbus import Master
from gateway.drivers.osdp import OsdpLine, Panel
from gateway.drivers.osdp_keys import KeyFiles
from gateway.drivers.serial_port import SerialPort
from gateway.mqtt import Broker, Connection, Message, Will

P = ParamSpec("P")
T = TypeVar("T")


class Connect(Protocol):
    """Opens a connection to a broker, as `Connection.open` does."""

    def __call__(
        self,
        broker: Broker,
        client_id: str,
        *,
        keepalive: int,
        will: Will | None,
        session_expiry: int,
        receive_maximum: int,
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
        deadline: float,
    ) -> Awaitable[Connection]:
        """Connect within `deadline` seconds, or raise LinkError."""


class Line(Protocol):
    """Makes a serial line, as `SerialPort` does."""

    def __call__(
        self,
        device: str,
        baud: int,
        *,
        received: Callable[[bytes], None],
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
    ) -> SerialPort:
        """Make a line; its `run` keeps it open."""


class Https(Protocol):
    """Makes a listening socket for local input, as `Server` does."""

    def __call__(
        self,
        host: str,
        port: int,
        context: Callable[[], Any],
        answerer: Answerer,
        *,
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
    ) -> Server:
        """Make it; its `run` keeps it open."""


class Beside(Protocol):
    """Makes a call that may wait for a disk, beside the event loop, as `asyncio.to_thread` does."""

    def __call__(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Return what it returns."""


Console = Callable[[Path, console.Handle], AbstractAsyncContextManager[None]]


def _random_bytes(count: int) -> bytes:
    return os.urandom(count)


@dataclass(frozen=True, slots=True)
class Osdp:
    """What OSDP takes from outside: lines, libosdp's end of a connection, and where keys are."""

    line: Callable[[str, int], OsdpLine] = OsdpLine  # device, baud
    panel: type[Panel] = Panel
    keys: Callable[[Path], KeyFiles] = KeyFiles


@dataclass(frozen=True, slots=True)
class World:
    """The outside of one gateway."""

    clock: Timekeeper = field(default_factory=SystemClock)
    floor: FloorFile = field(default_factory=FloorFile)
    random: Callable[[], float] = random.random  # jitter alone; nothing secret comes from it
    random_bytes: Callable[[int], bytes] = _random_bytes
    disk: Disk = field(default_factory=Disk)
    connect: Connect = Connection.open
    line: Line = SerialPort
    chip: Chip = field(default_factory=Gpiod)
    modbus: Callable[[str, int, str, int, float], Master] = Master  # device, baud, parity, stop bits, timeout
    osdp: Osdp = field(default_factory=Osdp)
    https: Https = Server
    console: Console = console.serve
    beside: Beside = asyncio.to_thread
