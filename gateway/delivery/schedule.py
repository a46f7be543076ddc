"""What goes out next: alarms first, within the broker's window, until a receipt covers it.

Rules (wire.md, section 3 "Delivered means receipted"):

1. An alarm that was just signed goes before everything, at once, whatever else waits.
2. Then alarms, status, telemetry, each in its own order. Slots of the broker's window are kept for the lanes above.
   Telemetry gathers: while a publish of it is unanswered, the next leaves only when it is full. A flood then costs
   everyone on the way a fraction, and an alarm finds no queue of small messages before it.
3. An acknowledgement (PUBACK) frees a slot and proves nothing. What no receipt covers is sent again on each new
   connection, 60 s after its PUBACK, when the broker refused it, and when C5 says that it is missing. A lane that the
   broker refuses is held back for a while, over connections too: a broker may end the connection with the refusal
   (mosquitto does), and the other lanes must get through. An alarm that nobody was subscribed to (C5 comes back to a
   broker that has forgotten it) doesn't wait for the 60 s.
4. While the centre is silent only alarms are repeated, after 1, 2, 4 … 16 minutes; when it is heard again, everything.

Memory is bounded: a lane holds a few hundred records; the rest is read from the outbox when there is room. What is
handed out here is a run of consecutive records of one epoch, so that C5 can check it by one signature.

The caller performs: it publishes what `next` returns, tells `acknowledged` or `refused`, reads from the outbox what
`want` names and brings it with `loaded`, and calls `tick` when `deadline` has come. Times are monotonic seconds.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

from gateway.delivery.coverage import Coverage
from gateway.delivery.item import After, Item, Position, Run, Want
from gateway.event import Lane
from gateway.ranges import RangeSet

SEQUENCE_MAX: Final = 16_384  # bytes of one publish
LOW_WATER: Final = 4 * SEQUENCE_MAX  # bytes: below this a lane wants more from the outbox
FRESH_MAX: Final = 256  # records signed since they were last caught up, kept in memory for each lane
WINDOW_MAX: Final = 32  # batches in flight at most, whatever the broker allows: half a MiB
UNRECEIPTED_MAX: Final = 8192  # batches of a lane acknowledged and waiting for a receipt; then the lane waits too
REPEAT: Final = 60.0  # seconds from PUBACK to the next try
SILENT_REPEAT: Final = 60.0  # the first of 1, 2, 4 … minutes while the centre is silent
SILENT_REPEAT_MAX: Final = 960.0
UNHEARD_REPEAT: Final = 2.0  # seconds, while C5 isn't there to hear an alarm and isn't known to be silent yet
REFUSED_REPEAT: Final = 1.0  # seconds, doubled while the broker goes on refusing
REFUSED_REPEAT_MAX: Final = 30.0
REQUEST_REPEAT: Final = 5.0  # seconds between two answers to one request for what is missing
ASKED_MAX: Final = 256  # requests remembered for that


@dataclass(frozen=True, slots=True)
class Batch:
    """One publish: the bytes of a run."""

    run: Run
    payload: bytes
    count: int
    generation: int  # of the connection, or of the centre's return, that it belongs to


class _LaneQueue:
    """One lane: what is at hand, what must be read, what waits for its receipt."""

    def __init__(self, lane: Lane, coverage: Coverage) -> None:
        self.lane = lane
        self.coverage = coverage
        self.in_flight = 0
        self.generation = 0
        self.held_until: float | None = None
        self.ties = count()  # of two repeats due at one time, the first acknowledged goes first
        self.reset()

    def reset(self) -> None:
        """Everything unreceipted is to be sent (again)."""
        self.generation += 1
        self.fresh: deque[Item] = deque()
        self.ready: deque[Item] = deque()
        self.ready_bytes = 0
        self.handed: dict[int, RangeSet] = {}  # at hand or sent since the reset
        self.again: deque[Run] = deque()
        self.asked: dict[Run, float] = {}
        self.repeats: list[tuple[float, int, Run]] = []  # acknowledged or refused: when to send again
        self.waits: dict[Position, float] = {}  # of what was repeated while the centre is silent: the next wait
        self.behind = True  # the outbox holds something that was not handed
        self.missed = False  # … and got more while it was being read
        self.cursor: Position | None = None
        self.reading: Want | None = None
        self.unread_until: float | None = None  # when to try again what could not be read

    def offer(self, item: Item) -> None:
        if self.lane is not Lane.ALARM and self.behind:
            self.missed = True
        elif len(self.fresh) < FRESH_MAX:
            self.fresh.append(item)
            _add(self.handed, item.ordinal, item.sequence, item.sequence)
        else:
            self.behind = self.missed = True

    def want(self) -> Want | None:
        if self.reading is not None or self.ready_bytes >= LOW_WATER:
            return None
        if self.again:
            self.reading = self.again.popleft()
        elif self.behind:
            self.missed = False
            self.reading = After(self.lane, self.cursor)
        return self.reading

    def loaded(self, want: Want, items: list[Item], *, complete: bool) -> list[Run]:
        if want is not self.reading:
            return []  # asked for before a reset
        self.reading = None
        for item in items:
            if item in self.coverage:
                continue
            if isinstance(want, After):
                if item.sequence in self.handed.get(item.ordinal, ()):
                    continue
                _add(self.handed, item.ordinal, item.sequence, item.sequence)
            self.ready.append(item)
            self.ready_bytes += len(item.wire)
        if isinstance(want, After):
            if items:
                self.cursor = (items[-1].ordinal, items[-1].sequence)
            if complete:
                self.behind = self.missed
            return []
        end = want.last
        if not complete and items[-1].sequence < end:
            end = items[-1].sequence
            self.again.appendleft(Run(self.lane, want.ordinal, end + 1, want.last))
        found = RangeSet((item.sequence, item.sequence) for item in items)
        absent = (Run(self.lane, want.ordinal, *hole) for hole in found.missing(want.first, end))
        return [left for hole in absent for left in self.coverage.left_of(hole)]

    def unread(self, want: Want, items: list[Item], now: float) -> None:
        if want is not self.reading:
            return
        cursor = self.cursor
        absent = self.loaded(want, items, complete=True)
        if isinstance(want, After):
            self.cursor = cursor
            self.unread_until = now + REPEAT
        for run in absent:
            heapq.heappush(self.repeats, (now + REPEAT, next(self.ties), run))

    def resendable(self, run: Run) -> list[Run]:
        """Return what of a run is not on its way: sent and acknowledged, or passed by without being found."""
        acknowledged = RangeSet((sent.first, sent.last) for _, _, sent in self.repeats if sent.ordinal == run.ordinal)
        passed = run.last
        if self.behind:
            passed = 0 if self.cursor is None or self.cursor[0] < run.ordinal else run.last
            if self.cursor is not None and self.cursor[0] == run.ordinal:
                passed = min(run.last, self.cursor[1])
        handed = self.handed.get(run.ordinal, RangeSet())
        for first, last in handed.missing(run.first, passed) if run.first <= passed else []:
            acknowledged.add(first, last)
        parts = ((max(first, run.first), min(last, run.last)) for first, last in acknowledged)
        return [Run(self.lane, run.ordinal, first, last) for first, last in parts if first <= last]

    def send_again(self, run: Run) -> None:
        """Send a run again now; what of it was to be repeated later is not, besides."""
        self.again.append(run)
        kept: list[tuple[float, int, Run]] = []
        for due, tie, sent in self.repeats:
            if sent.ordinal != run.ordinal or sent.last < run.first or run.last < sent.first:
                kept.append((due, tie, sent))
                continue
            for first, last in ((sent.first, run.first - 1), (run.last + 1, sent.last)):
                if first <= last:
                    kept.append((due, next(self.ties), Run(self.lane, run.ordinal, first, last)))
        self.repeats = kept
        heapq.heapify(self.repeats)

    @property
    def source(self) -> deque[Item]:
        """Where the next record is: an alarm signed just now goes first, else what is older."""
        if not self.fresh or not self.ready:
            return self.fresh or self.ready
        if self.lane is Lane.ALARM:
            return self.fresh
        return min(self.fresh, self.ready, key=lambda items: (items[0].ordinal, items[0].sequence))

    def gathers(self, limit: int) -> bool:
        """Whether to wait for an answer, because a publish is on its way and the next would not be full."""
        if self.lane is not Lane.TELEMETRY or not self.in_flight:
            return False
        return self.ready_bytes + sum(len(item.wire) for item in self.fresh) < limit

    def take(self, limit: int) -> Batch | None:
        """Cut the next run of consecutive records, at most `limit` bytes (a single record may be longer)."""
        source = self.source
        items: list[Item] = []
        size = 0
        while source:
            item = source[0]
            if item not in self.coverage:
                follows = not items or (items[-1].ordinal, items[-1].sequence + 1) == (item.ordinal, item.sequence)
                if items and (not follows or size + len(item.wire) > limit):
                    break
                items.append(item)
                size += len(item.wire)
            source.popleft()
            if source is self.ready:
                self.ready_bytes -= len(item.wire)
        if not items:
            return None
        run = Run(self.lane, items[0].ordinal, items[0].sequence, items[-1].sequence)
        return Batch(run, b"".join(item.wire for item in items), len(items), self.generation)


def _add(sets: dict[int, RangeSet], ordinal: int, first: int, last: int) -> None:
    sets.setdefault(ordinal, RangeSet()).add(first, last)


class Schedule:
    """The order of delivery over one connection at a time."""

    def __init__(self, coverage: Coverage | None = None) -> None:
        self._coverage = Coverage() if coverage is None else coverage
        self._lanes = {lane: _LaneQueue(lane, self._coverage) for lane in Lane}
        self._carried = frozenset(Lane)
        self._connected = False
        self._limit = SEQUENCE_MAX
        self._slots: dict[Lane, int] = {}
        self._silent = False

    def connected(self, receive_maximum: int, sequence_max: int = SEQUENCE_MAX) -> None:
        """Begin a connection: everything unreceipted is to be sent.

        Of the broker's window, alarms may fill all, status leaves an eighth free, telemetry a quarter.
        """
        window = max(1, min(receive_maximum, WINDOW_MAX))
        self._slots = {
            Lane.ALARM: window,
            Lane.STATUS: max(1, window - max(1, window // 8)),
            Lane.TELEMETRY: max(1, window - max(2, window // 4)),
        }
        self._limit = min(SEQUENCE_MAX, sequence_max)
        self._connected = True
        for queue in self._lanes.values():
            queue.in_flight = 0
            queue.reset()

    def disconnected(self) -> None:
        """Nothing goes out; nothing is kept at hand: the outbox has it."""
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

    def next(self) -> Batch | None:
        """Return what to publish now, or None: nothing at hand, or no slot free."""
        if not self._connected:
            return None
        busy = sum(queue.in_flight for queue in self._lanes.values())
        for lane, queue in self._lanes.items():
            if lane not in self._carried or busy >= self._slots[lane] or queue.held_until is not None:
                continue
            if lane is not Lane.ALARM and len(queue.repeats) >= UNRECEIPTED_MAX:
                continue
            if queue.gathers(self._limit):
                continue
            batch = queue.take(self._limit)
            if batch is not None:
                queue.in_flight += 1
                return batch
        return None

    def acknowledged(self, batch: Batch, now: float, *, heard: bool = True) -> None:
        """Note that the broker took it. That is no delivery: it comes again unless a receipt covers it in time.

        `heard` is False where the broker says that nobody is subscribed.
        """
        waits = self._lanes[batch.run.lane].waits
        if self._silent:
            wait = waits.get((batch.run.ordinal, batch.run.first), SILENT_REPEAT)
        else:
            wait = REPEAT if heard or batch.run.lane is not Lane.ALARM else UNHEARD_REPEAT
        self._settled(batch, now, wait)

    def refused(self, batch: Batch, now: float, tries: int) -> None:
        """Note that the broker refused it, for the `tries`-th time in a row: its lane is held back."""
        wait = min(REFUSED_REPEAT_MAX, REFUSED_REPEAT * 2.0 ** min(tries - 1, 10))
        self._settled(batch, now, wait)
        self._lanes[batch.run.lane].held_until = now + wait

    def _settled(self, batch: Batch, now: float, wait: float) -> None:
        queue = self._lanes[batch.run.lane]
        queue.in_flight = max(0, queue.in_flight - 1)
        if batch.generation == queue.generation and self._coverage.left_of(batch.run):
            heapq.heappush(queue.repeats, (now + wait, next(queue.ties), batch.run))

    def receipted(self, runs: Iterable[Run]) -> list[Run]:
        """Note what C5 has: it is not sent again. Return what of it was not known before: coverage only grows."""
        new = self._coverage.add(runs)
        for queue in self._lanes.values():
            while queue.repeats and not self._coverage.left_of(queue.repeats[0][2]):
                heapq.heappop(queue.repeats)
        return new

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
            for piece in queue.resendable(part):
                queue.send_again(piece)
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
        """Note that the outbox could not be read: what memory holds is taken, and the rest wanted again in a minute."""
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
