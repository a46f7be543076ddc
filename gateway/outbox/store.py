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
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

from gateway.database import Database, Disk
from gateway.delivery.item import After, DeviceState, Entry, Item, Run, Want
from gateway.errors import StoreError
from gateway.event import LANE_NAMES, Lane
from gateway.outbox import statements
from gateway.outbox.inspect import FILE, Waiting, waiting_in
from gateway.outbox.migrate import MIGRATIONS
from gateway.outbox.statements import Start
from gateway.ranges import RangeSet

log = logging.getLogger(__name__)

MEMORY_MAX: Final = 4 * 1024 * 1024  # bytes of records waiting for a disk
MEMORY_ALARMS_ONLY: Final = MEMORY_MAX // 2  # above this, only alarms are taken
RETRY: Final = 1.0  # seconds between tries to store, while the disk fails


class Outbox:
    """The store of one gateway; open it with `open`, which begins the epoch."""

    def __init__(self, disk: Disk, path: Path, database: Database | None, start: Start) -> None:
        self.start = start
        self.trouble: str | None = None
        self.on_trouble: Callable[[str | None], None] = lambda _trouble: None
        self._disk = disk
        self._path = path
        self._database = database
        self._waiting: dict[tuple[Lane, int], Entry] = {}  # not durable yet, in the order they were signed
        self._waiting_bytes = 0
        self._owed: dict[str, DeviceState] = {}  # counters that the disk has not taken, of records that are gone
        self._covered: dict[tuple[Lane, int], RangeSet] = {}  # receipts to store, likewise; by lane and ordinal
        self._retry: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, state_dir: Path, random4: bytes, chain: bytes, disk: Disk | None = None) -> Self:
        """Open the store and begin an epoch that signs under `chain` (as `signing.chains` writes it).

        Raises `StoreError` only if another process has the store, or newer software made it. A disk that fails
        leaves a gateway without a disk (`trouble`).
        """
        path = state_dir / FILE
        disk = disk or Disk()
        database: Database | None = None
        try:
            database = await disk.open(path, MIGRATIONS)
            start = await database.submit(partial(statements.begin, random4=random4, chain=chain))
        except StoreError as error:
            if error.__cause__ is None or isinstance(error.__cause__, BlockingIOError):
                raise
            return await cls._without_disk(disk, path, database, error, random4=random4, chain=chain)
        return cls(disk, path, database, start)

    @classmethod
    async def _without_disk(
        cls, disk: Disk, path: Path, database: Database | None, error: StoreError, *, random4: bytes, chain: bytes
    ) -> Self:
        start: Start | None = None
        if database is not None:
            try:  # readable, if not writable
                start = await database.read(partial(statements.look, random4=random4, chain=chain))
            except StoreError:
                log.debug("the store can't be read either")
        if start is None:
            try:
                start = await disk.glimpse(path, partial(statements.look, random4=random4, chain=chain))
            except StoreError:
                log.debug("the store can't be looked into either")
        if start is None:
            # An ordinal that no epoch of a store that can't be read has, should it come back.
            ordinal = 2**32 + int.from_bytes(random4, "big")
            start = Start(ordinal, statements.epoch(1, random4), 1, True, {}, (), {}, {}, (), chain, ())
        outbox = cls(disk, path, database, start)
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
            self._database.submit(partial(statements.insert, entries=(entry,))).add_done_callback(
                partial(self._appended, entry)
            )

    def remember(self, states: Sequence[DeviceState]) -> None:
        """Store counters that no record carried."""
        if self.trouble is not None or self._database is None:
            self._owed |= {state.device: state for state in states}
        elif states:
            self._database.submit(partial(statements.put_devices, states=states)).add_done_callback(self._done)

    def forget(self, device: str) -> None:
        """Forget a device that is enrolled no more; its records stay."""
        if self._database is not None:
            self._database.submit(partial(statements.forget, device=device)).add_done_callback(self._done)

    def receipted(self, runs: Sequence[Run]) -> None:
        """Forget what C5 has."""
        for run in runs:
            if run.ordinal == self.start.ordinal and self._waiting:
                for key in [k for k in self._waiting if k[0] is run.lane and run.first <= k[1] <= run.last]:
                    entry = self._waiting.pop(key)
                    self._waiting_bytes -= len(entry.item.wire)
                    if entry.device is not None and self.trouble is not None:
                        self._owed[entry.device.device] = entry.device
        if self.trouble is not None or self._database is None:
            self._owe(runs)
        elif runs:
            done = partial(self._forgotten, runs)
            self._database.submit(partial(statements.receipt, runs=runs)).add_done_callback(done)

    async def read(self, want: Want) -> tuple[list[Item], bool | None]:
        """Return records in order, and whether that was all; what only memory holds is included.

        None: the disk could not be read, and this is what memory holds.
        """
        held = {(item.ordinal, item.sequence): item for item in self._in_memory(want)}
        rows: list[Item] = []
        complete: bool | None = None
        if self._database is not None:
            try:
                rows, complete = await self._database.read(partial(statements.read, want=want))
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

    def _forgotten(self, runs: Sequence[Run], future: asyncio.Future[None]) -> None:
        if future.exception() is not None:
            self._owe(runs)
        self._done(future)

    def _owe(self, runs: Sequence[Run]) -> None:
        """Keep in mind what the disk shall forget once it can be written."""
        for run in runs:
            self._covered.setdefault((run.lane, run.ordinal), RangeSet()).add(run.first, run.last)

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
                    self._database = await self._disk.open(self._path, MIGRATIONS)
                await self._database.submit(partial(statements.resume, start=self.start))
                entries, states = tuple(self._waiting.values()), tuple(self._owed.values())
                await self._database.submit(partial(statements.insert, entries=entries, states=states))
            except StoreError as error:
                log.debug("the disk still fails: %s", error.what)
                continue
            for entry in entries:
                self._durable(entry)
            self.trouble = None
            owed, self._owed = self._owed, {}
            self.remember([state for state in owed.values() if state not in states])
            covered, self._covered = self._covered, {}
            self.receipted([Run(*place, *span) for place, spans in covered.items() for span in spans])
            # What was taken while that was stored still waits; it goes the ordinary way.
            for entry in tuple(self._waiting.values()):
                self._database.submit(partial(statements.insert, entries=(entry,))).add_done_callback(
                    partial(self._appended, entry)
                )
            log.info("the disk works again")
            self.on_trouble(None)
