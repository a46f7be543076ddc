"""The record: what the gateway signs, stores and sends (wire.md, section 2).

`encode` gives the payload that `cose.Signer` signs; `decode` is the strict way back. A record's place among the
others (`previous`, `link`) is made and checked in `chain`. Keys that aren't known here are kept with the bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from gateway.errors import Refused
from gateway.event import LANE_NAMES, Lane, Position
from gateway.signing import deterministic
from gateway.topics import is_part

ZEROS: Final = bytes(32)  # the `previous` of a lane's first record ever
INT_MAX: Final = 2**53 - 1  # 285 years of microseconds; a thousand times as much still fits a store
UNKNOWN_MS: Final = 2**32 - 1  # an uncertainty nobody knows
_NUMBERED: Final = frozenset({int})  # the types of a map's keys
_NAMED: Final = frozenset({str})
LANES: Final = tuple(Lane)
SYNCHRONISED: Final = frozenset({2, 3})  # clock sources that know the time: NTP, GNSS


class Clock(NamedTuple):
    """How far the signed time is to be trusted.

    `source`: 0 unsynchronised, 1 RTC or floor, 2 NTP, 3 GNSS; `monotonic_ms` since the epoch's start, by which any
    record of a synchronised clock fixes the time of the others.
    """

    source: int
    uncertainty_ms: int
    monotonic_ms: int


class Record(NamedTuple):  # tuples: a receiver makes one for each record of a flood
    """One signed happening. Times are microseconds since 1970; an epoch is 8 bytes."""

    gateway: str
    epoch: bytes
    lane: Lane
    sequence: int
    previous: bytes
    link: tuple[bytes, int] | None
    occurred_us: int
    clock: Clock
    type: str
    source: str
    event_number: int | None = None
    position: Position | None = None
    data: Mapping[str, Any] | None = None
    flags: int = 0

    @property
    def identity(self) -> str:
        """`<gateway>/<epoch>/<lane>/<sequence>`."""
        return f"{self.gateway}/{self.epoch.hex()}/{LANE_NAMES[self.lane]}/{self.sequence}"


def encode(record: Record) -> bytes:
    """Return the deterministic CBOR that is signed."""
    clock, position = record.clock, record.position
    fields: dict[int, object] = {
        1: record.gateway,
        2: record.epoch,
        3: int(record.lane),
        4: record.sequence,
        5: record.previous,
    }
    if record.link is not None:
        fields[6] = list(record.link)
    fields |= {
        7: record.occurred_us,
        8: [clock.source, clock.uncertainty_ms, clock.monotonic_ms],
        9: record.type,
        10: record.source,
    }
    if record.event_number is not None:
        fields[11] = record.event_number
    if position is not None:
        fields[12] = [position.latitude, position.longitude]
        if position.accuracy_cm is not None:
            fields[12] = [position.latitude, position.longitude, position.accuracy_cm]
    if record.data is not None:
        fields[13] = dict(record.data)
    if record.flags:
        fields[14] = record.flags
    return deterministic.encode(fields)


def is_uint(value: object) -> bool:
    """Whether this is an unsigned integer that a store can hold, with room for sums (a CBOR true is none)."""
    return type(value) is int and 0 <= value <= INT_MAX


def is_int(value: object) -> bool:
    """Whether this is an integer that a store can hold."""
    return type(value) is int and -INT_MAX <= value <= INT_MAX


def is_bytes(value: object, size: int) -> bool:
    """Whether this is a byte string of exactly this size."""
    return type(value) is bytes and len(value) == size


def decode(payload: bytes, *, strict: bool = True) -> Record | Refused:
    """Read a record's payload, refusing whatever wire.md doesn't allow. No signature is checked here.

    Not `strict`: every field is checked, the encoding is not. That is for a record of a run, before its turn to be
    vouched for by the hash in the record after it; if that doesn't happen the caller checks `is_deterministic`.
    """
    fields = deterministic.decode(payload) if strict else deterministic.read(payload)
    if type(fields) is not dict:
        return fields if isinstance(fields, Refused) else Refused("a payload that is no map")
    if not _NUMBERED.issuperset(map(type, fields)):
        return Refused("a payload that is no map of numbered keys")
    get: Callable[..., Any] = fields.get
    gateway, epoch, lane, sequence, previous = get(1), get(2), get(3), get(4), get(5)
    if type(gateway) is not str or not is_part(gateway):
        return Refused("no gateway id (key 1)")
    if type(epoch) is not bytes or len(epoch) != 8:
        return Refused("no epoch (key 2)")
    if type(lane) is not int or not 0 <= lane <= 2:
        return Refused("no such lane (key 3)")
    if type(sequence) is not int or not 1 <= sequence <= INT_MAX:
        return Refused("no sequence (key 4)")
    if type(previous) is not bytes or len(previous) != 32:
        return Refused("no hash of the previous record (key 5)")
    link = _link(fields[6]) if 6 in fields else None
    if isinstance(link, Refused):
        return link
    first_after = sequence == 1 and previous != ZEROS
    if (link is not None) != first_after or (sequence != 1 and previous == ZEROS):
        return Refused("a link (key 6) that doesn't fit sequence and hash")
    occurred, clock, type_, source = get(7), _clock(get(8)), get(9), get(10)
    if type(occurred) is not int or not -INT_MAX <= occurred <= INT_MAX:
        return Refused("no time (key 7)")
    if isinstance(clock, Refused):
        return clock
    if type(type_) is not str or not 1 <= len(type_) <= 64:
        return Refused("no type (key 9)")
    if type(source) is not str or not is_part(source):
        return Refused("no source (key 10)")
    if 11 in fields and not is_uint(fields[11]):
        return Refused("an event number that is none (key 11)")
    position = _position(fields[12]) if 12 in fields else None
    if isinstance(position, Refused):
        return position
    if 13 in fields and (type(fields[13]) is not dict or not _NAMED.issuperset(map(type, fields[13]))):
        return Refused("data that is no map of text keys (key 13)")
    if 14 in fields and not is_uint(fields[14]):
        return Refused("flags that are no number (key 14)")
    return Record(
        gateway, epoch, LANES[lane], sequence, previous, link, occurred, clock, type_, source,
        get(11), position, get(13), get(14, 0),
    )  # fmt: skip


def _link(value: object) -> tuple[bytes, int] | Refused:
    if type(value) is list and len(value) == 2 and is_bytes(value[0], 8) and is_uint(value[1]):
        return value[0], value[1]
    return Refused("a link that is no epoch and sequence (key 6)")


def _clock(value: object) -> Clock | Refused:
    if type(value) is list and len(value) == 3:
        source, uncertainty, monotonic = value
        if type(source) is int and 0 <= source <= 3 and is_uint(uncertainty) and is_int(monotonic):
            return Clock(source, uncertainty, monotonic)
    return Refused("no clock (key 8)")


def _position(value: object) -> Position | Refused:
    if type(value) is list and 2 <= len(value) <= 3 and is_int(value[0]) and is_int(value[1]):
        accuracy = value[2] if len(value) == 3 else None
        if accuracy is None or is_uint(accuracy):
            return Position(value[0], value[1], accuracy)
    return Refused("a position that is none (key 12)")
