"""What every kind is made of: a table (`Table`), what can be done to one (`Step`), and all of a run's (`Kind`).

A kind joins with its table and its step in `scenario.py` and with a line in `play.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Key

from firmware_sim.air import Air
from firmware_sim.ledger import Ledger
from firmware_sim.pty import PseudoTerminal

Likelihood = Annotated[float, Key(ge=0, le=1)]
Seconds = Annotated[float, Key(ge=0)]
Number = Annotated[int, Key(ge=0, lt=2**32)]
Name = Annotated[str, Key(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class Strict(BaseModel):
    """A table without keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Named(Strict):
    """One thing of a kind, which has a name."""

    name: Name

    @property
    def names(self) -> list[str]:
        """What steps call it; several, where a table stands for several."""
        return [self.name]


class OnALine(Strict):
    """One thing at the end of a serial line."""

    line: Name


class Step(Strict):
    """Something that happens `at` seconds after the start, `count` times, `every` so many seconds.

    A subclass has `do`, and the key `of`: the name of the thing that it is done to.
    """

    of: ClassVar[str] = ""
    do: str
    at: Seconds
    count: Annotated[int, Key(ge=1)] = 1
    every: Seconds = 1

    @property
    def whom(self) -> str:
        """The thing's name; of the gateway nothing."""
        return str(getattr(self, self.of)) if self.of else ""


class Power(Protocol):
    """The gateway's plug."""

    def kill(self) -> None:
        """Pull it."""

    async def start(self) -> None:
        """Put it in."""


@dataclass
class Site:
    """What the things of a run share."""

    folder: Path
    random: Random
    say: Callable[[str], None]
    gateway: Power | None = None
    ledger: Ledger = field(default_factory=Ledger)
    lines: dict[str, PseudoTerminal] = field(default_factory=dict)
    air: dict[str, Air] = field(default_factory=dict)


class Kind:
    """All things of one kind in a run, which are there from entering to leaving."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is left."""

    async def do(self, step: Any) -> None:
        """Let a step of this kind happen."""
        raise NotImplementedError

    async def told(self, within: float) -> bool:  # noqa: ARG002  # for those who are told something
        """Return whether everybody who called was told, `within` so many seconds, that it is stored."""
        return True
