"""Scenarios: TOML files that say what is on which lines, what happens to it, and when.

Some come with the package and go by their name alone (`firmware-sim run lobby`). A scenario holds no keys. What each
kind of thing has in its table and can be done to stands in its own module of `kinds`; `play.py` plays a scenario.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Discriminator, Tag, model_validator

from firmware_sim.kinds.board import ANY, BoardSettings, BoardStep
from firmware_sim.kinds.contact import ContactSettings, ContactStep
from firmware_sim.kinds.gateway import GatewayStep
from firmware_sim.kinds.help_point import HelpPointSettings, HelpPointStep
from firmware_sim.kinds.kind import Named, OnALine, Seconds, Strict
from firmware_sim.kinds.line import LineSettings, LineStep
from firmware_sim.kinds.peripheral import PeripheralSettings, PeripheralStep
from firmware_sim.kinds.receiver import ReceiverSettings, ReceiverStep
from firmware_sim.kinds.unit import UnitSettings, UnitStep

SHIPPED: Final = Path(__file__).parent / "scenarios"
_TO: Final = ("line", "device", "contact", "unit", "receiver", "peripheral", "help_point")  # a step has one of these


def _kind_of_step(step: object) -> str | None:
    if not isinstance(step, Mapping):
        return getattr(step, "of", None) or "gateway"
    own = "gateway" if str(step.get("do")).startswith("gateway-") else None
    return next((key for key in _TO if key in step), own)


AnyStep = Annotated[
    Annotated[LineStep, Tag("line")]
    | Annotated[BoardStep, Tag("device")]
    | Annotated[ContactStep, Tag("contact")]
    | Annotated[UnitStep, Tag("unit")]
    | Annotated[ReceiverStep, Tag("receiver")]
    | Annotated[PeripheralStep, Tag("peripheral")]
    | Annotated[HelpPointStep, Tag("help_point")]
    | Annotated[GatewayStep, Tag("gateway")],
    Discriminator(
        _kind_of_step,
        custom_error_type="to_nothing",
        custom_error_message=f"a step names the one thing that it is done to: {', '.join(_TO)}",
    ),
]


class Scenario(Strict):
    """A whole run. `settle_s` is how long boards may go on sending after the last step."""

    seed: int = 0
    settle_s: Seconds = 10
    line: tuple[LineSettings, ...] = ()
    board: tuple[BoardSettings, ...] = ()
    contact: tuple[ContactSettings, ...] = ()
    unit: tuple[UnitSettings, ...] = ()
    receiver: tuple[ReceiverSettings, ...] = ()
    peripheral: tuple[PeripheralSettings, ...] = ()
    help_point: tuple[HelpPointSettings, ...] = ()
    step: tuple[AnyStep, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        tables: dict[str, Sequence[Named | BoardSettings]] = {
            "line": self.line,
            "device": self.board,
            "contact": self.contact,
            "unit": self.unit,
            "receiver": self.receiver,
            "peripheral": self.peripheral,
            "help_point": self.help_point,
        }
        known: dict[str, set[str]] = {"": {""}, "device": {ANY}}
        lines = {line.name for line in self.line}
        for kind, there in tables.items():
            names = known.setdefault(kind, set())
            for table in there:
                if isinstance(table, OnALine) and table.line not in lines:
                    raise ValueError(f"{kind} {table.names[0]}: there is no line {table.line}")
                if twice := names & set(table.names):
                    raise ValueError(f"{kind} {min(twice)} is there twice")
                names.update(table.names)
        for step in self.step:
            if step.whom not in known[step.of]:
                raise ValueError(f"step at {step.at}: there is no {step.of} {step.whom}")
        return self


def find(name: str) -> Path:
    """Return where a scenario is: one that comes with the package, by its name, or any file."""
    shipped = SHIPPED / f"{name}.toml"
    return shipped if "/" not in name and shipped.exists() else Path(name)


def shipped() -> list[str]:
    """Return the names of those that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load(path: Path) -> Scenario:
    """Read a scenario; raises OSError or ValueError, which names the key."""
    try:
        return Scenario.model_validate(tomllib.loads(path.read_text()))
    except RecursionError as error:
        raise ValueError("brackets within brackets, too deep to be read") from error
