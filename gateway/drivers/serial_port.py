"""A serial line that is opened again for ever.

pyserial opens and configures it; reading is what the descriptor has, when the event loop says that it has something.
An adapter that is pulled out is lost once, and looked for under its stable name (/dev/serial/by-id/…) until it is
back. Whatever is written while there is no line is gone: on a Field Link nothing is kept for later by the line.
"""

import asyncio
import errno
import logging
import os
import stat
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final

import serial

from gateway.delivery.backoff import Backoff
from gateway.text import _

log = logging.getLogger(__name__)

READ_MAX: Final = 65_536  # bytes of one reading
WRITE_MAX: Final = 65_536  # bytes waiting for a line that is slower than we, as after an outage; more is dropped
RETRY_MIN: Final = 0.1  # seconds between tries to open the line
RETRY_MAX: Final = 5.0
# Seconds between two signs that the loop comes round, and until a line that was lost counts as back: an adapter that
# is there and ends at once is none.
AROUND: Final = 3.0

Beat = Callable[[], None]


class SerialPort:
    """One line by its stable name."""

    def __init__(
        self,
        device: str,
        baud: int,
        *,
        received: Callable[[bytes], None],
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self._device = device
        self._baud = baud
        self._received = received
        self._lost = lost
        self._restored = restored
        self._backoff = Backoff(RETRY_MIN, RETRY_MAX, random)
        self._port: serial.Serial | None = None
        self._unwritten = bytearray()
        self._ended: asyncio.Future[str] | None = None
        self.trouble: str | None = None

    async def run(self, beat: Beat = lambda: None) -> None:
        """Keep the line open; ends only when cancelled. `beat` is called each time that this comes round."""
        while True:
            beat()
            try:
                self._port = opened(self._device, self._baud)
            except (serial.SerialException, OSError, ValueError) as error:
                self._fail(explained(self._device, error))
            else:
                try:
                    self._fail(await self._serve(self._port, beat))
                finally:
                    self.close()
            await asyncio.sleep(self._backoff.next())

    async def _serve(self, port: serial.Serial, beat: Beat) -> str:
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        ended: asyncio.Future[str] = self._ended
        loop.add_reader(port.fileno(), self._readable, port.fileno())
        while not (await asyncio.wait({ended}, timeout=AROUND))[0]:
            self._backoff.reset()
            if self.trouble is not None:
                self.trouble = None
                log.info("the line %s is back", self._device)
                self._restored()
            beat()
        return ended.result()

    def write(self, data: bytes) -> None:
        """Write at once what the line takes, and the rest when it takes more; without a line, nothing."""
        if self._port is None or len(self._unwritten) + len(data) > WRITE_MAX:
            return
        self._unwritten += data
        self._flush(self._port.fileno())

    def _readable(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_MAX)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(explained(self._device, error))
            return
        if data:
            self._received(data)
        else:
            self._end(_("{device} was unplugged").format(device=self._device))

    def _flush(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            written = os.write(descriptor, self._unwritten)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._end(explained(self._device, error))
            return
        del self._unwritten[:written]
        if self._unwritten:
            loop.add_writer(descriptor, self._flush, descriptor)
        else:
            loop.remove_writer(descriptor)

    def _end(self, reason: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    def _fail(self, reason: str) -> None:
        if self.trouble is None:
            log.warning("the line is lost, what is connected to it is not heard: %s", reason)
            self._lost(reason)
        self.trouble = reason

    def close(self) -> None:
        """Let go of the line."""
        port, self._port = self._port, None
        self._unwritten.clear()
        if port is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(port.fileno())
            loop.remove_writer(port.fileno())
            port.close()


def explained(device: str, error: Exception) -> str:
    """Return why a line can't be opened or is lost, and what to look at."""
    number = getattr(error, "errno", None)
    match number:
        case 2:
            return _("{device} is not there: is the adapter plugged in?").format(device=device)
        case 13:
            return _("{device} may not be opened: the service's user must be in the group dialout").format(
                device=device
            )
        case 11 | 16:
            return _("{device} is in use by another program").format(device=device)
        case errno.ENOTTY:
            return _("{device} is no serial port").format(device=device)
        case None:
            return f"{device}: {error}"
        case _:
            return f"{device}: {os.strerror(number)}"


def no_line(device: str) -> bool:
    """Whether there is something else in the line's place, which we don't even open.

    Whoever closes a file of SQLite's takes the locks away that this process holds on it.
    """
    try:
        return not stat.S_ISCHR(Path(device).stat().st_mode)
    except (OSError, ValueError):
        return False  # opening it will tell


def opened(device: str, baud: int) -> serial.Serial:
    """Open a line for us alone. Raises SerialException, OSError or ValueError: `explained` says why."""
    if no_line(device):
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
    try:
        return serial.Serial(device, baud, timeout=0, write_timeout=0, exclusive=True)
    except termios.error as error:  # it was pulled out just now
        raise OSError(*error.args) from error


def try_open(device: str, baud: int) -> str | None:
    """Open and close a line, for `check`; return why it can't be, or None."""
    try:
        opened(device, baud).close()
    except (serial.SerialException, OSError, ValueError) as error:
        return explained(device, error)
    return None
