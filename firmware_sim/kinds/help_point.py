"""`[[help_point]]`: citizen help points and video-analytics boxes, which raise events over HTTPS.

Who one is stands in the folder of the run: `trust-anchors.pem`, by which it knows the gateway, and `NAME.pem` with
`NAME.key` for one with a certificate. A token is made at the first run and kept there, `NAME.token`, readable by its
owner alone.
"""

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from firmware_sim.help_point import HelpPoint, HelpPointError
from firmware_sim.kinds.kind import Kind, Named, Site, Step


class HelpPointSettings(Named):
    """A help point, where the gateway's port is, and how it shows who it is."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8443
    by: Literal["token", "certificate"] = "token"


class HelpPointStep(Step):
    """What a help point does, or who is taken for it."""

    of: ClassVar = "help_point"
    help_point: str
    do: Literal["help", "flood", "impostor"]
    type: str = "panic.pressed"
    requests: Annotated[int, Field(ge=1, le=10_000)] = 100  # of a flood, as fast as they are answered


class HelpPoints(Kind):
    """Every help point of a run."""

    def __init__(self, tables: Sequence[HelpPointSettings], site: Site) -> None:
        self._site = site
        self.anchors = site.folder / "trust-anchors.pem"
        self._tables = {table.name: table for table in tables}
        self.named = {table.name: self._point(table) for table in tables}
        self.tokens = [table.name for table in tables if table.by == "token"]
        self._calls: list[asyncio.Task[bool]] = []

    def _point(self, table: HelpPointSettings) -> HelpPoint:
        certificate, key = (self._site.folder / f"{table.name}.{end}" for end in ("pem", "key"))
        needed = [self.anchors, certificate, key] if table.by == "certificate" else [self.anchors]
        if absent := [str(path) for path in needed if not path.exists()]:
            raise ValueError(f"help point {table.name} needs {', '.join(absent)}: c5-certs issues them")
        if table.by == "certificate":
            return HelpPoint(table.host, table.port, self.anchors, certificate=certificate, key=key)
        return HelpPoint(table.host, table.port, self.anchors, token=_kept(self._site.folder / f"{table.name}.token"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def do(self, step: HelpPointStep) -> None:
        """Call for help, go mad, or be somebody who has stolen its address."""
        point, table = self.named[step.help_point], self._tables[step.help_point]
        match step.do:
            case "help":
                self._calls.append(asyncio.create_task(self._help(step.help_point, step.type)))
            case "flood":
                self._say(step, await point.flood(step.type, step.requests))
            case "impostor":
                stranger = HelpPoint(table.host, table.port, self.anchors, token=secrets.token_hex(32))
                self._say(step, await stranger.flood(step.type, 1))

    def _say(self, step: HelpPointStep, answers: Counter[int]) -> None:
        told = ", ".join(f"{count} × {status or 'no answer'}" for status, count in sorted(answers.items()))
        self._site.say(f"{step.help_point}, {step.do}: {told}")

    async def _help(self, name: str, type_: str) -> bool:
        try:
            await self.named[name].press(type_)
        except HelpPointError as error:
            self._site.say(f"{name}: {error}")
            return False
        return True

    async def told(self, within: float) -> bool:
        """Return whether each call for help was answered: it is stored."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=within)
        return all(call.done() and call.result() for call in self._calls)


def _kept(path: Path) -> str:
    """Return the token that is in a file, made there if there is none."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    return path.read_text().strip()
