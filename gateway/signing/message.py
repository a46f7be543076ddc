"""The other signed messages: state, receipt, command, reply, and the centre's heartbeat (wire.md, section 3).

`encode` gives the payload for `cose.Signer`; `decode` is the strict way back. Times are microseconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import deterministic
from gateway.signing.record import is_bytes, is_int, is_uint
from gateway.topics import is_part

RECEIPT_ENTRIES: Final = 64  # in each of keys 3 and 4, over all lanes


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of a lane, of whatever epoch."""

    epoch: bytes
    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class State:
    """What a gateway says of itself; as "offline" it is the will of one connection."""

    gateway: str
    epoch: bytes
    online: bool
    time_us: int
    heads: Mapping[Lane, Head] | None
    version: str
    interval: int
    start_count: int
    number: int
    connection: int
    agency: str
    site: str
    health: Mapping[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What C5 has: for each lane and epoch all of 1..up to, except what is listed as missing."""

    gateway: str
    time_us: int
    up_to: Mapping[Lane, list[tuple[bytes, int]]]
    missing: Mapping[Lane, list[tuple[bytes, int, int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """An operator's wish, for one gateway in its present epoch."""

    gateway: str
    id: bytes
    issued_us: int
    expires_us: int
    name: str
    epoch: bytes
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a command: "done", "failed" or "rejected"."""

    gateway: str
    id: bytes
    time_us: int
    outcome: str
    text: str | None = None
    result: Mapping[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class Centre:
    """The centre's heartbeat."""

    name: str
    time_us: int


Message = State | Receipt | Command | Reply | Centre
KIND_OF: Final[Mapping[type, str]] = {
    State: "state",
    Receipt: "receipt",
    Command: "command",
    Reply: "reply",
    Centre: "centre",
}


def encode(message: Message) -> bytes:
    """Return the deterministic CBOR that is signed."""
    match message:
        case State():
            fields: dict[int, object] = {
                1: message.gateway,
                2: message.epoch,
                3: "online" if message.online else "offline",
                4: message.time_us,
                6: message.version,
                7: message.interval,
                9: [message.start_count, message.number, message.connection],
                10: [message.agency, message.site],
            }
            if message.heads is not None:
                fields[5] = {int(lane): [h.epoch, h.sequence, h.digest] for lane, h in message.heads.items()}
            if message.health is not None:
                fields[8] = dict(message.health)
        case Receipt():
            fields = {1: message.gateway, 2: message.time_us, 3: _entries(message.up_to)}
            if message.missing:
                fields[4] = _entries(message.missing)
        case Command():
            fields = {
                1: message.gateway,
                2: message.id,
                3: message.issued_us,
                4: message.expires_us,
                5: message.name,
                8: message.epoch,
            }
            if message.arguments is not None:
                fields[6] = dict(message.arguments)
        case Reply():
            fields = {1: message.gateway, 2: message.id, 3: message.time_us, 4: message.outcome}
            if message.text is not None:
                fields[5] = message.text
            if message.result is not None:
                fields[6] = dict(message.result)
        case Centre():
            fields = {1: message.name, 2: message.time_us}
    return deterministic.encode(fields)


def _entries(by_lane: Mapping[Lane, list[Any]]) -> dict[int, list[list[object]]]:
    return {int(lane): [list(entry) for entry in entries] for lane, entries in by_lane.items() if entries}


def decode(kind: str, payload: bytes) -> Message | Refused:
    """Read the payload of a signed message of this kind. No signature is checked here."""
    fields = deterministic.decode(payload)
    if isinstance(fields, Refused):
        return fields
    if type(fields) is not dict or not all(type(key) is int for key in fields):  # true and 1.0 find what is under 1
        return Refused(f"a {kind} that is no map of numbered keys")
    if not is_name(fields.get(1)):
        return Refused(f"a {kind} from nobody (key 1)")
    return _DECODERS[kind](fields)


def is_name(value: object) -> bool:
    """Whether this is a gateway's or a receiver's name."""
    return type(value) is str and is_part(value)


def _state(fields: dict[int, Any]) -> State | Refused:
    get = fields.get
    heads = _heads(get(5))
    if isinstance(heads, Refused):
        return heads
    order, place, health = get(9), get(10), get(8)
    if not is_bytes(get(2), 8) or not is_int(get(4)) or get(3) not in ("online", "offline"):
        return Refused("a state without its epoch, time, or online or offline (keys 2 to 4)")
    if type(get(6)) is not str or len(fields[6]) > 64 or not is_uint(get(7)) or not 1 <= fields[7] <= 86_400:
        return Refused("a state without its version or interval (keys 6, 7)")
    if type(order) is not list or len(order) != 3 or not all(map(is_uint, order)):
        return Refused("a state without its order (key 9)")
    if type(place) is not list or len(place) != 2 or not all(map(is_name, place)):
        return Refused("a state without its agency and site (key 10)")
    if health is not None and type(health) is not dict:
        return Refused("a state whose health is no map (key 8)")
    start_count, number, connection = order
    agency, site = place
    return State(
        fields[1], fields[2], fields[3] == "online", fields[4], heads, fields[6], fields[7],
        start_count, number, connection, agency, site, health,
    )  # fmt: skip


def _heads(value: object) -> dict[Lane, Head] | Refused | None:
    if value is None:
        return None
    if type(value) is dict and len(value) <= 3:
        heads = {_lane(key): head for key, head in value.items()}
        if None not in heads and all(
            type(h) is list and len(h) == 3 and is_bytes(h[0], 8) and is_uint(h[1]) and is_bytes(h[2], 32)
            for h in heads.values()
        ):
            return {lane: Head(*head) for lane, head in heads.items() if lane is not None}
    return Refused("a state with heads that are none (key 5)")


def _lane(value: object) -> Lane | None:
    return Lane(value) if type(value) is int and 0 <= value <= 2 else None


def _receipt(fields: dict[int, Any]) -> Receipt | Refused:
    if not is_int(fields.get(2)):
        return Refused("a receipt without its time (key 2)")
    up_to = _ranges(fields.get(3), 2)
    missing = _ranges(fields.get(4, {}), 3)
    if up_to is None or missing is None:
        return Refused("a receipt with ranges that are none (keys 3, 4)")
    return Receipt(fields[1], fields[2], up_to, missing)


def _ranges(value: object, size: int) -> dict[Lane, list[Any]] | None:
    """Read {lane: [[epoch, up to] or [epoch, from, to], …]}, or None."""
    if type(value) is not dict:
        return None
    result: dict[Lane, list[Any]] = {}
    count = 0
    for key, entries in value.items():
        lane = _lane(key)
        if lane is None or type(entries) is not list:
            return None
        count += len(entries)
        if count > RECEIPT_ENTRIES:
            return None
        for entry in entries:
            if type(entry) is not list or len(entry) != size or not is_bytes(entry[0], 8):
                return None
            if not all(map(is_uint, entry[1:])) or (size == 3 and not 1 <= entry[1] <= entry[2]):
                return None
        result[lane] = [tuple(entry) for entry in entries]
    return result


def _command(fields: dict[int, Any]) -> Command | Refused:
    get = fields.get
    if not is_bytes(get(2), 16) or not is_int(get(3)) or not is_int(get(4)) or not is_bytes(get(8), 8):
        return Refused("a command without its id, times or epoch (keys 2, 3, 4, 8)")
    if type(get(5)) is not str or not 1 <= len(fields[5]) <= 64:
        return Refused("a command without its name (key 5)")
    arguments = get(6)
    if arguments is not None and (type(arguments) is not dict or not all(type(key) is str for key in arguments)):
        return Refused("a command whose arguments are no map of text keys (key 6)")
    return Command(fields[1], fields[2], fields[3], fields[4], fields[5], fields[8], arguments)


def _reply(fields: dict[int, Any]) -> Reply | Refused:
    get = fields.get
    if not is_bytes(get(2), 16) or not is_int(get(3)) or get(4) not in ("done", "failed", "rejected"):
        return Refused("a reply without its command, time or outcome (keys 2 to 4)")
    text, result = get(5), get(6)
    if (text is not None and type(text) is not str) or (result is not None and type(result) is not dict):
        return Refused("a reply with a text or result that is none (keys 5, 6)")
    return Reply(fields[1], fields[2], fields[3], fields[4], text, result)


def _centre(fields: dict[int, Any]) -> Centre | Refused:
    if not is_int(fields.get(2)):
        return Refused("a heartbeat without its time (key 2)")
    return Centre(fields[1], fields[2])


_DECODERS: Final = {"state": _state, "receipt": _receipt, "command": _command, "reply": _reply, "centre": _centre}
