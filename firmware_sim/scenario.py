"""Scenarios: TOML files that say which boards are on which lines, what happens to them, and when.

Some come with the package and go by their name alone (`firmware-sim run lobby`). A scenario holds no keys. `play.py`
plays one.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firmware_sim.battery import FULL_MV
from firmware_sim.board import POWER_LOST, POWER_RESTORED, PRESSED, RELEASED, TAMPER_CLOSED, TAMPER_OPENED, TEST
from firmware_sim.gpiochip import LINES
from firmware_sim.jammer import RATE
from firmware_sim.line import BAUDS

SHIPPED: Final = Path(__file__).parent / "scenarios"
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
Do = Literal[
    "press", "release", "hold", "open", "close", "mains-lost", "mains-restored", "test", "battery", "measure",
    "power-cut", "power-on", "unplug", "replug", "jam",
    "replay", "forge", "withhold", "repeat",
    "gateway-cut", "gateway-on",
    "touch", "bounce", "stick", "free",
    "set", "mute", "refuse", "damage", "heal",
]  # fmt: skip
OF_A_LINE: Final = frozenset({"unplug", "replug", "jam", "withhold", "repeat"})
OF_A_CONTACT: Final = frozenset({"touch", "bounce", "stick", "free"})
OF_A_UNIT: Final = frozenset({"set", "mute", "refuse", "damage", "heal"})
OF_THE_GATEWAY: Final = frozenset({"gateway-cut", "gateway-on"})

Likelihood = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Number = Annotated[int, Field(ge=0, lt=2**32)]
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
    """A pseudo-terminal: its name in the folder of the run, its rate, and its faults in each direction."""

    name: Name
    baud: Annotated[int, Field(ge=min(BAUDS), le=max(BAUDS))] | None = None
    up: FaultSettings = FaultSettings()
    down: FaultSettings = FaultSettings()


class BatterySettings(_Strict):
    """A cell, and how fast it discharges: mV an hour, mV for each frame, mV an hour for each output that is on."""

    millivolts: Number = FULL_MV
    idle: Seconds = 0
    frame: Seconds = 0
    load: Seconds = 0


class BoardSettings(_Strict):
    """A device and the line it is on; with `count`, so many of them with ids one after the other.

    A stranger is on the air and has no business at this gateway: it isn't to be enrolled.
    """

    device: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    line: Name
    model: Annotated[str, Field(pattern=r"^[A-Z0-9-]{1,16}$")] = "PB-1"
    heartbeat_s: Annotated[float, Field(gt=0)] = 60
    awake_s: Annotated[float, Field(gt=0)] | None = None  # how long it hears after a frame of its own; absent: always
    battery: BatterySettings = BatterySettings()
    stranger: bool = False

    @property
    def devices(self) -> list[str]:
        """The ids."""
        first = int(self.device, 16)
        return [f"{number:08x}" for number in range(first, first + self.count)]


class ContactSettings(_Strict):
    """A contact on a line of a GPIO chip; closed, it connects the line to ground (0) or supply (1), open it floats."""

    name: Name
    chip: Annotated[str, Field(pattern=r"^gpiochip[a-z0-9-]{0,32}$")] = "gpiochip0"
    line: Annotated[int, Field(ge=0, lt=LINES)]
    closes_to: Literal[0, 1] = 0


Word = Annotated[int, Field(ge=0, le=65_535)]
Table = Literal["coils", "discrete", "holding", "input"]


class UnitSettings(_Strict):
    """A Modbus unit on a line; what stands in its tables, as pairs of an address and a value."""

    name: Name
    line: Name
    address: Annotated[int, Field(ge=1, le=247)]
    coils: tuple[tuple[Word, Word], ...] = ()
    discrete: tuple[tuple[Word, Word], ...] = ()
    holding: tuple[tuple[Word, Word], ...] = ()
    input: tuple[tuple[Word, Word], ...] = ()


class Step(_Strict):
    """Something that happens `at` seconds after the start, `count` times, `every` so many seconds."""

    at: Seconds
    do: Do
    device: str | None = None
    line: str | None = None
    contact: str | None = None
    unit: str | None = None
    table: Table = "input"  # where a unit's value is set
    at_register: Word = 0
    value: Word = 0
    kind: Number | None = None
    millivolts: Number = FULL_MV
    reading: tuple[int, int, int] = (1, 215, -1)
    seconds: Seconds = 5  # how long it is held, jammed, withheld, repeated, touched
    edges: Annotated[int, Field(ge=1, le=1000)] = 11  # of a contact that bounces, within 20 ms
    rate: Annotated[int, Field(ge=0, le=100_000)] = RATE  # bytes of noise a second
    share: Likelihood = 1  # of the frames that don't get through a jammer
    times: Annotated[int, Field(ge=1, le=100)] = 2  # how often a frame comes that is repeated
    count: Annotated[int, Field(ge=1)] = 1
    every: Seconds = 1


class Scenario(_Strict):
    """A whole run. `settle_s` is how long boards may go on sending after the last step."""

    seed: int = 0
    settle_s: Seconds = 10
    line: tuple[LineSettings, ...] = ()
    board: tuple[BoardSettings, ...] = ()
    contact: tuple[ContactSettings, ...] = ()
    unit: tuple[UnitSettings, ...] = ()
    step: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        lines = {line.name for line in self.line}
        devices: set[str] = {ANY}
        for board in self.board:
            if board.line not in lines:
                raise ValueError(f"board {board.device}: there is no line {board.line}")
            if twice := devices & set(board.devices):
                raise ValueError(f"board {min(twice)} is there twice")
            devices.update(board.devices)
        contacts = {contact.name for contact in self.contact}
        units = {unit.name for unit in self.unit}
        for unit in self.unit:
            if unit.line not in lines:
                raise ValueError(f"unit {unit.name}: there is no line {unit.line}")
        for step in self.step:
            if step.do in OF_A_UNIT and step.unit not in units:
                raise ValueError(f"step at {step.at}: {step.do} needs the name of a unit")
            if step.do in OF_A_CONTACT and step.contact not in contacts:
                raise ValueError(f"step at {step.at}: {step.do} needs the name of a contact")
            if step.do in OF_A_LINE and step.line not in lines:
                raise ValueError(f"step at {step.at}: {step.do} needs the name of a line")
            if step.do not in OF_A_LINE | OF_A_CONTACT | OF_A_UNIT | OF_THE_GATEWAY and step.device not in devices:
                raise ValueError(f"step at {step.at}: {step.do} needs the id of a device")
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
