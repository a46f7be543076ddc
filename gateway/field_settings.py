"""What the tables of the field's settings are made of: names, files of devices, rates, places."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from gateway.event import Position
from gateway.settings import Mistake, Part, Strict
from gateway.text import _

BAUDS: Final = (
    1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 500_000, 921_600, 1_000_000,
)  # fmt: skip


def _baud(rate: int) -> int:
    if rate not in BAUDS:
        raise Mistake("baud", _("one of {bauds}"), {"bauds": ", ".join(map(str, BAUDS))})
    return rate


def _own_name(name: str) -> str:
    if re.fullmatch("[0-9a-f]{8}", name):
        raise Mistake("own_name", _("a name that is no device id (8 of 0-9, a-f)"))
    return name


def _file(path: str) -> str:
    if "\0" in path:
        raise Mistake("file", _("the path of a file"))
    return path


Baud = Annotated[int, Field(strict=True), AfterValidator(_baud)]
DeviceFile = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_file)]
OwnName = Annotated[Part, AfterValidator(_own_name)]


class PositionSettings(Strict):
    """A place, in degrees (WGS 84)."""

    latitude: float = Field(ge=-90, le=90, strict=True)
    longitude: float = Field(ge=-180, le=180, strict=True)
    accuracy_m: float | None = Field(default=None, ge=0, le=1_000_000, strict=True)

    def position(self) -> Position:
        """Return it as records carry it."""
        accuracy = None if self.accuracy_m is None else round(self.accuracy_m * 100)
        return Position(round(self.latitude * 1e7), round(self.longitude * 1e7), accuracy)
