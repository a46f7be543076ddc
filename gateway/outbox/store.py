"""The outbox: every signed record, kept until C5 has receipted it, on a disk that may stall, fill up or die.

Rules:

1. A record is on its way to the uplink before it is stored; this module only stores, and says when it is durable.
2. A record, the counters of the device that caused it, and its event number are one transaction.
3. Each start is a new epoch, durable before its first record; where it can't be stored the start count is the last
   known plus one, and `start.unstored` says so.
4. A record leaves when a receipt covers it, each lane's last excepted: its hash begins the next epoch.
5. Without a disk the gateway goes on: records wait here in memory, bounded, nothing is told to be stored, and the disk
   is tried again and again. When memory is full `room` says no, and a press isn't accepted: the device goes on sending.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Self

from gateway.database import Database
from gateway.delivery.item import After, DeviceState, Entry, EventState, Item, Run, Want
from gateway.errors import StoreError
from gateway.event import LANE_NAMES, Lane
from gateway.outbox.inspect import FILE, Waiting, waiting_in
from gateway.outbox.migrate import MIGRATIONS
from gateway.signing.message import Head

log = logging.getLogger(__name__)

EVENTS_KEPT: Final = 65  # event numbers of a device: the highest and the 64 below
READ_ROWS: Final = 512  # rows and bytes of one reading for delivery
READ_BYTES: Final = 128 * 1024
MEMORY_MAX: Final = 4 * 1024 * 1024  # bytes of records waiting for a disk
MEMORY_ALARMS_ONLY: Final = MEMORY_MAX // 2  # above this, only alarms are taken
RETRY: Final = 1.0  # seconds between tries to store, while the disk fails


@dataclass(frozen=True, slots=True)
class Start:
    """What the store knew when this epoch began: `receipted` are heads that C5 has, `epochs` the ordinals by epoch."""

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


class Outbox:
    """The store of one gateway; open it with `open`, which begins the epoch."""

    def __init__(self, path: Path, database: Database | None, start: Start) -> None:
        self.start = start
        self.trouble: str | None = None
        self.on_trouble: Callable[[str | None], None] = lambda _trouble: None
        self._path = path
        self._database = database
        self._waiting: dict[tuple[Lane, int], Entry] = {}  # not durable yet, in the order they were signed
        self._waiting_bytes = 0
        self._owed: dict[str, DeviceState] = {}  # counters that the disk has not taken, of records that are gone
        self._retry: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, state_dir: Path, random4: bytes, chain: bytes) -> Self:
        """Open the store and begin an epoch that signs under `chain` (as `signing.chains` writes it).

        Raises `StoreError` only if another process has the store, or newer software made it. A disk that fails
        leaves a gateway without a disk (`trouble`).
        """
        path = state_dir / FILE
        database: Database | None = None
        try:
            database = await Database.open(path, MIGRATIONS)
            start = await database.submit(partial(_begin, random4=random4, chain=chain))
        except StoreError as error:
            if error.__cause__ is None or isinstance(error.__cause__, BlockingIOError):
                raise
            return await cls._without_disk(path, database, random4, chain, error)
        return cls(path, database, start)

    @classmethod
    async def _without_disk(
        cls, path: Path, database: Database | None, random4: bytes, chain: bytes, error: StoreError
    ) -> Self:
        start: Start | None = None
        if database is not None:
            try:  # readable, if not writable
                start = await database.read(partial(_look, random4=random4, chain=chain))
            except StoreError:
                log.debug("the store can't be read either")
        if start is None:
            try:
                start = await asyncio.to_thread(_glimpse, path, random4, chain)
            except sqlite3.Error:
                log.debug("the store can't be looked into either")
        if start is None:
            # An ordinal that no epoch of a store that can't be read has, should it come back.
            ordinal = 2**32 + int.from_bytes(random4, "big")
            start = Start(ordinal, _epoch(1, random4), 1, True, {}, (), {}, {}, (), chain, ())
        outbox = cls(path, database, start)
        outbox._failed(error)
        return outbox

    @property
    def alive(self) -> bool:
        """Whether the store's threads are there (a gateway without a disk has none, and is trying)."""
        return self._database is None or self._database.alive

    def room(self, lane: Lane) -> bool:
        """Whether a record of this lane can be taken: always, unless it is memory that stands in for a disk."""
        return self._waiting_bytes < (MEMORY_MAX if lane is Lane.ALARM else MEMORY_ALARMS_ONLY)

    def append(self, entry: Entry) -> None:
        """Store a record; its `stored` is called once it is durable."""
        self._waiting[entry.item.lane, entry.item.sequence] = entry
        self._waiting_bytes += len(entry.item.wire)
        if self.trouble is None and self._database is not None:
            self._database.submit(partial(_insert, entries=(entry,))).add_done_callback(partial(self._appended, entry))

    def remember(self, states: Sequence[DeviceState]) -> None:
        """Store counters that no record carried."""
        if self.trouble is not None or self._database is None:
            self._owed |= {state.device: state for state in states}
        elif states:
            self._database.submit(partial(_put_devices, states=states)).add_done_callback(self._done)

    def forget(self, device: str) -> None:
        """Forget a device that is enrolled no more; its records stay."""
        if self._database is not None:
            self._database.submit(partial(_forget, device=device)).add_done_callback(self._done)

    def receipted(self, runs: Sequence[Run]) -> None:
        """Forget what C5 has."""
        for run in runs:
            if run.ordinal == self.start.ordinal and self._waiting:
                for key in [k for k in self._waiting if k[0] is run.lane and run.first <= k[1] <= run.last]:
                    entry = self._waiting.pop(key)
                    self._waiting_bytes -= len(entry.item.wire)
                    if entry.device is not None and self.trouble is not None:
                        self._owed[entry.device.device] = entry.device
        if self._database is not None and runs:
            self._database.submit(partial(_receipt, runs=runs)).add_done_callback(self._done)

    async def read(self, want: Want) -> tuple[list[Item], bool | None]:
        """Return records in order, and whether that was all; what only memory holds is included.

        None: the disk could not be read, and this is what memory holds.
        """
        held = {(item.ordinal, item.sequence): item for item in self._in_memory(want)}
        rows: list[Item] = []
        complete: bool | None = None
        if self._database is not None:
            try:
                rows, complete = await self._database.read(partial(_read, want=want))
            except StoreError as error:
                log.debug("reading for delivery failed: %s", error.what)
        if complete is False:  # the rest is read later, in its order
            last = (rows[-1].ordinal, rows[-1].sequence)
            held = {position: item for position, item in held.items() if position < last}
        held |= {(item.ordinal, item.sequence): item for item in rows}
        return [held[position] for position in sorted(held)], complete

    def _in_memory(self, want: Want) -> list[Item]:
        """Return what waits for the disk; what is durable by the time of the reading is found there."""
        items = [entry.item for entry in self._waiting.values() if entry.item.lane is want.lane]
        match want:
            case Run():
                return [i for i in items if i.ordinal == want.ordinal and want.first <= i.sequence <= want.last]
            case After(position=position):
                return [i for i in items if position is None or (i.ordinal, i.sequence) > position]

    async def waiting(self) -> dict[str, Waiting]:
        """Return what waits for C5, by lane; without a disk, what memory holds."""
        if self._database is not None:
            try:
                return await self._database.read(waiting_in)
            except StoreError as error:
                log.debug("looking into the outbox failed: %s", error.what)
        found = dict.fromkeys(LANE_NAMES.values(), Waiting(0, 0, None))
        for entry in self._waiting.values():
            before = found[name := LANE_NAMES[entry.item.lane]]
            found[name] = Waiting(before.count + 1, before.size + len(entry.item.wire), None)
        return found

    async def close(self) -> None:
        """Store what waits, then close."""
        if self._retry is not None:
            self._retry.cancel()
        if self._database is not None:
            await self._database.close()

    def _appended(self, entry: Entry, future: asyncio.Future[None]) -> None:
        error = future.exception()
        if error is not None:
            self._failed(error)
        else:
            self._durable(entry)

    def _durable(self, entry: Entry) -> None:
        if self._waiting.pop((entry.item.lane, entry.item.sequence), None) is not None:
            self._waiting_bytes -= len(entry.item.wire)
        if entry.stored is not None:
            entry.stored()

    def _done(self, future: asyncio.Future[None]) -> None:
        if (error := future.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Go on without a disk, once; and try it again from now on."""
        if not isinstance(error, StoreError):
            raise error  # a mistake of ours: the event loop's handler reports it
        if self.trouble is not None:
            return
        self.trouble = error.what
        log.warning("the disk failed, alarms go on without it: %s", error.what)
        self.on_trouble(self.trouble)
        self._retry = asyncio.get_running_loop().create_task(self._heal(), name="outbox-heal")

    async def _heal(self) -> None:
        while self.trouble is not None:
            await asyncio.sleep(RETRY)
            try:
                if self._database is None:
                    self._database = await Database.open(self._path, MIGRATIONS)
                await self._database.submit(partial(_resume, start=self.start))
                entries, states = tuple(self._waiting.values()), tuple(self._owed.values())
                await self._database.submit(partial(_insert, entries=entries, states=states))
            except StoreError as error:
                log.debug("the disk still fails: %s", error.what)
                continue
            for entry in entries:
                self._durable(entry)
            self.trouble = None
            owed, self._owed = self._owed, {}
            self.remember([state for state in owed.values() if state not in states])
            # What was taken while that was stored still waits; it goes the ordinary way.
            for entry in tuple(self._waiting.values()):
                self._database.submit(partial(_insert, entries=(entry,))).add_done_callback(
                    partial(self._appended, entry)
                )
            log.info("the disk works again")
            self.on_trouble(None)


def _epoch(start_count: int, random4: bytes) -> bytes:
    return start_count.to_bytes(4, "big") + random4


def _look(connection: sqlite3.Connection, random4: bytes, chain: bytes) -> Start:
    """Read what is known, and number the next epoch without storing it."""
    (stored,) = connection.execute("SELECT max(value) FROM fact WHERE name = 'start_count'").fetchone()
    (last,) = connection.execute("SELECT max(ordinal) FROM epoch").fetchone()
    epochs = dict(connection.execute("SELECT ordinal, epoch FROM epoch"))
    heads, receipted = {}, []
    for lane, ordinal, sequence, digest, done in connection.execute("SELECT * FROM head"):
        heads[Lane(lane)] = Head(epochs[ordinal], sequence, digest)
        if done:
            receipted.append(Run(Lane(lane), ordinal, sequence, sequence))
    devices = {
        device: DeviceState(device, counter, tag, seen, bool(proven), highest)
        for device, counter, tag, seen, proven, highest in connection.execute("SELECT * FROM device")
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
        (last or 0) + 1, _epoch(count, random4), count, True, heads, tuple(receipted),
        {epoch: ordinal for ordinal, epoch in epochs.items()}, devices, events, chain, older,
    )  # fmt: skip


def _glimpse(path: Path, random4: bytes, chain: bytes) -> Start:
    """Look into a store that can't be opened as usual: a full disk has no room for what a store's readers share."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # then nothing is shared
        return _look(connection, random4, chain)


def _begin(connection: sqlite3.Connection, random4: bytes, chain: bytes) -> Start:
    connection.execute(
        "DELETE FROM epoch WHERE ordinal NOT IN (SELECT ordinal FROM record UNION SELECT ordinal FROM head)"
        " AND ordinal < (SELECT max(ordinal) FROM epoch)"
    )
    start = replace(_look(connection, random4, chain), unstored=False)
    _resume(connection, start)
    return start


def _resume(connection: sqlite3.Connection, start: Start) -> None:
    connection.execute(
        "INSERT INTO fact VALUES ('start_count', ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        (start.start_count,),
    )
    connection.execute(
        "INSERT OR IGNORE INTO epoch VALUES (?, ?, ?, ?)", (start.ordinal, start.epoch, start.start_count, start.chain)
    )


def _insert(connection: sqlite3.Connection, entries: Sequence[Entry], states: Sequence[DeviceState] = ()) -> None:
    execute = connection.execute
    _put_devices(connection, states)
    for entry in entries:
        item = entry.item
        execute(
            "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", (item.lane, item.ordinal, item.sequence, item.wire)
        )
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
        if entry.device is None:
            continue
        _put_devices(connection, (entry.device,))
        if entry.event_number is not None:
            execute(
                "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, 1)",
                (entry.device.device, entry.event_number, item.lane, item.ordinal, item.sequence),
            )
            execute(
                "DELETE FROM event WHERE device = ? AND number <= ?",
                (entry.device.device, entry.device.highest_event - EVENTS_KEPT),
            )


def _put_devices(connection: sqlite3.Connection, states: Sequence[DeviceState]) -> None:
    connection.executemany(
        "INSERT INTO device VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET counter = excluded.counter,"
        " tag = excluded.tag, seen = excluded.seen, proven = excluded.proven, highest_event = excluded.highest_event"
        " WHERE excluded.counter >= device.counter",  # what failed may come after what went through
        ((s.device, s.counter, s.tag, s.seen, s.proven, s.highest_event) for s in states),
    )


def _forget(connection: sqlite3.Connection, device: str) -> None:
    connection.execute("DELETE FROM device WHERE device = ?", (device,))
    connection.execute("DELETE FROM event WHERE device = ?", (device,))


def _receipt(connection: sqlite3.Connection, runs: Sequence[Run]) -> None:
    for run in runs:
        where = "lane = ? AND ordinal = ? AND sequence BETWEEN ? AND ?"
        place = (run.lane, run.ordinal, run.first, run.last)
        connection.execute(f"UPDATE head SET receipted = 1 WHERE {where}", place)  # noqa: S608  # a constant
        connection.execute(
            f"DELETE FROM record WHERE {where} AND NOT EXISTS"  # noqa: S608  # a constant
            " (SELECT 1 FROM head WHERE (lane, ordinal, sequence) = (record.lane, record.ordinal, record.sequence))",
            place,
        )
        if run.lane is not Lane.TELEMETRY:
            connection.execute(f"UPDATE event SET stage = 2 WHERE stage < 2 AND {where}", place)  # noqa: S608


def _read(connection: sqlite3.Connection, want: Want) -> tuple[list[Item], bool]:
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
                (want.lane, *(want.position or (0, 0))),
            )
    items: list[Item] = []
    size = 0
    for ordinal, sequence, wire in rows:
        items.append(Item(want.lane, ordinal, sequence, wire))
        size += len(wire)
        if size >= READ_BYTES or len(items) >= READ_ROWS:
            rows.close()
            return items, False
    return items, True
