"""`[[board]]`: devices of the Field Link.

A board's label is made at its first run and kept, readable by its owner alone, in the folder of the run, beside its
flash; enrol it at the gateway from there.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from firmware_sim.air import DOWN, UP, altered
from firmware_sim.battery import FULL_MV, Battery
from firmware_sim.board import POWER_LOST, POWER_RESTORED, PRESSED, RELEASED, TAMPER_CLOSED, TAMPER_OPENED, TEST
from firmware_sim.device import Board, NotHeardError, NotKeptError
from firmware_sim.kinds.kind import Kind, Number, OnALine, Seconds, Site, Step, Strict
from firmware_sim.labels import kept_label
from gateway.fieldlink.message import Reading, Type

ANY: Final = "*"  # as a step's device: whoever's turn it is, by the seed

# What a finger, a screwdriver or the mains does to a board, and the kind of event that it says then.
HAPPENINGS: Final = {
    "press": PRESSED,
    "release": RELEASED,
    "hold": PRESSED,
    "open": TAMPER_OPENED,
    "close": TAMPER_CLOSED,
    "mains-lost": POWER_LOST,
    "mains-restored": POWER_RESTORED,
    "test": TEST,
}


class BatterySettings(Strict):
    """A cell, and how fast it discharges: mV an hour, mV for each frame, mV an hour for each output that is on."""

    millivolts: Number = FULL_MV
    idle: Seconds = 0
    frame: Seconds = 0
    load: Seconds = 0


class BoardSettings(OnALine):
    """A device and the line it is on; with `count`, so many of them with ids one after the other.

    A stranger is on the air and has no business at this gateway: it isn't to be enrolled.
    """

    device: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    model: Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,16}$")] = "PB-1"
    heartbeat_s: Annotated[float, Field(gt=0)] = 60
    awake_s: Annotated[float, Field(gt=0)] | None = None  # how long it hears after a frame of its own; absent: always
    battery: BatterySettings = BatterySettings()
    stranger: bool = False

    @property
    def names(self) -> list[str]:
        """The ids."""
        first = int(self.device, 16)
        return [f"{number:08x}" for number in range(first, first + self.count)]


class BoardStep(Step):
    """What is done to a board."""

    of: ClassVar = "device"
    device: str
    do: Literal[
        "press", "release", "hold", "open", "close", "mains-lost", "mains-restored", "test", "battery", "measure",
        "power-cut", "power-on", "replay", "forge",
    ]  # fmt: skip
    kind: Number | None = None
    millivolts: Number = FULL_MV
    reading: tuple[int, int, int] = (1, 215, -1)
    seconds: Seconds = 5  # how long it is held


class Boards(Kind):
    """Every board of a run. They are switched on when the playing begins, not before."""

    def __init__(self, tables: Sequence[BoardSettings], site: Site) -> None:
        self.named = {device: self._board(table, device, site) for table in tables for device in table.names}
        self.strangers = {device for table in tables if table.stranger for device in table.names}
        self._site = site
        self._stack = AsyncExitStack()

    def _board(self, table: BoardSettings, device: str, site: Site) -> Board:
        cell = table.battery
        return Board(
            site.lines[table.line],
            kept_label(site.folder / f"{device}.label", device, table.model),
            flash=site.folder / f"{device}.flash",
            seed=site.random.getrandbits(32),
            ledger=site.ledger,
            heartbeat=table.heartbeat_s,
            awake=table.awake_s,
            battery=Battery(cell.millivolts, cell.idle, cell.frame, cell.load),
        )

    async def switch_on(self) -> None:
        """Switch every board on."""
        for board in self.named.values():
            await self._stack.enter_async_context(board)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def do(self, step: BoardStep) -> None:
        """Press, open, measure, cut its power, or say again what was heard of it."""
        device = self._site.random.choice(sorted(self.named)) if step.device == ANY else step.device
        board = self.named[device]
        with suppress(NotKeptError):  # it is off or full: nothing was taken, nothing is promised
            match step.do:
                case "battery":
                    await board.battery(step.millivolts)
                case "measure":
                    await board.measure([Reading(*step.reading)])
                case "power-cut":
                    board.power_cut()
                case "power-on":
                    board.power_on()
                case "replay" | "forge":
                    self._attack(board, altering=step.do == "forge")
                case _:
                    await board.press(HAPPENINGS[step.do] if step.kind is None else step.kind)
                    if step.do == "hold":
                        await asyncio.sleep(step.seconds)
                        await board.press(HAPPENINGS["release"])

    def _attack(self, board: Board, *, altering: bool) -> None:
        """Send again what was heard of a board, its first event and the first answer to it; or both, altered."""
        air = next(air for name, air in self._site.air.items() if self._site.lines[name] is board.line)
        events = air.heard(UP, device=board.device, type=Type.EVENT)
        answers = air.heard(DOWN, device=board.device, type=Type.ACK)
        for caught in events[:1] + answers[:1]:
            air.replay(altered(caught) if altering else caught)

    async def told(self, within: float) -> bool:
        """Return whether each press, but those of strangers, was told a stage."""
        presses = [press for press in self._site.ledger.presses if press.device not in self.strangers]
        return all(await asyncio.gather(*(self._told(press.device, press.event, within) for press in presses)))

    async def _told(self, device: str, event: int, within: float) -> bool:
        if self._site.ledger.press(device, event).stage:
            return True  # perhaps before a power cut, of which the board itself knows nothing
        try:
            await self.named[device].stage(event, 1, within)
        except NotHeardError:
            return False
        return True
