"""A simulated MQTT 5 broker: sessions, retained messages, wills, windows, and all that nobody should trust it with.

    refuse      a channel's publishes get a reason code of 0x80 or more; some brokers end the connection with it
    lose        acknowledged and never given to anybody
    duplicate   given again, up to half a minute later
    reorder     given later than what came after it
    restart     every connection is cut; without persistence sessions and retained messages are gone
    older       it speaks MQTT 3.1.1: no reason codes (what it refuses it acknowledges and drops), no maxima

Source: MQTT 5.0 (OASIS), 3.1.2.5, 3.3, 4.1, 4.4.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

from tests.simulation.network import Connection
from tests.simulation.trace import Trace

NO_SUBSCRIBER = 0x10
QUEUE_MAX = 20_000  # messages kept for a session: enough for what a seed sends


@dataclass
class _Session:
    """What the broker keeps of one client."""

    filters: list[str] = field(default_factory=list)
    queue: deque[tuple[str, bytes, bool]] = field(default_factory=deque)
    flying: dict[int, tuple[str, bytes, bool]] = field(default_factory=dict)  # given, not acknowledged
    connection: Connection | None = None
    mid: int = 0


@dataclass
class Misdeeds:
    """How likely it is for each message to fare ill, 0 to 1."""

    lose: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


class SimulatedBroker:
    """One broker."""

    def __init__(self, name: str, random: Random, trace: Trace, *, receive_maximum: int) -> None:
        self.name = name
        self.receive_maximum = receive_maximum
        self.maximum_packet: int | None = None
        self.older = False
        self.up = True
        self.misdeeds = Misdeeds()
        self.refuses: dict[str, int] = {}  # channel → reason code
        self.ends_on_refusal = random.random() < 0.3
        self.on_publish: Callable[[Connection, str, bytes, int], None] = lambda *_: None
        self._random = random
        self._trace = trace
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, bytes] = {}

    def restart(self, *, persistent: bool) -> None:
        """Cut every connection; forget, unless what is kept is on a disk."""
        for session in list(self._sessions.values()):
            if session.connection is not None:
                session.connection.broken("the connection was cut")
        if not persistent:
            self._sessions.clear()
            self._retained.clear()

    # Connections.

    def connected(self, connection: Connection) -> None:
        """A client is let in; a connection of the same name ends."""
        session = self._sessions.get(connection.client_id)
        if session is not None and session.connection is not None:
            session.connection.broken("it ended the connection (session taken over)")
            session = self._sessions.get(connection.client_id)
        if session is None or connection.session_expiry == 0:
            session = self._sessions[connection.client_id] = _Session()
        session.connection = connection
        session.queue.extendleft(reversed(session.flying.values()))
        session.flying.clear()
        self._give(session)

    def knows(self, connection: Connection) -> bool:
        """Whether this connection hasn't ended for the broker."""
        session = self._sessions.get(connection.client_id)
        return session is not None and session.connection is connection

    def lost(self, connection: Connection, *, clean: bool) -> None:
        """A connection ended: its will is published, unless it said goodbye."""
        session = self._sessions.get(connection.client_id)
        if session is None or session.connection is not connection:
            return
        session.connection = None
        if connection.session_expiry == 0:
            del self._sessions[connection.client_id]
        if not clean and connection.will is not None:
            will = connection.will
            self._retained[will.topic] = will.payload
            self._route(will.topic, will.payload)

    def subscribed(self, connection: Connection, filters: Sequence[str]) -> None:
        """A client subscribes: it gets what is retained."""
        session = self._sessions.get(connection.client_id)
        if session is None or session.connection is not connection:
            return
        session.filters += [wanted for wanted in filters if wanted not in session.filters]
        for topic, payload in self._retained.items():
            if any(_matches(wanted, topic) for wanted in filters):
                session.queue.append((topic, payload, True))
        self._give(session)

    # Messages.

    def watch(self, connection: Connection, topic: str, payload: bytes, flying: int) -> None:
        """A client hands a message to its connection: told to the checker, before anything can happen to it."""
        self.on_publish(connection, topic, payload, flying)

    def received(self, connection: Connection, topic: str, payload: bytes, retain: bool, mid: int) -> None:
        """A client's message has arrived."""
        if not self.knows(connection):
            return
        channel = topic.split("/", 5)[-1]
        if (code := self.refuses.get(channel)) is not None and connection.client_id.startswith("gw"):
            self._trace(f"{self.name} refuses {channel} 0x{code:02x}")
            connection.acknowledged(mid, 0 if self.older else code)
            if self.ends_on_refusal:
                asyncio.get_running_loop().call_later(0.5, connection.broken, "it ended the connection (refusal)")
            return
        if retain:
            self._retained[topic] = payload
        heard = self._subscribers(topic)
        strikes = self._random.random()
        if strikes < self.misdeeds.lose:
            self._trace(f"{self.name} loses {channel} {len(payload)} B")
        else:
            self._route(topic, payload)
        connection.acknowledged(mid, 0 if heard or self.older else NO_SUBSCRIBER)

    def _subscribers(self, topic: str) -> list[_Session]:
        return [
            session for session in self._sessions.values() if any(_matches(wanted, topic) for wanted in session.filters)
        ]

    def _route(self, topic: str, payload: bytes) -> None:
        random, loop = self._random, asyncio.get_running_loop()
        if random.random() < self.misdeeds.duplicate:
            loop.call_later(random.uniform(0, 30.0), self._put, topic, payload)
        if random.random() < self.misdeeds.reorder:
            loop.call_later(random.uniform(0, 5.0), self._put, topic, payload)
        else:
            self._put(topic, payload)

    def _put(self, topic: str, payload: bytes) -> None:
        for session in self._subscribers(topic):
            if len(session.queue) < QUEUE_MAX:
                session.queue.append((topic, payload, False))
                self._give(session)

    def _give(self, session: _Session) -> None:
        connection = session.connection
        while connection is not None and session.queue and len(session.flying) < connection.window:
            entry = session.queue.popleft()
            session.mid += 1
            session.flying[session.mid] = entry
            connection.deliver(session.mid, *entry)

    def answered(self, connection: Connection, mid: int) -> None:
        """A client acknowledged a message."""
        session = self._sessions.get(connection.client_id)
        if session is not None and session.connection is connection:
            session.flying.pop(mid, None)
            self._give(session)


@cache
def _matches(wanted: str, topic: str) -> bool:
    """Whether a topic filter covers a topic."""
    if "+" not in wanted:
        return wanted == topic
    ours, theirs = wanted.split("/"), topic.split("/")
    return len(ours) == len(theirs) and all(a in ("+", b) for a, b in zip(ours, theirs, strict=True))
