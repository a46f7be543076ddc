"""One broker, for as long as the receiver runs: connected again and again, and spoken to within its window.

A `Session` is one connection's life. What arrives in it can be acknowledged in it alone; after its end the broker gives
it again in the next. What C5 says waits for a slot in the broker's window; where too much waits, the oldest is left
out: a receipt says what holds, the next one says it again, and a gateway repeats what no receipt covers.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from gateway.delivery.backoff import Backoff
from gateway.errors import LinkError

if TYPE_CHECKING:
    from gateway.mqtt import Connection, Message

log = logging.getLogger(__name__)

IN_FLIGHT: Final = 100  # publishes without a PUBACK; the broker's receive maximum may be less
WAITING: Final = 1000  # publishes that wait for a slot
SUBSCRIBE_WITHIN: Final = 30.0  # seconds
RETRY_MIN: Final = 0.5  # seconds between tries to connect
RETRY_MAX: Final = 5.0  # receivers are few, and until one is back nobody hears an alarm
STEADY_AFTER: Final = 30.0  # seconds that a connection must hold before waiting times begin anew
REFUSED: Final = 0x80  # the first reason code of MQTT 5 that is a refusal


class Dial(Protocol):
    """Opens a connection, or raises LinkError. `on_closed` is told why it ended."""

    async def __call__(self, on_message: "Callable[[Message], None]", on_closed: Callable[[str], None]) -> "Connection":
        """Connect."""


class Session:
    """One connection's life, from before it is open until after its end."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connection: Connection | None = None
        self._early: list[Message] = []  # committed before the connection was handed to us

    def open(self, connection: "Connection") -> None:
        """Take in the connection."""
        self._connection = connection
        for message in self._early:
            connection.ack(message)
        self._early.clear()

    def ack(self, message: "Message") -> None:
        """Acknowledge a message of this session; without effect after its end."""
        if self._connection is None:
            self._early.append(message)
        else:
            self._connection.ack(message)

    def end(self, reason: str) -> None:
        """End it: the broker gives again what was not acknowledged."""
        if not self.ended.done():
            self.ended.set_result(reason)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message, and the session in which it can be acknowledged."""

    session: Session
    message: "Message"


class Line:
    """One broker. `name` is for people; `heard` gets what arrives, `opened` is called with each new connection."""

    def __init__(
        self,
        name: str,
        dial: Dial,
        filters: Sequence[str],
        *,
        heard: Callable[[Arrived], None],
        opened: Callable[["Line"], None],
        random: Callable[[], float],
    ) -> None:
        self.name = name
        self._dial = dial
        self._filters = filters
        self._heard = heard
        self._opened = opened
        self._backoff = Backoff(RETRY_MIN, RETRY_MAX, random)
        self._connection: Connection | None = None
        self._in_flight = 0
        self._waiting: deque[tuple[str, bytes, bool]] = deque(maxlen=WAITING)
        self._lost = False
        self._refused: set[str] = set()  # channels whose refusal has been logged

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Say this in the connection that there is, or that is being opened, as soon as there is a slot."""
        self._waiting.append((topic, payload, retain))
        self._pump()

    async def keep_connected(self) -> None:
        """Connect, and connect again, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                reason = await self._live()
            except LinkError as error:
                reason = f"{error.what}. {error.hint}" if error.hint else error.what
            except TimeoutError:
                reason = "it did not answer a subscription"
            if not self._lost:
                log.warning("No connection to broker %s: %s", self.name, reason)
            self._lost = True
            log.debug("broker %s: %s", self.name, reason)
            if loop.time() - began >= STEADY_AFTER:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.next())

    async def _live(self) -> str:
        """Live through one connection; return why it ended."""
        session = Session()
        self._waiting.clear()  # what was to be said to the last connection
        connection = await self._dial(lambda message: self._heard(Arrived(session, message)), session.end)
        try:
            session.open(connection)
            self._connection, self._in_flight = connection, 0
            self._pump()  # answers to what the broker had kept for us and gave at once
            async with asyncio.timeout(SUBSCRIBE_WITHIN):
                await connection.subscribe(self._filters)
            log.info("Connected to broker %s", self.name)
            self._lost = False
            self._opened(self)
            return await session.ended
        finally:
            self._connection = None
            if session.ended.done():
                connection.abort()
            else:
                await connection.close()

    def _pump(self) -> None:
        while (connection := self._connection) is not None and self._waiting:
            if self._in_flight >= min(IN_FLIGHT, connection.receive_maximum):
                return
            topic, payload, retain = self._waiting.popleft()
            self._in_flight += 1
            connection.publish(topic, payload, retain=retain, on_ack=self._answer(connection, topic))

    def _answer(self, connection: "Connection", topic: str) -> Callable[[int], None]:
        def on_ack(code: int) -> None:
            if connection is not self._connection:
                return
            self._in_flight -= 1
            channel = topic.rpartition("/")[2]
            if code >= REFUSED and channel not in self._refused:
                self._refused.add(channel)
                log.warning("Broker %s refuses what C5 says in %s (reason code 0x%02x)", self.name, topic, code)
            self._pump()

        return on_ack
