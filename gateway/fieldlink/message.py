"""Field Link messages: what the payloads say, read and written, in both directions.

An authentic payload that breaks the rules is a value: an EVENT becomes `Unreadable` (it still is a device of ours that
wants something), any other message `Ignored`. An optional key of the wrong type or range counts as absent; unknown
keys, and the inside of an EVENT's key 6, are not looked at.

Source: wire.md, section 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import cbor2

from gateway.fieldlink import cbor

EXPONENT_MAX: Final = 9
KIND_RELEASED: Final = 16  # kinds 16 to 24 are restorals, troubles and the test: they may wait
KIND_TEST: Final = 24
KINDS: Final = frozenset({*range(1, 8), *range(KIND_RELEASED, KIND_TEST + 1)})


class Type(IntEnum):
    """The message types of Field Link v1."""

    HELLO = 1
    EVENT = 2
    HEARTBEAT = 3
    MEASUREMENT = 4
    RESULT = 5
    ACK = 8
    COMMAND = 9


@dataclass(frozen=True, slots=True)
class Hello:
    """A device started."""

    firmware: str
    model: str
    reset_cause: int
    last_event: int


@dataclass(frozen=True, slots=True)
class EventMessage:
    """Something happened at a device.

    `plaintext` is kept where the message says more than these fields: it carried key 6, or its kind is unknown.
    """

    number: int
    kind: int
    age_ms: int
    battery_mv: int | None = None
    rssi_dbm: int | None = None
    plaintext: bytes | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An authentic EVENT that can't be read. It has no number, so no ACK is possible."""

    plaintext: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A device lives."""

    uptime_s: int
    battery_mv: int | None = None
    rssi_dbm: int | None = None
    temperature_centidegrees: int | None = None
    interval_s: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured quantity: its value times 10^exponent, and the index where a device has several."""

    quantity: int
    value: int
    exponent: int
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a device measured, `age_ms` ago."""

    readings: tuple[Reading, ...]
    age_ms: int


@dataclass(frozen=True, slots=True)
class Result:
    """A device's answer to a command."""

    command_number: int
    status: int
    text: str | None = None
    challenge: bytes | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """The gateway tells a device how far its event has come."""

    event_number: int
    stage: int


@dataclass(frozen=True, slots=True)
class Command:
    """The gateway asks something of a device; the values of `arguments` are numbers, truths, text or bytes."""

    number: int
    command: int
    arguments: Mapping[int, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """An authentic message of unknown type, or one that can't be read and is no EVENT: counted, never acted on."""

    type: int
    reason: str


Upward = Hello | EventMessage | Unreadable | Heartbeat | Measurement | Result | Ignored
Downward = Ack | Command | Ignored
Sendable = Hello | EventMessage | Heartbeat | Measurement | Result | Ack | Command


_Fields = dict[int, bytes]


def read_upward(type_: int, plaintext: bytes) -> Upward:
    """Read what a device said in an authentic frame."""
    fields = cbor.read_map(plaintext)
    message: Upward | None = None
    match type_:
        case Type.EVENT:
            message = None if fields is None else _event(fields, plaintext)
            return message or Unreadable(plaintext)
        case Type.HELLO | Type.HEARTBEAT | Type.MEASUREMENT | Type.RESULT:
            message = None if fields is None else _READERS[type_](fields)
            return message or Ignored(type_, "unreadable")
        case _:
            return Ignored(type_, "unknown type")


def read_downward(type_: int, plaintext: bytes) -> Downward:
    """Read what the gateway said in an authentic frame."""
    fields = cbor.read_map(plaintext)
    message: Downward | None = None
    match type_:
        case Type.ACK:
            message = None if fields is None else _ack(fields)
        case Type.COMMAND:
            message = None if fields is None else _command(fields)
        case _:
            return Ignored(type_, "unknown type")
    return message or Ignored(type_, "unreadable")


def _hello(fields: _Fields) -> Hello | None:
    firmware, model = cbor.text(fields.get(1)), cbor.text(fields.get(2))
    reset_cause, last_event = cbor.uint(fields.get(3)), cbor.uint(fields.get(4))
    if firmware is None or model is None or reset_cause is None or last_event is None:
        return None
    return Hello(firmware, model, reset_cause, last_event)


def _event(fields: _Fields, plaintext: bytes) -> EventMessage | None:
    number, kind, age_ms = cbor.uint(fields.get(1)), cbor.uint(fields.get(2)), cbor.uint(fields.get(3))
    if not number or kind is None or age_ms is None:
        return None
    kept = plaintext if 6 in fields or kind not in KINDS else None
    return EventMessage(number, kind, age_ms, cbor.uint(fields.get(4)), cbor.integer(fields.get(5)), kept)


def _heartbeat(fields: _Fields) -> Heartbeat | None:
    uptime_s = cbor.uint(fields.get(1))
    if uptime_s is None:
        return None
    return Heartbeat(
        uptime_s,
        cbor.uint(fields.get(2)),
        cbor.integer(fields.get(3)),
        cbor.integer(fields.get(4)),
        cbor.uint(fields.get(5)),
    )


def _measurement(fields: _Fields) -> Measurement | None:
    items = cbor.read_array(fields[1]) if 1 in fields else None
    age_ms = cbor.uint(fields.get(2))
    if items is None or age_ms is None:
        return None
    readings: list[Reading] = []
    for item in items:
        reading = _reading(item)
        if reading is None:
            return None
        readings.append(reading)
    return Measurement(tuple(readings), age_ms)


def _reading(item: bytes) -> Reading | None:
    members = cbor.read_array(item)
    if members is None or not 3 <= len(members) <= 4:
        return None
    quantity, value, exponent = cbor.uint(members[0]), cbor.integer(members[1]), cbor.integer(members[2])
    if quantity is None or value is None or exponent is None or abs(exponent) > EXPONENT_MAX:
        return None
    if len(members) == 3:
        return Reading(quantity, value, exponent)
    index = cbor.uint(members[3])
    return None if index is None else Reading(quantity, value, exponent, index)


def _result(fields: _Fields) -> Result | None:
    number, status = cbor.uint(fields.get(1)), cbor.uint(fields.get(2))
    if number is None or status is None:
        return None
    return Result(number, status, cbor.text(fields.get(3)), cbor.byte_string(fields.get(4)))


_READERS: Final[Mapping[int, Callable[[_Fields], Upward | None]]] = {
    Type.HELLO: _hello,
    Type.HEARTBEAT: _heartbeat,
    Type.MEASUREMENT: _measurement,
    Type.RESULT: _result,
}


def _ack(fields: _Fields) -> Ack | None:
    number, stage = cbor.uint(fields.get(1)), cbor.uint(fields.get(2))
    return None if not number or stage is None else Ack(number, stage)


def _command(fields: _Fields) -> Command | None:
    number, command = cbor.uint(fields.get(1)), cbor.uint(fields.get(2))
    if number is None or command is None:
        return None
    if 3 not in fields:
        return Command(number, command)
    arguments = cbor.read_map(fields[3])
    if arguments is None:
        return None
    return Command(number, command, {key: cbor.scalar(item) for key, item in arguments.items()})


def payload(message: Sendable) -> dict[int, Any]:
    """Return the payload's map."""
    keyed: dict[int, Any]
    match message:
        case Hello(firmware, model, reset_cause, last_event):
            keyed = {1: firmware, 2: model, 3: reset_cause, 4: last_event}
        case EventMessage(number, kind, age_ms, battery_mv, rssi_dbm):
            keyed = {1: number, 2: kind, 3: age_ms, 4: battery_mv, 5: rssi_dbm}
        case Heartbeat(uptime_s, battery_mv, rssi_dbm, temperature, interval_s):
            keyed = {1: uptime_s, 2: battery_mv, 3: rssi_dbm, 4: temperature, 5: interval_s}
        case Measurement(readings, age_ms):
            keyed = {1: [_items(reading) for reading in readings], 2: age_ms}
        case Result(number, status, text, challenge):
            keyed = {1: number, 2: status, 3: text, 4: challenge}
        case Ack(number, stage):
            keyed = {1: number, 2: stage}
        case Command(number, command, arguments):
            keyed = {1: number, 2: command, 3: None if arguments is None else dict(arguments)}
    return {key: value for key, value in keyed.items() if value is not None}


def encode(message: Sendable, further: Mapping[int, Any] | None = None) -> bytes:
    """Return the payload, deterministically encoded; `further` are keys that this version does not know."""
    return cbor2.dumps({**payload(message), **(further or {})}, canonical=True)


def type_of(message: Sendable) -> Type:
    """Return the type that a message's header carries."""
    return _TYPES[type(message)]


_TYPES: Final[Mapping[type, Type]] = {
    Hello: Type.HELLO,
    EventMessage: Type.EVENT,
    Heartbeat: Type.HEARTBEAT,
    Measurement: Type.MEASUREMENT,
    Result: Type.RESULT,
    Ack: Type.ACK,
    Command: Type.COMMAND,
}


def _items(reading: Reading) -> list[int]:
    items = [reading.quantity, reading.value, reading.exponent]
    return items if reading.index is None else [*items, reading.index]
