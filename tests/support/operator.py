"""An operator at C5: watches what the receiver prints, and acknowledges alarms with `c5-receiver command`.

async with Operator(world, looks_at={"0c500042", "bar"}):
    ...                                    # each alarm of these is acknowledged, once
"""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Any, Self

from certs.authority import Authority
from tests.support.world import POLL, World

NAME = "ana"


class Operator:
    """Acknowledges from entering to leaving. `after` seconds of thought; the commander's name is `certified`."""

    def __init__(
        self, world: World, *, looks_at: AbstractSet[str], after: float = 0.0, certified: str = "operator"
    ) -> None:
        self.told: list[dict[str, Any]] = []  # the line of each alarm that was acknowledged
        self.wrong: list[str] = []  # what a command that failed said
        self._world = world
        self._looks_at = looks_at
        self._after = after
        self._certified = certified
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        config = self._world.receiver.home / f"{self._certified}.toml"
        folder = self._world.authority / "commander" / self._certified
        if not folder.exists():
            Authority.open(self._world.authority).issue("commander", self._certified)
        table = f'[commander]\nsigning_certificate = "{folder}/signing.pem"\nsigning_key = "{folder}/signing.key"\n'
        config.write_text(self._world.receiver.config.read_text() + table)
        self._watching = asyncio.create_task(self._watch(str(config)))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._watching is not None
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self, config: str) -> None:
        seen = 0
        while True:
            lines = self._world.receiver.lines()
            for line in lines[seen:]:
                if line["lane"] == "alarm" and line["device"] in self._looks_at:
                    await asyncio.sleep(self._after)
                    await self._acknowledge(line, config)
            seen = len(lines)
            await asyncio.sleep(POLL)

    async def _acknowledge(self, line: dict[str, Any], config: str) -> None:
        words = [f"record={line['identity']}", f"device={line['device']}"]
        if line["event_number"] is not None:
            words.append(f"event_number={line['event_number']}")
        status, said = await self._world.receiver.command(
            *("command", line["gateway"], "alarm.acknowledge", *words, "status=acknowledged", f"operator={NAME}"),
            *("--wait", "10", "--config", config),
        )
        if status:
            self.wrong.append(said)
        else:
            self.told.append(line)
