"""What the outbox asks of SQLite, each function inside a transaction of the caller's.

A record, the counters of the device that caused it, and its event number are written together; what was written never
goes back: after a trouble, what failed comes later than what went through.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.delivery.item import After, Declared, DeviceState, Entry, EventState, Item, Note, RaisedState, Run, Want
from gateway.errors import DamagedError
from gateway.event import Lane
from gateway.outbox import raised, spans
from gateway.outbox.budget import Budget, Usage
from gateway.outbox.measure import usage
from gateway.signing.message import Head
from gateway.text import _

EVENTS_KEPT: Final = 65  # event numbers of a device: the highest and the 64 below
EPOCHS_KEPT: Final = 1000  # starts of which it is known what C5 has, after their last record is gone
BEFORE_ALL: Final = (-(2**62), 0)  # a place; epochs that only a salvage brought have ordinals below 0
READ_ROWS: Final = 512  # rows and bytes of one reading for delivery
READ_BYTES: Final = 128 * 1024
_IN_RUN: Final = "lane = ? AND ordinal = ? AND sequence BETWEEN ? AND ?"
_IS_HEAD: Final = (
    "(SELECT 1 FROM head WHERE (lane, ordinal, sequence) = (record.lane, record.ordinal, record.sequence))"
)


@dataclass(frozen=True, slots=True)
class Start:
    """What the store knew when this epoch began: `receipted` is what C5 has, `epochs` the ordinals by epoch."""

    ordinal: int
    epoch: bytes
    start_count: int
    unstored: bool
    heads: dict[Lane, Head]
    receipted: tuple[Run, ...]
    epochs: dict[bytes, int]
    devices: dict[str, DeviceState]
    events: tuple[EventState, ...]
    chain: bytes  # of this epoch
    older_chains: tuple[bytes, ...]  # under which records that are still here were signed
    declared: tuple[Declared, ...] = ()  # what was dropped, while C5 hasn't receipted that it was told
    notes: tuple[Note, ...] = ()
    lost: tuple[Run, ...] = ()  # what was declared lost, whether C5 has receipted that it was told or not
    raised: tuple[RaisedState, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """What goes into one transaction."""

    entries: tuple[Entry, ...] = ()
    states: tuple[DeviceState, ...] = ()
    receipted: tuple[Run, ...] = ()
    forgotten: tuple[str, ...] = ()  # devices
    notes: tuple[Note, ...] = ()  # of its records, and those that no record carried, in order
    acknowledged: tuple[tuple[str, int], ...] = ()  # events, by records that are here no more
    known: tuple[raised.Known, ...] = ()  # what C5 has, of records that were never stored here


@dataclass(frozen=True, slots=True)
class Written:
    """What the store takes after a transaction, and how many bytes of records left in it, by lane."""

    usage: Usage
    gone: dict[Lane, int] = field(default_factory=dict)


def epoch(start_count: int, random4: bytes) -> bytes:
    """Return the 8 bytes that name an epoch."""
    return start_count.to_bytes(4, "big") + random4


def look(connection: sqlite3.Connection, random4: bytes, chain: bytes) -> Start:
    """Read what is known, and number the next epoch without storing it."""
    (stored,) = connection.execute("SELECT max(value) FROM fact WHERE name = 'start_count'").fetchone()
    (last,) = connection.execute("SELECT max(ordinal) FROM epoch").fetchone()
    epochs = dict(connection.execute("SELECT ordinal, epoch FROM epoch"))
    heads = {
        Lane(lane): Head(epochs[ordinal], sequence, digest)
        for lane, ordinal, sequence, digest, _done in connection.execute("SELECT * FROM head")
    }
    receipted = tuple(Run(Lane(lane), *rest) for lane, *rest in connection.execute("SELECT * FROM receipted"))
    devices = {
        device: DeviceState(device, counter, tag, seen, bool(proven), highest, key_id)
        for device, counter, tag, seen, proven, highest, key_id in connection.execute("SELECT * FROM device")
    }
    events = tuple(
        EventState(device, number, Lane(lane), *rest)
        for device, number, lane, *rest in connection.execute("SELECT * FROM event ORDER BY device, number")
    )
    older = tuple(
        used
        for (used,) in connection.execute(
            "SELECT DISTINCT chain FROM epoch WHERE chain <> ? AND ordinal IN (SELECT ordinal FROM record)", (chain,)
        )
    )
    count = ((stored or 0) + 1) % 2**32
    return Start(
        (last or 0) + 1, epoch(count, random4), count, True, heads, receipted,
        {epoch: ordinal for ordinal, epoch in epochs.items()}, devices, events, chain, older, declared(connection),
        _notes(connection), _lost(connection),
        raised.read(connection) if has(connection, "raised") else (),
    )  # fmt: skip


def declared(connection: sqlite3.Connection) -> tuple[Declared, ...]:
    """Return what was dropped and by which record C5 is told, oldest first, until a receipt covers that record."""
    if not has(connection, "declared"):
        return ()
    rows = connection.execute("SELECT * FROM declared ORDER BY by_ordinal, by_sequence, lane, ordinal, first")
    return tuple(Declared(Run(Lane(lane), *run), (ordinal, seq)) for lane, *run, ordinal, seq in rows)


def _lost(connection: sqlite3.Connection) -> tuple[Run, ...]:
    if not has(connection, "lost"):
        return ()
    return tuple(Run(Lane(lane), *rest) for lane, *rest in connection.execute("SELECT * FROM lost"))


def has(connection: sqlite3.Connection, table: str) -> bool:
    """Whether a table is there: an older store, on a disk that can't be written, may be without."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _notes(connection: sqlite3.Connection) -> tuple[Note, ...]:
    if not has(connection, "note"):
        return ()
    return tuple(Note(*row) for row in connection.execute("SELECT * FROM note ORDER BY source, what"))


def write(connection: sqlite3.Connection, what: Write, budget: Budget) -> Written:
    """Store and forget; raises sqlite3.OperationalError where that would burst the budget."""
    for device in what.forgotten:  # what comes with it is of another device under its id
        forget(connection, device)
    insert(connection, what.entries, what.states)
    for known, item in what.known:
        raised.put(connection, known, item, stage=2)
    for event in what.acknowledged:
        _acknowledge(connection, event)
    put_notes(connection, what.notes)
    gone = receipt(connection, [*what.receipted, *_receipted_before(connection, what.entries)])
    for run in what.receipted:  # what was lost, and found: C5 has it
        spans.take_out(connection, "lost", run)
    for entry in what.entries:
        if entry.drops:
            for lane, size in drop(connection, entry).items():
                gone[lane] = gone.get(lane, 0) + size
    now = usage(connection)
    if what.entries and now.whole > budget.whole:
        # SQLite bounds the file, and nobody the log: another process may have been reading for hours.
        raise sqlite3.OperationalError("the outbox is full")
    return Written(now, gone)


def _receipted_before(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[Run]:
    """Return what of these C5 had before they were stored: a disk in trouble takes its time."""
    runs: dict[tuple[Lane, int], tuple[int, int]] = {}
    for item in (entry.item for entry in entries):
        first, last = runs.get((item.lane, item.ordinal), (item.sequence, item.sequence))
        runs[item.lane, item.ordinal] = min(first, item.sequence), max(last, item.sequence)
    found = (
        "SELECT max(first, ?), min(last, ?) FROM receipted WHERE lane = ? AND ordinal = ? AND first <= ? AND last >= ?"
    )
    return [
        Run(*place, *span)
        for place, (first, last) in runs.items()
        for span in connection.execute(found, (first, last, *place, last, first)).fetchall()
    ]


def ordinals(connection: sqlite3.Connection) -> dict[bytes, int]:
    """Return the ordinal of each epoch."""
    return dict(connection.execute("SELECT epoch, ordinal FROM epoch"))


def begin(connection: sqlite3.Connection, random4: bytes, chain: bytes) -> Start:
    """Begin an epoch, and forget those of which nothing is left."""
    connection.execute(
        "DELETE FROM epoch WHERE ordinal NOT IN (SELECT ordinal FROM record UNION SELECT ordinal FROM head)"
        " AND ordinal NOT IN (SELECT ordinal FROM epoch ORDER BY ordinal DESC LIMIT ?)",
        (EPOCHS_KEPT,),
    )
    for table in ("receipted", "lost", "raised"):
        connection.execute(f"DELETE FROM {table} WHERE ordinal NOT IN (SELECT ordinal FROM epoch)")  # noqa: S608  # same
    start = replace(look(connection, random4, chain), unstored=False)
    resume(connection, start)
    return start


def resume(connection: sqlite3.Connection, start: Start) -> None:
    """Store an epoch, if that could not be done when it began."""
    connection.execute(
        "INSERT INTO fact VALUES ('start_count', ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        (start.start_count,),
    )
    connection.execute(
        "INSERT OR IGNORE INTO epoch VALUES (?, ?, ?, ?)", (start.ordinal, start.epoch, start.start_count, start.chain)
    )


def insert(connection: sqlite3.Connection, entries: Sequence[Entry], states: Sequence[DeviceState] = ()) -> None:
    """Store records with what belongs to them, and counters that no record carried."""
    execute = connection.execute
    put_devices(connection, states)
    newest: dict[Lane, Entry] = {}
    devices: dict[str, DeviceState] = {}
    for entry in entries:
        item = entry.item
        execute(
            "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", (item.lane, item.ordinal, item.sequence, item.wire)
        )
        before = newest.setdefault(item.lane, entry)
        if (item.ordinal, item.sequence) > (before.item.ordinal, before.item.sequence):
            newest[item.lane] = entry
        if entry.acknowledges is not None:  # alarms come first: the event's own row is there
            _acknowledge(connection, entry.acknowledges)
        if entry.raised is not None:
            raised.put(connection, entry.raised, item)
        if entry.device is None:
            continue
        before_it = devices.get(entry.device.device, entry.device)
        if before_it.key_id != entry.device.key_id or before_it.counter <= entry.device.counter:  # alarms come first
            devices[entry.device.device] = entry.device
        if entry.event_number is not None:
            execute(
                "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, 1)",
                (entry.device.device, entry.event_number, item.lane, item.ordinal, item.sequence),
            )
            execute(
                "DELETE FROM event WHERE device = ? AND number <= ?",
                (entry.device.device, entry.device.highest_event - EVENTS_KEPT),
            )
    put_devices(connection, tuple(devices.values()))
    for entry in newest.values():
        item = entry.item
        execute(  # the head before it was kept although C5 has it
            "DELETE FROM record WHERE (lane, ordinal, sequence) ="
            " (SELECT lane, ordinal, sequence FROM head WHERE lane = ? AND receipted) AND (ordinal, sequence) < (?, ?)",
            (item.lane, item.ordinal, item.sequence),
        )
        execute(  # never an older one: after a trouble, what failed comes later than what went through
            "INSERT INTO head VALUES (?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET ordinal = excluded.ordinal,"
            " sequence = excluded.sequence, digest = excluded.digest, receipted = 0"
            " WHERE (excluded.ordinal, excluded.sequence) > (head.ordinal, head.sequence)",
            (item.lane, item.ordinal, item.sequence, entry.digest),
        )


def _acknowledge(connection: sqlite3.Connection, event: tuple[str, int]) -> None:
    connection.execute("UPDATE event SET stage = 3 WHERE device = ? AND number = ?", event)
    connection.execute("UPDATE raised SET stage = 3 WHERE source = ? AND number = ?", event)


def put_devices(connection: sqlite3.Connection, states: Sequence[DeviceState]) -> None:
    """Store devices' counters."""
    connection.executemany(
        "INSERT INTO device VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET counter = excluded.counter,"
        " tag = excluded.tag, seen = excluded.seen, proven = excluded.proven, highest_event = excluded.highest_event,"
        " key_id = excluded.key_id"
        # What failed may come after what went through.
        " WHERE excluded.counter >= device.counter OR excluded.key_id <> device.key_id",
        ((s.device, s.counter, s.tag, s.seen, s.proven, s.highest_event, s.key_id) for s in states),
    )


def put_notes(connection: sqlite3.Connection, notes: Sequence[Note]) -> None:
    """Store what supervision must know after a restart."""
    for note in notes:
        if note.value is None:
            connection.execute("DELETE FROM note WHERE source = ? AND what = ?", (note.source, note.what))
        else:
            connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?, ?)", (note.source, note.what, note.value))


def forget(connection: sqlite3.Connection, device: str) -> None:
    """Forget a device; its records stay."""
    connection.execute("DELETE FROM note WHERE source = ?", (device,))
    connection.execute("DELETE FROM device WHERE device = ?", (device,))
    connection.execute("DELETE FROM event WHERE device = ?", (device,))
    connection.execute("DELETE FROM raised WHERE source = ?", (device,))


def receipt(connection: sqlite3.Connection, runs: Sequence[Run]) -> dict[Lane, int]:
    """Forget what C5 has, each lane's last excepted; return how many bytes left, by lane."""
    gone: dict[Lane, int] = {}
    for run in runs:
        place = (run.lane, run.ordinal, run.first, run.last)
        connection.execute(f"UPDATE head SET receipted = 1 WHERE {_IN_RUN}", place)  # noqa: S608  # a constant
        gone[run.lane] = gone.get(run.lane, 0) + _delete(connection, run)
        spans.merge(connection, "receipted", run)
        if run.lane is not Lane.TELEMETRY:
            for table in ("event", "raised"):
                connection.execute(f"UPDATE {table} SET stage = 2 WHERE stage < 2 AND {_IN_RUN}", place)  # noqa: S608  # same
        if run.lane is Lane.STATUS:
            _settle(connection, run)
    return gone


def drop(connection: sqlite3.Connection, entry: Entry) -> dict[Lane, int]:
    """Forget what a record of the same transaction declares; return how many bytes left, by lane.

    It may declare anew what an older declaration did, and that one itself: the older then counts no more.
    """
    gone: dict[Lane, int] = {}
    for run in entry.drops:
        gone[run.lane] = gone.get(run.lane, 0) + _delete(connection, run)
        connection.execute(
            "DELETE FROM declared WHERE lane = ? AND ordinal = ? AND first >= ? AND last <= ?",
            (run.lane, run.ordinal, run.first, run.last),
        )
        connection.execute(
            "INSERT INTO declared VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",  # a longer one says it already
            (run.lane, run.ordinal, run.first, run.last, entry.item.ordinal, entry.item.sequence),
        )
        if entry.lost:
            spans.merge(connection, "lost", run)
    return gone


def _delete(connection: sqlite3.Connection, run: Run) -> int:
    """Delete a run but for its lane's last; return how many bytes of records that were."""
    where = f"FROM record WHERE {_IN_RUN} AND NOT EXISTS {_IS_HEAD}"
    place = (run.lane, run.ordinal, run.first, run.last)
    (size,) = connection.execute(f"SELECT total(length(cose)) {where}", place).fetchone()
    connection.execute(f"DELETE {where}", place)  # a constant
    return int(size)


def _settle(connection: sqlite3.Connection, run: Run) -> None:
    """C5 has been told by these records: what they declared is as good as receipted."""
    told = "FROM declared WHERE by_ordinal = ? AND by_sequence BETWEEN ? AND ?"
    place = (run.ordinal, run.first, run.last)
    for lane, *rest in connection.execute(f"SELECT lane, ordinal, first, last {told}", place).fetchall():
        spans.merge(connection, "receipted", Run(Lane(lane), *rest))
    connection.execute(f"DELETE {told}", place)  # a constant


def read(connection: sqlite3.Connection, want: Want) -> tuple[list[Item], bool]:
    """Return records in order, bounded, and whether that was all."""
    columns = "SELECT ordinal, sequence, cose FROM record WHERE lane = ?"
    match want:
        case Run():
            rows = connection.execute(
                f"{columns} AND ordinal = ? AND sequence BETWEEN ? AND ? ORDER BY sequence",
                (want.lane, want.ordinal, want.first, want.last),
            )
        case After():
            rows = connection.execute(
                f"{columns} AND (ordinal, sequence) > (?, ?) ORDER BY ordinal, sequence",
                (want.lane, *(want.position or BEFORE_ALL)),
            )
    items: list[Item] = []
    size = 0
    for ordinal, sequence, wire in rows:
        if type(wire) is not bytes or type(sequence) is not int:
            raise DamagedError(_("the table {table} holds what was never put there").format(table="record"))
        items.append(Item(want.lane, ordinal, sequence, wire))
        size += len(wire)
        if size >= READ_BYTES or len(items) >= READ_ROWS:
            rows.close()
            return items, False
    return items, True


def lacks(want: Want, items: Sequence[Item], complete: bool | None) -> bool:
    """Whether something is missing that was asked for by its number, as far as was read."""
    if not isinstance(want, Run):
        return False
    last = items[-1].sequence if items and complete is False else want.last
    return len(items) <= last - want.first
