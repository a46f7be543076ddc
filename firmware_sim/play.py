"""Plays a scenario: `async with Run(scenario, folder) as run: told = await run.play()`.

What each kind of thing is and does stands in its own module of `kinds`. What happens to the gateway itself (its power
goes) is done by whoever hands in a `Power`; without one it is told to `say`, for a person with a hand on the plug.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Self

from firmware_sim.kinds.board import Boards
from firmware_sim.kinds.contact import Contacts
from firmware_sim.kinds.gateway import TheGateway
from firmware_sim.kinds.help_point import HelpPoints
from firmware_sim.kinds.kind import Kind, Power, Site, Step
from firmware_sim.kinds.line import ON_THE_AIR, Lines
from firmware_sim.kinds.peripheral import Peripherals
from firmware_sim.kinds.receiver import Receivers
from firmware_sim.kinds.unit import Units
from firmware_sim.scenario import Scenario


class Run:
    """A scenario with its lines and all on them, in a folder. `speed`: how much faster its steps follow each other."""

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
        self._speed = speed
        self._site = site = Site(folder, Random(scenario.seed), say, gateway)
        self.ledger = site.ledger
        self.lines = site.lines
        lines = Lines(scenario.line, site, recorded=any(step.do in ON_THE_AIR for step in scenario.step))
        self._boards = Boards(scenario.board, site)
        self.boards, self.strangers = self._boards.named, self._boards.strangers
        contacts = Contacts(scenario.contact, site)
        self.contacts, self.chips = contacts.named, contacts.chips
        units = Units(scenario.unit, site)
        self.units = units.named
        receivers = Receivers(scenario.receiver, site)
        self.receivers = receivers.named
        peripherals = Peripherals(scenario.peripheral, site)
        self.peripherals = peripherals.named
        help_points = HelpPoints(scenario.help_point, site)
        self.help_points, self.tokens = help_points.named, help_points.tokens
        self._kinds: dict[str, Kind] = {
            "contact": contacts,
            "line": lines,
            "device": self._boards,
            "unit": units,
            "receiver": receivers,
            "peripheral": peripherals,
            "help_point": help_points,
            "": TheGateway(site),
        }
        self._stack = AsyncExitStack()
        self._steps: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for kind in self._kinds.values():
            await self._stack.enter_async_context(kind)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._steps:
            task.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)
        await self._stack.aclose()

    async def play(self) -> bool:
        """Switch the boards on and let everything happen; return whether everybody who called was told in the end."""
        await self._boards.switch_on()
        times = [(step.at + turn * step.every, step) for step in self.scenario.step for turn in range(step.count)]
        started = asyncio.get_running_loop().time()
        for at, step in sorted(times, key=lambda timed: timed[0]):
            await asyncio.sleep(started + at / self._speed - asyncio.get_running_loop().time())
            self._steps.append(asyncio.create_task(self._do(step)))
        await asyncio.gather(*self._steps)  # one that failed long ago fails the whole
        return all(await asyncio.gather(*(kind.told(self.scenario.settle_s) for kind in self._kinds.values())))

    async def _do(self, step: Step) -> None:
        await self._kinds[step.of].do(step)
