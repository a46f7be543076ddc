"""From a profile's points to few reads, and from what was read to values.

A read takes adjacent registers of one function and one period together. Registers in between that nobody asked for are
taken along only as far as the profile says: many units refuse a read that touches one they don't have.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from gateway.sensing.profile import BITS_MAX, COILS, DISCRETE, REGISTERS_MAX, SIZES, Point, Profile


@dataclass(frozen=True, slots=True)
class Read:
    """One request, and the points that its answer tells."""

    function: int
    register: int
    count: int
    poll_s: float
    points: tuple[Point, ...]


def reads(profile: Profile) -> tuple[Read, ...]:
    """Return the requests that a profile takes."""
    found: list[Read] = []
    for point in sorted(profile.points, key=lambda point: (point.function, point.poll_s, point.register)):
        size = SIZES[point.type]
        most = BITS_MAX if point.function in (COILS, DISCRETE) else REGISTERS_MAX
        last = found[-1] if found else None
        if last is not None and (last.function, last.poll_s) == (point.function, point.poll_s):
            end = max(last.register + last.count, point.register + size)
            if point.register <= last.register + last.count + profile.gap and end - last.register <= most:
                points = (*last.points, point)
                found[-1] = Read(last.function, last.register, end - last.register, last.poll_s, points)
                continue
        found.append(Read(point.function, point.register, size, point.poll_s, (point,)))
    return tuple(found)


def decode(read: Read, words: Sequence[int]) -> Mapping[str, float | bool | None]:
    """Return each point's value by its name; None where the unit says that it has none (not a number).

    `words` are as many as the read asked for; the driver sees to that.
    """
    return {point.name: _value(point, words[point.register - read.register :]) for point in read.points}


def _value(point: Point, words: Sequence[int]) -> float | bool | None:
    match point.type:
        case "bit":
            set_ = bool(words[0]) if point.function in (COILS, DISCRETE) else bool(words[0] >> point.bit & 1)
            return set_ != point.inverted
        case "u16":
            raw: float = words[0]
        case "s16":
            raw = words[0] - (words[0] >> 15 << 16)
        case "u32":
            raw = _long(point, words)
        case "s32":
            raw = _long(point, words)
            raw -= raw >> 31 << 32
        case _:
            (raw,) = struct.unpack(">f", struct.pack(">I", _long(point, words)))
            if not math.isfinite(raw):
                return None
            raw = float(f"{raw:.7g}")  # what a single-precision number means, not what it looks like as a double
    # In decimals, so that 2.5 × 0.1 is what a person reads on the unit's own display.
    return float(Decimal(repr(raw)) * Decimal(repr(point.scale)) + Decimal(repr(point.offset)))


def _long(point: Point, words: Sequence[int]) -> int:
    high, low = (words[1], words[0]) if point.little else (words[0], words[1])
    return high << 16 | low
