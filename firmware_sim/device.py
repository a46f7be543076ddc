"""A simulated device on a line: `async with Board(line, label) as board: number = await board.press()`.

The behaviour is `board.Machine`; this gives it a clock, a line and a ledger.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from firmware_sim.board import BROWN_OUT, PRESSED, Action, Happened, Machine, Send, Told
from firmware_sim.flash import FileFlash, Flash, MemoryFlash
from firmware_sim.ledger import Ledger, Press
from firmware_sim.line import Line
from firmware_sim.orders import Shown
from gateway.fieldlink.label import Label
from gateway.fieldlink.message import Command, Reading

HEARD_WITHIN: Final = 10.0  # seconds; what `stage` waits by default


class NotHeardError(Exception):
    """The board was not told in time."""


class NotKeptError(Exception):
    """The board took no event: it is off, has a fault, or its memory is full of alarms."""


class Board:
    """A device that lives from entering to leaving; `flash` outlives it.

    `flash` is a file's path, a `Flash`, or None for one in memory. `seed` spreads the resends. Further keywords are
    those of `Machine`.
    """

    def __init__(
        self,
        line: Line,
        label: Label,
        *,
        flash: Flash | Path | None = None,
        seed: int = 0,
        ledger: Ledger | None = None,
        **behaviour: Any,
    ) -> None:
        self.line = line
        self.ledger = Ledger() if ledger is None else ledger
        kept = FileFlash(flash) if isinstance(flash, Path) else flash or MemoryFlash()
        self.machine = Machine(label, kept, Random(seed), **behaviour)
        self.when_told: Callable[[int, int], None] = lambda _event, _stage: None
        self.when_obeyed: Callable[[Command], None] = lambda _command: None
        self._timer: asyncio.TimerHandle | None = None
        self._on = False
        self._told = asyncio.Event()  # set, and replaced, whenever the board hears a stage

    @property
    def device(self) -> str:
        """The device id."""
        return self.machine.label.device

    @property
    def indicator(self) -> int:
        """What the person who pressed sees: the highest stage heard, 0 for none."""
        return self.machine.indicator

    @property
    def shown(self) -> Shown:
        """What is to be seen of what it was commanded: pattern, outputs, identifying."""
        return self.machine.orders.shown(time.monotonic())

    @property
    def refused(self) -> dict[str, int]:
        """What came in and moved nothing, counted (`board.REFUSALS`)."""
        return dict(self.machine.refused)

    async def __aenter__(self) -> Self:
        self._plug_in()
        self._perform(self.machine.start(time.monotonic()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pull()

    async def press(self, kind: int = PRESSED, extra: Mapping[int, Any] | None = None) -> int:
        """Press (or let happen) and return the event number; raises NotKeptError.

        `extra` are further payload keys of the EVENT.
        """
        return self.press_now(kind, extra)

    def press_now(self, kind: int = PRESSED, extra: Mapping[int, Any] | None = None) -> int:
        """Press from a callback."""
        self._must_be_on()
        number, actions = self.machine.press(kind, time.monotonic(), extra)
        if number is None:
            raise NotKeptError("the board has a fault, or its memory is full of alarms")
        self._perform(actions)
        return number

    async def battery(self, millivolts: int) -> int | None:
        """Set the battery's voltage; return the number of the event that this makes, if it makes one."""
        self._must_be_on()
        number, actions = self.machine.battery(millivolts, time.monotonic())
        self._perform(actions)
        return number

    async def measure(self, readings: Sequence[Reading]) -> None:
        """Send a MEASUREMENT."""
        self._must_be_on()
        self._perform(self.machine.measure(readings, time.monotonic()))

    async def stage(self, number: int, stage: int, timeout: float = HEARD_WITHIN) -> None:  # noqa: ASYNC109  # a caller's whole wait
        """Wait until the board has heard at least this stage of an event; raises NotHeardError after `timeout`."""
        try:
            async with asyncio.timeout(timeout):
                while self.machine.stages.get(number, 0) < stage:
                    await self._told.wait()
        except TimeoutError as error:
            heard = self.machine.stages.get(number, 0)
            raise NotHeardError(f"event {number} is at stage {heard}, not {stage}") from error

    def power_cut(self) -> None:
        """Stop at once; only flash remains."""
        self._pull()

    def power_on(self) -> None:
        """Start again after a power cut."""
        self._plug_in()
        self._perform(self.machine.start(time.monotonic(), BROWN_OUT))

    def _plug_in(self) -> None:
        if not self._on:
            self.line.attach(self._hear)
            self._on = True

    def _pull(self) -> None:
        if self._on:
            self.line.detach(self._hear)
            self._on = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _must_be_on(self) -> None:
        if not self._on:
            raise NotKeptError("the board is off")

    def _hear(self, chunk: bytes) -> None:
        before = len(self.machine.orders.carried_out)
        self._perform(self.machine.receive(chunk, time.monotonic()))
        for command in self.machine.orders.carried_out[before:]:
            self.when_obeyed(command)

    def _tick(self) -> None:
        self._perform(self.machine.tick(time.monotonic()))

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Send(wire, None):
                    self.line.write(wire)
                case Send(wire, int(event)):
                    self.line.write(wire, lambda event=event: self._left(event))  # type: ignore[misc]  # binds now
                case Happened(event, kind):
                    self.ledger.pressed(Press(self.device, event, kind, time.monotonic()))
                case Told(event, stage):
                    self.ledger.told(self.device, event, stage, time.monotonic())
                    self.when_told(event, stage)
                    self._told.set()
                    self._told = asyncio.Event()
        self._plan()

    def _left(self, event: int) -> None:
        self.ledger.left(self.device, event, time.monotonic(), time.time_ns())

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.machine.deadline
        loop = asyncio.get_running_loop()
        after = None if deadline is None else max(0.0, deadline - time.monotonic())
        self._timer = None if after is None else loop.call_later(after, self._tick)
