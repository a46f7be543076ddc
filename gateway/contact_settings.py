"""`[[input]]` and `[[output]]`: the gateway's own GPIO lines in the settings, and what they must agree on."""

import os
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from gateway.errors import SettingsError
from gateway.field_settings import DeviceFile, OwnName, PositionSettings
from gateway.sensing.contact import MEANINGS, MOMENTARY
from gateway.settings import Mistake, Strict
from gateway.text import _

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import GatewaySettings

LINES_MAX: Final = 65_535  # far beyond any chip
MAX_ON_S: Final = 300  # of a siren, a strobe, a buzzer
NAME_MAX: Final = 31  # characters of a line's name, as the kernel keeps them


def _line(line: Any) -> int | str:
    number = type(line) is int and 0 <= line <= LINES_MAX
    if not number and not (type(line) is str and 1 <= len(line) <= NAME_MAX and not line.isdigit()):
        raise Mistake("line", _("a line's number on its chip, or its name in quotes: gpioinfo lists both"))
    return line  # type: ignore[no-any-return]  # an int or a str by now


def _on(type_: str) -> str:
    if type_ not in MEANINGS:
        raise Mistake("on", _("one of {types}"), {"types": ", ".join(MEANINGS)})
    return type_


def _off(type_: str | None, info: ValidationInfo) -> str | None:
    on = info.data.get("on")  # absent where it is a mistake itself
    end = MEANINGS.get(on) if on else type_
    if type_ is None or type_ == end:
        return type_
    if end is None:
        raise Mistake("off", _("nothing: {on} has no end of its own"), {"on": on})
    raise Mistake("off", _("{end}, the end of {on}, or nothing"), {"end": end, "on": on})


def stuck_after(on: str, stuck_s: int | None, usual: float) -> float | None:
    """Return after how many seconds an active contact is stuck; None: never. 0 in the settings says so."""
    if stuck_s is None:
        return usual if on in MOMENTARY else None
    return stuck_s or None


def longest(kind: str, max_on_s: int | None) -> int | None:
    """Return for how many seconds an output may be on; None: until told."""
    return max_on_s if max_on_s is not None or kind == "led" else MAX_ON_S


Line = Annotated[int | str, PlainValidator(_line)]
On = Annotated[str, AfterValidator(_on)]
Off = Annotated[str | None, AfterValidator(_off)]


class InputTable(Strict):
    """One `[[input]]`: a contact on a GPIO line. The defaults are a button that pulls the line to ground."""

    name: OwnName
    chip: DeviceFile
    line: Line
    on: On
    off: Off = None
    active_low: bool = Field(default=True, strict=True)
    bias: Literal["pull-up", "pull-down", "disabled", "as-is"] = "pull-up"
    debounce_ms: int = Field(default=30, ge=0, le=1000, strict=True)
    stuck_s: int | None = Field(default=None, ge=0, le=86_400, strict=True)
    indicator: str | None = None
    buzzer: str | None = None
    position: PositionSettings | None = None

    def stuck_after(self, usual: float) -> float | None:
        """Return after how many seconds an active contact is stuck; None: never. 0 in the settings says so."""
        return stuck_after(self.on, self.stuck_s, usual)


class OutputTable(Strict):
    """One `[[output]]`: what a GPIO line switches."""

    name: OwnName
    chip: DeviceFile
    line: Line
    kind: Literal["siren", "strobe", "led", "buzzer"]
    active_low: bool = Field(default=False, strict=True)
    max_on_s: int | None = Field(default=None, ge=1, le=3600, strict=True)

    @property
    def longest_s(self) -> int | None:
        """Seconds that it may be on; None: a light that has no limit of its own, unless the settings give it one."""
        return longest(self.kind, self.max_on_s)


def refuse_bad_contacts(settings: "GatewaySettings") -> None:
    """Raise SettingsError where a line is used twice, or an output is named that isn't there."""
    used: dict[tuple[str, str], str] = {}
    tables: list[tuple[str, Sequence[InputTable | OutputTable]]] = [
        ("input", settings.input), ("output", settings.output),
    ]  # fmt: skip
    for kind, entries in tables:
        for index, entry in enumerate(entries):
            place = (os.path.realpath(entry.chip), str(entry.line))
            if (before := used.setdefault(place, entry.name)) != entry.name:
                raise SettingsError(
                    f"{kind}[{index}].line: "
                    + _("line {line} of {chip} is used by {name} too").format(
                        line=entry.line, chip=entry.chip, name=before
                    ),
                    _("give each input and output a line of its own"),
                )
    kinds: dict[str, str] = {output.name: output.kind for output in settings.output}
    for index, table in enumerate(settings.input):
        for key, wanted in (("indicator", "led"), ("buzzer", "buzzer")):
            if (named := getattr(table, key)) is not None and kinds.get(named) != wanted:
                fit = ", ".join(name for name, kind in kinds.items() if kind == wanted) or "–"
                raise SettingsError(
                    f"input[{index}].{key}: " + _("no output {name} is a {kind}").format(name=named[:64], kind=wanted),
                    _('name an [[output]] with kind = "{kind}": {names}').format(kind=wanted, names=fit),
                )
