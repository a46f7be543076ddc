"""OSDP on a serial line: one question at a time, and its answer or what became of it.

libosdp speaks the protocol: sequence numbers, the secure channel, what to ask next. Each peripheral has a control panel
of libosdp's own (`Panel`), because only a new one can be given another key; whose turn the line is we decide
(`sensing.turns`), for libosdp lets a peripheral that it has given up rest for five minutes. It has no thread: it is
called when an answer has come or has not, and never waits (a question and its answer take it 8 µs).

What its binding to Python 3.2.9 needs of us: nothing may raise in a callback; each event it hands over is never freed,
so it is emptied; the channel and the settings of a panel aren't freed either, so one panel is begun anew as long as it
speaks (`restart`); its log can't be had, so it is told to be quiet. Its random numbers are C's rand(), never seeded:
the challenges of a secure channel would be the same after each start, and a recording of one could be played again.
They are seeded here.

libosdp is imported when the first line is opened: a gateway without OSDP never loads it.
"""

import asyncio
import contextlib
import ctypes
import os
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

import serial

from gateway.drivers.serial_port import explained, opened
from gateway.sensing.osdp import (
    ON_S,
    SECURED,
    AskInputs,
    AskLocal,
    Broken,
    Frame,
    Frames,
    Heard,
    Idle,
    InputsReport,
    Lamp,
    LocalReport,
    Order,
    Report,
    SetOutput,
    Show,
    Sound,
    allowed,
)
from gateway.sensing.reply import Garbled, Gone, Silent
from gateway.sensing.turns import ANSWER
from gateway.text import _

READ_MAX: Final = 4096
STEPS: Final = 4  # calls within which libosdp sends, if it has something to send: it takes one for each of its states
REPORTS_MAX: Final = 64
INPUT, OUTPUT, LED, BUZZER = 1, 2, 4, 5  # capabilities, IEC 60839-11-5 annex B
TIMED: Final = 3  # the level of an output from which it can be on for a time
OFF, ON, ON_FOR = 1, 2, 5  # what an output is told
NONE, GREEN, AMBER = 0, 2, 3  # colours
# on, on for, off for (tenths of a second)
LIGHTS: Final = {
    Lamp.OFF: (NONE, 1, 0),
    Lamp.STEADY: (GREEN, 1, 0),
    Lamp.SLOW: (AMBER, 5, 5),
    Lamp.FAST: (AMBER, 1, 1),
}
TONE: Final = (1, 1, 7)  # on for, off for, how often

Told = Heard | Idle | Broken | Silent | Garbled | Gone


class _Channel:
    """What libosdp takes for a line; it holds no more than one frame each way."""

    def __init__(self) -> None:
        self.id = 0
        self.sent = b""
        self.heard = b""

    def read(self, most: int) -> bytes:
        taken, self.heard = self.heard[:most], self.heard[most:]
        return taken

    def write(self, frame: bytes) -> int:
        self.sent += frame
        return len(frame)

    def flush(self) -> None:
        self.heard = b""


class Panel:
    """Our end of the connection with one peripheral.

    With `install` the default key is accepted to set `key`, and so is a connection without any: until `live` says so
    nothing of it is to be believed.
    """

    def __init__(self, address: int, key: bytes, *, install: bool = False, random: Callable[[int], bytes]) -> None:
        import osdp_sys  # noqa: PLC0415  # a gateway without OSDP starts without it

        self.address = address
        self.reports: deque[Report] = deque(maxlen=REPORTS_MAX)
        self._channel = _Channel()
        self._random = random
        osdp_sys.set_loglevel(osdp_sys.LOG_EMERG)
        settings = {
            "name": f"{address}",
            "address": address,
            "flags": 0 if install else osdp_sys.FLAG_ENFORCE_SECURE,
            "scbk": key,
            "channel": self._channel,
        }
        self._panel = osdp_sys.ControlPanel([settings])
        self._panel.set_event_callback(hearer(self.reports))

    @property
    def live(self) -> bool:
        """Whether it is connected by its own key."""
        return bool(self._panel.status() and self._panel.sc_status())

    def restart(self) -> None:
        """Set the connection up anew, unless it is live."""
        if not self.live:
            self._panel.disable_pd(0)
            self._panel.refresh()
            self._panel.enable_pd(0)
            self._panel.refresh()

    def count(self, order: Order) -> int:
        """Return how many of what an order is about the peripheral says that it has."""
        kinds = {AskInputs: INPUT, SetOutput: OUTPUT, Show: LED, Sound: BUZZER}
        kind = kinds.get(type(order))
        return 1 if kind is None else int(self._panel.check_capability(0, kind)[1])

    def submit(self, order: Order) -> bool:
        """Have it told at the next question; False: it can't be now."""
        timed = self._panel.check_capability(0, OUTPUT)[0] >= TIMED
        return bool(self._panel.submit_command(0, _command(order, timed=timed)))

    def ask(self) -> bytes:
        """Return what is to be sent, if anything is."""
        if not self.live:  # a challenge may be made
            _seed(self._random(4))
        self._channel.sent = b""
        for _step in range(STEPS):
            self._panel.refresh()
            if self._channel.sent:
                break
        return self._channel.sent

    def answer(self, raw: bytes) -> None:
        """Hand an answer in; empty: none has come, in all the time that it had."""
        self._channel.heard = raw
        self._panel.refresh()


def hearer(reports: deque[Report]) -> Callable[[int, dict[str, Any]], int]:
    """Return what libosdp calls. It holds nothing but the queue: in a circle with its panel it would never be freed."""
    import osdp_sys  # noqa: PLC0415  # loaded by `Panel`

    def happened(_index: int, event: dict[str, Any]) -> int:
        if event.get("event") == osdp_sys.EVENT_STATUS:
            bits = tuple(bool(byte) for byte in event.get("report", b""))
            if event.get("type") == osdp_sys.STATUS_REPORT_INPUT:
                reports.append(InputsReport(bits))
            elif event.get("type") == osdp_sys.STATUS_REPORT_LOCAL and len(bits) == 2:  # cover and supply
                reports.append(LocalReport(*bits))
        event.clear()
        return 0

    return happened


def _command(order: Order, *, timed: bool) -> dict[str, Any]:
    import osdp_sys  # noqa: PLC0415  # loaded by `Panel`

    match order:
        case AskInputs():
            return {"command": osdp_sys.CMD_STATUS, "type": osdp_sys.STATUS_REPORT_INPUT}
        case AskLocal():
            return {"command": osdp_sys.CMD_STATUS, "type": osdp_sys.STATUS_REPORT_LOCAL}
        case SetOutput(number, on):
            code = OFF if not on else ON_FOR if timed else ON
            state = {"output_no": number, "control_code": code, "timer_count": 10 * ON_S if code == ON_FOR else 0}
            return {"command": osdp_sys.CMD_OUTPUT, **state}
        case Show(lamp):
            colour, on_for, off_for = LIGHTS[lamp]
            led = {"reader": 0, "led_number": 0, "control_code": 1, "on_color": colour, "off_color": NONE}
            return {"command": osdp_sys.CMD_LED, **led, "on_count": on_for, "off_count": off_for}
        case Sound(on):
            on_for, off_for, times = TONE if on else (0, 0, 0)
            tone = {"reader": 0, "control_code": 2 if on else 1, "on_count": on_for, "off_count": off_for}
            return {"command": osdp_sys.CMD_BUZZER, **tone, "rep_count": times}


def _seed(random: bytes) -> None:
    ctypes.CDLL(None).srand(ctypes.c_uint(int.from_bytes(random, "little")))


class OsdpLine:
    """The line, as the one that asks on it has it."""

    def __init__(self, device: str, baud: int) -> None:
        self.device = device
        self._baud = baud
        self._port: serial.Serial | None = None
        self._gone: str | None = None
        self._frames = Frames()
        # address, question, secure; None: the line is gone
        self._awaited: tuple[int, int, bool, asyncio.Future[Frame | None]] | None = None
        self._answered: int | None = None  # who answered the last question
        self.doubled: Counter[int] = Counter()  # second answers to one question, by address
        self.forged: Counter[int] = Counter()  # frames that may not be an answer to what was asked, by address

    def open(self) -> str | None:
        """Open the line; return why it can't be, in words, or None."""
        self.close()
        try:
            self._port = opened(self.device, self._baud)
        except (serial.SerialException, OSError, ValueError) as error:
            return explained(self.device, error)
        self._gone = None
        asyncio.get_running_loop().add_reader(self._port.fileno(), self._readable, self._port.fileno())
        return None

    def close(self) -> None:
        """Let go of the line."""
        port, self._port = self._port, None
        if port is not None:
            asyncio.get_running_loop().remove_reader(port.fileno())
            port.close()

    async def exchange(self, panel: Panel) -> Told:
        """Send what a panel has to say, and wait for the answer."""
        if self._port is None or self._gone is not None:
            return Gone(self._gone or _("{device} was unplugged").format(device=self.device))
        sent = panel.ask()
        if not sent:
            return Idle()
        questions = Frames().feed(sent)
        if not questions or questions[0].address != panel.address:
            return Broken()
        asked = questions[0].code
        self._frames.clear()
        self._answered = None
        waiting: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()
        self._awaited = (panel.address, asked, panel.live, waiting)
        try:
            with contextlib.suppress(BlockingIOError):  # a line that takes nothing: no answer will come
                os.write(self._port.fileno(), sent)
            async with asyncio.timeout(ANSWER):
                frame = await waiting
        except TimeoutError:
            panel.answer(b"")
            return Garbled() if self._frames.damaged else Silent()
        except OSError as error:
            self._lose(explained(self.device, error))
        else:
            if frame is not None:
                panel.answer(frame.raw)
                self._answered = panel.address
                return Heard(asked, frame.code, frame.block in SECURED)
        finally:
            self._awaited = None
        return Gone(self._gone or "")

    def _readable(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_MAX)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(explained(self.device, error))
            return
        if not data:
            self._lose(_("{device} was unplugged").format(device=self.device))
        for frame in self._frames.feed(data):
            self._heard(frame)

    def _heard(self, frame: Frame) -> None:
        if not frame.reply:  # our own, from an adapter that echoes
            return
        if self._awaited is None:
            if frame.address == self._answered:
                self.doubled[frame.address] += 1
            return
        address, asked, secure, waiting = self._awaited
        if frame.address != address:
            return
        if waiting.done():
            self.doubled[address] += 1
            return
        if not allowed(frame, asked, secure=secure):
            self.forged[address] += 1
            return
        waiting.set_result(frame)

    def _lose(self, reason: str) -> None:
        self._gone = reason
        if self._port is not None:
            asyncio.get_running_loop().remove_reader(self._port.fileno())
        if self._awaited is not None and not self._awaited[3].done():
            self._awaited[3].set_result(None)
