"""What comes through a broker: to a gateway (receipts, heartbeats, commands), and to C5 (records, states, replies).

A part of an input is a message: a byte for who says it and as what, then its payload, which the fuzzer signs.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from gateway import topics
from gateway.c5.centre import Centre
from gateway.c5.orders import Counterpart, odd_arguments, read_arguments, shown
from gateway.c5.signers import Signers
from gateway.c5.values import Keep, KeptRecord, Learn, Outcome, Remember, Store
from gateway.control.authorise import Receipted, Rules, Speakers, Spoken
from gateway.control.maintenance import Maintenance
from gateway.delivery.coverage import Coverage
from gateway.errors import Refused
from gateway.event import Lane
from gateway.mqtt import Message
from gateway.signing import cose, message, record
from gateway.signing.certificate import Identity
from gateway.signing.chain import Chain
from gateway.signing.chains import encode_chain, encode_chains
from gateway.signing.message import Command, Receipt, Reply
from gateway.signing.record import Clock as Quality
from gateway.tasks.commands import Commands
from gateway.tasks.downlink import Downlink
from gateway.tasks.orders.alarms import Alarms
from gateway.tasks.orders.field import Field
from gateway.tasks.orders.maintenance import Works
from gateway.tasks.orders.order import Order, at_once
from gateway.tasks.orders.records import Records
from gateway.tasks.orders.service import Service, renew
from gateway.tasks.recorder import Recorder
from gateway.tasks.said import Self
from tests.fuzz.people import DEVICE, GATEWAY, ISSUED, NOW, NOW_US, anchors, person
from tests.fuzz.signed import EPOCH, MESSAGES, OLD, RECORDS, ROUTE, a_record
from tests.fuzz.target import CUT, Target, number, parts
from tests.support.memory import Clock
from tests.support.memory import Store as Disk

PEOPLE = (("receiver", "c5-a"), ("commander", "boss"), ("gateway", GATEWAY), ("receiver", "c5-b"))
KINDS = ("receipt", "centre", "command")


def _wire(who: int, kind: str, content: bytes, *, raw: bool) -> bytes:
    return content if raw else person(*PEOPLE[who]).signer.sign(kind, content[:12_000])


def _speakers() -> Speakers:
    speakers = Speakers(GATEWAY, anchors(), ("c5-a",))
    speakers._known.update(_introduced()._known)
    return speakers


@cache
def _introduced() -> Speakers:
    """Return what knows C5's people; to judge their certificates takes longer than anything that follows."""
    speakers = Speakers(GATEWAY, anchors(), ("c5-a",))
    for who in PEOPLE[:2]:
        assert isinstance(speakers.introduce(who[1], encode_chain(person(*who).chain), NOW), Identity)
    return speakers


@cache
def _signers() -> Signers:
    """Return what knows the gateway's certificate."""
    signers = Signers(anchors())
    assert not isinstance(signers.offer(GATEWAY, person("gateway", GATEWAY).chain, NOW_US), Refused)
    return signers


def authorise(data: bytes) -> None:
    """Receipts, heartbeats and commands: nothing counts but what one of C5's people signed, and as he said it."""
    speakers = _speakers()
    for part in parts(data)[:16]:
        what, content = number(part, 0, 64), part[1:]
        who, kind, raw = what % 4, (*KINDS, "chain")[what // 4 % 4], what >= 32
        if kind == "chain":
            read = speakers.introduce(PEOPLE[who][1], content, NOW)
            assert not isinstance(read, Identity) or (read.role, read.name) == PEOPLE[who]
            continue
        wire = _wire(who, kind, content, raw=raw)
        heard = {"receipt": speakers.receipt, "centre": speakers.heartbeat, "command": speakers.command}[kind](
            wire, NOW
        )
        if isinstance(heard, Refused):
            continue
        envelope = cose.parse(wire, kind)
        assert isinstance(envelope, cose.Envelope)
        speaker = next(each for each in PEOPLE if person(*each).signer.thumbprint == envelope.thumbprint)
        assert person(*speaker).key.verify(envelope)
        said = message.decode(kind, envelope.payload)
        match heard:
            case Receipted(receipt, by):
                assert (receipt, by, receipt.gateway) == (said, "c5-a", GATEWAY)
            case Spoken(command, identity):
                assert (command, (identity.role, identity.name)) == (said, speaker)
                refusal = Rules(GATEWAY, EPOCH, frozenset({"boss"})).refusal(heard, NOW_US)
                assert (refusal is None) == (
                    (speaker, command.gateway, command.epoch) == (PEOPLE[1], GATEWAY, EPOCH)
                    and command.expires_us >= NOW_US
                )
            case message.Centre():
                assert (heard, speaker) == (said, PEOPLE[0])


class _Path:
    """A path that hears, as far as `downlink` tells it."""

    def alive(self, _name: str, _time_us: int, _now: float) -> None: ...

    def introduced(self, _now: float) -> None: ...


class _Sending:
    """All paths: what C5 has."""

    carried = True

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage

    def receipted(self, runs: Any) -> Any:
        return self.coverage.add(runs)

    def requested(self, run: Any, _now: float) -> Any:
        return [run]

    def pump(self) -> None: ...


class _Field:
    """Devices, inputs, outputs and units that a gateway has."""

    def __init__(self, name: str) -> None:
        self._names = {name: True}

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def place(self, _device: str, number_: int) -> Any:
        return (Lane.ALARM, 2, 1) if number_ == 7 else None

    def at(self, place: Any) -> Any:
        return (DEVICE, 7) if place == (Lane.ALARM, 2, 1) else None

    def highest(self, _device: str) -> int:
        return 7

    def acknowledged(self, *_what: Any) -> Any:
        return "now"

    def identify(self, _device: str, _seconds: float, ended: Any) -> None:
        ended(None)

    def ask(self, _device: str, _command: int, _arguments: Any, ended: Any) -> None:
        ended(None)

    def set(self, name: str, *, on: bool, seconds: float | None) -> str | None:
        assert type(on) is bool
        return None if name == "siren" and (seconds is None or seconds >= 1) else "there is no such output"

    def switch(self, _unit: str, output: str, ended: Any, *, on: bool, seconds: float | None) -> None:
        ended(self.set(output, on=on, seconds=seconds))


class _Failures(logging.Handler):
    """What the gateway logs as its own mistake is a finding, though it goes on."""

    def emit(self, record_: logging.LogRecord) -> None:
        if record_.exc_info and record_.exc_info[1] is not None:
            raise record_.exc_info[1]


@contextlib.contextmanager
def raised(logger: str) -> Iterator[None]:
    """Raise what is logged as a failure of ours while inside."""
    handler = _Failures(logging.ERROR)
    logging.getLogger(logger).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger(logger).removeHandler(handler)


class Gateway:
    """What of a gateway hears C5, without a disk or a socket."""

    def __init__(self) -> None:
        own, self.clock, store, field = person("gateway", GATEWAY), Clock(), Disk(), _Field(DEVICE)
        chains = {lane: Chain(GATEWAY, EPOCH, lane, None, own.signer) for lane in Lane}
        quality = Quality(2, 5, 0)
        self.recorder = Recorder(chains, 2, store, lambda age_ms, _at: (NOW_US - age_ms * 1000, quality), None)
        self_ = Self(ROUTE, EPOCH, 2, 2, own.signer, encode_chains([own.chain]), ISSUED, 30)
        speakers = _speakers()
        coverage = Coverage()
        self.said: list[bytes] = []
        self.downlink = Downlink(
            own=self_,
            sending=_Sending(coverage),
            coverage=coverage,
            recorder=self.recorder,
            store=store,
            speakers=speakers,
            ordinals={OLD: 1},
            clock=self.clock,
            confirmed_by_broker=False,
        )
        works = Works(GATEWAY, Maintenance(GATEWAY), self.recorder, self.clock, lambda name: name == DEVICE)
        itself = Service(GATEWAY, self.recorder, apply=_applied, revoke=_revoked, restart=lambda _cause: None)
        alarms = Alarms(self_, {OLD: 1, EPOCH: 2}, field, field, self.recorder)
        orders = Field(GATEWAY, field, field, _Field("meter"), _Field("gate"))
        self.slow = {"config.apply": itself.apply_settings, "device.revoke": itself.revoke_device}
        self.commands = Commands(
            own=self_,
            speakers=speakers,
            commanders=("boss",),
            recorder=self.recorder,
            clock=self.clock,
            handlers={
                "alarm.acknowledge": at_once(alarms.acknowledge),
                "records.resend": at_once(Records(EPOCH, self.recorder, self.downlink.resend).resend),
                "output.set": orders.set_output,
                "device.identify": orders.identify,
                "maintenance.begin": at_once(works.begin),
                "maintenance.end": at_once(works.end),
                "certificate.renew": renew,
                "gateway.restart": itself.restart,
            },
            slow={},
        )
        self.commands.say = self.said.append
        self.downlink.on_command = self.commands.arrived


async def _applied(toml: str) -> str:
    return sha256(toml.encode()).hexdigest()


async def _revoked(_device: str) -> None: ...


def _to_the_gateway(data: bytes) -> None:
    """Messages as a path hands them on: nothing raises, and each answer to a command can be read."""
    gateway = Gateway()
    with raised("gateway.tasks.commands"):
        for part in parts(data)[:16]:
            _one(gateway, part)


def _one(gateway: Gateway, part: bytes) -> None:
    what, content = number(part, 0, 64), part[1:]
    who, kind, raw = what % 4, (*KINDS, "chain")[what // 4 % 4], what >= 48
    to = {
        "receipt": ROUTE.topic("receipt"),
        "centre": topics.CENTRE,
        "command": ROUTE.topic("command"),
        "chain": f"{topics.CENTRE_CERTIFICATES}/{PEOPLE[who][1]}",
    }[kind]
    if raw and what % 2:
        name, _newline, content = content.partition(b"\n")
        to = name.decode("utf-8", "surrogateescape")
    wire = content if kind == "chain" else _wire(who, kind, content, raw=raw)
    gateway.clock.now += 0.5
    gateway.downlink.arrived(_Path(), Message(to, wire, 1, 1, retain=bool(what & 16)))
    gateway.downlink.tick(gateway.clock.now)
    gateway.commands.tick(gateway.clock.now)
    for reply in gateway.said:
        envelope = cose.parse(reply, "reply")
        assert isinstance(envelope, cose.Envelope)
        assert isinstance(message.decode("reply", envelope.payload), Reply)
    gateway.said.clear()
    if kind == "command" and not raw and isinstance(command := message.decode("command", content), Command):
        for act in gateway.slow.values():
            _run(act(Order(command.name, command.arguments or {}, "boss")))
    for lane in Lane:
        assert gateway.recorder.sequence(lane) < 100


def _run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


@cache
def _own_signer() -> Any:
    return person("receiver", "c5-a").signer


def centre(data: bytes) -> None:
    """Messages to C5: what is stored is its topic's gateway's, and each receipt can be read."""
    believed: set[tuple[Lane, bytes, int]] = set()
    signers = Signers(anchors())
    signers._known[GATEWAY] = dict(_signers()._known[GATEWAY])
    here = Centre("c5-a", _own_signer(), signers)
    gateway = person("gateway", GATEWAY)
    now = 0.0
    for part in parts(data)[:16]:
        what, content = number(part, 0, 64), part[1:]
        now += 1.0
        raw, lane = what >= 32, Lane(what % 4 % 3)
        channel = ("event", "event", "event", "event", "state", "state", "certificates", "reply")[what // 4 % 8]
        kind = "record" if channel == "event" else "state"
        wire = content if raw or channel in {"certificates", "reply"} else gateway.signer.sign(kind, content[:12_000])
        to = ROUTE.event(lane) if channel == "event" else ROUTE.topic(channel)
        if raw and what == 63:
            name, _newline, wire = wire.partition(b"\n")
            to = name.decode("utf-8", "surrogateescape")
        actions = list(here.receive(to, wire, NOW_US, now))
        if channel == "event" and lane is Lane.TELEMETRY:
            together = here.receive_together(to, [wire, wire], NOW_US, now)
            assert together is None
        _perform(here, actions, now, believed)
        _perform(here, list(here.tick(now)), now, believed)
        for _topic, receipt in here.receipts(now, NOW_US):
            envelope = cose.parse(receipt, "receipt")
            assert isinstance(envelope, cose.Envelope)
            said = message.decode("receipt", envelope.payload)
            assert isinstance(said, message.Receipt)
    here.reports.drain()


def _perform(here: Centre, actions: list[Any], now: float, believed: set[tuple[Lane, bytes, int]]) -> None:
    for action in actions:
        match action:
            case Store(batch):
                for entry in batch.records:
                    assert entry.record.gateway == GATEWAY
                    assert entry.digest == entry.envelope.digest
                    believed.add((entry.record.lane, entry.record.epoch, entry.record.sequence))
                here.stored(batch, Outcome(), now)
            case Keep(kept):
                again = [
                    KeptRecord(kept.route, kept.lane, kept.arrived_us, each.envelope.wire) for each in kept.records
                ]
                here.examine(again, now)
            case Learn(signer):
                assert signer.gateway == GATEWAY
            case Remember(seen):
                assert seen.route.gateway == GATEWAY


def orders(data: bytes) -> None:
    """What an operator types, and what a gateway answers: a reply counts only if its gateway signed it."""
    pieces = parts(data)
    name, *pairs = pieces[0].decode("utf-8", "surrogateescape").split("\n")
    arguments = read_arguments(pairs)
    if not isinstance(arguments, Refused):
        odd_arguments(name, arguments)
        if not any(isinstance(value, str) and not value.isprintable() for value in [*arguments, *arguments.values()]):
            said = Command(
                GATEWAY, bytes(16), NOW_US, NOW_US, name if name.isprintable() and name else "ping", EPOCH, arguments
            )
            anew = message.decode("command", message.encode(said))
            assert anew == said or len(name) > 64
    here = Counterpart(GATEWAY, Signers(anchors()))
    gateway = person("gateway", GATEWAY)
    for part in pieces[1:8]:
        what, content = number(part, 0, 8), part[1:]
        if what == 0:
            here.certificates(content, NOW_US)
        elif what < 4:
            here.certificates(encode_chains([gateway.chain]), NOW_US)
            here.heard(ROUTE, gateway.signer.sign("state", content[:12_000]), NOW_US)
        elif what < 7:
            reply = here.reply(gateway.signer.sign("reply", content[:12_000]), MESSAGES[5].id, NOW_US)  # type: ignore[union-attr]  # a reply
            if isinstance(reply, Reply):
                assert reply == message.decode("reply", content)
                shown(reply.result)
        else:
            assert isinstance(here.reply(content, bytes(16), NOW_US), Refused)
    assert here.state is None or here.state.gateway == GATEWAY


def _commands() -> list[bytes]:
    given: Sequence[tuple[str, dict[str, Any]]] = (
        ("ping", {}),
        ("records.resend", {"lane": 2, "epoch": OLD, "from": 1, "to": 9}),
        ("output.set", {"output": "siren", "on": True, "seconds": 5}),
        ("output.set", {"device": DEVICE, "output": 1, "on": False}),
        ("output.set", {"device": "meter", "output": "siren", "on": True}),
        ("device.identify", {"device": DEVICE, "seconds": 10}),
        ("device.revoke", {"device": DEVICE}),
        ("maintenance.begin", {"device": DEVICE, "minutes": 5, "reason": "battery"}),
        ("maintenance.end", {"device": DEVICE}),
        ("config.apply", {"toml": "[delivery]\nprofile = 20\n"}),
        ("certificate.renew", {}),
        ("gateway.restart", {}),
        (
            "alarm.acknowledge",
            {
                "record": f"{GATEWAY}/{OLD.hex()}/alarm/1",
                "device": DEVICE,
                "event_number": 7,
                "status": "acknowledged",
                "operator": "ana",
            },
        ),
    )
    return [
        message.encode(Command(GATEWAY, bytes([at] * 16), NOW_US, NOW_US + 30_000_000, name, EPOCH, arguments))
        for at, (name, arguments) in enumerate(given)
    ]


def _downward() -> list[bytes]:
    spoken = [b"\x09" + command for command in _commands()]
    old = Receipt(
        GATEWAY,
        NOW_US,
        {Lane.ALARM: [(OLD, 9)], Lane.STATUS: [(EPOCH, 0)]},
        {Lane.ALARM: [(OLD, 2, 3), (bytes(8), 1, 4)]},
    )
    mine = [
        b"\x00" + message.encode(old),
        b"\x00" + message.encode(MESSAGES[2]),
        b"\x04" + message.encode(MESSAGES[6]),
        b"\x0c" + encode_chain(person(*PEOPLE[0]).chain),
    ]
    wire = b"\x31c5/v1/centre\n" + person(*PEOPLE[0]).signer.sign("centre", message.encode(MESSAGES[6]))
    return [*spoken, *mine, wire, CUT.join([*spoken[:6], *mine[:2]]), CUT.join([mine[0]] * 3)]


def _upward() -> list[bytes]:
    lanes = {Lane.ALARM: b"\x00", Lane.STATUS: b"\x01", Lane.TELEMETRY: b"\x02"}
    records = [lanes[each.lane] + record.encode(each) for each in RECORDS]
    states = [b"\x10" + message.encode(each) for each in MESSAGES[:2]]
    own = person("gateway", GATEWAY).signer
    drain = b"\x22" + b"".join(own.sign("record", record.encode(a_record(n, bytes([1] * 32)))) for n in (2, 3))
    started = a_record(
        1, lane=Lane.STATUS, type="gateway.started", data={"start_count": 2, "version": "0.1.0", "unstored": True}
    )
    return [
        *records,
        *states,
        drain,
        b"\x01" + record.encode(started),
        b"\x18" + encode_chains([person(*PEOPLE[2]).chain]),
        CUT.join([*records[:4], *states]),
    ]


def _typed() -> list[bytes]:
    reply, state = b"\x04" + message.encode(MESSAGES[5]), b"\x01" + message.encode(MESSAGES[0])
    return [
        b"output.set\ndevice=0c500042\noutput=1\non=true\nseconds=5",
        b"records.resend\nlane=alarm\nepoch=0000000201020304\nfrom=1\nto=9",
        CUT.join([b"ping", state, reply]),
        CUT.join([b"x", b"\x00" + encode_chains([person(*PEOPLE[2]).chain])]),
    ]


_NAMES = tuple(
    each.encode()
    for each in ("lane", "epoch", "from", "to", "device", "output", "on", "minutes", "reason", "toml", DEVICE, GATEWAY)
)
_ORDERS = tuple(
    f"gateway.tasks.orders.{each}" for each in ("alarms", "field", "maintenance", "records", "service", "order")
)
TARGETS = (
    Target("authorise", authorise, _downward, ("gateway.control.authorise", "gateway.signing.message"), "cbor", head=1),
    Target(
        "gateway",
        _to_the_gateway,
        _downward,
        ("gateway.tasks.downlink", "gateway.tasks.commands", "gateway.control.replies", *_ORDERS),
        "cbor",
        words=_NAMES,
        head=1,
    ),
    Target(
        "centre",
        centre,
        _upward,
        tuple(
            f"gateway.c5.{each}"
            for each in (
                "centre",
                "account",
                "epochs",
                "chains",
                "presence",
                "holding",
                "reports",
                "verifier",
                "audit",
                "signers",
            )
        ),
        "cbor",
        head=1,
    ),
    Target(
        "orders",
        orders,
        _typed,
        ("gateway.c5.orders", "gateway.signing.message"),
        "cbor",
        head=1,
        words=(b"=", b"\n", b"epoch=", b"seconds=", b"true", *_NAMES),
    ),
)
