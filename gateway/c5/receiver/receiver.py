"""The receiver: what arrives from every broker is judged, committed, acknowledged and receipted, in this order.

    broker ──▶ arrivals (telemetry last) ──▶ centre.receive ──▶ ledger ──commit──▶ PUBACK
                                                                             └──▶ receipt, sinks

An alarm is judged in the call that brings it, if no certificate or state from before waits; telemetry that waits is
judged together, as one run. Nothing waits for the disk: the next message is judged while the last one is being
committed. A message is acknowledged to the broker when all that followed from it is committed, so that a broker with a
session gives it again after a crash; if the disk fails, the connection is dropped for the same reason. What this
program fails on is acknowledged all the same, reported and not receipted: given again it would fail again, in the place
of what others have to say. What waits is bounded by what brokers may have in flight towards us. The centre speaks on
every broker that it is connected to (wire.md, section 3).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from gateway.c5.centre import Centre
from gateway.c5.receiver.line import Arrived, Dial, Line
from gateway.c5.reports import Tally
from gateway.c5.values import Action, Batch, Committed, Keep, Kept, KeptRecord, Learn, Outcome, Remember, Store
from gateway.errors import StoreError
from gateway.topics import CENTRE_CERTIFICATES, ROOT, parse

if TYPE_CHECKING:
    from gateway.c5.ledger import Ledger

log = logging.getLogger(__name__)

HEARTBEAT: Final = 10.0  # seconds (wire.md, section 3)
TICK: Final = 1.0
FORGET_EVERY: Final = 3600.0  # seconds between two looks at what is held for too long
TOGETHER: Final = 128 * 1024  # bytes of telemetry judged at once: what an alarm waits for is a few milliseconds
LOGGED: Final = 4096  # troubles logged as warnings; what is new beyond is logged for debugging alone
Result = TypeVar("Result")


class Sink(Protocol):
    """Where believed records go; it never blocks."""

    left_out: int
    trouble: str | None

    def put(self, committed: Committed) -> None:
        """Hand over a committed batch."""


class _Waiting:
    """Messages until all that followed from them is committed."""

    __slots__ = ("_arrived", "_left", "failed")

    def __init__(self, arrived: Sequence[Arrived] = ()) -> None:
        self._arrived = arrived
        self._left = 1
        self.failed = False

    def more(self) -> None:
        self._left += 1

    def done(self) -> None:
        self._left -= 1
        if self._left == 0 and not self.failed:
            for arrived in self._arrived:
                arrived.session.ack(arrived.message)

    def fail(self) -> None:
        self.failed = True
        for arrived in self._arrived:
            arrived.session.end("the ledger's disk failed")


class Receiver:
    """One receiver, until `run` is cancelled. `certificates` is our own chain as CBOR; `wall` is microseconds."""

    def __init__(
        self,
        centre: Centre,
        ledger: "Ledger",
        brokers: Sequence[tuple[str, Dial]],
        *,
        agencies: Sequence[str],
        certificates: bytes,
        sinks: Sequence[Sink],
        wall: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._centre = centre
        self._ledger = ledger
        self._certificates = certificates
        self._sinks = sinks
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        filters = [
            f"{ROOT}/{agency}/+/+/{channel}" for agency in agencies for channel in ("certificates", "state", "event/+")
        ]
        self._lines = [
            Line(name, dial, filters, heard=self.hear, opened=self._opened, random=random) for name, dial in brokers
        ]
        self._first: deque[Arrived] = deque()
        self._telemetry: deque[Arrived] = deque()
        self._arrival = asyncio.Event()
        self._flushing = False
        self._disk_failed = False
        self._logged: set[tuple[str, str, str]] = set()
        self._sink_troubles: dict[int, str | None] = {}
        self._failures: set[tuple[str, int]] = set()  # lines of this program whose failure has been logged
        self._forget_at = self._loop.time()

    async def run(self) -> None:
        """Receive for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.judge(), name="judge")
            group.create_task(self._tick(), name="tick")
            group.create_task(self._beat(), name="heartbeat")
            for line in self._lines:
                group.create_task(line.keep_connected(), name=f"broker {line.name}")

    def hear(self, arrived: Arrived) -> None:
        """Take a message in; it is judged when its turn comes, and acknowledged in its session once it is committed."""
        topic = arrived.message.topic
        if topic.endswith("/event/alarm") and not self._first:
            self._receive(arrived)  # at once: nothing that came before it waits that it could depend on
            return
        waiting = self._telemetry if topic.endswith("/event/telemetry") else self._first
        waiting.append(arrived)
        self._arrival.set()

    async def judge(self) -> None:
        """Judge what is taken in, for ever; `run` does it."""
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            while self._first or self._telemetry:
                arrived = self._next()
                if len(arrived) == 1 or not self._receive_together(arrived):
                    for one in arrived:
                        self._receive(one)
                await asyncio.sleep(0)  # sockets and commits get their turn between two messages

    def _next(self) -> list[Arrived]:
        """Take the next message; a telemetry message with what follows it in its topic, within bounds."""
        if self._first:
            return [self._first.popleft()]
        arrived = [self._telemetry.popleft()]
        topic, size = arrived[0].message.topic, len(arrived[0].message.payload)
        while self._telemetry and (message := self._telemetry[0].message).topic == topic:
            size += len(message.payload)
            if size > TOGETHER:
                break
            arrived.append(self._telemetry.popleft())
        return arrived

    def _receive(self, arrived: Arrived) -> None:
        waiting = _Waiting([arrived])
        message = arrived.message
        try:
            actions = self._centre.receive(message.topic, message.payload, self._wall(), self._loop.time())
            self._perform(actions, waiting)
        except Exception as error:  # noqa: BLE001  # our own bug: one message must not end the receiver
            self._failed(error, arrival.route.gateway if (arrival := parse(message.topic)) else "")
        waiting.done()

    def _receive_together(self, arrived: list[Arrived]) -> bool:
        """Receive messages of one topic as one, if they are one run; whether they are."""
        topic, payloads = arrived[0].message.topic, [one.message.payload for one in arrived]
        try:
            actions = self._centre.receive_together(topic, payloads, self._wall(), self._loop.time())
        except Exception:  # noqa: BLE001  # our own bug: it is met again, and told, by the message that it is in
            return False
        if actions is None:
            return False
        waiting = _Waiting(arrived)
        self._perform(actions, waiting)
        waiting.done()
        return True

    def _perform(self, actions: Sequence[Action], waiting: _Waiting) -> None:
        for action in actions:
            match action:
                case Store(batch):
                    self._store(replace(batch, verified_us=self._wall()), waiting)
                case Keep(kept):
                    self._await(self._ledger.keep(kept), partial(self._kept, kept), waiting, kept.route.gateway)
                case Learn(signer):
                    self._await(self._ledger.learn(signer), lambda _: None, waiting, signer.gateway)
                    kept_records = self._ledger.take_kept(signer.gateway, signer.thumbprint)
                    self._await(kept_records, self._examine, waiting, signer.gateway)
                case Remember(seen):
                    gateway = seen.route.gateway
                    self._await(self._ledger.remember(action), partial(self._remembered, gateway), waiting, gateway)

    def _follow(self, actions: Sequence[Action]) -> None:
        """Perform what follows from something that no broker waits for."""
        self._perform(actions, _Waiting())

    def _store(self, batch: Batch, waiting: _Waiting) -> None:
        """Store a batch; if the ledger fails on it, what is in it one by one, so that a record fails alone."""

        def apart() -> None:
            for part in _parts(batch):
                self._store(part, waiting)

        several = len(batch.records) + bool(batch.declared or batch.epochs) > 1
        stored = partial(self._stored, batch)
        self._await(self._ledger.store(batch), stored, waiting, batch.gateway, apart if several else None)

    def _await(
        self,
        future: asyncio.Future[Result],
        then: Callable[[Result], None],
        waiting: _Waiting,
        gateway: str,
        otherwise: Callable[[], None] | None = None,
    ) -> None:
        """Call `then` once this is committed. A disk that fails is told once; if we fail, `otherwise` may do better."""
        waiting.more()

        def done(future: asyncio.Future[Result]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if isinstance(error, StoreError):
                if not self._disk_failed:
                    log.warning("The ledger can't be written, nothing is receipted: %s", error.what)
                self._disk_failed = True
                waiting.fail()
                return
            if error is not None and otherwise is not None:
                otherwise()
            else:
                try:
                    result = future.result()
                    if self._disk_failed:
                        self._disk_failed = False
                        log.info("The ledger is written again")
                    then(result)
                except Exception as failure:  # noqa: BLE001  # our own bug: one message must not hold up the others
                    self._failed(failure, gateway)
            waiting.done()

        future.add_done_callback(done)

    def _failed(self, error: Exception, gateway: str) -> None:
        """Report that a message was lost to a mistake of ours, and log where it is, once."""
        self._centre.failed(gateway)
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ("", 0)
        level = logging.DEBUG if place in self._failures else logging.ERROR
        self._failures.add(place)
        log.log(level, "A message was left out: this program failed on it", exc_info=error)

    def _stored(self, batch: Batch, outcome: Outcome) -> None:
        self._centre.stored(batch, outcome, self._loop.time())
        committed = Committed(batch, outcome, self._wall())
        for sink in self._sinks:
            sink.put(committed)
        if not self._flushing:  # one receipt for all that the same commit brought
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _kept(self, kept: Kept, digests: Sequence[bytes]) -> None:
        self._follow(self._centre.vouched(kept, digests, self._loop.time()))

    def _examine(self, kept: Sequence[KeptRecord]) -> None:
        self._follow(self._centre.examine(kept, self._loop.time()))

    def _remembered(self, gateway: str, contradicted: Sequence[str]) -> None:
        for identity in contradicted:
            text = f"the gateway's state names another record than the held one as {identity}"
            self._centre.reports.add("record.tampered", gateway, text, identity)

    def _flush(self) -> None:
        self._flushing = False
        for topic, payload in self._centre.receipts(self._loop.time(), self._wall()):
            for line in self._lines:
                line.publish(topic, payload)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self._loop.time()
            self._follow(self._centre.tick(now))
            if now >= self._forget_at:
                self._forget_at = now + FORGET_EVERY
                self._await(self._ledger.forget(self._wall()), lambda _: None, _Waiting(), "")
            self._flush()
            self._report()
            for index, sink in enumerate(self._sinks):
                trouble = sink.trouble
                if trouble != self._sink_troubles.get(index):
                    self._sink_troubles[index] = trouble
                    log.warning("Sink %d: %s (%d records left out so far)", index, trouble or "works", sink.left_out)

    async def _beat(self) -> None:
        while True:
            topic, payload = self._centre.heartbeat(self._wall())
            for line in self._lines:
                line.publish(topic, payload)
            await asyncio.sleep(HEARTBEAT)

    def _opened(self, line: Line) -> None:
        line.publish(f"{CENTRE_CERTIFICATES}/{self._centre.name}", self._certificates, retain=True)
        line.publish(*self._centre.heartbeat(self._wall()))

    async def report(self) -> None:
        """Write down what was reported until now. Raises StoreError."""
        if (written := self._report()) is not None:
            await asyncio.shield(written)

    def _report(self) -> asyncio.Future[None] | None:
        tallies = self._centre.reports.drain()
        if not tallies:
            return None
        written = self._ledger.report(tallies, self._wall())
        self._await(written, lambda _: None, _Waiting(), "")
        written.add_done_callback(partial(self._unwritten, tallies))
        for tally in tallies:
            report = tally.report
            key = (report.type, report.gateway, report.detail)
            new = key not in self._logged and len(self._logged) < LOGGED
            self._logged.add(key) if report.open and new else self._logged.discard(key)
            level = logging.WARNING if report.open and new else logging.DEBUG if report.open else logging.INFO
            log.log(level, "%s %s: %s", report.type, report.gateway or "-", report.text)
        return written

    def _unwritten(self, tallies: Sequence[Tally], written: asyncio.Future[None]) -> None:
        """Keep in mind what the disk didn't take: a trouble that ended must not stay open for ever."""
        if not written.cancelled() and isinstance(written.exception(), StoreError):
            self._centre.reports.put_back(tallies)


def _parts(batch: Batch) -> Iterator[Batch]:
    """Yield what follows from a batch's records, then each of its records, as batches of their own."""
    if batch.declared or batch.epochs:
        yield replace(batch, records=())
    for record in batch.records:
        yield replace(batch, records=[record], declared=(), epochs=())
