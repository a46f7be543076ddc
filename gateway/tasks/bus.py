"""A Modbus line: its units are asked in turn, for ever; what C5 has ordered goes between two questions.

What was heard is handed on (`Hearer`), what the line itself suffers is told as `lost` and `restored`, once each. A run
that hung and was abandoned may still get an answer: it reaches nobody.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gateway.delivery.backoff import Backoff
from gateway.sensing.polling import Polling
from gateway.sensing.profile import Output
from gateway.sensing.registers import Read, decode
from gateway.sensing.reply import ABSENT, BUSY, Answer, Exceptional, Garbled, Gone, Reply, Silent
from gateway.tasks.drivers import Beat

if TYPE_CHECKING:
    from gateway.drivers.modbus import Master

log = logging.getLogger(__name__)

RETRY_MIN: Final = 0.1  # seconds between tries to open the line
RETRY_MAX: Final = 5.0
AROUND: Final = 3.0  # seconds between two signs that the loop comes round, where little is to be asked
ORDERS_MAX: Final = 16  # writes that wait for the line

Done = Callable[[Reply], None]


@dataclass(frozen=True, slots=True)
class Station:
    """A unit on the line: its address and what is read of it."""

    address: int
    reads: tuple[Read, ...]


class Hearer(Protocol):
    """Who hears what units say. `now` is the event loop's time."""

    def answered(self, unit: str, read: Read, values: Mapping[str, float | bool | None], now: float) -> None:
        """A read was answered."""

    def refused(self, unit: str, read: Read, fault: Exceptional, now: float) -> None:
        """A read was answered with an exception."""

    def failed(self, unit: str, fault: Exceptional | Silent | Garbled, now: float, *, lost: bool) -> None:
        """A unit didn't answer; `lost`: not for the first time."""


class Bus:
    """One line and its units."""

    def __init__(
        self,
        name: str,
        make: "Callable[[], Master]",
        stations: Mapping[str, Station],
        timeout: float,
        *,
        hearer: Hearer,
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self.name = name
        self._make = make
        self._stations = stations
        self._timeout = timeout
        self._hearer = hearer
        self._lost = lost
        self._restored = restored
        self._backoff = Backoff(RETRY_MIN, RETRY_MAX, random)
        self._master: Master | None = None
        self._orders: deque[tuple[str, Output, bool, Done]] = deque()
        self._wake = asyncio.Event()
        self._open = False
        self.trouble: str | None = None
        self.polling: Polling | None = None  # since the line was last opened

    async def run(self, beat: Beat = lambda: None) -> None:
        """Keep the line open and ask; ends only when cancelled. `beat` is called each time that this comes round."""
        self._master = master = self._make()
        try:
            while self._master is master:
                beat()
                reason = await master.open()
                if self._master is not master:
                    return
                if reason is None:
                    self._back()
                    reason = await self._serve(master, beat)
                    if reason is None:
                        return
                self._fail(reason)
                await asyncio.sleep(self._backoff.next())
        finally:
            master.close()
            if self._master is master:
                self._shut()

    def close(self) -> None:
        """Let go of the line, whatever the run that has it does."""
        master, self._master = self._master, None
        if master is not None:
            master.close()
        self._shut()

    def write(self, unit: str, output: Output, done: Done, *, on: bool) -> bool:
        """Have an output switched when the line is free; False: the line is lost, or too much waits for it."""
        if not self._open or len(self._orders) >= ORDERS_MAX:
            return False
        self._orders.append((unit, output, on, done))
        self._wake.set()
        return True

    async def _serve(self, master: "Master", beat: Beat) -> str | None:
        """Ask until the line is gone: return why; None: another run has the line."""
        loop = asyncio.get_running_loop()
        stations = self._stations
        self.polling = polling = Polling({n: one.reads for n, one in stations.items()}, self._timeout, loop.time())
        task = asyncio.current_task()
        while True:
            beat()
            if task is not None and task.cancelling():  # the library may have swallowed it beside an answer
                raise asyncio.CancelledError
            if self._orders:
                unit, output, on, done = self._orders.popleft()
                value = output.on if on else output.off
                try:
                    reply = await master.write(stations[unit].address, output.function, output.register, value)
                except BaseException:  # whoever asked waits for a reply
                    done(Gone("the line hung"))
                    raise
                done(reply)
            elif (due := polling.next(loop.time())) is None:
                await self._wait(polling.deadline - loop.time())
                continue
            else:
                unit, index, read = due
                reply = await master.read(stations[unit].address, read.function, read.register, read.count)
                if self._master is master:
                    self._heard(polling, unit, index, reply)
            if self._master is not master:
                return None
            if isinstance(reply, Gone):
                return reply.reason

    async def _wait(self, seconds: float) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(AROUND, max(0.0, seconds))):
                await self._wake.wait()

    def _heard(self, polling: Polling, unit: str, index: int, reply: Reply) -> None:
        now = asyncio.get_running_loop().time()
        read = self._stations[unit].reads[index]
        match reply:
            case Answer(values):
                polling.answered(unit, index, now)
                self._hearer.answered(unit, read, decode(read, values), now)
            case Exceptional(code) if code not in ABSENT:
                polling.answered(unit, index, now, refused=code not in BUSY)
                self._hearer.refused(unit, read, reply, now)
            case Exceptional() | Silent() | Garbled():
                polling.failed(unit, now)
                self._hearer.failed(unit, reply, now, lost=polling.lost(unit))
            case Gone():
                pass  # of a unit that says nothing

    def _back(self) -> None:
        self._open = True
        self._backoff.reset()
        if self.trouble is not None:
            self.trouble = None
            log.info("the bus %s is back", self.name)
            self._restored()

    def _fail(self, reason: str) -> None:
        self._shut()
        if self.trouble is None:
            log.warning("the bus %s is lost, no unit on it is heard: %s", self.name, reason)
            self._lost(reason)
        self.trouble = reason

    def _shut(self) -> None:
        self._open = False
        orders, self._orders = self._orders, deque()
        for _unit, _output, _on, done in orders:
            done(Gone(self.trouble or "the line is lost"))
