"""NMEA 0183 on a serial line: bytes in, sentences out, and whatever is none is counted by its kind.

A line may bring anything: half a sentence after a start, a receiver's own binary (UBX, SiRF) between sentences, noise
at a wrong baud rate. A sentence begins with `$` and ends with the line; it counts with its right checksum alone,
without one not at all. That is looked at first, in linear time; pynmea2 reads what is left. A field that this can't
convert it hands on as it came, so that of each field the type is checked here, and the range; of a sentence that its
receiver calls invalid none is read. What has a right checksum was heard, also where it says nothing of use.

Refused are: `partial` (another began before it ended), `long`, `garbled` (with other than printable ASCII),
`malformed`, `checksum`, `unchecked` (it has none), `unknown` (a type that nobody knows), `range` (a field that can't
be: latitude 91, the 32nd of the month). `noise` are bytes outside of sentences, and of one reading too many.

Source: NMEA 0183 4.11, 5.3 "Sentences"; its 82 characters are exceeded by real receivers (PUBX, GNS).
"""

import re
from collections import Counter
from collections.abc import Callable
from datetime import date, time
from functools import reduce
from operator import xor
from typing import Any, Final

from gateway.drivers.serial_port import Beat, SerialPort
from gateway.sensing.fix import VOUCHED, Said

REFUSALS: Final = ("partial", "long", "garbled", "malformed", "checksum", "unchecked", "unknown", "range")
SENTENCE_MAX: Final = 256  # characters of one: what is buffered at the most
READ_MAX: Final = 16_384  # bytes of one reading that are looked at: the newest, for they tell what is now

_PIECES: Final = re.compile(rb"[\x20-\x23\x25-\x7e]+|\$|[\r\n]+|[^\x20-\x7e\r\n]+")
_CHECKED: Final = re.compile(r"\$([^*]{6,})\*([0-9A-Fa-f]{2}) *")
_DEGREES: Final = re.compile(r"([0-9]{1,3})([0-9]{2}(?:\.[0-9]*)?)")
_NUMBER: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]*)?|\.[0-9]+")
_FIXED: Final = frozenset("ADFPR")  # mode indicators: autonomous, differential, float RTK, precise, RTK
_LEAP_SECOND: Final = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9])60(?:\.0*)?")
_YEARS: Final = range(1980, 2100)  # since GPS time began; two digits are of these


class _RangeError(Exception):
    """A field that can't be what it says."""


class Sentences:
    """Finds sentences in a stream and reads them; nothing is raised, whatever comes."""

    def __init__(self) -> None:
        import pynmea2  # noqa: PLC0415  # a gateway without a receiver starts without it

        self._library: Any = pynmea2  # it has no types
        self.refused: Counter[str] = Counter()
        self.noise = 0  # bytes
        self.read = 0  # sentences with a right checksum, whatever is in them
        self._open: bytearray | None = None  # a sentence that has begun
        self._skipping = False  # until the next begins, what comes belongs to one that was refused

    def feed(self, data: bytes) -> list[Said]:
        """Take bytes; return what they complete. A sentence that says nothing of use is an empty one."""
        if len(data) > READ_MAX:
            self.noise += len(data) - READ_MAX
            self.anew()
            data = data[-READ_MAX:]
        found = []
        for piece in _PIECES.findall(data):
            if piece == b"$":
                if self._open is not None:
                    self.refused["partial"] += 1
                self._open, self._skipping = bytearray(piece), False
            elif self._open is None:
                end = piece[0] in b"\r\n"
                self.noise += 0 if end or self._skipping else len(piece)
                self._skipping = self._skipping and not end
            elif piece[0] in b"\r\n":
                text, self._open = self._open.decode("ascii"), None
                if (said := self._sentence(text)) is not None:
                    found.append(said)
            elif not 0x20 <= piece[0] <= 0x7E:
                self._refuse("garbled")
            elif len(self._open) + len(piece) > SENTENCE_MAX:
                self._refuse("long")
            else:
                self._open += piece
        return found

    def anew(self) -> None:
        """The line was lost: half a sentence from before is not completed by what comes after."""
        self._open, self._skipping = None, False

    def _refuse(self, kind: str) -> None:
        self.refused[kind] += 1
        self._open, self._skipping = None, True

    def _sentence(self, text: str) -> Said | None:
        parts, library = _CHECKED.fullmatch(text), self._library
        if parts is None:
            self.refused["malformed" if "*" in text or "," not in text else "unchecked"] += 1
            return None
        if reduce(xor, parts[1].encode()) != int(parts[2], 16):
            self.refused["checksum"] += 1
            return None
        self.read += 1
        try:
            return _said(library.parse(parts[1]))
        except library.SentenceTypeError:
            kind = "unknown"
        except _RangeError:
            kind = "range"
        except Exception:  # noqa: BLE001  # the library raises whatever its constructors and converters do
            kind = "malformed"
        self.refused[kind] += 1
        return Said()


def _said(sentence: Any) -> Said:
    """Return what a sentence says; raises _RangeError."""
    get = _fields(sentence)
    match getattr(sentence, "sentence_type", None):
        case "RMC":
            mode = get("mode_indicator")  # from NMEA 2.3 on
            if get("status") != "A" or (mode and mode not in _FIXED):
                return Said(valid=False)
            return Said(**_place(get), second=_second(get), day=_date(get("datestamp")))
        case "GGA":
            quality = _whole(get("gps_qual"), 9)
            if quality not in VOUCHED:
                return Said(valid=False, quality=quality)
            grade = _grade(get("num_sats"), get("horizontal_dil"))
            return Said(**_place(get), quality=quality, **grade, second=_second(get))
        case "GNS":
            if not any(mode in _FIXED for mode in get("mode_indicator")):  # a letter for each system
                return Said(valid=False)
            return Said(**_place(get), **_grade(get("num_sats"), get("hdop")), second=_second(get))
        case "GLL":
            mode = get("faa_mode")
            if get("status") != "A" or (mode and mode not in _FIXED):
                return Said(valid=False)
            return Said(**_place(get), second=_second(get))
        case "GSA":
            return Said() if get("mode_fix_type") == "1" else Said(**_grade("", get("hdop")))
        case "ZDA":
            return Said(second=_second(get), day=_day(get("year"), get("month"), get("day")))
        case _:
            return Said()


def _fields(sentence: Any) -> Callable[[str], Any]:
    """Return what gives a field: a text, what the library has made of it, "" where the sentence ends before it."""

    def get(name: str) -> Any:
        value = getattr(sentence, name)
        return "" if value is None else value

    return get


def _place(get: Callable[[str], Any]) -> dict[str, Any]:
    latitude = _degrees(get("lat"), get("lat_dir"), "NS", 90.0)
    longitude = _degrees(get("lon"), get("lon_dir"), "EW", 180.0)
    if (latitude is None) != (longitude is None):
        raise _RangeError
    return {"latitude": latitude, "longitude": longitude, "valid": latitude is not None}


def _degrees(text: str, side: str, sides: str, most: float) -> float | None:
    if not text and not side:
        return None
    parts = _DEGREES.fullmatch(text)
    if not text and side in sides:
        return None  # a side that stands alone: some receivers' way of saying that there is no fix
    if parts is None or len(side) != 1 or side not in sides:
        raise _RangeError
    minutes = float(parts[2])
    degrees = int(parts[1]) + minutes / 60
    if minutes >= 60 or degrees > most:
        raise _RangeError
    return -degrees if side in "SW" else degrees


def _grade(satellites: str, hdop: str) -> dict[str, Any]:
    dilution = _decimal(hdop)
    return {"satellites": None if satellites == "" else _whole(satellites, 999), "hdop": dilution or None}


def _decimal(text: str) -> float | None:
    if text == "":
        return None
    if _NUMBER.fullmatch(text) is None:
        raise _RangeError
    return float(text)


def _whole(value: Any, most: int) -> int | None:
    """Return a number, of a text or of what the library has made one."""
    if value == "":
        return None
    if isinstance(value, str) and value.isdigit() and value.isascii() and len(value) <= 6:
        value = int(value)
    if type(value) is not int or not 0 <= value <= most:
        raise _RangeError
    return value


def _second(get: Callable[[str], Any]) -> float | None:
    value = get("timestamp")
    if value == "":
        return None
    if isinstance(value, str) and (leap := _LEAP_SECOND.fullmatch(value)) is not None:
        return (int(leap[1]) * 60 + int(leap[2]) + 1) * 60.0
    if not isinstance(value, time):
        raise _RangeError
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def _date(value: Any) -> date | None:
    """Return a day of a year of two digits, which the library takes for one since 1969."""
    if value == "":
        return None
    if not isinstance(value, date):
        raise _RangeError
    return value if value.year in _YEARS else value.replace(year=value.year + 100)


def _day(year: Any, month: Any, day: Any) -> date | None:
    if (year, month, day) == ("", "", ""):
        return None
    number = _whole(year, _YEARS[-1]) or 0
    try:
        found = date(number, _whole(month, 12) or 0, _whole(day, 31) or 0)
    except ValueError:
        raise _RangeError from None
    if number not in _YEARS:
        raise _RangeError
    return found


class Nmea:
    """One receiver on a serial line. Each run has a line of its own: what an abandoned one reads reaches nobody."""

    def __init__(
        self,
        device: str,
        baud: int,
        *,
        said: Callable[[Said], None],
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
        line: Callable[..., SerialPort] = SerialPort,
    ) -> None:
        self.sentences = Sentences()
        self._said = said
        self._told_lost = lost
        self._told_restored = restored
        self._device, self._baud, self._random, self._line = device, baud, random, line
        self.port = self._made()

    async def run(self, beat: Beat) -> None:
        """Read the line; ends only when cancelled."""
        trouble = self.port.trouble
        self.port = port = self._made()
        port.trouble = trouble  # what was told as lost is to be told as restored
        self.sentences.anew()
        await port.run(beat)

    def close(self) -> None:
        """Let go of the line, whatever the run that has it does."""
        self.port.close()

    def _made(self) -> SerialPort:
        mine: list[SerialPort] = []

        def current() -> bool:
            return self.port is mine[0]

        mine.append(
            self._line(
                self._device,
                self._baud,
                received=lambda data: self._received(data) if current() else None,
                lost=lambda reason: self._lost(reason) if current() else None,
                restored=lambda: self._told_restored() if current() else None,
                random=self._random,
            )
        )
        return mine[0]

    def _received(self, data: bytes) -> None:
        for said in self.sentences.feed(data):
            self._said(said)

    def _lost(self, reason: str) -> None:
        self.sentences.anew()
        self._told_lost(reason)
