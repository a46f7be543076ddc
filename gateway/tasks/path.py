"""One broker, for as long as the gateway runs: connected again and again, supervised also when nothing goes over it.

A path keeps its connection whether it carries records or not (`carry`): a state goes out on it every interval, and a
dead one is noticed before it is needed. What goes out next is its `Schedule`'s decision, made on every occasion: a
record signed, an acknowledgement, a receipt, a reading from the outbox. A record is published within the call that
signed it; nothing here waits.

What the broker answers is never a delivery. A refusal is a trouble that a person can see (`troubles`), and is tried
again. Which path carries what is `uplink`'s to say, and is told all that it goes by.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.delivery.backoff import Backoff
from gateway.delivery.item import Item, Run, Want
from gateway.delivery.lane import REPEAT, Batch
from gateway.delivery.link import CentreWatch, Restored
from gateway.delivery.schedule import Schedule
from gateway.delivery.timing import LATE
from gateway.errors import LinkError
from gateway.event import LANE_NAMES, Lane
from gateway.tasks import said
from gateway.tasks.announce import REFUSAL, SLOTS, Announcer, States
from gateway.text import _
from gateway.topics import CENTRE, CENTRE_CERTIFICATES

if TYPE_CHECKING:
    from gateway.clock import Judge
    from gateway.mqtt import Connection, Message
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

RECONNECT_MAX: Final = 10.0  # seconds between two tries at most: the first alarm after an outage waits for this
RESERVE_MAX: Final = 60.0  # … while another path carries: nothing waits, and two that push each other out do it rarely
ALARM_PAUSE: Final = 1.0  # … unless it is signed meanwhile: then this
STEADY: Final = 10.0  # seconds: a connection that held this long was no flapping one
RESTART_PAUSE: Final = 5.0  # seconds between two times that a receiver's coming has everything sent again
NO_SUBSCRIBER: Final = 0x10  # MQTT 5: taken, and given to nobody
REFUSED_END: Final = 1.0  # seconds: a connection that ends so soon after a refusal ended with it

# Opens a connection to a broker by name, with a will (topic, payload), telling what arrives and why it ended.
Dial = Callable[[str, tuple[str, bytes], Callable[["Message"], None], Callable[[str], None]], Awaitable["Connection"]]


class Hub(Protocol):
    """All paths together, as far as one of them needs the others."""

    @property
    def reachable(self) -> bool:
        """Whether any path is connected."""

    def connected(self, path: "Path") -> None:
        """A connection began; say what it carries."""

    def disconnected(self, path: "Path") -> None:
        """It ended, or could not be opened."""

    def refused(self, path: "Path") -> None:
        """The broker refused records, or had nobody to give them to."""

    def late(self, path: "Path") -> None:
        """Alarms began to wait for their acknowledgement for too long, or no longer do."""

    def alive(self, path: "Path", restored: Restored | None) -> None:
        """The centre was heard, for the first time since it was silent there if `restored`."""

    def arrived(self, path: "Path", arrived: "Message") -> None:
        """Something came from the broker."""

    def lost(self, runs: Sequence[Run]) -> None:
        """C5 asked for these, and they are nowhere."""

    def record(self, type_: str, data: Mapping[str, Any]) -> None:
        """Have an event recorded."""

    def look(self) -> None:
        """Time passed on a path: look at what its watch says."""


class Path:
    """The way over one broker."""

    def __init__(
        self,
        broker: str,
        *,
        own: said.Self,
        states: States,
        hub: Hub,
        dial: Dial,
        schedule: Schedule,
        watch: CentreWatch,
        store: "Store",
        clock: "Judge",
        random: Callable[[], float],
        cloud_events: bool,
        confirmed_by_broker: bool,
    ) -> None:
        self.broker = broker
        self.schedule = schedule
        self.watch = watch
        self.troubles: dict[str, str] = {}
        self.ready = False  # connected, and told what C5 says
        self.version: str | None = None  # of MQTT, on the present connection
        self.late = False  # alarms wait for their acknowledgement for too long
        self.carries: frozenset[Lane] = frozenset()
        self._hub = hub
        self._dial = dial
        self._store = store
        self._clock = clock
        self._backoff = Backoff(0.5, RECONNECT_MAX, random)
        self._cloud_events = cloud_events
        self._confirmed_by_broker = confirmed_by_broker
        self._announcer = Announcer(
            own=own, states=states, schedule=schedule, clock=clock, troubles=self.troubles, changed=self.wake
        )
        self._receipt = own.route.topic("receipt")
        self._command = own.route.topic("command")
        self._topics = {lane: own.route.event(lane) for lane in Lane}
        self._connection: Connection | None = None
        self._closed = ""
        self._due = 0.0  # when the time is looked at next
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()  # an alarm was signed while there was no link
        self._reads: set[asyncio.Task[None]] = set()
        self._alarms: dict[int, float] = {}  # published, and when: what the broker hasn't acknowledged, oldest first
        self._published = 0
        self._refusals: dict[Lane, int] = {}
        self._refused_at = -REFUSED_END
        self._restarted_at = -RESTART_PAUSE

    # The connection.

    @property
    def connected(self) -> bool:
        """Whether there is a connection, be it one that isn't told anything yet."""
        return self._connection is not None

    async def run(self) -> None:
        """Connect, deliver, connect again; ends only when cancelled."""
        while True:
            await self._attempt()
            await self._pause(self._backoff.next(RESERVE_MAX if self._hub.reachable else RECONNECT_MAX))

    def hurry(self) -> None:
        """Try again now: an alarm waits, and there is no way for it."""
        self._urgent.set()

    def wake(self) -> None:
        """Look at the time anew."""
        self._wake.set()

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try; an alarm cuts the wait short, to no less than a second between two tries."""
        await asyncio.sleep(min(seconds, ALARM_PAUSE))
        try:
            async with asyncio.timeout(max(0.0, seconds - ALARM_PAUSE)):
                await self._urgent.wait()
        except TimeoutError:
            pass

    async def _attempt(self) -> None:
        self._closed = ""
        self._wake.clear()
        self._urgent.clear()  # before the try: an alarm that is signed during one that fails has waited already
        try:
            connection = await self._dial(self.broker, self._announcer.begin(), self._arrived, self._on_closed)
        except LinkError as error:
            self._link_failed(error.what, error.hint)
            return
        began = self._clock.monotonic()
        try:
            await self._serve(connection)
        except LinkError as error:  # a subscription was refused
            self._disconnected()
            self._link_failed(error.what, error.hint)
            connection.abort()
        finally:
            if self._clock.monotonic() - began >= STEADY:
                self._backoff.reset()
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # we are in one
                self._connection = None  # and no other path takes over: they stop as well
                self._announcer.goodbye(connection)
                await connection.close()
                # A cancellation that came together with a LinkError is not in flight any more: it must not be lost.
                raise asyncio.CancelledError
            self._disconnected()

    async def _serve(self, connection: "Connection") -> None:
        names = asyncio.ensure_future(connection.subscribe([f"{CENTRE_CERTIFICATES}/+"]))
        subscribed = asyncio.ensure_future(connection.subscribe([self._receipt, CENTRE, self._command]))
        self._connection = connection
        limit = connection.maximum_packet
        self.schedule.connected(connection.receive_maximum, *([limit - 512] if limit else []), besides=SLOTS)
        self._announcer.connected(connection)
        self.watch.connected(self._clock.monotonic())
        self._hub.connected(self)
        self.pump()
        await asyncio.gather(names, subscribed)
        self.ready, self.version = True, connection.protocol
        log.info("connected to %s with MQTT %s", self.broker, self.version)
        if self.troubles.pop("link", None) is not None:
            self._hub.record("link.restored", {"broker": self.broker[:300]})
        while not self._closed:
            self._tick(self._clock.monotonic())
            self._due = self._deadline()
            try:
                async with asyncio.timeout(max(0.0, self._due - self._clock.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()
        if self._clock.monotonic() - max(self._refused_at, self._announcer.refused_at) < REFUSED_END:
            log.debug("the broker ended the connection with its refusal: %s", self._closed)
        else:
            self._link_failed(self._closed, "")

    def _on_closed(self, reason: str) -> None:
        self._closed = reason or _("the connection ended")
        self._disconnected()
        self._wake.set()

    def _disconnected(self) -> None:
        """Let go of the connection: another path takes over within this call."""
        if self._connection is None and not self.ready:
            return
        self._connection = None
        self._announcer.disconnected()
        self.ready, self.version = False, None
        self.schedule.disconnected()
        self.watch.disconnected(self._clock.monotonic())
        self._alarms.clear()
        self.late = False
        self._hub.disconnected(self)

    def _link_failed(self, reason: str, hint: str) -> None:
        first, why = "link" not in self.troubles, f"{reason}. {hint}" if hint else reason
        log.log(logging.WARNING if first else logging.DEBUG, "no link to the broker: %s", why)
        if first:
            self._hub.disconnected(self)
            self._hub.record("link.failed", said.bounded(self.broker, reason))
        self.troubles["link"] = why

    # Time.

    def _deadline(self) -> float:
        deadlines = (
            self._announcer.deadline,
            self.schedule.deadline,
            None if self._confirmed_by_broker else self.watch.deadline,
            self._late_at if not self.late else None,
            self._clock.monotonic() + REPEAT,
        )
        return min(deadline for deadline in deadlines if deadline is not None)

    @property
    def _late_at(self) -> float | None:
        """When the oldest alarm on its way will have waited for too long."""
        oldest = next(iter(self._alarms.values()), None)
        return None if oldest is None else oldest + LATE

    def _tick(self, now: float) -> None:
        self.schedule.tick(now)
        self._announcer.tick(now)
        if not self._confirmed_by_broker and self.watch.tick(now) is not None:
            self.schedule.silent(silent=True)
        self._look_at_alarms(now)
        self._hub.look()
        self.pump()

    def _look_at_alarms(self, now: float) -> None:
        late = self._late_at is not None and now >= self._late_at
        if late != self.late and (late or not self._alarms):
            self.late = late
            self._hub.late(self)

    # In.

    def _arrived(self, arrived: "Message") -> None:
        self._hub.arrived(self, arrived)

    def alive(self, name: str, time_us: int, now: float) -> None:
        """Note a sign of C5's life, unless it is a recording."""
        now_us, synchronised = self._clock.firm()
        restored = self.watch.heartbeat(name, time_us, now, now_us if synchronised else None)
        if self.watch.heard_at != now:
            return
        if restored is not None:
            self.schedule.silent(silent=False)
        for lane in Lane:
            self.troubles.pop(f"unheard {LANE_NAMES[lane]}", None)
        self._hub.alive(self, restored)
        self.pump()

    def introduced(self, now: float) -> None:
        """Note that a receiver has just come to this broker.

        Perhaps without the session in which the broker would have kept for it what we sent meanwhile
        (docs/decisions/0012).
        """
        if now >= self._restarted_at + RESTART_PAUSE:
            self._restarted_at = now
            self.schedule.restart()
            self.pump()

    # Out.

    def carry(self, lanes: frozenset[Lane]) -> None:
        """Carry these lanes from now on."""
        self.carries = lanes
        self.schedule.carry(lanes)

    def offer(self, item: Item) -> None:
        """Take a record signed just now; if this path carries it, it leaves within this call."""
        self.schedule.offer(item)
        self.pump()

    def alarm(self) -> None:
        """Tell C5, on this path too, that an alarm was signed."""
        if self._connection is not None:
            self._announcer.alarm()

    def reply(self, wire: bytes) -> None:
        """Say what became of a command."""
        self._announcer.reply(wire)

    def pump(self) -> None:
        """Publish what may go now, and have read what is wanted."""
        connection = self._connection
        if connection is None:
            return
        now = self._clock.monotonic()
        self._announcer.freed(now)
        while (batch := self.schedule.next(now)) is not None:
            self._published += 1
            if batch.run.lane is Lane.ALARM:
                self._alarms[self._published] = now
            connection.publish(
                self._topics[batch.run.lane],
                batch.payload,
                content_type=said.RECORD_TYPE if batch.count == 1 else said.SEQUENCE_TYPE,
                user_properties=said.cloud_event(batch.payload) if self._cloud_events and batch.count == 1 else (),
                on_ack=partial(self._acknowledged, batch, self._published),
            )
            if batch.run.lane is Lane.ALARM and now + LATE < self._due:
                self._wake.set()
        for want in self.schedule.want():
            task = asyncio.get_running_loop().create_task(self._load(want), name="uplink-read")
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)

    async def _load(self, want: Want) -> None:
        items, complete = await self._store.read(want)
        now = self._clock.monotonic()
        if complete is None:
            self.schedule.unread(want, items, now)
            self._wake.set()
        else:
            self._hub.lost(self.schedule.loaded(want, items, complete=complete))
        self.pump()

    def _acknowledged(self, batch: Batch, number: int, code: int) -> None:
        now, lane = self._clock.monotonic(), batch.run.lane
        if self._alarms.pop(number, None) is not None and self.late:
            self._look_at_alarms(now)
        if code < REFUSAL:
            self.schedule.acknowledged(batch, now, heard=code != NO_SUBSCRIBER)
            if self._confirmed_by_broker and code == 0:
                self._store.receipted(self.schedule.receipted([batch.run]))
            if self._refusals.pop(lane, None) is not None:
                del self.troubles[f"refused {LANE_NAMES[lane]}"]
                log.info("the broker takes %s again", self._topics[lane])
            if code == NO_SUBSCRIBER:
                self._nobody_listens(lane)
            else:
                self.troubles.pop(f"unheard {LANE_NAMES[lane]}", None)
        else:
            self._refused_at = now
            tries = self._refusals[lane] = self._refusals.get(lane, 0) + 1
            self.schedule.refused(batch, now, tries)
            if tries == 1:
                self.troubles[f"refused {LANE_NAMES[lane]}"] = what = said.explain_refusal(self._topics[lane], code)
                log.warning("the broker refuses %s (0x%02x): %s", self._topics[lane], code, what)
            self._hub.refused(self)
            self._wake.set()
        self.pump()

    def _nobody_listens(self, lane: Lane) -> None:
        key = f"unheard {LANE_NAMES[lane]}"
        if key not in self.troubles:
            self.troubles[key] = said.explain_nobody(self._topics[lane])
            log.warning("nobody is subscribed to %s at %s", self._topics[lane], self.broker)
        self._hub.refused(self)
