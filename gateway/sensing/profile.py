"""What a Modbus unit has to say, and in which registers: a device profile, read from TOML and refused as a whole.

A profile is data that a technician may write beside the cabinet (docs/operate/modbus.md). So whatever is wrong in it is
told with its line, and nothing in it is guessed: addresses are those of the protocol, from 0, never a manual's 40001.

Source: Modbus Application Protocol Specification V1.1b3 (functions, counts).
"""

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import SettingsError
from gateway.sensing.contact import MEANINGS
from gateway.sensing.quantities import QUANTITIES, is_quantity
from gateway.sensing.toml_lines import Key, line_of, lines
from gateway.text import _

COILS, DISCRETE, HOLDING, INPUT = 1, 2, 3, 4  # functions that read
WRITE_COIL, WRITE_REGISTER = 5, 6
SIZES: Final = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "f32": 2, "bit": 1}  # registers
REGISTERS_MAX: Final = 125  # of one answer
BITS_MAX: Final = 2000
TOLD_MAX: Final = 8  # mistakes of one file at once
NAME: Final = re.compile("[a-z0-9][a-z0-9_.-]{0,62}")
EXCEEDED, RESTORED = "threshold.exceeded", "threshold.restored"
SIDES: Final = ("above", "below", "rising", "falling")


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold. `rising` and `falling` are for the change in a minute, taken over `over_s` seconds."""

    side: str
    limit: float
    hysteresis: float = 0.0
    over_s: float = 60.0
    on: str = EXCEEDED
    off: str | None = RESTORED


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to know of a unit: a quantity, what a bit means, or both."""

    name: str
    function: int
    register: int
    type: str
    bit: int = 0
    little: bool = False  # of two registers the low one comes first
    scale: float = 1.0
    offset: float = 0.0
    quantity: str | None = None
    poll_s: float = 10.0
    on: str | None = None
    off: str | None = None
    inverted: bool = False
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """What C5 may switch, by `output.set` alone; `on` and `off` are what is written to a register."""

    name: str
    function: int
    register: int
    on: int = 1
    off: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of unit."""

    name: str
    title: str
    source: str  # the public document it was made from
    points: tuple[Point, ...]
    outputs: tuple[Output, ...] = ()
    tried: str = ""  # on which hardware; empty: on none
    report_s: float = 60.0
    gap: int = 0  # registers nobody asked for that a read may take along


def parse(text: str, name: str, file: str) -> Profile:
    """Read a profile; raises SettingsError with the line of each mistake. `file` is for the message alone."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: of a number too long, too
        raise SettingsError(
            _("{path} is not TOML: {reason}").format(path=file, reason=error), _("see docs/operate/modbus.md")
        ) from error
    reader = _Reader(lines(text))
    profile = _profile(reader, tables, name)
    if reader.mistakes:
        told = sorted(reader.mistakes)[:TOLD_MAX]
        wrong = "\n".join(_("{file}, line {line}: {wrong}").format(file=file, line=at, wrong=what) for at, what in told)
        raise SettingsError(wrong, _("correct {path}").format(path=file))
    return profile


class _Reader:
    """Takes values out of tables, and notes what is wrong with them instead of stopping at the first."""

    def __init__(self, places: dict[Key, int]) -> None:
        self._places = places
        self.mistakes: set[tuple[int, str]] = set()

    def wrong(self, at: Key, allowed: str) -> None:
        key = ".".join(f"{part}" for part in at if isinstance(part, str))
        self.mistakes.add((line_of(self._places, at), f"{key}: {allowed}" if key else allowed))

    def known(self, table: Mapping[str, Any], at: Key, names: tuple[str, ...]) -> None:
        for key in table.keys() - set(names):
            self.wrong((*at, key), _("no such setting; allowed here: {names}").format(names=", ".join(names)))

    def tables(self, table: Mapping[str, Any], key: str, at: Key) -> Iterator[tuple[dict[str, Any], Key]]:
        entries = table.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self.wrong((*at, key), _("Input should be a list"))
            return
        yield from ((entry, (*at, key, index)) for index, entry in enumerate(entries))

    def text(self, table: Mapping[str, Any], key: str, at: Key, default: str | None = None) -> str:
        value = table.get(key, default)
        if value is None:
            self.wrong((*at, key), _("is required"))
        elif type(value) is not str or len(value) > 500:
            self.wrong((*at, key), _("Input should be a text in quotes"))
        else:
            return value
        return ""

    def choice(self, table: Mapping[str, Any], key: str, at: Key, among: tuple[Any, ...], default: Any = None) -> Any:
        value = table.get(key, default)
        if any(type(value) is type(one) and value == one for one in among):
            return value
        allowed = _("one of {names}").format(names=", ".join(map(str, among)))
        self.wrong((*at, key), allowed if key in table else _("is required") + ": " + allowed)
        return among[0]

    def number(
        self, table: Mapping[str, Any], key: str, at: Key, least: float, most: float, *, default: float | None = None
    ) -> float:
        value = table.get(key, default)
        if value is None:
            self.wrong((*at, key), _("is required"))
        elif type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
            self.wrong((*at, key), _("a number from {least:g} to {most:g}").format(least=least, most=most))
        else:
            return float(value)
        return least

    def whole(
        self, table: Mapping[str, Any], key: str, at: Key, least: int, most: int, *, default: int | None = None
    ) -> int:
        value = table.get(key, default)
        if value is None:
            self.wrong((*at, key), _("is required"))
        elif type(value) is not int or not least <= value <= most:
            self.wrong((*at, key), _("a whole number from {least} to {most}").format(least=least, most=most))
        else:
            return value
        return least


def _profile(reader: _Reader, table: dict[str, Any], name: str) -> Profile:
    allowed = ("title", "source", "tried", "poll_s", "report_s", "word_order", "gap", "point", "output")
    reader.known(table, (), allowed)
    poll_s = reader.number(table, "poll_s", (), 0.1, 86_400, default=10)
    little = reader.choice(table, "word_order", (), ("big", "little"), "big") == "little"
    profile = Profile(
        name,
        reader.text(table, "title", ()),
        reader.text(table, "source", ()),
        tuple(_point(reader, entry, at, poll_s, little=little) for entry, at in reader.tables(table, "point", ())),
        tuple(_output(reader, entry, at) for entry, at in reader.tables(table, "output", ())),
        reader.text(table, "tried", (), ""),
        reader.number(table, "report_s", (), 1, 86_400, default=60),
        reader.whole(table, "gap", (), 0, 32, default=0),
    )
    if not profile.points:
        reader.wrong((), _("at least one [[point]] is required"))
    for kind, names in (("point", [p.name for p in profile.points]), ("output", [o.name for o in profile.outputs])):
        for index, one in enumerate(names):
            if one in names[:index]:
                reader.wrong((kind, index, "name"), _("{name} is used twice").format(name=one))
    return profile


def _point(reader: _Reader, table: dict[str, Any], at: Key, poll_s: float, *, little: bool) -> Point:
    allowed = ("name", "function", "register", "type", "bit", "word_order", "scale", "offset", "quantity", "poll_s")
    reader.known(table, at, (*allowed, "on", "off", "inverted", "threshold"))
    function = reader.choice(table, "function", at, (COILS, DISCRETE, HOLDING, INPUT))
    words = function in (HOLDING, INPUT)
    type_ = reader.choice(table, "type", at, tuple(SIZES) if words else ("bit",), None if words else "bit")
    if "bit" in table and not (type_ == "bit" and words):
        reader.wrong((*at, "bit"), _('only with function 3 or 4 and type = "bit"'))
    if type_ == "bit" and words and "bit" not in table:
        reader.wrong((*at, "bit"), _("is required"))
    quantity = reader.text(table, "quantity", at) if "quantity" in table else None
    if quantity is not None and not is_quantity(quantity):
        names = ", ".join(sorted(QUANTITIES))
        reader.wrong((*at, "quantity"), _("one of {names}").format(names=names) + " (_1, _2 …)")
    on, off = _meaning(reader, table, at, None, None)
    if on is not None and type_ != "bit":
        reader.wrong((*at, "on"), _('only with type = "bit"; of a value: [[point.threshold]]'))
    if quantity is None and on is None:
        reader.wrong(at, _("a quantity, or what a bit means (on = …), is required"))
    name = reader.text(table, "name", at, quantity or on or "")
    if not NAME.fullmatch(name):
        reader.wrong((*at, "name"), _("lower-case letters, digits and . _ -"))
    limits = tuple(_limit(reader, entry, inner) for entry, inner in reader.tables(table, "threshold", at))
    if limits and (quantity is None or type_ == "bit"):
        reader.wrong((*at, "threshold"), _("only with a quantity that is no bit"))
    scale = reader.number(table, "scale", at, -1e6, 1e6, default=1)
    if scale == 0:
        reader.wrong((*at, "scale"), _("anything but 0"))
    return Point(
        name=name,
        function=function,
        register=reader.whole(table, "register", at, 0, 65_536 - (SIZES[type_] if words else 1)),
        type=type_,
        bit=reader.whole(table, "bit", at, 0, 15, default=0),
        little=reader.choice(table, "word_order", at, ("big", "little"), "little" if little else "big") == "little",
        scale=scale,
        offset=reader.number(table, "offset", at, -1e6, 1e6, default=0),
        quantity=quantity,
        poll_s=reader.number(table, "poll_s", at, 0.1, 86_400, default=poll_s),
        on=on,
        off=off,
        inverted=reader.choice(table, "inverted", at, (False, True), default=False),
        limits=limits,
    )


def _meaning(
    reader: _Reader, table: dict[str, Any], at: Key, on: str | None, off: str | None
) -> tuple[str | None, str | None]:
    """Return what it is called when something begins, and when it ends."""
    if "on" in table:
        on = reader.choice(table, "on", at, tuple(MEANINGS))
        off = None
    if "off" in table:
        end = MEANINGS.get(on) if on is not None else None
        if end is None:
            reader.wrong((*at, "off"), _("nothing: {on} has no end of its own").format(on=on or "–"))
        else:
            off = reader.choice(table, "off", at, (end,))
    return on, off


def _limit(reader: _Reader, table: dict[str, Any], at: Key) -> Limit:
    reader.known(table, at, (*SIDES, "hysteresis", "over_s", "on", "off"))
    sides = [side for side in SIDES if side in table]
    if len(sides) != 1:
        reader.wrong(at, _("exactly one of {names} is required").format(names=", ".join(SIDES)))
        return Limit("above", 0.0)
    moving = sides[0] in ("rising", "falling")
    if "over_s" in table and not moving:
        reader.wrong((*at, "over_s"), _("only with rising or falling"))
    on, off = _meaning(reader, table, at, EXCEEDED, RESTORED)
    return Limit(
        sides[0],
        reader.number(table, sides[0], at, 1e-9 if moving else -1e9, 1e9),
        reader.number(table, "hysteresis", at, 0, 1e9, default=0),
        reader.number(table, "over_s", at, 1, 3600, default=60),
        on or EXCEEDED,
        off,
    )


def _output(reader: _Reader, table: dict[str, Any], at: Key) -> Output:
    reader.known(table, at, ("name", "function", "register", "on", "off"))
    function = reader.choice(table, "function", at, (WRITE_COIL, WRITE_REGISTER))
    for key in ("on", "off"):
        if key in table and function == WRITE_COIL:
            reader.wrong((*at, key), _("only with function 6"))
    name = reader.text(table, "name", at)
    if not NAME.fullmatch(name):
        reader.wrong((*at, "name"), _("lower-case letters, digits and . _ -"))
    register = reader.whole(table, "register", at, 0, 65_535)
    on, off = (reader.whole(table, key, at, 0, 65_535, default=usual) for key, usual in (("on", 1), ("off", 0)))
    return Output(name, function, register, on, off)
