"""What memory holds and the disk has not taken yet: records, counters, receipts; and when it is due.

Alarms, status and notes are due at once, and take with them what waits. Telemetry and receipts wait for company,
counters longer. While a disk works this is empty again within a second; while it doesn't, this is what stands in for
it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from gateway.delivery.item import After, DeviceState, Entry, Item, Note, Run, Want
from gateway.event import LANE_NAMES, Lane
from gateway.outbox.inspect import Waiting
from gateway.outbox.raised import Known
from gateway.outbox.statements import Write
from gateway.ranges import RangeSet

MEMORY_MAX: Final = 4 * 1024 * 1024  # bytes of records waiting for a disk
MEMORY_ALARMS_ONLY: Final = MEMORY_MAX // 2  # above this, only alarms are taken
GATHER: Final = 1.0  # seconds that telemetry and receipts wait at most for others, to share a commit
COUNTERS: Final = 15.0  # seconds that counters wait: with intake's 10 s they are durable within the 30 s of wire.md
WRITE_MAX: Final = 512 * 1024  # bytes of records in one transaction
RAISED_MAX: Final = 4096  # events of local sources that are known by their keys, whose records C5 has and no disk
FORGET_MAX: Final = 1024  # records that a receipt takes away in one transaction
NEVER: Final = float("inf")

_Key = tuple[str, str]  # of a note: its source, and what it says of that


class Pending:
    """What is to be written, in the order in which it was signed; `now` is the event loop's time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.waiting: dict[tuple[Lane, int], Entry] = {}
        self.size = 0  # bytes of records
        self.due = NEVER
        self._now = now
        self._gathered = 0  # bytes since the last transaction began
        self._owed: dict[str, DeviceState] = {}
        self._covered: dict[tuple[Lane, int], RangeSet] = {}  # by lane and ordinal
        self._forgotten: list[str] = []
        self._acknowledged: list[tuple[str, int]] = []
        self._raised: dict[tuple[str, int], Known] = {}  # that C5 has, and no disk
        self._stamp = 0
        self._noted: dict[_Key, Note] = {}  # that no record carries
        self._stamped: dict[_Key, int] = {}  # of what is durable: no older note is written over it

    def room(self, lane: Lane) -> bool:
        """Whether memory has room for a record of this lane."""
        return self.size < (MEMORY_MAX if lane is Lane.ALARM else MEMORY_ALARMS_ONLY)

    def add(self, entry: Entry) -> None:
        """Take a record."""
        size = len(entry.item.wire)
        entry = replace(entry, notes=self._stamps(entry.notes))
        self.waiting[entry.item.lane, entry.item.sequence] = entry
        self.size += size
        self._gathered += size
        gathers = entry.item.lane is Lane.TELEMETRY and self._gathered < WRITE_MAX
        self._soon(GATHER if gathers else 0.0)

    def remember(self, states: Sequence[DeviceState], notes: Sequence[Note] = ()) -> None:
        """Take counters and notes that no record carried."""
        for state in states:
            self._owe(state)
        self._note(self._stamps(notes))
        if states:
            self._soon(COUNTERS)

    def forget(self, device: str) -> None:
        """Take that a device is enrolled no more."""
        self._owed.pop(device, None)
        self._noted = {key: note for key, note in self._noted.items() if note.source != device}
        self._acknowledged = [event for event in self._acknowledged if event[0] != device]
        self._raised = {event: known for event, known in self._raised.items() if event[0] != device}
        for place, entry in self.waiting.items():
            self.waiting[place] = _without(entry, device)
        self._forgotten.append(device)
        self._soon(0.0)

    def receipted(self, runs: Iterable[Run]) -> None:
        """Take what C5 has."""
        for run in runs:
            self._covered.setdefault((run.lane, run.ordinal), RangeSet()).add(run.first, run.last)
            self._soon(GATHER)

    def free(self, runs: Iterable[Run], ordinal: int) -> None:
        """Let go of what C5 has, while there is no disk to take it; what else it carried stays owed."""
        for run in runs:
            if run.ordinal != ordinal:
                continue
            for key in [key for key in self.waiting if key[0] is run.lane and run.first <= key[1] <= run.last]:
                entry = self.waiting.pop(key)
                self.size -= len(entry.item.wire)
                if entry.device is not None:
                    self._owe(entry.device)
                if entry.acknowledges is not None:
                    self._acknowledged.append(entry.acknowledges)
                if entry.raised is not None:
                    self._raise([(entry.raised, replace(entry.item, wire=b""))])
                self._note(entry.notes)

    def take(self, *, shared: bool, receipts_alone: bool = False) -> Write | None:
        """Return what goes into the next transaction, or None if there is nothing.

        Without `shared` there is room for alarms alone, and for what makes room. Receipts go before everything where
        there may be no room for anything else. What was taken is then `done`, or `failed`.
        """
        receipted = self._some_receipts()
        if receipts_alone and receipted:
            return Write(receipted=receipted)
        entries: list[Entry] = []
        size = 0
        more = bool(self._covered)
        for entry in sorted(self.waiting.values(), key=_order):
            if entry.item.lane is not Lane.ALARM and not entry.drops and not shared:
                continue
            size += len(entry.item.wire)
            if entries and size > WRITE_MAX:
                more = True
                break
            entries.append(entry)
        states, self._owed = tuple(self._owed.values()), {}
        forgotten, self._forgotten = tuple(self._forgotten), []
        acknowledged, self._acknowledged = tuple(self._acknowledged), []
        raised, self._raised = tuple(self._raised.values()), {}
        noted, self._noted = tuple(self._noted.values()), {}
        notes = self._newest([*noted, *(note for entry in entries for note in entry.notes)])
        self._gathered = 0
        self.due = self._now() if more else NEVER
        write = Write(tuple(entries), states, receipted, forgotten, notes, acknowledged, raised)
        return None if write == Write() else write

    def done(self, write: Write) -> None:
        """Let go of what has become durable, and tell."""
        self._stamped |= {(note.source, note.what): note.stamp for note in write.notes}
        for entry in write.entries:
            if self.waiting.pop((entry.item.lane, entry.item.sequence), None) is not None:
                self.size -= len(entry.item.wire)
            if entry.stored is not None:
                entry.stored()

    def failed(self, write: Write) -> None:
        """Keep what the disk did not take."""
        since = set(self._forgotten)
        for state in write.states:
            if state.device not in since:
                self._owed.setdefault(state.device, state)
        carried = {note.stamp for entry in write.entries for note in entry.notes}  # those wait with their records
        self._note(note for note in write.notes if note.stamp not in carried and note.source not in since)
        self._acknowledged = [*(event for event in write.acknowledged if event[0] not in since), *self._acknowledged]
        later, self._raised = self._raised, {}
        self._raise([*(known for known in write.known if known[0].source not in since), *later.values()])
        self._forgotten = [*write.forgotten, *self._forgotten]
        self.receipted(write.receipted)

    def items(self, want: Want) -> list[Item]:
        """Return what waits and is wanted; what is durable by the time of the reading is found on the disk."""
        items = [entry.item for entry in self.waiting.values() if entry.item.lane is want.lane]
        match want:
            case Run():
                items = [i for i in items if i.ordinal == want.ordinal and want.first <= i.sequence <= want.last]
            case After(position=position):
                items = [i for i in items if position is None or (i.ordinal, i.sequence) > position]
        return [i for i in items if i.sequence not in self._covered.get((i.lane, i.ordinal), ())]

    def summary(self) -> dict[str, Waiting]:
        """Return what waits, by lane."""
        found = dict.fromkeys(LANE_NAMES.values(), Waiting(0, 0, None))
        for entry in self.waiting.values():
            before = found[name := LANE_NAMES[entry.item.lane]]
            found[name] = Waiting(before.count + 1, before.size + len(entry.item.wire), None)
        return found

    def _owe(self, state: DeviceState) -> None:
        """Keep counters to be stored; they never go back, but another key under the same id counts for itself."""
        before = self._owed.get(state.device)
        if before is None or before.key_id != state.key_id or before.counter <= state.counter:
            self._owed[state.device] = state

    def _raise(self, known: Iterable[Known]) -> None:
        """Keep what local sources' events are known by; of too many the newest."""
        for raised, item in known:
            self._raised[raised.source, raised.number] = raised, item
            if len(self._raised) > RAISED_MAX:
                del self._raised[next(iter(self._raised))]
            self._soon(0.0)

    def _stamps(self, notes: Sequence[Note]) -> tuple[Note, ...]:
        """Number notes in the order in which they came."""
        first = self._stamp + 1
        self._stamp += len(notes)
        return tuple(replace(note, stamp=stamp) for stamp, note in enumerate(notes, first))

    def _note(self, notes: Iterable[Note]) -> None:
        """Keep notes that no record carries, unless there are newer ones."""
        for note in notes:
            key = note.source, note.what
            if (before := self._noted.get(key)) is None or before.stamp < note.stamp:
                self._noted[key] = note
            self._soon(0.0)

    def _newest(self, notes: Iterable[Note]) -> tuple[Note, ...]:
        """Return the newest note of each thing, where nothing newer is durable."""
        newest = {(note.source, note.what): note for note in sorted(notes, key=lambda note: note.stamp)}
        return tuple(note for key, note in newest.items() if note.stamp > self._stamped.get(key, 0))

    def _soon(self, wait: float) -> None:
        self.due = min(self.due, self._now() + wait)

    def _some_receipts(self) -> tuple[Run, ...]:
        """Take as much of the receipts as one transaction may forget."""
        taken: list[Run] = []
        left = FORGET_MAX
        while self._covered and left:
            place, spans = next(iter(self._covered.items()))
            kept: list[tuple[int, int]] = []
            for first, last in spans:
                end = min(last, first + left - 1)
                if end >= first:
                    taken.append(Run(*place, first, end))
                    left -= end - first + 1
                if end < last:
                    kept.append((end + 1, last))
            if kept:
                self._covered[place] = RangeSet(kept)
            else:
                del self._covered[place]
        return tuple(taken)


def _without(entry: Entry, device: str) -> Entry:
    """Return an entry that leaves nothing behind of a device but its record."""
    if entry.device is not None and entry.device.device == device:
        entry = replace(entry, device=None, event_number=None)
    if entry.acknowledges is not None and entry.acknowledges[0] == device:
        entry = replace(entry, acknowledges=None)
    if entry.raised is not None and entry.raised.source == device:
        entry = replace(entry, raised=None)
    return replace(entry, notes=tuple(note for note in entry.notes if note.source != device))


def _order(entry: Entry) -> int:
    """What makes room goes first, then alarms; within a lane the order in which they were signed."""
    if entry.drops:
        return 0
    return 1 if entry.item.lane is Lane.ALARM else 2
