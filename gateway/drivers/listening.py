"""Hearing what talks on a port by itself, at one rate after the other. Not a byte is written.

A GNSS receiver says something each second: each rate has two. A button that is pressed speaks for a moment, again
after 0.25, 0.5, 1, 2, 4 and 8 seconds, and then every 15: after one round of all rates the first one has the rest, and
every press since the beginning is heard there.

Opening a port raises its DTR and RTS lines, as any program's opening does. RTS, which makes some RS-485 adapters
transmit, is lowered at once; DTR stays as it is when the service has the port.
"""

import asyncio
import errno
import os
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Final

import serial

from gateway.drivers.serial_port import explained, opened
from gateway.sensing.recognise import BYTES_MAX, Heard, Noise, Silence, recognised
from gateway.text import _

RATES: Final = (115_200, 9600, 4800, 38_400, 19_200, 57_600)  # of Field Link and of GNSS receivers, usual ones first
SLOT: Final = 2.0  # seconds at one rate
READ: Final = 4096  # bytes

Told = Callable[[str], None]  # takes what is being done


@dataclass(frozen=True, slots=True)
class Listened:
    """What was heard, and at which rate; at the one with most noise, if it was noise. `at`: seconds at each rate."""

    heard: Heard
    baud: int
    at: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing could be heard, or no more; why, in words."""

    reason: str


class Ear:
    """An open port that is listened to. Raises SerialException, OSError or ValueError where it can't be opened."""

    def __init__(self, device: str, baud: int) -> None:
        self._port = opened(device, baud)
        with suppress(OSError):  # a pseudo-terminal has none
            self._port.rts = False

    def tune(self, baud: int) -> None:
        """Change the rate; what came at the one before is forgotten. Raises OSError when the port is gone."""
        try:
            self._port.baudrate = baud
            self._port.reset_input_buffer()
        except termios.error as error:
            raise OSError(*error.args) from error

    def say(self, data: bytes) -> None:
        """Write, after what is waiting unread is forgotten. Raises OSError when the port is gone or takes nothing."""
        try:
            self._port.reset_input_buffer()
        except termios.error as error:
            raise OSError(*error.args) from error
        try:
            written = os.write(self._port.fileno(), data)  # pyserial's own tries for ever
        except BlockingIOError:
            written = 0
        if written < len(data):
            raise serial.SerialException(_("it takes no bytes: its adapter hangs; unplug it and plug it in again"))

    async def hear(self, seconds: float, *, enough: Callable[[bytes], bool] = lambda _data: False) -> bytes:
        """Return what comes within so many seconds, or until it is enough. Raises OSError when the port is gone."""
        loop = asyncio.get_running_loop()
        heard = bytearray()
        ended: asyncio.Future[None] = loop.create_future()

        def readable() -> None:
            try:
                data = os.read(self._port.fileno(), READ)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(ended, error)
                return
            heard.extend(data[: BYTES_MAX - len(heard)])
            if not data:
                self._end(ended, serial.SerialException(_("it was unplugged")))
            elif enough(bytes(heard)):
                self._end(ended, None)

        loop.add_reader(self._port.fileno(), readable)
        try:
            await asyncio.wait({ended}, timeout=seconds)
        finally:
            loop.remove_reader(self._port.fileno())
        if ended.done():
            ended.result()
        return bytes(heard)

    @staticmethod
    def _end(ended: "asyncio.Future[None]", error: Exception | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def close(self) -> None:
        """Let go of the port, and of what it has not sent yet: closing would wait for that."""
        with suppress(termios.error):
            self._port.reset_output_buffer()
        self._port.close()


async def listen(device: str, at: Sequence[int], seconds: float, told: Told = lambda _text: None) -> Listened | Closed:
    """Listen for so long, at each rate in turn and then at the first, until something is recognised.

    What `told` raises ends it: it is called before each of at most two seconds.
    """
    try:
        ear = Ear(device, at[0])
    except (serial.SerialException, OSError, ValueError) as error:
        return Closed(_why(device, error))
    loop = asyncio.get_running_loop()
    end, slot = loop.time() + seconds, min(SLOT, seconds / len(at))
    best, tuned = Listened(Silence(), at[0]), at[0]
    spent = dict.fromkeys(at, 0.0)
    try:
        for baud in chain(at, repeat(at[0])):
            if (left := min(slot, end - loop.time())) <= 0:
                break
            told(_("listening at {baud}").format(baud=baud))
            if baud != tuned:
                ear.tune(baud)
                tuned = baud
            heard = recognised(await ear.hear(left))
            spent[baud] += left
            if not isinstance(heard, Noise | Silence):
                return Listened(heard, baud)
            best = _louder(best, Listened(heard, baud))
    except OSError as error:  # a SerialException is one
        return Closed(explained(device, error))
    finally:
        ear.close()
    return replace(best, at=tuple((baud, round(each, 1)) for baud, each in spent.items() if each))


def _why(device: str, error: Exception) -> str:
    if getattr(error, "errno", None) == errno.EACCES:
        text = _('you may not open {device}: sudo; for good: sudo usermod -aG dialout "$USER", then log in again')
        return text.format(device=device)
    return explained(device, error)


def _louder(before: Listened, now: Listened) -> Listened:
    counts = [each.heard.count if isinstance(each.heard, Noise) else 0 for each in (before, now)]
    return now if counts[1] > counts[0] else before


def rates(own: int | None) -> tuple[int, ...]:
    """Return the rates to listen at: the one that the settings give the port, then the usual ones."""
    return RATES if own is None else (own, *(rate for rate in RATES if rate != own))
