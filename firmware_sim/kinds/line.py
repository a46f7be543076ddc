"""`[[line]]`: pseudo-terminals, their plugs, and what is on the air."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field

from firmware_sim.air import DOWN, UP, Air
from firmware_sim.faults import Faults, Likelihoods
from firmware_sim.jammer import RATE, jammed
from firmware_sim.kinds.kind import Kind, Likelihood, Named, Seconds, Site, Step, Strict
from firmware_sim.line import BAUDS
from firmware_sim.pty import PseudoTerminal

ON_THE_AIR: Final = frozenset({"replay", "forge", "withhold", "repeat"})  # steps for which everything is recorded


class FaultSettings(Strict):
    """How likely each fault is for a frame; `delay_s` is the longest delay."""

    noise: Likelihood = 0
    cut: Likelihood = 0
    flip: Likelihood = 0
    repeat: Likelihood = 0
    delay: Likelihood = 0
    delay_s: Seconds = 1


class LineSettings(Named):
    """A pseudo-terminal: its name in the folder of the run, its rate, and its faults in each direction."""

    baud: Annotated[int, Field(ge=min(BAUDS), le=max(BAUDS))] | None = None
    up: FaultSettings = FaultSettings()
    down: FaultSettings = FaultSettings()


class LineStep(Step):
    """What is done to a line."""

    of: ClassVar = "line"
    line: str
    do: Literal["unplug", "replug", "jam", "withhold", "repeat"]
    seconds: Seconds = 5  # how long it is jammed, withheld, repeated
    rate: Annotated[int, Field(ge=0, le=100_000)] = RATE  # bytes of noise a second
    share: Likelihood = 1  # of the frames that don't get through a jammer
    times: Annotated[int, Field(ge=1, le=100)] = 2  # how often a frame comes that is repeated


class Lines(Kind):
    """Every line of a run. `recorded`: somebody listens on the air."""

    def __init__(self, tables: Sequence[LineSettings], site: Site, *, recorded: bool) -> None:
        self._site = site
        self._stack = AsyncExitStack()
        for table in tables:
            site.lines[table.name] = line = PseudoTerminal(
                site.folder / table.name,
                up=Faults(Likelihoods(**table.up.model_dump()), site.random.getrandbits(32)),
                down=Faults(Likelihoods(**table.down.model_dump()), site.random.getrandbits(32)),
                baud=table.baud,
            )
            if recorded:
                site.air[table.name] = Air(line)

    async def __aenter__(self) -> Self:
        for line in self._site.lines.values():
            await self._stack.enter_async_context(line)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def do(self, step: LineStep) -> None:
        """Pull a plug, put it in, jam, withhold or repeat."""
        line = self._site.lines[step.line]
        match step.do:
            case "unplug":
                line.unplug()
            case "replug":
                line.replug()
            case "jam":
                async with jammed(line, rate=step.rate, share=step.share, seed=self._site.random.getrandbits(32)):
                    await asyncio.sleep(step.seconds)
            case "withhold":
                with self._site.air[step.line].withholding(DOWN):
                    await asyncio.sleep(step.seconds)
            case "repeat":
                air = self._site.air[step.line]
                with air.repeating(DOWN, step.times), air.repeating(UP, step.times):
                    await asyncio.sleep(step.seconds)
