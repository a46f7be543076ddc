"""Plays a scenario: `async with Run(scenario, folder) as run: told = await run.play()`.

A board's label is made at its first run and kept, readable by its owner alone, in the folder of the run, beside its
flash; enrol it at the gateway from there. What happens to the gateway itself (its power goes) is done by whoever hands
in a `Power`; without one it is told to `say`, for a person with a hand on the plug.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Final, Protocol, Self

from firmware_sim import modbus
from firmware_sim.air import DOWN, UP, Air, altered
from firmware_sim.battery import Battery
from firmware_sim.contact import Contact
from firmware_sim.device import Board, NotHeardError, NotKeptError
from firmware_sim.faults import Faults, Likelihoods
from firmware_sim.gpiochip import GpioChip
from firmware_sim.jammer import jammed
from firmware_sim.labels import kept_label
from firmware_sim.ledger import Ledger
from firmware_sim.pty import PseudoTerminal
from firmware_sim.scenario import (
    ANY,
    HAPPENINGS,
    OF_THE_GATEWAY,
    BoardSettings,
    LineSettings,
    Scenario,
    Step,
    UnitSettings,
)
from gateway.fieldlink.message import Reading, Type

_ON_THE_AIR: Final = frozenset({"replay", "forge", "withhold", "repeat"})
_TABLES: Final = {
    "coils": modbus.COILS,
    "discrete": modbus.DISCRETE,
    "holding": modbus.HOLDING,
    "input": modbus.INPUT,
}


class Power(Protocol):
    """The gateway's plug."""

    def kill(self) -> None:
        """Pull it."""

    async def start(self) -> None:
        """Put it in."""


class Run:
    """A scenario with its lines and boards, in a folder. `speed` is how much faster its steps follow each other."""

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        *,
        gateway: Power | None = None,
        speed: float = 1.0,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.scenario = scenario
        self.ledger = Ledger()
        self._folder = folder
        self._gateway = gateway
        self._speed = speed
        self._say = say
        self._random = Random(scenario.seed)
        self.lines = {line.name: self._line(line) for line in scenario.line}
        attacked = any(step.do in _ON_THE_AIR for step in scenario.step)
        self.air = {name: Air(line) for name, line in self.lines.items()} if attacked else {}
        self.boards = {device: self._board(board, device) for board in scenario.board for device in board.devices}
        self.strangers = {device for board in scenario.board if board.stranger for device in board.devices}
        self.chips = {name: self._chip(name) for name in {contact.chip for contact in scenario.contact}}
        self.contacts = {
            contact.name: Contact(self.chips[contact.chip], contact.line, contact.closes_to)
            for contact in scenario.contact
        }
        self.units = {unit.name: self._unit(unit) for unit in scenario.unit}
        for name, line in self.lines.items():
            if on_it := [self.units[unit.name] for unit in scenario.unit if unit.line == name]:
                modbus.Units(line, on_it, baud=line.baud)
        self._stack = AsyncExitStack()
        self._steps: list[asyncio.Task[None]] = []

    def _line(self, line: LineSettings) -> PseudoTerminal:
        return PseudoTerminal(
            self._folder / line.name,
            up=Faults(Likelihoods(**line.up.model_dump()), self._random.getrandbits(32)),
            down=Faults(Likelihoods(**line.down.model_dump()), self._random.getrandbits(32)),
            baud=line.baud,
        )

    def _board(self, board: BoardSettings, device: str) -> Board:
        cell = board.battery
        return Board(
            self.lines[board.line],
            kept_label(self._folder / f"{device}.label", device, board.model),
            flash=self._folder / f"{device}.flash",
            seed=self._random.getrandbits(32),
            ledger=self.ledger,
            heartbeat=board.heartbeat_s,
            awake=board.awake_s,
            battery=Battery(cell.millivolts, cell.idle, cell.frame, cell.load),
        )

    def _unit(self, unit: UnitSettings) -> modbus.Unit:
        tables = {
            modbus.COILS: dict(unit.coils),
            modbus.DISCRETE: dict(unit.discrete),
            modbus.HOLDING: dict(unit.holding),
            modbus.INPUT: dict(unit.input),
        }
        return modbus.Unit(unit.address, tables)

    def _chip(self, name: str) -> GpioChip:
        names = {contact.line: contact.name for contact in self.scenario.contact if contact.chip == name}
        return GpioChip(self._folder / name, names=names)

    async def __aenter__(self) -> Self:
        for chip in self.chips.values():
            await self._stack.enter_async_context(chip)
        for line in self.lines.values():
            await self._stack.enter_async_context(line)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._steps:
            task.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)
        await self._stack.aclose()

    async def play(self) -> bool:
        """Switch the boards on and let everything happen; return whether every press was told a stage in the end."""
        for board in self.boards.values():
            await self._stack.enter_async_context(board)
        times = [(step.at + turn * step.every, step) for step in self.scenario.step for turn in range(step.count)]
        started = asyncio.get_running_loop().time()
        for at, step in sorted(times, key=lambda timed: timed[0]):
            await asyncio.sleep(started + at / self._speed - asyncio.get_running_loop().time())
            self._steps.append(asyncio.create_task(self._do(step)))
        await asyncio.gather(*self._steps)  # one that failed long ago fails the whole
        waiting = [
            self._told(press.device, press.event) for press in self.ledger.presses if press.device not in self.strangers
        ]
        return all(await asyncio.gather(*waiting))

    async def _told(self, device: str, event: int) -> bool:
        if self.ledger.press(device, event).stage:
            return True  # perhaps before a power cut, of which the board itself knows nothing
        try:
            await self.boards[device].stage(event, 1, self.scenario.settle_s)
        except NotHeardError:
            return False
        return True

    async def _do(self, step: Step) -> None:
        if step.do in OF_THE_GATEWAY:
            await self._to_the_gateway(step)
        elif step.unit is not None:
            _to_a_unit(step, self.units[step.unit])
        elif step.contact is not None:
            await self._to_a_contact(step, self.contacts[step.contact])
        elif step.line is not None:
            await self._to_a_line(step, step.line)
        else:
            assert step.device is not None
            device = self._random.choice(sorted(self.boards)) if step.device == ANY else step.device
            with suppress(NotKeptError):  # it is off or full: nothing was taken, nothing is promised
                await self._to_a_board(step, self.boards[device])

    async def _to_the_gateway(self, step: Step) -> None:
        if self._gateway is None:
            self._say("the gateway's power goes" if step.do == "gateway-cut" else "the gateway's power is back")
        elif step.do == "gateway-cut":
            self._gateway.kill()
        else:
            await self._gateway.start()

    async def _to_a_line(self, step: Step, name: str) -> None:
        line = self.lines[name]
        match step.do:
            case "unplug":
                line.unplug()
            case "replug":
                line.replug()
            case "jam":
                async with jammed(line, rate=step.rate, share=step.share, seed=self._random.getrandbits(32)):
                    await asyncio.sleep(step.seconds)
            case "withhold":
                with self.air[name].withholding(DOWN):
                    await asyncio.sleep(step.seconds)
            case "repeat":
                with self.air[name].repeating(DOWN, step.times), self.air[name].repeating(UP, step.times):
                    await asyncio.sleep(step.seconds)

    async def _to_a_contact(self, step: Step, contact: Contact) -> None:
        match step.do:
            case "touch":
                await contact.touch(step.seconds, step.edges)
            case "bounce":  # it moves, and stays where it was
                await contact.move(contact.closed, step.edges + step.edges % 2)
            case "stick":
                await contact.move(True, step.edges)
            case "free":
                await contact.move(False, step.edges)

    async def _to_a_board(self, step: Step, board: Board) -> None:
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
                self._attack(step, board)
            case _:
                await board.press(HAPPENINGS[step.do] if step.kind is None else step.kind)
                if step.do == "hold":
                    await asyncio.sleep(step.seconds)
                    await board.press(HAPPENINGS["release"])

    def _attack(self, step: Step, board: Board) -> None:
        """Send again what was heard of a board, its first event and the first answer to it; or both, altered."""
        air = next(air for name, air in self.air.items() if self.lines[name] is board.line)
        events = air.heard(UP, device=board.device, type=Type.EVENT)
        answers = air.heard(DOWN, device=board.device, type=Type.ACK)
        for caught in events[:1] + answers[:1]:
            air.replay(caught if step.do == "replay" else altered(caught))


def _to_a_unit(step: Step, unit: modbus.Unit) -> None:
    match step.do:
        case "set":
            unit.registers[_TABLES[step.table]][step.at_register] = step.value
        case "mute" | "refuse" | "damage":
            unit.fault = step.do
        case _:
            unit.fault = "none"
