"""One lane of a path: what is at hand, what must be read, what waits for its receipt.

Memory is bounded: a lane holds a few hundred records; the rest is read from the outbox when there is room. What is
handed out is a run of consecutive records of one epoch, so that C5 can check it by one signature.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from gateway.delivery.coverage import Coverage
from gateway.delivery.item import After, Item, Position, Run, Want
from gateway.delivery.pace import SEQUENCE_MAX, Sent
from gateway.event import Lane
from gateway.ranges import RangeSet

LOW_WATER: Final = 4 * SEQUENCE_MAX  # bytes: below this a lane wants more from the outbox
FRESH_MAX: Final = 256  # records signed since they were last caught up, kept in memory for each lane
REPEAT: Final = 60.0  # seconds from PUBACK to the next try
READ_AGAIN: Final = 5.0  # seconds until alarms that could not be read are tried again; REPEAT for the rest


@dataclass(frozen=True, slots=True)
class Batch:
    """One publish: the bytes of a run."""

    run: Run
    payload: bytes
    count: int
    generation: int  # of the connection, or of the centre's return, that it belongs to
    sent: Sent = field(compare=False)


class LaneQueue:
    """One lane over one path; `Schedule` decides when it may send."""

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
        self.doubtful: dict[int, RangeSet] = {}  # asked for during a reading: perhaps it came to the outbox behind that
        self.repeats: list[tuple[float, int, Run]] = []  # acknowledged or refused: when to send again
        self.taken: dict[Run, float] = {}  # alarms: when the broker first took what no receipt covers, oldest first
        self.waits: dict[Position, float] = {}  # of what was repeated while the centre is silent: the next wait
        self.behind = True  # the outbox holds something that was not handed
        self.missed = False  # … and got more while it was being read
        self.cursor: Position | None = None
        self.reading: Want | None = None
        self.unread_until: float | None = None  # when to try again what could not be read

    def offer(self, item: Item) -> None:
        """Take a record signed just now, or leave it to the outbox."""
        if self.lane is not Lane.ALARM and self.behind:
            self.missed = True
        elif len(self.fresh) < FRESH_MAX:
            self.fresh.append(item)
            _add(self.handed, item.ordinal, item.sequence, item.sequence)
        else:
            self.behind = self.missed = True

    def want(self) -> Want | None:
        """Return what to read now, once."""
        if self.reading is not None or self.ready_bytes >= LOW_WATER:
            return None
        if self.again:
            self.reading = self.again.popleft()
        elif self.behind:
            self.missed = False
            self.reading = After(self.lane, self.cursor)
        return self.reading

    def loaded(self, want: Want, items: list[Item], *, complete: bool) -> list[Run]:
        """Take what was read; return what was asked for by its numbers and isn't there."""
        if want is not self.reading:
            return []  # asked for before a reset
        self.reading = None
        new = items
        if not isinstance(want, After):
            new = [item for item in items if item not in self.coverage]
        elif not self._hands(items):
            new = [i for i in items if i not in self.coverage and i.sequence not in self.handed.get(i.ordinal, ())]
            for item in new:
                _add(self.handed, item.ordinal, item.sequence, item.sequence)
        self.ready.extend(new)
        self.ready_bytes += sum(len(item.wire) for item in new)
        if isinstance(want, After):
            if items:
                self.cursor = (items[-1].ordinal, items[-1].sequence)
            if complete:
                self.behind = self.missed
            self._look_back()
            return []
        end = want.last
        if not complete and items[-1].sequence < end:
            end = items[-1].sequence
            self.again.appendleft(Run(self.lane, want.ordinal, end + 1, want.last))
        found = RangeSet((item.sequence, item.sequence) for item in items)
        absent = (Run(self.lane, want.ordinal, *hole) for hole in found.missing(want.first, end))
        return [left for hole in absent for left in self.coverage.left_of(hole)]

    def _hands(self, items: list[Item]) -> bool:
        """Note that these are at hand, if they are one run and all of it is new, as in a drain; whether they are."""
        if not items:
            return False
        run = Run(self.lane, items[0].ordinal, items[0].sequence, items[-1].sequence)
        if (items[-1].ordinal, run.last - run.first + 1) != (run.ordinal, len(items)):
            return False
        handed = self.handed.setdefault(run.ordinal, RangeSet())
        if self.coverage.left_of(run) != [run] or handed.missing(run.first, run.last) != [(run.first, run.last)]:
            return False
        handed.add(run.first, run.last)
        return True

    def unread(self, want: Want, items: list[Item], now: float) -> None:
        """Take what there is of what could not be read; the rest is wanted again in a while.

        A run may go on behind what was found of it, so that is looked at next; what lies between can wait.
        """
        if want is not self.reading:
            return
        again_at = now + (READ_AGAIN if self.lane is Lane.ALARM else REPEAT)
        cursor, doubtful = self.cursor, self.doubtful
        if isinstance(want, After):
            self.doubtful = {}  # nothing was passed by
        absent = self.loaded(want, items, complete=isinstance(want, After) or not items)
        if isinstance(want, After):
            self.cursor, self.doubtful = cursor, doubtful
            self.unread_until = again_at
        for run in absent:
            heapq.heappush(self.repeats, (again_at, next(self.ties), run))

    def request(self, run: Run) -> None:
        """Send again what of a run is not on its way: sent and acknowledged, or passed by without being found."""
        if isinstance(self.reading, After):
            _add(self.doubtful, run.ordinal, run.first, run.last)
        parts = RangeSet((sent.first, sent.last) for _, _, sent in self.repeats if sent.ordinal == run.ordinal)
        for hole in self._passed_by(run):
            parts.add(*hole)
        for first, last in [(max(first, run.first), min(last, run.last)) for first, last in parts]:
            if first <= last:
                self._send_again(Run(self.lane, run.ordinal, first, last))

    def _look_back(self) -> None:
        """Send what was asked for during a reading that has passed it by."""
        doubtful, self.doubtful = self.doubtful, {}
        runs = [Run(self.lane, ordinal, *span) for ordinal, spans in doubtful.items() for span in spans]
        for left in [left for run in runs for left in self.coverage.left_of(run)]:
            for hole in self._passed_by(left):
                self._send_again(Run(self.lane, left.ordinal, *hole))

    def _passed_by(self, run: Run) -> list[tuple[int, int]]:
        passed = run.last
        if self.behind:
            passed = 0 if self.cursor is None or self.cursor[0] < run.ordinal else run.last
            if self.cursor is not None and self.cursor[0] == run.ordinal:
                passed = min(run.last, self.cursor[1])
        return self.handed.get(run.ordinal, RangeSet()).missing(run.first, passed)

    def _send_again(self, run: Run) -> None:
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

    def next_size(self, limit: int) -> int:
        """Return the bytes of the next run at most; 0 if nothing is at hand."""
        source = self.source
        if not source:
            return 0
        return max(len(source[0].wire), min(limit, self.ready_bytes + sum(len(item.wire) for item in self.fresh)))

    def take(self, limit: int) -> tuple[Run, list[Item]] | None:
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
        if not items:  # C5 has all of it; what is at hand besides must not wait for the next occasion
            return self.take(limit) if self.source else None
        return Run(self.lane, items[0].ordinal, items[0].sequence, items[-1].sequence), items


def _add(sets: dict[int, RangeSet], ordinal: int, first: int, last: int) -> None:
    ranges = sets.get(ordinal)
    if ranges is None:
        ranges = sets[ordinal] = RangeSet()
    ranges.add(first, last)
