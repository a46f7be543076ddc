"""A serial line as the boards see it: bytes go out with faults, and whatever comes in, every board on it hears.

What carries the bytes is a pseudo-terminal (pty.py) or a real serial port. It keeps what the far end has not taken, up
to a bound, and loses the rest, as a line nobody listens to does. A pseudo-terminal has no rate: `baud` gives the upward
direction one, frame after frame, as a concentrator's cable has.
"""

import asyncio
import os
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from firmware_sim.faults import Carrier

READ_BYTES: Final = 4096
WAITING_MAX: Final = 256 * 1024  # bytes not taken by the far end; beyond that they are lost
BAUDS: Final = {
    2400: termios.B2400,
    4800: termios.B4800,
    9600: termios.B9600,
    19200: termios.B19200,
    38400: termios.B38400,
    57600: termios.B57600,
    115200: termios.B115200,
    230400: termios.B230400,
    460800: termios.B460800,
    921600: termios.B921600,
}


class Line:
    """One end of a byte stream, on the running event loop. Boards attach to it; several make it a concentrator."""

    def __init__(self, *, up: Carrier | None = None, down: Carrier | None = None, baud: int | None = None) -> None:
        self.up = up
        self.down = down
        self.baud = baud
        self.lost = 0  # bytes that nobody took
        self._heard_by: list[Callable[[bytes], None]] = []
        self._fd: int | None = None
        self._waiting: list[tuple[memoryview, Callable[[], None] | None]] = []
        self._waiting_bytes = 0
        self._free_at = 0.0  # loop time at which the last byte of what is under way has left

    @property
    def connected(self) -> bool:
        """Whether bytes can travel."""
        return self._fd is not None

    def attach(self, hear: Callable[[bytes], None]) -> None:
        """Give a board every byte that comes in."""
        self._heard_by.append(hear)

    def detach(self, hear: Callable[[bytes], None]) -> None:
        """Stop giving bytes to a board."""
        self._heard_by.remove(hear)

    def write(self, chunk: bytes, left: Callable[[], None] | None = None) -> None:
        """Send bytes; `left` is called when the last of them left, never if they were lost or a fault struck them."""
        if self.up is None:
            self._leave(0.0, chunk, left)
            return
        for after, arriving in self.up.apply(chunk):
            self._leave(after, arriving, left if arriving.endswith(chunk) else None)

    def to_gateway(self, chunk: bytes) -> None:
        """Put bytes on the line that no board sent, past whatever stands on it."""
        self._write(chunk, None)

    def to_boards(self, chunk: bytes) -> None:
        """Let the boards hear bytes that the gateway didn't send, past whatever stands on the line."""
        for hear in list(self._heard_by):
            hear(chunk)

    def _leave(self, after: float, chunk: bytes, left: Callable[[], None] | None) -> None:
        loop = asyncio.get_running_loop()
        if self.baud:
            now = loop.time()
            self._free_at = max(self._free_at, now + after) + len(chunk) * 10 / self.baud  # 8N1: ten bits a byte
            after = self._free_at - now
        if after > 0:
            loop.call_later(after, self._write, chunk, left)
        else:
            self._write(chunk, left)

    def _connect(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        asyncio.get_running_loop().add_reader(fd, self._readable)

    def _disconnect(self) -> None:
        if self._fd is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = None
        self.lost += self._waiting_bytes
        self._waiting.clear()
        self._waiting_bytes = 0

    def _readable(self) -> None:
        assert self._fd is not None
        try:
            chunk = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._disconnect()
            return
        if not chunk:
            self._disconnect()
        elif self.down is None:
            self.to_boards(chunk)
        else:
            for after, arriving in self.down.apply(chunk):
                asyncio.get_running_loop().call_later(after, self.to_boards, arriving)

    def _write(self, chunk: bytes, left: Callable[[], None] | None) -> None:
        if self._fd is None or self._waiting_bytes + len(chunk) > WAITING_MAX:
            self.lost += len(chunk)
            return
        self._waiting.append((memoryview(chunk), left))
        self._waiting_bytes += len(chunk)
        if len(self._waiting) == 1:
            self._writable()

    def _writable(self) -> None:
        assert self._fd is not None
        loop = asyncio.get_running_loop()
        while self._waiting:
            rest, left = self._waiting[0]
            try:
                written = os.write(self._fd, rest)
            except BlockingIOError:
                loop.add_writer(self._fd, self._writable)
                return
            except OSError:
                self._disconnect()
                return
            self._waiting_bytes -= written
            if written < len(rest):
                self._waiting[0] = (rest[written:], left)
                continue
            del self._waiting[0]
            if left is not None:
                left()
        loop.remove_writer(self._fd)


class SerialPort(Line):
    """A real serial port, 8N1; raises OSError if it can't be opened."""

    def __init__(
        self, path: Path, baud: int = 115200, *, up: Carrier | None = None, down: Carrier | None = None
    ) -> None:
        super().__init__(up=up, down=down)
        self._path = path
        self._speed = BAUDS[baud]

    async def __aenter__(self) -> Self:
        fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(fd)
        settings = termios.tcgetattr(fd)
        settings[4] = settings[5] = self._speed  # in and out
        termios.tcsetattr(fd, termios.TCSANOW, settings)
        self._connect(fd)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._disconnect()
