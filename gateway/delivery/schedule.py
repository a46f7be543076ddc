"""What goes out next: alarms first, within the broker's window, until a receipt covers it.

Rules (wire.md, section 3 "Delivered means receipted"):

1. An alarm that was just signed goes before everything, at once, whatever else waits.
2. Then the alarms that wait, status, telemetry, each in its own order and within what `Pace` measured that the link
   bears; of alarms one publish is always on its way. Slots of the broker's window are kept for the lanes above.
   Telemetry gathers: while a publish of it is unanswered, or more of it being read, the next leaves only when it is
   full. A flood then costs everyone on the way a fraction.
3. An acknowledgement (PUBACK) frees a slot and proves nothing. What no receipt covers is sent again on each new
   connection, 60 s after its PUBACK, when the broker refused it, and when C5 says that it is missing. A lane that the
   broker refuses is held back for a while, over connections too: a broker may end the connection with the refusal
   (mosquitto does), and the other lanes must get through. An alarm that nobody was subscribed to (C5 comes back to a
   broker that has forgotten it) doesn't wait for the 60 s.
4. While the centre is silent only alarms are repeated, after 1, 2, 4 … 16 minutes; when it is heard again, everything.

The caller performs: it publishes what `next` returns, tells `acknowledged` or `refused`, reads from the outbox what
`want` names and brings it with `loaded`, and calls `tick` when `deadline` has come. What else it publishes, where
`room_besides` allows, it notes with `besides` and `answered`: it is on the same link. Times are monotonic seconds.
"""

import heapq
from collections.abc import Iterable
from typing import Final

from gateway.delivery.coverage import Coverage
from gateway.delivery.item import Item, Run, Want
from gateway.delivery.lane import REPEAT, Batch, LaneQueue
from gateway.delivery.pace import SEQUENCE_MAX, WINDOW_MAX, Pace, Sent
from gateway.event import Lane
from gateway.ranges import RangeSet

WINDOW_MIN: Final = 2  # slots that are worth dividing
UNRECEIPTED_MAX: Final = 8192  # batches of a lane acknowledged and waiting for a receipt; then the lane waits too
SILENT_REPEAT: Final = 60.0  # the first of 1, 2, 4 … minutes while the centre is silent
SILENT_REPEAT_MAX: Final = 960.0
UNHEARD_REPEAT: Final = 2.0  # seconds, while C5 isn't there to hear an alarm and isn't known to be silent yet
REFUSED_REPEAT: Final = 1.0  # seconds, doubled while the broker goes on refusing
REFUSED_REPEAT_MAX: Final = 30.0
REQUEST_REPEAT: Final = 5.0  # seconds between two answers to one request for what is missing
ASKED_MAX: Final = 256  # requests remembered for that
TAKEN_MAX: Final = 256  # publishes of alarms whose receipts are timed


class Schedule:
    """The order of delivery over one connection at a time."""

    def __init__(self, coverage: Coverage | None = None, pace: Pace | None = None) -> None:
        self._coverage = Coverage() if coverage is None else coverage
        self._pace = Pace() if pace is None else pace
        self._lanes = {lane: LaneQueue(lane, self._coverage) for lane in Lane}
        self._carried = frozenset(Lane)
        self._connected = False
        self._limit = SEQUENCE_MAX
        self._window = 0
        self._tight = False
        self._besides = 0  # publishes that are no records and not answered yet
        self._slots: dict[Lane, int] = {}
        self._silent = False

    def connected(self, receive_maximum: int, sequence_max: int = SEQUENCE_MAX, *, besides: int = 0) -> None:
        """Begin a connection: everything unreceipted is to be sent.

        Of the broker's window, `besides` slots are for what is no record. Of the rest, an alarm just signed may take
        the last slot; status, and alarms that waited, leave an eighth free, telemetry a quarter. Where there is no rest
        to divide, everything but an alarm just signed shares all slots but the last.
        """
        self._tight = receive_maximum - besides < WINDOW_MIN
        self._besides = 0
        rest = receive_maximum if self._tight else receive_maximum - besides
        self._window = window = max(1, min(rest, WINDOW_MAX))
        waiting = max(1, window - max(1, window // 8))
        self._slots = {
            Lane.ALARM: waiting,
            Lane.STATUS: waiting,
            Lane.TELEMETRY: max(1, window - max(2, window // 4)),
        }
        self._limit = min(SEQUENCE_MAX, sequence_max)
        self._connected = True
        self._pace.connected()
        for queue in self._lanes.values():
            queue.in_flight = 0
            queue.reset()

    def disconnected(self) -> None:
        """Nothing goes out; nothing is kept at hand: the outbox has it."""
        if self._connected:
            self._pace.disconnected()
        self._connected = False
        for queue in self._lanes.values():
            queue.in_flight = 0
            queue.reset()

    def carry(self, lanes: frozenset[Lane]) -> None:
        """Carry these lanes from now on: what comes anew has everything unreceipted sent, what goes is left alone."""
        for lane in lanes ^ self._carried:
            self._lanes[lane].reset()
        self._carried = lanes

    def offer(self, item: Item) -> None:
        """Take a record signed just now."""
        if self._connected and item.lane in self._carried:
            self._lanes[item.lane].offer(item)

    def next(self, now: float) -> Batch | None:
        """Return what to publish now, or None: nothing at hand, no slot free, or enough on its way."""
        if not self._connected or not any(queue.fresh or queue.ready for queue in self._lanes.values()):
            return None
        busy = self._busy
        limit = min(self._limit, self._pace.sequence_max)
        for lane, queue in self._lanes.items():
            at_once = lane is Lane.ALARM and bool(queue.fresh)
            if lane not in self._carried or queue.held_until is not None:
                continue
            if busy >= (self._window if at_once else self._slots[lane]):
                continue
            if lane is not Lane.ALARM and len(queue.repeats) >= UNRECEIPTED_MAX:
                continue
            if not at_once:
                size = queue.next_size(limit)
                if not size or (lane is Lane.TELEMETRY and size < limit and (queue.in_flight or queue.reading)):
                    continue
                if not (lane is Lane.ALARM and not queue.in_flight) and not self._pace.admits(size, now):
                    return None  # nor does it wait for a lane below
            if (taken := queue.take(limit)) is not None:
                run, items = taken
                payload = b"".join(item.wire for item in items)
                queue.in_flight += 1
                return Batch(run, payload, len(items), queue.generation, self._pace.sent(len(payload), now))
        return None

    @property
    def tight(self) -> bool:
        """Whether what is no record waits for a slot, too: each answer may be what lets it go."""
        return self._tight

    @property
    def room_besides(self) -> bool:
        """Whether something that is no record may go out now: it leaves the last slot to an alarm.

        Where that is the only one, an alarm that waits for it goes first.
        """
        alarms = self._lanes[Lane.ALARM]
        waits = bool(alarms.fresh) and alarms.held_until is None and Lane.ALARM in self._carried
        return not self._tight or (self._busy < max(1, self._window - 1) and not (self._window == 1 and waits))

    def besides(self, size: int, now: float) -> Sent:
        """Note what goes out over the same link and is no record; pass the answer on with `answered`."""
        self._besides += 1
        return self._pace.sent(size, now)

    def answered(self, sent: Sent, now: float) -> None:
        """Note the answer to what went out `besides`."""
        self._besides = max(0, self._besides - 1)
        self._pace.answered(sent, now)

    @property
    def _busy(self) -> int:
        """How many slots are taken, of those that the records have or share."""
        records = sum(queue.in_flight for queue in self._lanes.values())
        return records + self._besides if self._tight else records

    def acknowledged(self, batch: Batch, now: float, *, heard: bool = True) -> None:
        """Note that the broker took it. That is no delivery: it comes again unless a receipt covers it in time.

        `heard` is False where the broker says that nobody is subscribed.
        """
        if heard:
            self._coverage.taken(batch.run)
        waits = self._lanes[batch.run.lane].waits
        if self._silent:
            wait = waits.get((batch.run.ordinal, batch.run.first), SILENT_REPEAT)
        else:
            wait = REPEAT if heard or batch.run.lane is not Lane.ALARM else UNHEARD_REPEAT
        self._settled(batch, now, wait)
        queue = self._lanes[batch.run.lane]
        known = batch.generation == queue.generation and batch.run.lane is Lane.ALARM
        if heard and known and len(queue.taken) < TAKEN_MAX and self._coverage.left_of(batch.run):
            queue.taken.setdefault(batch.run, now)

    def refused(self, batch: Batch, now: float, tries: int) -> None:
        """Note that the broker refused it, for the `tries`-th time in a row: its lane is held back."""
        wait = min(REFUSED_REPEAT_MAX, REFUSED_REPEAT * 2.0 ** min(tries - 1, 10))
        self._settled(batch, now, wait)
        self._lanes[batch.run.lane].held_until = now + wait

    def _settled(self, batch: Batch, now: float, wait: float) -> None:
        queue = self._lanes[batch.run.lane]
        queue.in_flight = max(0, queue.in_flight - 1)
        self._pace.answered(batch.sent, now)
        if batch.generation == queue.generation and self._coverage.left_of(batch.run):
            heapq.heappush(queue.repeats, (now + wait, next(queue.ties), batch.run))

    def receipted(self, runs: Iterable[Run]) -> list[Run]:
        """Note what C5 has: it is not sent again. Return what of it was not known before: coverage only grows."""
        new = self._coverage.add(runs)
        for queue in self._lanes.values():
            while queue.repeats and not self._coverage.left_of(queue.repeats[0][2]):
                heapq.heappop(queue.repeats)
        return new

    def unanswered(self, now: float) -> float:
        """Return for how many seconds the broker has had an alarm that no receipt covers, on this connection.

        0 while the centre is silent, which explains it.
        """
        taken = self._lanes[Lane.ALARM].taken
        while taken and not self._coverage.left_of(oldest := next(iter(taken))):
            del taken[oldest]
        return 0.0 if self._silent or not taken else now - next(iter(taken.values()))

    def requested(self, run: Run, now: float) -> list[Run]:
        """Note that C5 lacks a run: what of it isn't on its way goes again, at most once in 5 s.

        Returns what a receipt has covered before: that is here no more.
        """
        queue = self._lanes[run.lane]
        if not self._connected or queue.asked.get(run, -REQUEST_REPEAT) + REQUEST_REPEAT > now:
            return []
        if len(queue.asked) >= ASKED_MAX:
            queue.asked.clear()
        queue.asked[run] = now
        left = self._coverage.left_of(run)
        for part in left:
            queue.request(part)
        gone = RangeSet((part.first, part.last) for part in left).missing(run.first, run.last)
        return [Run(run.lane, run.ordinal, *hole) for hole in gone]

    def silent(self, *, silent: bool) -> None:
        """The centre fell silent, or is heard again: then everything unreceipted goes again."""
        if self._silent and not silent:
            self.restart()
        self._silent = silent

    def restart(self) -> None:
        """Send everything unreceipted again, as on a new connection."""
        if self._connected:
            for queue in self._lanes.values():
                queue.reset()

    def want(self) -> list[Want]:
        """Return what to read from the outbox now; each is wanted once."""
        if not self._connected:
            return []
        carried = (queue for lane, queue in self._lanes.items() if lane in self._carried)
        return [want for queue in carried if (want := queue.want()) is not None]

    def loaded(self, want: Want, items: list[Item], *, complete: bool) -> list[Run]:
        """Take what was read for a want, in order; `complete` if there was no more.

        Returns what was asked for by its numbers and isn't there, although no receipt covers it: it is lost.
        """
        return self._lanes[want.lane].loaded(want, items, complete=complete)

    def unread(self, want: Want, items: list[Item], now: float) -> None:
        """Note that the outbox could not be read: what memory holds is taken, and the rest wanted again."""
        self._lanes[want.lane].unread(want, items, now)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        repeats = (queue.repeats[0][0] for queue in self._lanes.values() if queue.repeats)
        waits = (wait for queue in self._lanes.values() for wait in (queue.held_until, queue.unread_until))
        return min((*repeats, *(wait for wait in waits if wait is not None)), default=None)

    def tick(self, now: float) -> None:
        """Send again what has waited long enough for its receipt, or been held back long enough."""
        for lane, queue in self._lanes.items():
            if queue.held_until is not None and queue.held_until <= now:
                queue.held_until = None
            if queue.unread_until is not None and queue.unread_until <= now:
                queue.unread_until = None
                queue.behind = True
            while queue.repeats and queue.repeats[0][0] <= now:
                run = heapq.heappop(queue.repeats)[2]
                if self._silent and lane is not Lane.ALARM:
                    heapq.heappush(queue.repeats, (now + SILENT_REPEAT_MAX, next(queue.ties), run))
                elif left := self._coverage.left_of(run):
                    queue.again.extend(left)
                    for place in ((part.ordinal, part.first) for part in left if self._silent):
                        queue.waits[place] = min(SILENT_REPEAT_MAX, 2 * queue.waits.get(place, SILENT_REPEAT))
