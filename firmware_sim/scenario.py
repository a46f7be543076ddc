"""Scenarios: TOML files that say which boards are on which lines, what happens to them, and when.

A scenario holds no keys. A board's label is made at its first run and kept, readable by its owner alone, in the folder
of the run, beside its flash; enrol it at the gateway from there.
"""

import asyncio
import tomllib
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firmware_sim.device import Board, NotHeardError, NotKeptError
from firmware_sim.faults import Faults, Likelihoods
from firmware_sim.labels import kept_label
from firmware_sim.ledger import Ledger
from firmware_sim.pty import PseudoTerminal
from gateway.fieldlink.message import Reading

Likelihood = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FaultSettings(_Strict):
    """How likely each fault is for a frame; `delay_s` is the longest delay."""

    noise: Likelihood = 0
    cut: Likelihood = 0
    flip: Likelihood = 0
    repeat: Likelihood = 0
    delay: Likelihood = 0
    delay_s: Seconds = 1


class LineSettings(_Strict):
    """A pseudo-terminal: its name in the folder of the run, and its faults in each direction."""

    name: Name
    up: FaultSettings = FaultSettings()
    down: FaultSettings = FaultSettings()


class BoardSettings(_Strict):
    """A device and the line it is on."""

    device: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    line: Name
    model: Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,16}$")] = "PB-1"
    heartbeat_s: Annotated[float, Field(gt=0)] = 60


class Step(_Strict):
    """Something that happens `at` seconds after the start, `count` times, `every` so many seconds."""

    at: Seconds
    do: Literal["press", "battery", "measure", "power-cut", "power-on", "unplug", "replug"]
    device: str | None = None
    line: str | None = None
    kind: Annotated[int, Field(ge=0, lt=2**32)] = 1
    millivolts: Annotated[int, Field(ge=0, lt=2**32)] = 2980
    reading: tuple[int, int, int] = (1, 215, -1)
    count: Annotated[int, Field(ge=1)] = 1
    every: Seconds = 1


class Scenario(_Strict):
    """A whole run. `settle_s` is how long boards may go on sending after the last step."""

    seed: int = 0
    settle_s: Seconds = 10
    line: tuple[LineSettings, ...]
    board: tuple[BoardSettings, ...]
    step: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        lines = {line.name for line in self.line}
        devices = {board.device for board in self.board}
        for board in self.board:
            if board.line not in lines:
                raise ValueError(f"board {board.device}: there is no line {board.line}")
        for step in self.step:
            of_a_line = step.do in ("unplug", "replug")
            if of_a_line and step.line not in lines:
                raise ValueError(f"step at {step.at}: {step.do} needs the name of a line")
            if not of_a_line and step.device not in devices:
                raise ValueError(f"step at {step.at}: {step.do} needs the id of a device")
        return self


def load(path: Path) -> Scenario:
    """Read a scenario; raises OSError or ValueError, which names the key."""
    return Scenario.model_validate(tomllib.loads(path.read_text()))


class Run:
    """A scenario with its lines and boards, in a folder. `async with run: await run.play()`."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.ledger = Ledger()
        random = Random(scenario.seed)
        self.lines = {
            line.name: PseudoTerminal(
                folder / line.name,
                up=Faults(Likelihoods(**line.up.model_dump()), random.getrandbits(32)),
                down=Faults(Likelihoods(**line.down.model_dump()), random.getrandbits(32)),
            )
            for line in scenario.line
        }
        self.boards = {
            board.device: Board(
                self.lines[board.line],
                kept_label(folder / f"{board.device}.label", board.device, board.model),
                flash=folder / f"{board.device}.flash",
                seed=random.getrandbits(32),
                ledger=self.ledger,
                heartbeat=board.heartbeat_s,
            )
            for board in scenario.board
        }
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for line in self.lines.values():
            await self._stack.enter_async_context(line)
        for board in self.boards.values():
            await self._stack.enter_async_context(board)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def play(self) -> bool:
        """Let everything happen at its time; return whether every press was told a stage before the run ended."""
        times = [(step.at + turn * step.every, step) for step in self.scenario.step for turn in range(step.count)]
        started = asyncio.get_running_loop().time()
        for at, step in sorted(times, key=lambda timed: timed[0]):
            await asyncio.sleep(started + at - asyncio.get_running_loop().time())
            await self._do(step)
        waiting = [self._told(press.device, press.event) for press in self.ledger.presses]
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
        if step.line is not None and step.do in ("unplug", "replug"):
            line = self.lines[step.line]
            if step.do == "unplug":
                line.unplug()
            else:
                line.replug()
            return
        assert step.device is not None
        board = self.boards[step.device]
        match step.do:
            case "press":
                with suppress(NotKeptError):  # it is off or full: nothing was taken, nothing is promised
                    await board.press(step.kind)
            case "battery":
                with suppress(NotKeptError):
                    await board.battery(step.millivolts)
            case "measure":
                with suppress(NotKeptError):
                    await board.measure([Reading(*step.reading)])
            case "power-cut":
                board.power_cut()
            case "power-on":
                board.power_on()
