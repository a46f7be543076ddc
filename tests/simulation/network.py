"""One machine's way to one broker: latency, rate, cuts, and packets that vanish without a reset.

A `Connection` has the interface of `gateway.mqtt.Connection` and its behaviour where that hurts: no PUBACK within the
keep-alive closes it, an unanswered ping does within twice that, what was not acknowledged by then never will be. Bytes
take their turn on a slow link; in a black hole they wait as in a socket's buffer, and come late if both ends still
believe in the connection when it opens.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from gateway.errors import LinkError
from gateway.mqtt import Broker, Message, Will
from tests.simulation.loop import PROCESS

if TYPE_CHECKING:
    from tests.simulation.broker import SimulatedBroker

OVERHEAD = 60  # bytes of TCP, TLS and MQTT around a payload


@dataclass
class Path:
    """The way between one machine and one broker, and what is wrong with it now."""

    name: str
    broker: "SimulatedBroker"
    random: Random
    latency: tuple[float, float] = (0.002, 0.02)
    rate: float = math.inf  # bytes a second, each way
    up: bool = True
    hole_since: float | None = None
    connections: list["Connection"] = field(default_factory=list)

    def cut(self) -> None:
        """Reset every connection."""
        for connection in list(self.connections):
            connection.broken("the connection was cut")

    def swallow(self) -> None:
        """Begin to swallow packets."""
        self.hole_since = asyncio.get_running_loop().time()
        for connection in list(self.connections):
            connection.swallowed()

    def release(self) -> None:
        """Let packets through again."""
        self.hole_since = None
        for connection in list(self.connections):
            connection.released()


class _Pipe:
    """One direction of a connection: bytes in order, each in its time."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._free_at = 0.0
        self._arrived_at = 0.0
        self._held: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def send(self, size: int, act: Callable[..., None], *args: Any) -> None:
        """Have `act` called at the other end."""
        path, now = self._connection.path, self._loop.time()
        self._free_at = max(now, self._free_at) + (size + OVERHEAD) / path.rate
        self._arrived_at = max(self._arrived_at, self._free_at + path.random.uniform(*path.latency))
        self._loop.call_at(self._arrived_at, self._arrive, act, args, context=self._connection.context)

    def _arrive(self, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self._connection.path.hole_since is not None or self._held:
            self._held.append((act, args))
        elif self._connection.ended is None:
            act(*args)

    def release(self) -> None:
        """Deliver what was held."""
        held, self._held = self._held, deque()
        for act, args in held:
            if self._connection.ended is None:
                act(*args)


class Connection:
    """Both ends of one MQTT connection. Callbacks run in the client's own process."""

    def __init__(
        self,
        path: Path,
        client_id: str,
        *,
        keepalive: int,
        will: Will | None,
        session_expiry: int,
        receive_maximum: int,
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
        manual_ack: bool,
    ) -> None:
        self.path = path
        self.client_id = client_id
        self.keepalive = keepalive
        self.will = will
        self.session_expiry = session_expiry
        self.window = receive_maximum  # messages towards the client
        older = path.broker.older
        self.protocol = "3.1.1" if older else "5"
        self.receive_maximum = 65_535 if older else path.broker.receive_maximum
        self.maximum_packet = None if older else path.broker.maximum_packet
        self.ended: str | None = None
        self.context = copy_context()
        self.process = PROCESS.get()
        self.manual_ack = manual_ack
        self.opened_at = asyncio.get_running_loop().time()
        self._on_message = on_message
        self._on_closed: Callable[[str], None] | None = on_closed
        self._loop = asyncio.get_running_loop()
        self._up = _Pipe(self)
        self._down = _Pipe(self)
        self._unacknowledged: dict[int, tuple[float, Callable[[int], None] | None]] = {}
        self._mid = 0
        self._heard_at = self.opened_at
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        path.connections.append(self)
        if self.process is not None:
            self.process.at_death.append(self.died)

    # The client's side.

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        content_type: str | None = None,  # noqa: ARG002  # the real one's signature
        user_properties: Sequence[tuple[str, str]] = (),  # noqa: ARG002  # as above
        on_ack: Callable[[int], None] | None,
    ) -> None:
        """Send at QoS 1."""
        if self.ended is not None or self._dead:
            return
        self._mid += 1
        self._unacknowledged[self._mid] = (self._loop.time(), on_ack)
        self._watch()
        self.path.broker.watch(self, topic, payload, len(self._unacknowledged))
        if len(self._unacknowledged) > self.receive_maximum:
            self.broken("it ended the connection (receive maximum exceeded)")
            return
        size = len(topic) + len(payload)
        self._up.send(size, self.path.broker.received, self, topic, payload, retain, self._mid)

    def acknowledged(self, mid: int, code: int) -> None:
        """The broker answers."""
        self._down.send(4, self._acknowledge, mid, code)

    def _acknowledge(self, mid: int, code: int) -> None:
        self._heard_at = self._loop.time()
        _sent, on_ack = self._unacknowledged.pop(mid, (0.0, None))
        if on_ack is not None and not self._dead:
            on_ack(code)

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe at QoS 1."""
        if self.ended is not None:
            raise LinkError(f"{self.path.name}: the connection has ended", "")
        answer: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(answer)
        self._up.send(sum(map(len, filters)), self._subscribed, tuple(filters), answer)
        await answer

    def _subscribed(self, filters: Sequence[str], answer: "asyncio.Future[None]") -> None:
        self.path.broker.subscribed(self, filters)
        self._down.send(4, self._answer, answer)

    def _answer(self, answer: "asyncio.Future[None]") -> None:
        self._waiting.remove(answer)
        if not answer.done():
            answer.set_result(None)

    def deliver(self, mid: int, topic: str, payload: bytes, retained: bool) -> None:
        """The broker sends a message to this client."""
        self._down.send(len(topic) + len(payload), self._arrived, mid, topic, payload, retained)

    def _arrived(self, mid: int, topic: str, payload: bytes, retained: bool) -> None:
        self._heard_at = self._loop.time()
        if self._dead:
            return
        message = Message(topic, payload, mid, 1, retained)
        if not self.manual_ack:
            self.ack(message)
        self._on_message(message)

    def ack(self, message: Message) -> None:
        """Acknowledge a message."""
        if self.ended is None and not self._dead:
            self._up.send(4, self.path.broker.answered, self, message.mid)

    async def close(self) -> None:
        """Say goodbye: the will is not published."""
        self._on_closed = None
        if self.ended is not None or self._dead:
            return
        self._up.send(2, self._goodbye)
        for _ in range(20):
            if self.ended is not None:
                return
            await asyncio.sleep(0.05)
        self._end("closed", clean=False)

    def _goodbye(self) -> None:
        self._end("closed", clean=True)

    def abort(self) -> None:
        """Drop the socket."""
        self._on_closed = None
        self._end("aborted", clean=False)

    # Its end.

    @property
    def _dead(self) -> bool:
        return self.process is not None and not self.process.alive

    def died(self) -> None:
        """The client's process is gone; its machine resets the connection, or was without power and doesn't."""
        self._on_closed = None
        self._end("the client died", clean=False)

    def broken(self, reason: str) -> None:
        """End as a broken link does."""
        self._end(reason, clean=False)

    def _end(self, reason: str, *, clean: bool) -> None:
        if self.ended is not None:
            return
        self.ended = reason
        self.path.connections.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        if self.path.hole_since is None:
            self.path.broker.lost(self, clean=clean)
        else:  # the broker finds out by itself
            self._loop.call_later(1.5 * self.keepalive, self._missed, clean)
        self._unacknowledged.clear()
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(LinkError(f"{self.path.name}: {reason}", ""))
        if self._on_closed is not None and not self._dead:
            self._loop.call_soon(self._tell, reason, context=self.context)

    def _missed(self, clean: bool) -> None:
        self.path.broker.lost(self, clean=clean)

    def _tell(self, reason: str) -> None:
        if self._on_closed is not None and not self._dead:
            on_closed, self._on_closed = self._on_closed, None
            on_closed(reason)

    def swallowed(self) -> None:
        """A hole begins: until now each ping was answered, one a keep-alive after the last that was heard."""
        self._heard_at = (now := self._loop.time()) - (now - self._heard_at) % self.keepalive
        if self._timer is not None:
            self._timer.cancel()
        self._tick()

    def released(self) -> None:
        """The hole has ended: go on, unless the broker has given the client up meanwhile."""
        if self.path.broker.knows(self):
            self._up.release()
            self._down.release()
        else:
            self.broken("the connection was cut")

    def _watch(self) -> None:
        """Look again when something can have failed: often in a hole, else when what waits has waited too long."""
        if self._timer is None and self.ended is None:
            if self.path.hole_since is not None:
                self._timer = self._loop.call_later(min(1.0, self.keepalive / 4), self._tick, context=self.context)
            elif (oldest := next(iter(self._unacknowledged.values()), None)) is not None:
                self._timer = self._loop.call_at(oldest[0] + self.keepalive, self._tick, context=self.context)

    def _tick(self) -> None:
        self._timer = None
        now, hole = self._loop.time(), self.path.hole_since
        oldest = next(iter(self._unacknowledged.values()), None)
        if oldest is not None and now >= oldest[0] + self.keepalive:
            self.broken(f"it did not acknowledge a message within {self.keepalive} s")
        elif hole is not None:
            if now - hole >= 1.5 * self.keepalive:
                self.path.broker.lost(self, clean=False)
            if now - self._heard_at >= 2 * self.keepalive:
                self.broken(f"it did not answer within {self.keepalive} s")
        self._watch()


class Network:
    """All ways of one machine; its `connect` is what `World` is handed."""

    def __init__(self, paths: dict[int, Path]) -> None:
        self.paths = paths

    async def connect(
        self,
        broker: Broker,
        client_id: str,
        *,
        keepalive: int,
        will: Will | None,
        session_expiry: int,
        receive_maximum: int,
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
        deadline: float,
        manual_ack: bool = False,
        **_options: Any,
    ) -> Any:
        """Connect, as `gateway.mqtt.Connection.open` does."""
        path = self.paths[broker.port]
        random = path.random
        trips = sum(random.uniform(*path.latency) * 2 for _ in range(4)) + 4000 / path.rate
        if path.hole_since is not None or trips > deadline:
            await asyncio.sleep(deadline)
            raise LinkError(f"{path.name}: no answer in time", "Check the link.")
        await asyncio.sleep(trips)
        if path.hole_since is not None:
            await asyncio.sleep(deadline - trips)
            raise LinkError(f"{path.name}: no answer in time", "Check the link.")
        if not path.up or not path.broker.up:
            raise LinkError(f"{path.name}: nothing listens there", "Check that the broker is running.")
        connection = Connection(
            path, client_id, keepalive=keepalive, will=will, session_expiry=session_expiry,
            receive_maximum=receive_maximum, on_message=on_message, on_closed=on_closed, manual_ack=manual_ack,
        )  # fmt: skip
        path.broker.connected(connection)
        return connection
