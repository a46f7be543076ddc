"""A button, a light and a siren by wire, beside the devices: used whatever goes wrong, on a chip that comes and goes.

A wire has nobody who sends a press again. What is promised: a press during which the gateway listened and could store
reaches C5; no other press does; the same one twice only where the gateway ended meanwhile; the light never shows a
press that is neither durable nor at C5; the siren sounds for no longer than it may, whatever C5 has asked; and both are
off before a gateway that was killed is up again.
"""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from firmware_sim.gpio import Chips, HeldInput, HeldOutput
from gateway.event import Lane
from gateway.outbox.inspect import FILE
from gateway.signing.record import Record
from tests.simulation import supervised
from tests.simulation.check import Checker, records
from tests.simulation.loop import PROCESS, Process
from tests.simulation.trace import Trace
from tests.simulation.world import GatewayMachine, home

CHIP, BUTTON, LIGHT, SIREN = "/dev/gpiochip0", 3, 5, 6
MAX_ON: Final = 60
SETTLES: Final = 0.1  # seconds: bounce and debouncing
LISTENING: Final = 2.0  # seconds around a press in which the gateway must have been well for it to be owed
TABLES: Final[dict[str, Any]] = {
    "input": [
        {"name": "lobby-button", "chip": CHIP, "line": BUTTON, "on": "panic.pressed", "off": "panic.released",
         "indicator": "lobby-light"}
    ],
    "output": [
        {"name": "lobby-light", "chip": CHIP, "line": LIGHT, "kind": "led"},
        {"name": "lobby-siren", "chip": CHIP, "line": SIREN, "kind": "siren", "max_on_s": MAX_ON},
    ],
}  # fmt: skip


@dataclass
class Pressed:
    """One press of the button, by the true clock."""

    at: float
    until: float = float("inf")
    owed: bool = False
    shown: bool = False
    told: list[Record] = field(default_factory=list)


class Lobby:
    """`World.chip` of a gateway, and whoever stands at the button."""

    def __init__(self, machine: GatewayMachine, checker: Checker, trace: Trace, random: Random) -> None:
        self._machine = machine
        self._checker = checker
        self._trace = trace
        self._random = random
        self._time = checker.loop.time
        self._chips = Chips(machine.clock.monotonic)  # the kernel's time; a machine that was off begins anew
        self._chip = self._chips.add(CHIP, notices=random.random() < 0.5)
        self._presses: list[Pressed] = []
        self._began: dict[bytes, float] = {}  # each epoch, on the loop's clock
        self._listening_since = float("inf")
        self._bound: set[Process] = set()
        self._sounded_at = 0.0  # when the siren was last asked to

    # The gateway's side. What a line tells runs as the process that holds it.

    def input(
        self, path: str, line: int | str, *, edges: Callable[..., None], failed: Callable[..., None], **how: Any
    ) -> HeldInput:
        """Take a line as an input."""
        self._bind()
        context = copy_context()
        held = self._chips.input(
            path, line, **how,
            edges=lambda new: context.copy().run(edges, new), failed=lambda error: context.copy().run(failed, error),
        )  # fmt: skip
        self._listening_since = self._time()
        app = self._machine.app
        assert app is not None
        began: float = app.recorder._occurred.__self__._began  # type: ignore[attr-defined]  # an EpochClock's
        self._began.setdefault(app.outbox.start.epoch, self._time() - self._machine.clock.monotonic() + began)
        return held

    def output(self, path: str, line: int | str, *, active_low: bool) -> HeldOutput:
        """Take a line as an output."""
        self._bind()
        return self._chips.output(path, line, active_low=active_low)

    def _bind(self) -> None:
        process = PROCESS.get()
        if process is not None and process not in self._bound:
            self._bound = {process}
            process.at_death.append(self._died)

    def _died(self) -> None:
        self._chips.killed()
        self._listening_since = float("inf")

    def up(self) -> None:
        """The gateway is up: what one that was killed has left on is off."""
        if self._chip.present and self._chip.lines[LIGHT].driven:
            self._checker.fail("the light is on, and nobody has pressed since the gateway's start")
        if self._chip.present and self._chip.lines[SIREN].driven:
            self._checker.fail("the siren is on, and nobody has asked for it since the gateway's start")

    # The field's.

    async def live(self) -> None:
        """Press, hold and let go, for ever."""
        while True:
            await asyncio.sleep(self._random.expovariate(1 / 40))
            press = Pressed(self._time())
            self._presses.append(press)
            self._trace("the lobby's button is pressed")
            well_before = self._well(press.at - LISTENING)
            if self._random.random() < 0.3:
                self._sound()
            await self._move(self._chip.close, self._random.randint(0, 5))
            await asyncio.sleep(self._random.choice((0.2, 0.5, 2.0, 8.0, 30.0)))
            press.until = self._time()
            await self._move(self._chip.open, self._random.randint(0, 5))
            await asyncio.sleep(LISTENING)
            disk = self._machine.disk
            stores = disk.fault is None and disk.stalled_until < press.until
            press.owed = well_before and stores and self._well(press.at - LISTENING)

    def _sound(self) -> None:
        """Have the siren sound for as long as it may, as C5 does with `output.set`; or again."""
        app, process = self._machine.app, self._machine.process
        if app is not None and process is not None and process.alive:
            self._trace("the siren shall sound")
            self._sounded_at = self._time()
            process._context.copy().run(app.contacts.outputs.set, "lobby-siren", on=True, seconds=None)

    async def _move(self, there: Callable[[int], None], bounces: int) -> None:
        back = self._chip.open if there == self._chip.close else self._chip.close
        there(BUTTON)
        for _ in range(bounces):
            await asyncio.sleep(self._random.uniform(0.0005, 0.004))
            back(BUTTON)
            await asyncio.sleep(self._random.uniform(0.0005, 0.004))
            there(BUTTON)

    def _well(self, since: float) -> bool:
        return self._listening_since <= since and self._checker.health.well(since, "gateway")

    async def unplugging(self) -> None:
        """Pull the chip out, and put it back."""
        while True:
            await asyncio.sleep(self._random.expovariate(1 / 400))
            self._trace("the GPIO chip is pulled out")
            self._listening_since = float("inf")
            self._chip.remove()
            try:
                await asyncio.sleep(self._random.uniform(1, 60))
            finally:
                self._trace("the GPIO chip is back")
                self._chip.insert()

    async def watching(self) -> None:
        """Look at the light and hear the siren."""
        light, siren = self._chip.lines[LIGHT], self._chip.lines[SIREN]
        while True:
            await asyncio.sleep(0.25)
            if not self._chip.present or not self._checker.ready:
                continue
            if siren.driven and self._time() > self._sounded_at + MAX_ON + 1:
                self._checker.fail(f"the siren has sounded for more than {MAX_ON} s")
            if not light.driven:
                continue
            press = self._presses[-1]
            if not press.shown and self._time() > press.at + 0.5 and self._well(press.at - LISTENING):
                press.shown = True
                if not self._known(press):
                    self._checker.fail(f"the light shows the press of {press.at:.3f}, neither durable nor at C5")

    def _known(self, press: Pressed) -> bool:
        """Whether a press is anywhere but in the gateway's memory."""
        wires = self._checker.ledger("SELECT wire FROM records WHERE source = 'lobby-button'")
        find = "SELECT cose FROM record WHERE lane = ?"
        wires += self._machine.disk.look(home().folder / "gateway" / FILE, find, (int(Lane.ALARM),))
        return any(
            record.source == "lobby-button" and self._happened(record) >= press.at
            for (wire,) in wires for record in records(wire)
        )  # fmt: skip

    def _happened(self, record: Record) -> float:
        return self._began[record.epoch] + record.clock.monotonic_ms / 1000

    # Judged.

    def judge(self) -> None:
        """Everything is settled: compare what C5 has with what was pressed."""
        found = self._checker.ledger(
            "SELECT wire FROM records JOIN chains ON chains.id = chain WHERE type = 'panic.pressed'"
            " AND source = 'lobby-button' AND repeat_of IS NULL"
        )
        for record in sorted((one for (wire,) in found for one in records(wire)), key=self._happened):
            at = self._happened(record)
            press = self._pressed_at(at)
            if press is None:
                self._checker.fail(f"C5 has {record.identity} of the button at {at:.3f}, when nobody pressed")
            elif any(before.epoch == record.epoch or self._noted(before) for before in press.told):
                self._checker.fail(f"C5 has the press of {press.at:.3f} twice: {record.identity}")
            else:
                press.told.append(record)
        for press in self._presses:
            if press.owed and not press.told:
                self._checker.fail(f"the button was pressed at {press.at:.3f}, and C5 doesn't have it")

    def _noted(self, record: Record) -> bool:
        """Whether the gateway knew, at its next start, that it had told this."""
        durable = record.sequence <= self._checker.durable_to(record.epoch, Lane.ALARM)
        return durable and not supervised.unstored(self._checker)

    def _pressed_at(self, at: float) -> Pressed | None:
        """Return the press that a record of this time tells of; a chip that is back is looked at a little later."""
        fits = (press for press in self._presses if press.at - SETTLES <= at <= press.until + SETTLES)
        return next(fits, None)
