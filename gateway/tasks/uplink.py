"""The way to C5: one connection at a time, the preferred broker first, for ever.

What goes out next is `Schedule`'s decision, and it is made on every occasion: a record signed, an acknowledgement, a
receipt, a reading from the outbox. A record is published within the call that signed it; nothing here waits.

What the broker answers is never a delivery. A refusal is a trouble that a person can see (`troubles`), and is tried
again. What C5 says goes to `downlink`, which lives and ends with this.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.control.authorise import Speakers
from gateway.delivery.backoff import Backoff
from gateway.delivery.coverage import Coverage
from gateway.delivery.item import Item, Want
from gateway.delivery.link import CentreWatch
from gateway.delivery.schedule import REPEAT, Batch, Schedule
from gateway.errors import LinkError
from gateway.event import LANE_NAMES, Event, Lane
from gateway.tasks import said
from gateway.tasks.downlink import Downlink
from gateway.tasks.said import Self
from gateway.text import _
from gateway.topics import CENTRE_CERTIFICATES

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.mqtt import Connection, Message
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

OWN_SLOTS: Final = 2  # of the broker's window: for the certificates and one state, which no schedule counts
STATE_PAUSE: Final = 1.0  # seconds between two states at least
RECONNECT_MAX: Final = 10.0  # seconds between two tries at most: the first alarm after an outage waits for this
ALARM_PAUSE: Final = 1.0  # … unless it is signed meanwhile: then this
STEADY: Final = 10.0  # seconds: a connection that held this long was no flapping one
NO_SUBSCRIBER: Final = 0x10  # MQTT 5: taken, and given to nobody
REFUSAL: Final = 0x80


# Opens a connection to a broker by name, with a will (topic, payload), telling what arrives and why it ended.
Dial = Callable[[str, tuple[str, bytes], Callable[["Message"], None], Callable[[str], None]], Awaitable["Connection"]]


class Uplink:
    """Delivers records over one connection at a time; what C5 answers goes to `downlink`."""

    def __init__(
        self,
        *,
        own: Self,
        brokers: Sequence[str],
        dial: Dial,
        schedule: Schedule,
        coverage: Coverage,
        recorder: "Recorder",
        store: "Store",
        speakers: Speakers,
        watch: CentreWatch,
        ordinals: Mapping[bytes, int],
        clock: "Timekeeper",
        random: Callable[[], float],
        cloud_events: bool = False,
        confirmed_by_broker: bool = False,
    ) -> None:
        self._own = own
        self._brokers = brokers
        self._dial = dial
        self._schedule = schedule
        self._recorder = recorder
        self._store = store
        self._clock = clock
        self._backoff = Backoff(0.5, RECONNECT_MAX, random)
        self._cloud_events = cloud_events
        self._confirmed_by_broker = confirmed_by_broker
        self._topics = {lane: own.route.event(lane) for lane in Lane}
        self._connection: Connection | None = None
        self._closed = ""
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()  # an alarm was signed while there was no link
        self._reads: set[asyncio.Task[None]] = set()
        self._refusals: dict[Lane, int] = {}
        self._refused_at = -STATE_PAUSE
        self._channels: dict[str, tuple[int, float]] = {}  # refused ones: how often, and until when they are held back
        self._state_at = -STATE_PAUSE
        self._state_due = False
        self._state_unanswered = False
        self._states = 0
        self._connections = 0
        self.broker: str | None = None  # where we are connected
        self.troubles: dict[str, str] = {}
        self.downlink = Downlink(
            own=own,
            schedule=schedule,
            coverage=coverage,
            recorder=recorder,
            store=store,
            speakers=speakers,
            watch=watch,
            ordinals=ordinals,
            clock=clock,
            troubles=self.troubles,
            pump=self.pump,
            confirmed_by_broker=confirmed_by_broker,
        )

    # The connection.

    async def run(self) -> None:
        """Connect, deliver, connect again; ends only when cancelled."""
        while True:
            for broker in self._brokers:
                await self._attempt(broker)
            await self._pause(self._backoff.next())

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try; an alarm cuts the wait short, to no less than a second between two tries."""
        self._urgent.clear()
        await asyncio.sleep(min(seconds, ALARM_PAUSE))
        try:
            async with asyncio.timeout(max(0.0, seconds - ALARM_PAUSE)):
                await self._urgent.wait()
        except TimeoutError:
            pass

    async def _attempt(self, broker: str) -> None:
        self._connections += 1
        self._closed = ""
        self._wake.clear()
        route = self._own.route
        will = (route.topic("state"), self._signed_state(online=False))
        try:
            connection = await self._dial(broker, will, self.downlink.arrived, self._on_closed)
        except LinkError as error:
            self._link_failed(broker, error.what, error.hint)
            return
        began = self._clock.monotonic()
        try:
            await self._serve(broker, connection)
        except LinkError as error:  # a subscription was refused
            self._link_failed(broker, error.what, error.hint)
            connection.abort()
        finally:
            if self._clock.monotonic() - began >= STEADY:
                self._backoff.reset()
            self.broker = self._connection = None
            self._schedule.disconnected()
            self.downlink.disconnected(self._clock.monotonic())
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # we are in one
                await self._goodbye(connection)
                # A cancellation that came together with a LinkError is not in flight any more: it must not be lost.
                raise asyncio.CancelledError

    async def _serve(self, broker: str, connection: "Connection") -> None:
        names = asyncio.ensure_future(connection.subscribe([f"{CENTRE_CERTIFICATES}/+"]))
        subscribed = asyncio.ensure_future(connection.subscribe(self.downlink.topics))
        self._connection = connection
        self._send("certificates", self._own.certificates)
        self._state_unanswered = False
        self._send("state", self._signed_state(online=True))
        self.downlink.connected(self._clock.monotonic())
        limit = connection.maximum_packet
        self._schedule.connected(connection.receive_maximum - OWN_SLOTS, *([limit - 512] if limit else []))
        self.pump()
        await asyncio.gather(names, subscribed)
        self.broker = broker
        log.info("connected to %s", broker)
        if self.troubles.pop("link", None) is not None:
            self._record("link.restored", {"broker": broker})
        while not self._closed:
            self._tick(self._clock.monotonic())
            deadline = self._deadline() - self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.0, deadline)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()
        if self._clock.monotonic() - self._refused_at < STATE_PAUSE:
            log.debug("the broker ended the connection with its refusal: %s", self._closed)
        else:
            self._link_failed(broker, self._closed, "")

    async def _goodbye(self, connection: "Connection") -> None:
        """Say that we go on purpose, so that C5 needn't wait for our silence."""
        self._connection = connection
        self._send("state", self._signed_state(online=False))
        self._connection = None
        await connection.close()

    def _on_closed(self, reason: str) -> None:
        self._connection = None
        self._schedule.disconnected()
        self._closed = reason or _("the connection ended")
        self._wake.set()

    def _link_failed(self, broker: str, reason: str, hint: str) -> None:
        if "link" not in self.troubles:
            log.warning("no link to the broker: %s. %s", reason, hint)
            self._record("link.failed", said.bounded(broker, reason))
        else:
            log.debug("no link to the broker: %s. %s", reason, hint)
        self.troubles["link"] = f"{reason}. {hint}" if hint else reason

    def _deadline(self) -> float:
        deadlines = (
            self._state_deadline,
            self._schedule.deadline,
            self.downlink.deadline,
            self._clock.monotonic() + REPEAT,
        )
        return min(deadline for deadline in deadlines if deadline is not None)

    @property
    def _state_deadline(self) -> float | None:
        """When the next state goes out; None while the last is unanswered: the broker's window is not to be burst."""
        if self._state_unanswered:
            return None
        return self._state_at + (STATE_PAUSE if self._state_due else self._own.interval)

    def _tick(self, now: float) -> None:
        self._schedule.tick(now)
        if (state := self._state_deadline) is not None and now >= state:
            self._send("state", self._signed_state(online=True))
        self.downlink.tick(now)
        self.pump()

    # Out.

    def offer(self, item: Item) -> None:
        """Take a record signed just now; it leaves within this call if the link is up and the window open."""
        self._schedule.offer(item)
        self.pump()
        if item.lane is Lane.ALARM:
            self._urgent.set()
            if self._connection is None:
                return
            if self._clock.monotonic() >= self._state_at + STATE_PAUSE and not self._state_unanswered:
                self._send("state", self._signed_state(online=True))
            else:
                self._state_due = True
                self._wake.set()

    def pump(self) -> None:
        """Publish what may go now, and have read what is wanted."""
        connection = self._connection
        if connection is None:
            return
        while (batch := self._schedule.next()) is not None:
            connection.publish(
                self._topics[batch.run.lane],
                batch.payload,
                content_type=said.RECORD_TYPE if batch.count == 1 else said.SEQUENCE_TYPE,
                user_properties=said.cloud_event(batch.payload) if self._cloud_events and batch.count == 1 else (),
                on_ack=partial(self._acknowledged, batch),
            )
        for want in self._schedule.want():
            task = asyncio.get_running_loop().create_task(self._load(want), name="uplink-read")
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)

    async def _load(self, want: Want) -> None:
        items, complete = await self._store.read(want)
        now = self._clock.monotonic()
        if complete is None:
            self._schedule.unread(want, items, now)
            self._wake.set()
        else:
            self.downlink.lost(self._schedule.loaded(want, items, complete=complete))
        self.pump()

    def _acknowledged(self, batch: Batch, code: int) -> None:
        now, lane = self._clock.monotonic(), batch.run.lane
        if code < REFUSAL:
            self._schedule.acknowledged(batch, now, heard=code != NO_SUBSCRIBER)
            if self._confirmed_by_broker and code == 0:
                self._store.receipted(self._schedule.receipted([batch.run]))
            if self._refusals.pop(lane, None) is not None:
                del self.troubles[f"refused {LANE_NAMES[lane]}"]
                log.info("the broker takes %s again", self._topics[lane])
        else:
            self._refused_at = now
            tries = self._refusals[lane] = self._refusals.get(lane, 0) + 1
            self._schedule.refused(batch, now, tries)
            if tries == 1:
                self.troubles[f"refused {LANE_NAMES[lane]}"] = what = said.explain_refusal(self._topics[lane], code)
                log.warning("the broker refuses %s (0x%02x): %s", self._topics[lane], code, what)
            self._wake.set()
        self.pump()

    def _send(self, channel: str, payload: bytes) -> None:
        """Publish a retained message; a channel that the broker refuses is held back, as lanes are."""
        now = self._clock.monotonic()
        if channel == "state":
            self._state_at = now
            self._state_due = False
        if self._connection is None or now < self._channels.get(channel, (0, now))[1]:
            return
        self._state_unanswered |= channel == "state"
        answered = partial(self._answered, channel)
        self._connection.publish(self._own.route.topic(channel), payload, retain=True, on_ack=answered)

    def _answered(self, channel: str, code: int) -> None:
        if channel == "state":
            self._state_unanswered = False
        tries, _until = self._channels.pop(channel, (0, 0.0))
        if code >= REFUSAL:
            now = self._refused_at = self._clock.monotonic()
            self._channels[channel] = (tries + 1, now + min(REPEAT, 2.0 ** (tries + 1)))
            if not tries:
                topic = self._own.route.topic(channel)
                self.troubles[f"refused {channel}"] = what = said.explain_refusal(topic, code)
                log.warning("the broker refuses %s (0x%02x): %s", topic, code, what)
        elif tries:
            del self.troubles[f"refused {channel}"]
        self._wake.set()

    def _signed_state(self, *, online: bool) -> bytes:
        self._states += online
        heads, number = (self._recorder.heads, self._states) if online else (None, 0)
        return said.signed_state(self._own, self._clock.now_us(), heads, number, self._connections)

    def _record(self, type_: str, data: Mapping[str, Any]) -> None:
        self._recorder.record(Event(type_, self._own.route.gateway, data=data))
