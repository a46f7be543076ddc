"""A GNSS receiver that talks NMEA 0183: what a tower's or a patrol boat's says, once or more a second.

It stands still with some metres of error that wander, as real ones do, or goes along its way from place to place. What
can be wrong with one is done to it by `fault`: it has no fix, says nothing, or what it says is damaged. Its time is
the clock's that it is given, and `off_s` wrong: a receiver behind a spoofer, or after the rollover of its week counter.

Source: NMEA 0183 4.10 as u-blox's M8 speaks it (Receiver Description, "NMEA Protocol"); IS-GPS-200, 20.3.3.3.1.1 (the
week has ten bits).
"""

import asyncio
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor
from random import Random
from typing import Final, Literal, Self

from firmware_sim.line import Line

Fault = Literal["none", "outage", "mute", "garbage"]
Talker = Literal["GP", "GL", "GA", "GB"]

ROLLOVER_S: Final = -1024 * 7 * 86_400.0  # by so much an old receiver is wrong when its ten bits of weeks are full
LATENCY: Final = 0.06  # seconds from the moment that a sentence tells to its first byte
BURST_BYTES: Final = 900  # at most, of all sentences of one moment with three talkers
EARTH: Final = 6_371_000.0  # m, a sphere: these are tests, not charts
ALTITUDE, GEOID = 42.5, 12.3  # m
WANDER_S: Final = 60.0  # how long an error of position lasts
KNOT: Final = 1.852 / 3.6  # m/s
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# What each system's satellites are called, its number in GSA, and what of them is overhead: elevation, azimuth, C/N0.
_NUMBERS: Final[dict[str, tuple[int, int]]] = {"GP": (1, 1), "GL": (2, 65), "GA": (3, 1), "GB": (4, 1)}
_OVERHEAD: Final = ((71, 44, 45), (55, 312, 43), (38, 187, 40), (33, 95, 41), (24, 259, 36), (12, 18, 30))


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Where it is at a time, seconds since 1970."""

    at: float
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class _Motion:
    latitude: float
    longitude: float
    speed: float  # m/s
    course: float  # degrees


def sentence(body: str) -> bytes:
    """Return a whole sentence around its fields."""
    return f"${body}*{reduce(xor, body.encode(), 0):02X}\r\n".encode()


class Receiver:
    """What it says at a moment: `burst(now)`. `way`, in order of time, is where it is; outside it stands at an end."""

    def __init__(
        self, way: Sequence[Waypoint], *, talkers: Sequence[Talker] = ("GP", "GL"), noise_m: float = 2.0, seed: int = 0
    ) -> None:
        self.fault: Fault = "none"
        self.off_s = 0.0
        self.way = list(way)
        self._talkers = talkers
        self._own = talkers[0] if len(talkers) == 1 else "GN"
        self._noise_m = noise_m
        self._random = Random(seed)
        self._error = (0.0, 0.0)  # m to the north, m to the east
        self._said_at: float | None = None

    def move(self, latitude: float, longitude: float, *, now: float, seconds: float) -> None:
        """Go there from where it is, within so many seconds; 0: at once."""
        here = self._motion(now)
        self.way = [Waypoint(now, here.latitude, here.longitude), Waypoint(now + seconds, latitude, longitude)]

    def burst(self, now: float) -> list[bytes]:
        """Return the sentences of this moment, seconds since 1970: what the line carries, in that order."""
        if self.fault == "mute":
            return []
        told = [sentence(body) for body in self._told(now)]
        return [self._damaged(one) for one in told] if self.fault == "garbage" else told

    def _told(self, now: float) -> list[str]:
        moment = EPOCH + timedelta(seconds=now + self.off_s)
        clock, date = f"{moment:%H%M%S}.{moment.microsecond // 10_000:02d}", f"{moment:%d%m%y}"
        zda = f"{self._own}ZDA,{clock},{moment:%d,%m,%Y},00,00"
        if self.fault == "outage":
            return [
                f"{self._own}RMC,{clock},V,,,,,,,{date},,,N,V",
                f"{self._own}VTG,,,,,,,,,N",
                f"{self._own}GGA,{clock},,,,,0,00,99.99,,,,,,",
                *(f"{self._own}GSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99,{_NUMBERS[one][0]}" for one in self._talkers),
                *(f"{one}GSV,1,1,00,0" for one in self._talkers),
                zda,
            ]
        motion = self._motion(now)
        latitude, longitude = self._measured(motion, now)
        place = f"{_degrees(latitude, 2)},{'NS'[latitude < 0]},{_degrees(longitude, 3)},{'EW'[longitude < 0]}"
        moves = motion.speed > 0.5  # m/s; slower than that a receiver gives no course
        course = f"{motion.course:.2f}" if moves else ""
        knots, kmh = motion.speed / KNOT, motion.speed * 3.6
        used = min(12, len(self._talkers) * len(_OVERHEAD))
        return [
            f"{self._own}RMC,{clock},A,{place},{knots:.3f},{course},{date},,,A,V",
            f"{self._own}VTG,{course},T,,M,{knots:.3f},N,{kmh:.3f},K,A",
            f"{self._own}GGA,{clock},{place},1,{used:02d},0.92,{ALTITUDE},M,{GEOID},M,,",
            *self._satellites(),
            zda,
        ]

    def _satellites(self) -> list[str]:
        """Return GSA and GSV: which satellites it goes by, and which are overhead."""
        said: list[str] = []
        for talker in self._talkers:
            system, first = _NUMBERS[talker]
            ids = [f"{first + 3 * number:02d}" for number in range(len(_OVERHEAD))]
            said.append(f"{self._own}GSA,A,3,{','.join(ids)}{',' * (12 - len(ids))},1.71,0.92,1.44,{system}")
        for talker in self._talkers:
            seen = [
                f"{_NUMBERS[talker][1] + 3 * number:02d},{up:02d},{around:03d},{cno + self._random.randint(-2, 2):02d}"
                for number, (up, around, cno) in enumerate(_OVERHEAD)
            ]
            pages = [seen[at : at + 4] for at in range(0, len(seen), 4)]
            said += [
                f"{talker}GSV,{len(pages)},{page},{len(seen):02d},{','.join(four)},1"
                for page, four in enumerate(pages, 1)
            ]
        return said

    def _motion(self, now: float) -> _Motion:
        passed = bisect_right(self.way, now, key=lambda one: one.at)
        if passed in {0, len(self.way)}:
            end = self.way[max(0, passed - 1)]
            return _Motion(end.latitude, end.longitude, 0.0, 0.0)
        before, after = self.way[passed - 1], self.way[passed]
        gone = (now - before.at) / (after.at - before.at)
        north = math.radians(after.latitude - before.latitude) * EARTH
        east = math.radians(after.longitude - before.longitude) * EARTH * math.cos(math.radians(before.latitude))
        return _Motion(
            before.latitude + gone * (after.latitude - before.latitude),
            before.longitude + gone * (after.longitude - before.longitude),
            math.hypot(north, east) / (after.at - before.at),
            math.degrees(math.atan2(east, north)) % 360,
        )

    def _measured(self, motion: _Motion, now: float) -> tuple[float, float]:
        """Return where it believes itself: its error forgets itself within a minute and is as large as ever."""
        kept = 0.0 if self._said_at is None else math.exp(-max(0.0, now - self._said_at) / WANDER_S)
        self._said_at = now
        fresh = self._noise_m * math.sqrt(1 - kept**2)
        north, east = (kept * error + self._random.gauss(0, fresh) for error in self._error)
        self._error = (north, east)
        latitude = motion.latitude + math.degrees(north / EARTH)
        return latitude, motion.longitude + math.degrees(east / EARTH / math.cos(math.radians(latitude)))

    def _damaged(self, whole: bytes) -> bytes:
        """Return it as a bad wire, a wrong baud rate or another protocol would have it."""
        match self._random.randrange(5):
            case 0:
                return whole[: self._random.randrange(1, len(whole) - 5)]  # the next runs on
            case 1:
                at = self._random.randrange(7, len(whole) - 5)
                return whole[:at] + bytes((whole[at] ^ 0x10,)) + whole[at + 1 :]
            case 2:
                return whole[:-4] + (b"00" if whole[-4:-2] != b"00" else b"01") + b"\r\n"
            case 3:
                return b"\xb5\x62\x01\x07\x5c\x00" + self._random.randbytes(94)  # UBX-NAV-PVT
            case _:
                return sentence(f"{self._own}RMC,256161.00,A,9961.00000,N,18161.00000,W,x,,320013,,,A,V")


def _degrees(angle: float, digits: int) -> str:
    """Return degrees and minutes as NMEA has them, without their sign."""
    minutes = round(abs(angle) * 60, 5)
    return f"{int(minutes // 60):0{digits}d}{minutes % 60:08.5f}"


class Gnss:
    """A receiver on a line, while inside: `rate_hz` bursts a second, at whole moments of its clock."""

    def __init__(
        self, line: Line, receiver: Receiver, *, rate_hz: float = 1.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.receiver = receiver
        self.clock = clock
        self._line = line
        self._rate = rate_hz
        self._talking: asyncio.Task[None] | None = None

    def move(self, latitude: float, longitude: float, seconds: float = 0.0) -> None:
        """Go there, within so many seconds from now."""
        self.receiver.move(latitude, longitude, now=self.clock(), seconds=seconds)

    async def __aenter__(self) -> Self:
        self._talking = asyncio.create_task(self._talk())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._talking is not None
        self._talking.cancel()
        with suppress(asyncio.CancelledError):
            await self._talking

    async def _talk(self) -> None:
        while True:
            now = self.clock()
            moment = (math.floor((now - LATENCY) * self._rate) + 1) / self._rate
            await asyncio.sleep(moment + LATENCY - now)
            for one in self.receiver.burst(moment):
                self._line.write(one)
