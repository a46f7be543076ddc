"""What delivery handles: signed records by their place in this gateway's order, without looking inside."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.event import Lane

Position = tuple[int, int]  # (ordinal of the epoch in this store, sequence): the order of a lane


@dataclass(frozen=True, slots=True)
class Item:
    """A signed record, whole."""

    lane: Lane
    ordinal: int
    sequence: int
    wire: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive records of one lane and epoch, both ends included."""

    lane: Lane
    ordinal: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class After:
    """All of a lane that comes after a place; None: from its beginning."""

    lane: Lane
    position: Position | None


Want = Run | After


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What of a device must outlive the gateway."""

    device: str
    counter: int
    tag: bytes
    seen: int
    proven: bool
    highest_event: int
    key_id: bytes = b""  # whose counters these are: another key under the same id counts for itself


@dataclass(frozen=True, slots=True)
class EventState:
    """An event number that was recorded, and how far its record has come."""

    device: str
    number: int
    lane: Lane
    ordinal: int
    sequence: int
    stage: int


PRESS = "press."  # begins what is noted of a press: it holds as long as its record is in the same store


@dataclass(frozen=True, slots=True)
class Note:
    """What supervision must know after a restart: a trouble that was told and not its end, or what a device is like.

    `value` None: it holds no more. `stamp` is the store's, and rises: of two notes of one thing the later one counts,
    in whatever order their records become durable.
    """

    source: str
    what: str
    value: int | None
    stamp: int = field(default=0, compare=False)


RAISED_KEPT: Final = 256  # events of a source and type that are known by their keys


@dataclass(frozen=True, slots=True)
class Raised:
    """An event that a local source asked to have recorded: by this number, once; `digest` is of what it said."""

    source: str
    type: str
    number: int
    digest: bytes
    at_us: int


@dataclass(frozen=True, slots=True)
class RaisedState:
    """Where a local source's event was recorded, and how far its record has come."""

    raised: Raised
    lane: Lane
    ordinal: int
    sequence: int
    epoch: bytes
    stage: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to store, with what belongs into its transaction; `stored` is called once it is durable.

    `drops` is what the record declares unavailable (`records.unavailable`): all of it that is still held leaves. If it
    is `lost`, that is remembered: C5 is told so whenever it asks.
    `acknowledges` is the device and number of the event that an operator has seen, as the record says.
    """

    item: Item
    digest: bytes
    device: DeviceState | None = None
    event_number: int | None = None
    stored: Callable[[], None] | None = None
    drops: tuple[Run, ...] = ()
    acknowledges: tuple[str, int] | None = None
    notes: tuple[Note, ...] = ()
    lost: bool = False
    raised: Raised | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """A run that is here no more, and the place of the status record that tells C5 so."""

    run: Run
    by: Position
