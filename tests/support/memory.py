"""A broker, an outbox and a C5 in memory, for tests of the tasks: the real parts around one uplink, without a socket.

The broker keeps the rules that hurt: its window (Receive Maximum) ends the connection when it is burst, and what a
dead connection is told is never heard.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from certs.authority import Authority, Role
from gateway.delivery.item import After, Entry, Item, Run, Want
from gateway.errors import LinkError
from gateway.event import Lane
from gateway.mqtt import Message
from gateway.signing import message, record
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Envelope, Signer, parse, split_sequence
from gateway.signing.message import Centre, Receipt, State
from gateway.signing.record import Record
from gateway.topics import CENTRE, CENTRE_CERTIFICATES

NOW_US = 1_800_000_000_000_000  # 2027: what the fake clock begins with


@dataclass
class Clock:
    """Time that passes when the test says so."""

    now: float = 1000.0
    source: int = 2
    deceived_us: int = 0  # by which satellites are ahead

    def monotonic(self) -> float:
        return self.now

    def now_us(self) -> int:
        return self.firm()[0] + self.deceived_us

    def quality(self) -> tuple[int, int]:
        return self.source, 5

    def firm(self) -> tuple[int, bool]:
        return NOW_US + round((self.now - 1000.0) * 1e6), self.source == 2


@dataclass(frozen=True)
class Holder:
    """Somebody with a signing certificate."""

    name: str
    chain: tuple[bytes, ...]
    signer: Signer

    @classmethod
    def of(cls, authority: Authority, role: Role, name: str) -> "Holder":
        issued = authority.issue(role, name)
        assert issued.signing_certificate
        assert issued.signing_key
        chain = tuple(
            certificate.public_bytes(Encoding.DER)
            for certificate in load_pem_x509_certificates(issued.signing_certificate.read_bytes())
        )
        key = load_pem_private_key(issued.signing_key.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        return cls(name, chain, Signer(key, thumbprint(chain[0])))


def thumbprint(der: bytes) -> bytes:
    return hashlib.sha256(der).digest()[:8]


@dataclass(frozen=True)
class Published:
    """One publish as the broker got it."""

    topic: str
    payload: bytes
    retain: bool = False
    content_type: str | None = None
    user_properties: Sequence[tuple[str, str]] = ()
    name: str = ""  # of the broker

    @property
    def channel(self) -> str:
        return self.topic.split("/", 5)[5]

    @property
    def records(self) -> list[Record]:
        """The records of an event topic."""
        return [read(item) for item in split_sequence(self.payload)]

    @property
    def state(self) -> State:
        envelope = parse(self.payload, "state")
        assert isinstance(envelope, Envelope)
        state = message.decode("state", envelope.payload)
        assert isinstance(state, State)
        return state


def read(wire: bytes) -> Record:
    envelope = parse(wire, "record")
    assert isinstance(envelope, Envelope), envelope
    said = record.decode(envelope.payload)
    assert isinstance(said, Record), said
    return said


class Broker:
    """Brokers by name, all this one; each connection is handed out by `dial`."""

    def __init__(self, receive_maximum: int = 20, maximum_packet: int | None = None) -> None:
        self.receive_maximum = receive_maximum
        self.maximum_packet = maximum_packet
        self.down: set[str] = set()
        self.black_holes: set[str] = set()  # what is sent there reaches nobody, and nothing ends
        self.acknowledges = True
        self.codes: dict[str, int] = {}  # by channel
        self.refused_filter: str | None = None
        self.slow_filter: str | None = None  # answered last
        self.dialled: list[str] = []
        self.connections: list[Connection] = []
        self.log: list[Published] = []
        self.on_publish: Callable[[Published], None] = lambda _published: None

    async def dial(
        self,
        name: str,
        will: tuple[str, bytes],
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
    ) -> Any:
        self.dialled.append(name)
        await asyncio.sleep(0)
        if name in self.down:
            raise LinkError(f"{name}: nobody there", "Start it.")
        connection = Connection(self, will, on_message, on_closed, name)
        self.connections.append(connection)
        return connection

    @property
    def connection(self) -> "Connection":
        return self.connections[-1]

    def at(self, name: str) -> "Connection":
        """The last connection to one of the brokers."""
        return [connection for connection in self.connections if connection.name == name][-1]

    def events(self, channel: str = "event/alarm", name: str | None = None) -> list[tuple[str, int]]:
        """(type, sequence) of each record that arrived on a channel, over all names or one."""
        return [
            (said.type, said.sequence) for published in self.log if published.channel == channel
            and name in {None, published.name} for said in published.records
        ]  # fmt: skip

    def states(self) -> list[State]:
        return [published.state for published in self.log if published.channel == "state"]


class Connection:
    """One connection, as `gateway.mqtt.Connection` is used by the uplink."""

    def __init__(
        self,
        broker: Broker,
        will: tuple[str, bytes],
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
        name: str = "",
    ) -> None:
        self.name = name
        self.receive_maximum = broker.receive_maximum
        self.maximum_packet = broker.maximum_packet
        self.protocol = "5"
        self.broker = broker
        self.will = will
        self.ended: str | None = None
        self.burst = False
        self.filters: list[str] = []
        self.unanswered: list[tuple[Published, Callable[[int], None] | None]] = []
        self._on_message = on_message
        self._on_closed = on_closed

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        content_type: str | None = None,
        user_properties: Sequence[tuple[str, str]] = (),
        on_ack: Callable[[int], None] | None,
    ) -> None:
        if self.ended is not None:
            return
        published = Published(topic, payload, retain, content_type, tuple(user_properties), self.name)
        if self.name in self.broker.black_holes:
            self.unanswered.append((published, on_ack))
            return
        self.broker.log.append(published)
        self.unanswered.append((published, on_ack))
        if len(self.unanswered) > self.receive_maximum:
            self.burst = True
            self.drop("receive maximum exceeded")
            return
        if self.broker.acknowledges:
            asyncio.get_running_loop().call_soon(self.acknowledge)
        asyncio.get_running_loop().call_soon(self.broker.on_publish, published)

    def acknowledge(self, count: int = 1) -> None:
        """Answer the oldest publishes."""
        for _ in range(count):
            if self.ended is None and self.unanswered:
                published, on_ack = self.unanswered.pop(0)
                if on_ack is not None:
                    on_ack(self.broker.codes.get(published.channel, 0))

    async def subscribe(self, filters: Sequence[str]) -> None:
        for _ in range(8 if self.broker.slow_filter in filters else 1):
            await asyncio.sleep(0)
        if self.ended is not None:
            raise LinkError("the connection has ended")
        if self.broker.refused_filter in filters:
            raise LinkError("it refused the subscription", "Allow it.")
        self.filters += filters

    def say(self, topic: str, payload: bytes) -> None:
        """Deliver a message to the gateway."""
        if self.ended is None:
            self._on_message(Message(topic, payload, 1, 1, retain=False))

    def drop(self, reason: str) -> None:
        """End as a broken link does: told from the event loop."""
        if self.ended is None:
            self.ended = reason
            asyncio.get_running_loop().call_soon(self._on_closed, reason)

    async def close(self) -> None:
        self.ended = self.ended or "closed"
        await asyncio.sleep(0)

    def abort(self) -> None:
        self.ended = self.ended or "aborted"


@dataclass
class Store:
    """An outbox whose disk never fails, and commits when `settle` is called or at once."""

    full: bool = False
    entries: list[Entry] = field(default_factory=list)
    receipts: list[Run] = field(default_factory=list)
    reads: list[Want] = field(default_factory=list)
    unreadable: bool = False
    remembered: list[Any] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)

    def room(self, lane: Lane) -> bool:
        return not self.full or lane is None

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)

    def remember(self, states: Sequence[Any], notes: Sequence[Any] = ()) -> None:
        self.remembered += states
        self.notes += notes

    def receipted(self, runs: Sequence[Run]) -> None:
        self.receipts += runs
        self.entries = [
            entry for entry in self.entries
            if not any(
                run.lane is entry.item.lane and run.ordinal == entry.item.ordinal
                and run.first <= entry.item.sequence <= run.last for run in runs
            )
        ]  # fmt: skip

    async def read(self, want: Want) -> tuple[list[Item], bool | None]:
        self.reads.append(want)
        await asyncio.sleep(0)
        if self.unreadable:
            return [], None
        items = [entry.item for entry in self.entries if entry.item.lane is want.lane]
        match want:
            case Run(_, ordinal, first, last):
                return [i for i in items if i.ordinal == ordinal and first <= i.sequence <= last], True
            case After(_, position):
                return [i for i in items if (i.ordinal, i.sequence) > (position or (0, 0))], True

    def commit(self) -> None:
        """Tell each record that it is durable."""
        for entry in self.entries:
            if entry.stored is not None:
                entry.stored()


class C5:
    """The centre's side of one connection: says what it has, lives, introduces itself."""

    def __init__(self, holder: Holder, gateway: str, clock: Clock) -> None:
        self.holder = holder
        self._gateway = gateway
        self._clock = clock

    def introduce(self, connection: Connection) -> None:
        connection.say(f"{CENTRE_CERTIFICATES}/{self.holder.name}", encode_chain(self.holder.chain))

    def beat(self, connection: Connection, time_us: int | None = None) -> None:
        beat = Centre(self.holder.name, self._clock.now_us() if time_us is None else time_us)
        connection.say(CENTRE, self.holder.signer.sign("centre", message.encode(beat)))

    def receipt(
        self,
        connection: Connection,
        topic: str,
        up_to: dict[Lane, list[tuple[bytes, int]]],
        missing: dict[Lane, list[tuple[bytes, int, int]]] | None = None,
        gateway: str | None = None,
    ) -> None:
        said = Receipt(gateway or self._gateway, self._clock.now_us(), up_to, missing or {})
        connection.say(topic, self.holder.signer.sign("receipt", message.encode(said)))


async def settle() -> None:
    """Let everything run that is ready."""
    for _ in range(60):
        await asyncio.sleep(0)


def make_holders(folder: Path) -> tuple[bytes, dict[str, Holder]]:
    """Make an authority with a gateway gw-1, receivers c5-a and c5-b and a commander; return its anchors and them."""
    authority = Authority.create(folder)
    roles: dict[str, Role] = {"gw-1": "gateway", "c5-a": "receiver", "c5-b": "receiver", "boss": "commander"}
    holders = {name: Holder.of(authority, role, name) for name, role in roles.items()}
    return authority.trust_anchors.read_bytes(), holders
