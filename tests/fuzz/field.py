"""Field Link: frames in a stream, headers, payloads, a device's session, a device, its label."""

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any

from firmware_sim.board import Machine
from firmware_sim.flash import MemoryFlash
from gateway.errors import Refused
from gateway.fieldlink import cbor, framing, label, message, seal
from gateway.fieldlink.actions import Heard, NewEvent, RepeatedEvent, Replayed, Send, Unauthenticated, UnreadableEvent
from gateway.fieldlink.commands import UNANSWERED_MAX
from gateway.fieldlink.framing import Decoder, Frame
from gateway.fieldlink.message import (
    Ack,
    Command,
    EventMessage,
    Heartbeat,
    Hello,
    Ignored,
    Measurement,
    Reading,
    Result,
)
from gateway.fieldlink.session import WINDOW, DeviceSession
from gateway.signing import deterministic
from tests.fuzz.people import DEVICE, DEVICE_KEY
from tests.fuzz.target import CUT, Target, number, parts
from tests.fuzz.vectors import vectors, wires

CIPHER = seal.Cipher(DEVICE_KEY)
SAID: Sequence[message.Sendable] = (
    Hello("2.4.1", "PB-1", 1, 17),
    EventMessage(7, 1, 250, 2900, -71),
    EventMessage(8, 16, 0),
    EventMessage(9, 99, 2**32 - 1, 3000, -128),
    Heartbeat(86_400, 2900, -71, 2150, 60),
    Measurement((Reading(1, 215, -1), Reading(9, 40_000, 0, 3)), 1000),
    Result(16_843_009, 0, "done", bytes([1] * 8)),
    Ack(7, 2),
    Command(5, 2, {1: 1, 2: True, 3: 60}),
    Command(6, 6, {1: b"12345678"}),
    Command(8, 4, {1: 5, 2: "a", 3: b"b", 9: -7}),
)
CHALLENGE = bytes([1] * 8)


def stream(data: bytes) -> None:
    """Bytes off a line: the same frames however they are cut, and in step at the next delimiter."""
    whole = Decoder()
    found = whole.feed(data)
    cut = Decoder()
    again: list[Any] = []
    at = 0
    while at < len(data):
        size = 1 + data[at] % 7
        again += cut.feed(data[at : at + size])
        assert cut.pending <= framing.ENCODED_MAX
        at += size
    assert again == found
    for each in found:
        if isinstance(each, Frame):
            assert Decoder().feed(framing.encode(each.body)) == [each]
            header(each.body)
    assert whole.feed(b"\0" + framing.encode(b"in step"))[-1:] == [Frame(b"in step")]


def header(body: bytes) -> None:
    """A frame's body: what its header says is what is written there."""
    read = seal.read_header(body)
    if not isinstance(read, Refused):
        assert read.encode() == body[:14]
        assert CIPHER.open(body) is None or CIPHER.seal(read, CIPHER.open(body) or b"") == body


def payload(data: bytes) -> None:
    """A plaintext: what is read is what a reader that shares no code finds, and means the same written anew."""
    type_, plaintext = number(data, 0, 16), data[1:]
    fields = cbor.read_map(plaintext)
    other = deterministic.read(plaintext)  # cbor2, where it may be let near
    alike = any(byte in plaintext for byte in b"\xf4\xf5\xf9\xfa\xfb")  # false is 0 and 1.0 is 1, as keys of Python's
    if type(other) is dict and not alike and all(type(key) is int for key in other):
        assert fields is not None
        in_range = {key: value for key, value in other.items() if -(2**32) <= key < 2**32}
        assert fields.keys() == in_range.keys()
        for key, value in in_range.items():
            read = cbor.scalar(fields[key])
            if type(value) in (int, bool, bytes, str) and read is not None:
                assert (type(read), read) == (type(value), value)
    for read_message in (message.read_upward, message.read_downward):
        said = read_message(type_, plaintext)
        match said:
            case Ignored() | message.Unreadable():
                continue
            case EventMessage(number=event, kind=kind, age_ms=age, battery_mv=battery, rssi_dbm=rssi):
                assert (said.plaintext is not None) == (6 in (fields or {}) or kind not in message.KINDS)
                said = EventMessage(event, kind, age, battery, rssi)
                if kind not in message.KINDS:
                    continue
            case Command(arguments=arguments) if arguments is not None and None in arguments.values():
                continue
        anew = message.encode(said)
        assert read_message(type_, anew) == said
        assert deterministic.is_deterministic(anew)


def _session() -> DeviceSession:
    random = count(1)
    return DeviceSession(
        DEVICE,
        DEVICE_KEY,
        counters=None,
        events={3: 2},
        highest_event=3,
        first_number=1000,
        challenge=lambda: bytes([next(random) & 0xFF] * 8),
    )


def session(data: bytes) -> None:
    """Frames that hold the key, with any payload, and what happens between them."""
    life = _session()
    counter, now, last = 100, 0.0, -1
    for part in parts(data)[:64]:
        what, content = number(part, 0, 32), part[1:]
        now += 0.5
        told: list[Any] = []
        if what < 16:  # an authentic, fresh frame of this type
            counter += 1 + (content[0] == 0xFF if content else 0)
            head = seal.Header(what, seal.Direction.UP, DEVICE, counter)
            told = list(life.receive(head, CIPHER.seal(head, content[: seal.PAYLOAD_MAX]), now))
            heard = [each for each in told if isinstance(each, NewEvent | RepeatedEvent | UnreadableEvent | Heard)]
            assert len(heard) == 1
            if isinstance(heard[0], NewEvent) and now % 2:
                life.recorded(heard[0].message.number)
        elif what < 24:  # anybody's body
            head_ = seal.read_header(content)
            before = life.counters
            if isinstance(head_, seal.Header) and head_.device == DEVICE:
                told = list(life.receive(head_, content, now))
                if CIPHER.open(content) is None and head_.direction is seal.Direction.UP:
                    assert (told, life.counters) == ([Unauthenticated()], before)
        elif what < 28:  # the last counters again
            head = seal.Header(2, seal.Direction.UP, DEVICE, max(0, counter - number(content, 0, 40)))
            heard_before = life.counters is not None and head.counter <= life.counters.last
            told = list(life.receive(head, CIPHER.seal(head, content[1:200]), now))
            assert not heard_before or told in ([], [Replayed()])
        elif what == 28:
            told = life.tick(now + number(content, 0, 256))
        elif what == 29:
            told = life.stage(number(content, 0, 256), 1 + number(content, 1, 3))
        else:
            asked = life.command(number(content, 0, 8), {1: number(content, 1, 256)}, now)
            told = [] if isinstance(asked, Refused) else asked[1]
        for each in told:
            if isinstance(each, Send):
                (frame,) = Decoder().feed(each.wire)
                assert isinstance(frame, Frame)
                down = seal.read_header(frame.body)
                assert isinstance(down, seal.Header)
                assert CIPHER.open(frame.body) is not None
                assert (down.direction, down.number > last) == (seal.Direction.DOWN, True)
                last = down.number
        assert len(life.events) <= WINDOW + 2
        assert life.highest_event < 2**32
    assert len(life.tick(now + 1e6)) <= UNANSWERED_MAX + 1


def device(data: bytes) -> None:
    """A simulated device's end: authentic frames downward with any payload, and noise."""
    machine = Machine(label.Label(DEVICE, "PB-1", DEVICE_KEY), MemoryFlash(), Random(1))
    machine.start(0.0)
    machine.press(1, 0.0)
    now, order = 0.0, 0
    for part in parts(data)[:64]:
        what, content = number(part, 0, 24), part[1:]
        now += 0.1
        if what < 16:
            order += 1
            head = seal.Header(what, seal.Direction.DOWN, DEVICE, machine._counter, order)
            machine.receive(framing.encode(CIPHER.seal(head, content[: seal.PAYLOAD_MAX])), now)
        elif what < 20:
            before = dict(machine.stages), machine.orders.shown(now)
            machine.receive(content, now)
            machine.receive(b"\0", now)
            bodies = [each.body for each in Decoder().feed(content + b"\0") if isinstance(each, Frame)]
            if not any(CIPHER.open(body) for body in bodies if len(body) >= 22):
                assert before == (dict(machine.stages), machine.orders.shown(now))
        else:
            machine.tick(now)
        machine.orders.shown(now)


def label_(data: bytes) -> None:
    """A label's text: what is taken is exactly what would be printed."""
    text = data.decode("utf-8", "surrogateescape")
    read = label.parse(text)
    if not isinstance(read, Refused):
        assert label.render(read) == text
        assert len(read.key) == label.KEY_BYTES
        assert read.key.hex() not in repr(read)


def _payload_seeds() -> list[bytes]:
    spoken = [bytes([message.type_of(said)]) + message.encode(said, {6: {1: [2]}}) for said in SAID]
    return spoken + [
        bytes([frame["type"]]) + bytes.fromhex(frame["plaintext"]) for frame in vectors("field-link")["frames"]
    ]


def _device_seeds() -> list[bytes]:
    head = seal.Header(8, seal.Direction.DOWN, DEVICE, 1, 1)
    spoken = [bytes([message.type_of(said)]) + message.encode(said) for said in SAID if isinstance(said, Ack | Command)]
    return [*spoken, CUT.join(spoken), b"\x10" + framing.encode(CIPHER.seal(head, message.encode(Ack(1, 2)))), b"\x17"]


def _session_seeds() -> list[bytes]:
    head = seal.Header(2, seal.Direction.UP, DEVICE, 7)
    spoken = [bytes([message.type_of(said)]) + message.encode(said) for said in SAID[:7]]
    others = [
        b"\x10" + CIPHER.seal(head, spoken[1][1:]),
        b"\x18\x05" + spoken[1][1:],
        b"\x1c\x09",
        b"\x1d\x07\x01",
        b"\x1e\x02\x01",
    ]
    return [*spoken, *others, CUT.join([*spoken, *others]), CUT.join([spoken[1]] * 3)]


_FIELD = "gateway.fieldlink."
TARGETS = (
    Target(
        "stream",
        stream,
        lambda: [
            *wires("field-link", "frames", "rejected", "unreadable"),
            b"",
            b"\0",
            bytes.fromhex(vectors("field-link")["stream"]["wire"])[:1500],
        ],
        (_FIELD + "framing", _FIELD + "seal"),
        words=(b"\0", b"\0\0", b"\xff" * 254, b"\x01" * 20),
    ),
    Target(
        "header",
        header,
        lambda: (
            [
                frame.body
                for wire in wires("field-link", "frames", "rejected")
                for frame in Decoder().feed(wire)
                if isinstance(frame, Frame)
            ]
            + [b""]
        ),
        (_FIELD + "seal",),
        most=300,
    ),
    Target("payload", payload, _payload_seeds, (_FIELD + "cbor", _FIELD + "message"), "cbor", head=1, most=240),
    Target(
        "session",
        session,
        _session_seeds,
        (_FIELD + "session", _FIELD + "commands", _FIELD + "freshness", _FIELD + "message"),
        "cbor",
        head=1,
    ),
    Target(
        "device",
        device,
        _device_seeds,
        ("firmware_sim.board", "firmware_sim.orders", "firmware_sim.downward", "firmware_sim.unacknowledged"),
        "cbor",
        head=1,
    ),
    Target(
        "label",
        label_,
        lambda: [entry["label"].encode() for each in ("labels", "rejected") for entry in vectors("label")[each]],
        (_FIELD + "label",),
        most=200,
        words=(b"C5D1:", b":", b"00000000", b"AAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ),
)
