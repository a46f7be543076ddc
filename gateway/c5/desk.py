"""The desk: where a running receiver takes messages that no broker brought, from `c5-receiver import` beside it.

What is handed in is judged, committed and counted like any other message; whoever may reach the desk is believed no
more than a broker is. It is a Unix socket in the state folder, of mode 0660. What an
operator has settled (`c5-receiver settle`) comes the same way, in a topic that no broker has: `settle/<gateway>`. On a
connection, one after the other:

    question = topic length (2 bytes) ‖ payload length (4) ‖ topic ‖ payload
    answer   = new (4 bytes) ‖ known (4) ‖ unavailable (4), once all of it is committed

A disk that fails ends the connection without an answer.
"""

import asyncio
import contextlib
import logging
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.c5.receiver.line import Arrived, Session
from gateway.c5.values import Committed
from gateway.errors import StoreError
from gateway.event import Lane
from gateway.mqtt import Message
from gateway.signing.chains import PAYLOAD_MAX
from gateway.signing.cose import split_sequence
from gateway.topics import parse

if TYPE_CHECKING:
    from gateway.c5.centre import Centre
    from gateway.c5.ledger import Ledger

log = logging.getLogger(__name__)

SOCKET: Final = "import.sock"
SETTLE: Final = "settle"
QUESTION: Final = struct.Struct(">HI")
ANSWER: Final = struct.Struct(">III")


class Given(NamedTuple):
    """What became of a message's records: those that are neither new nor known were not believed.

    `unavailable`: how many records those of them declare that are new.
    """

    new: int
    known: int
    unavailable: int


class _Waiting:
    """A message until it is committed."""

    def __init__(self, digests: list[bytes]) -> None:
        self.done: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self.digests = digests
        self.new = self.known = self.unavailable = 0


class Desk(Session):
    """A session that no broker is behind, and the sink that sees what became of its messages.

    Whose records came this way is owed a receipt: the gateway is not there to hear it.
    """

    left_out = 0
    trouble: str | None = None

    def __init__(self, centre: "Centre", ledger: "Ledger") -> None:
        super().__init__()
        self.hear: Callable[[Arrived], None] = lambda _arrived: None  # the receiver's
        self.report: Callable[[], Awaitable[None]]  # the receiver's
        self._centre = centre
        self._ledger = ledger
        self._waiting: dict[int, _Waiting] = {}
        self._by_digest: dict[bytes, deque[_Waiting]] = {}
        self._owed: set[tuple[str, Lane, bytes]] = set()  # since nothing was waiting
        self._number = 0

    async def give(self, topic: str, payload: bytes) -> Given:
        """Hand in a message; done once all that follows from it is committed. Raises StoreError.

        Of what is settled `new` says how many reports it ends.
        """
        kind, _, gateway = topic.partition("/")
        if kind == SETTLE:
            ended = self._centre.settle(gateway, payload.decode("utf-8", "replace"))
            await self.report()
            return Given(ended, 0, 0)
        arrival = parse(topic)
        items = split_sequence(payload) if arrival and arrival.lane is not None else []
        waiting = _Waiting([sha256(item).digest() for item in items])
        for digest in waiting.digests:
            self._by_digest.setdefault(digest, deque()).append(waiting)
        self._number += 1
        self._waiting[self._number] = waiting
        self.hear(Arrived(self, Message(topic, payload, self._number, 1, retain=False)))
        return await waiting.done

    def ack(self, message: Message) -> None:
        """Take in that a message is committed."""
        waiting = self._take(message.mid)
        if waiting is not None and not waiting.done.done():
            waiting.done.set_result(Given(waiting.new, waiting.known, waiting.unavailable))

    def end(self, reason: str) -> None:
        """Take in that the disk failed: nothing of what waits is known to be stored."""
        for number in list(self._waiting):
            waiting = self._take(number)
            if waiting is not None and not waiting.done.done():
                waiting.done.set_exception(StoreError(reason))

    def put(self, committed: Committed) -> None:
        """See what has been committed, and whether it was handed in here."""
        if not self._by_digest:
            return  # nobody hands anything in: the records needn't be looked at
        batch, outcome = committed.batch, committed.outcome
        new_of: _Waiting | None = None
        for index, verified in enumerate(batch.records):
            queue = self._by_digest.get(verified.digest)
            if not queue:
                continue
            waiting = queue.popleft()
            self._owe(batch.gateway, batch.lane, verified.record.epoch)
            if index in outcome.known:
                waiting.known += 1
            elif index not in outcome.contradicting:
                waiting.new += 1
                new_of = waiting
        if new_of is not None:
            for declared in batch.declared:
                self._owe(batch.gateway, declared.lane, declared.epoch)
                new_of.unavailable += declared.last - declared.first + 1

    def _owe(self, gateway: str, lane: Lane, epoch: bytes) -> None:
        if (gateway, lane, epoch) not in self._owed:
            self._owed.add((gateway, lane, epoch))
            self._centre.owe(gateway, lane, epoch)
            # Where this fails, so does what it follows: then the gateway sends all of it once more.
            self._ledger.owe(gateway, lane, epoch).add_done_callback(lambda future: future.exception())

    def _take(self, number: int) -> _Waiting | None:
        waiting = self._waiting.pop(number, None)
        for digest in waiting.digests if waiting else ():
            queue = self._by_digest.get(digest, deque())
            with contextlib.suppress(ValueError):  # it was committed
                queue.remove(waiting)  # type: ignore[arg-type]  # there is one, or no digest of it
            if not queue:
                self._by_digest.pop(digest, None)
        if not self._waiting:
            self._owed.clear()
        return waiting


@contextlib.asynccontextmanager
async def open_desk(folder: Path, desk: Desk) -> AsyncIterator[None]:
    """Take what is handed in, while inside; without a socket the receiver goes on."""
    path = folder / SOCKET

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError, StoreError):
            while True:
                topic_size, size = QUESTION.unpack(await reader.readexactly(QUESTION.size))
                if size > PAYLOAD_MAX:
                    return
                topic = await reader.readexactly(topic_size)
                given = await desk.give(topic.decode("ascii", "replace"), await reader.readexactly(size))
                writer.write(ANSWER.pack(*given))
                await writer.drain()

    try:
        path.unlink(missing_ok=True)  # of a receiver that was killed; two can't be: the ledger is locked
        server = await asyncio.start_unix_server(talk, path)
        path.chmod(0o660)
    except OSError as error:
        log.warning("c5-receiver import can't reach this receiver: %s: %s", path, error.strerror)
        yield
        return
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
