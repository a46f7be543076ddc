"""The outbox: every signed record, kept until C5 has receipted it, on a disk that may stall, fill up or die.

Rules:

1. A record is on its way to the uplink before it is stored; this module only stores, and says when it is durable.
2. A record, the counters of the device that caused it, and its event number are one transaction.
3. Each start is a new epoch, durable before its first record; where it can't be stored the start count is the last
   known plus one, and `start.unstored` says so.
4. A record leaves when a receipt covers it, each lane's last excepted: its hash begins the next epoch. When the budget
   is used up the oldest telemetry leaves before, then status, alarms never (`dropping`).
5. Without a disk the gateway goes on: records wait here in memory, bounded, nothing is told to be stored, and the disk
   is tried again and again. When memory is full `room` says no, and a press isn't accepted: the device goes on sending.
   A budget that alarms alone have filled is a disk that is full.

One transaction is under way at a time, and what comes meanwhile goes into the next (`pending`): each commit costs a
card some blocks.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

from gateway.database import Database, Disk, is_gone, put_back
from gateway.delivery.item import DeviceState, Entry, Item, Note, Run, Want
from gateway.errors import DamagedError, StoreError
from gateway.event import Lane
from gateway.outbox import dropping, measure, statements
from gateway.outbox.budget import LOG_MAX, Budget, Usage
from gateway.outbox.gauge import Gauge
from gateway.outbox.inspect import FILE, Waiting, waiting_in
from gateway.outbox.migrate import MIGRATIONS
from gateway.outbox.opening import adopt, open_store, set_aside
from gateway.outbox.pending import NEVER, Pending
from gateway.outbox.salvage import Taken
from gateway.outbox.salvager import Rescue, Salvager
from gateway.outbox.sleep import Sleep
from gateway.outbox.statements import Start, Write
from gateway.text import _

log = logging.getLogger(__name__)

RETRY: Final = 1.0  # seconds between tries to store, while the disk fails
STALLED: Final = 1.0  # seconds that alarms which memory holds wait for those on a disk
GIVEN_UP: Final = 30  # tries, after which a store that was deleted and can't be read either is begun anew
LOOK: Final = 60.0  # seconds between two looks at what the file system has left
SHRINK_PAGES: Final = 256  # given back to the file system at once: a mebibyte, some milliseconds
SHRINK_PAUSE: Final = 0.1  # seconds between two of these


class Outbox:
    """The store of one gateway; open it with `open`, which begins the epoch."""

    def __init__(
        self,
        disk: Disk,
        path: Path,
        database: Database | None,
        start: Start,
        *,
        budget: Budget | None = None,
        rescue: Rescue | None = None,
    ) -> None:
        self.start = start
        self.trouble: str | None = None
        self.on_trouble: Callable[[str | None], None] = lambda _trouble: None
        self.on_low: Callable[[int, bool], None] = lambda _free_mb, _low: None  # few are free, or enough again
        self.on_drop: Callable[[dropping.Drop], None] | None = None  # signs and appends the declaration
        self.on_salvaged: Callable[[Sequence[Taken], Mapping[bytes, int]], None] = lambda _taken, _ordinals: None
        self._disk = disk
        self._path = path
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._pending = Pending(self._loop.time)
        self.gauge = Gauge(budget or Budget(), self._loop.time)
        self._bound = False
        self._gone = False  # the store was deleted or replaced underneath
        self._damaged = False  # what it holds can't be believed
        self._renewed = False  # it was set aside, and isn't being salvaged yet
        self._rescue = rescue or Rescue()
        for used in (start.chain, *start.older_chains):
            self._rescue.prover.introduce(used)
        self.salvager = Salvager(disk, path, self._rescue.prover, lambda: None if self.trouble else self._database)
        self.salvager.on_taken, self.salvager.on_end = self._taken, self._sound
        self._failures = 0
        self._look_at = self._loop.time()
        self._shrink_at = self._plan_at = self._retry_at = 0.0
        self._sleep = Sleep(self._due, self._loop.time)
        self._closing = False
        self._keeper = self._loop.create_task(self._keep(), name="outbox")
        self._counter = self._loop.create_task(self._count(), name="outbox-count")

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        random4: bytes,
        chain: bytes,
        disk: Disk | None = None,
        *,
        budget: Budget | None = None,
        rescue: Rescue | None = None,
    ) -> Self:
        """Open the store and begin an epoch that signs under `chain` (as `signing.chains` writes it).

        Raises `StoreError` only if another process has the store, or newer software made it. A disk that fails
        leaves a gateway without a disk (`trouble`); a store that is damaged, a new one (`salvager`).
        """
        path = state_dir / FILE
        disk, rescue = disk or Disk(), rescue or Rescue()
        room = (budget or Budget()).whole
        opened = await open_store(disk, path, random4, chain, stamp=rescue.stamp, room=room)
        outbox = cls(disk, path, opened.database, opened.start, budget=budget, rescue=rescue)
        if opened.failed is not None:
            outbox._renewed = opened.damage is not None
            outbox._failed(opened.failed)
        elif opened.damage:
            outbox._salvage(opened.damage)
        return outbox

    @property
    def alive(self) -> bool:
        """Whether the store's threads are there (a gateway without a disk has none, and is trying)."""
        return not self._keeper.done() and (self._database is None or self._database.alive)

    def room(self, lane: Lane) -> bool:
        """Whether a record of this lane can be taken: always, unless it is memory that stands in for a disk."""
        return self._pending.room(lane)

    def append(self, entry: Entry) -> None:
        """Store a record; its `stored` is called once it is durable."""
        self.gauge.signed(entry)
        self._pending.add(entry)
        self._sleep.look()

    def remember(self, states: Sequence[DeviceState], notes: Sequence[Note] = ()) -> None:
        """Store counters and notes that no record carried."""
        self._pending.remember(states, notes)
        self._sleep.look()

    def forget(self, device: str) -> None:
        """Forget a device that is enrolled no more; its records stay."""
        self._pending.forget(device)
        self._sleep.look()

    def receipted(self, runs: Sequence[Run]) -> None:
        """Forget what C5 has."""
        if self.trouble is not None:
            self._pending.free(runs, self.start.ordinal)
        self._pending.receipted(runs)
        self._sleep.look()

    @property
    def complaint(self) -> str | None:
        """What is wrong with the store, the disk before what is being salvaged."""
        return self.trouble or self.salvager.damage

    @property
    def unsure(self) -> bool:
        """Whether what isn't here may still be found: from the moment of damage until the end of its salvage."""
        return self._damaged or self._renewed or self.salvager.busy

    async def read(self, want: Want) -> tuple[list[Item], bool | None]:
        """Return records in order, and whether that was all; what only memory holds is included.

        None: the disk could not be read (in time, where it is alarms), and this is what memory holds; or some of what
        was asked for by its numbers may still be found. What verifies no longer isn't there: it is lost (wire.md,
        section 2 "Unavailable").
        """
        unsure = self.unsure  # before the reading: a salvage may end during it
        held = {(item.ordinal, item.sequence): item for item in self._pending.items(want)}
        rows: list[Item] = []
        complete: bool | None = None
        if self._database is not None:
            try:
                async with asyncio.timeout(STALLED if want.lane is Lane.ALARM else None):
                    rows, complete = await self._database.read(partial(self._read, want=want))
            except TimeoutError:
                log.debug("the disk stalls a reading of alarms")
            except StoreError as error:
                log.debug("reading for delivery failed: %s", error.what)
                self._met(error)
        if complete is False:  # the rest is read later, in its order
            last = (rows[-1].ordinal, rows[-1].sequence)
            held = {position: item for position, item in held.items() if position < last}
        held |= {(item.ordinal, item.sequence): item for item in rows}
        items = [held[position] for position in sorted(held)]
        return items, None if (unsure or self.unsure) and statements.lacks(want, items, complete) else complete

    def _read(self, connection: sqlite3.Connection, want: Want) -> tuple[list[Item], bool]:
        rows, complete = statements.read(connection, want)
        if isinstance(want, Run):  # of a part, the last tells where it ends
            fails, part = self._rescue.prover.fails, () if complete else rows[-1:]
            rows = [item for item in rows if item in part or not fails(item.wire)]
        return rows, complete

    async def waiting(self) -> dict[str, Waiting]:
        """Return what waits for C5, by lane; without a disk, what memory holds."""
        if self._database is not None:
            try:
                return await self._database.read(waiting_in)
            except StoreError as error:
                log.debug("looking into the outbox failed: %s", error.what)
                self._met(error)
        return self._pending.summary()

    async def close(self) -> None:
        """Store what waits, then close; a disk in trouble is tried once more."""
        self._closing = True
        self._sleep.look()
        self._counter.cancel()
        await self.salvager.close()
        await asyncio.gather(self._keeper, self._counter, return_exceptions=True)
        if self._database is not None:
            await self._database.close()

    # The one that writes.

    async def _keep(self) -> None:
        """Write what is due, one transaction after the other, until closed."""
        while True:
            await self._sleep.until_due()
            last = self._closing
            try:
                await self._turn()
            except StoreError as error:
                self._failed(error)
            except Exception:  # a mistake of ours must not end it: alarms go on as without a disk
                log.exception("the outbox failed")
                self._failed(StoreError(_("a mistake in this program: see the log")))
            if last:
                return

    def _due(self) -> float:
        if self._closing:
            return 0.0
        if self.trouble is not None:
            return self._retry_at
        return min(self._pending.due, self._look_at, self._shrink_at if self.gauge.wasteful else NEVER)

    async def _turn(self) -> None:
        if self.trouble is not None:
            await self._mend()
        database = self._database
        assert database is not None
        if not self._bound:
            await database.submit(partial(measure.bound, budget=self.gauge.budget))
            self._bound = True
        everything = self.trouble is not None or self._closing
        while everything or self._pending.due <= self._loop.time():
            write = self._pending.take(shared=self.gauge.shared, receipts_alone=self.trouble is not None)
            if write is None:
                break
            await self._write(database, write)
            await self._make_room(database)
        if self.trouble is not None:
            self._healed()
        if self._loop.time() >= self._look_at:
            await self._look(database)
        if self.gauge.wasteful and self._loop.time() >= self._shrink_at:
            self._shrink_at = self._loop.time() + SHRINK_PAUSE
            self._takes(await database.submit(partial(measure.shrink, pages=SHRINK_PAGES)))

    async def _write(self, database: Database, write: Write) -> None:
        try:
            written = await database.submit(partial(statements.write, what=write, budget=self.gauge.budget))
        except BaseException:
            self._pending.failed(write)
            raise
        self._takes(written.usage)
        self.gauge.wrote(write, written)
        self._pending.done(write)

    def _takes(self, usage: Usage) -> None:
        """Note what the store takes now, and what follows from it."""
        before, self.gauge.usage = self.gauge.shared, usage
        if usage.log > LOG_MAX:  # another process has been reading for long
            self._look_at = min(self._look_at, self._loop.time() + RETRY)
        if self.gauge.shared and not before:
            self._pending.due = 0.0

    async def _make_room(self, database: Database) -> None:
        """Let the oldest leave, while less than a transaction's room is left to lanes that are not alarms."""
        while (
            self.on_drop is not None
            and self.gauge.usage.used > self.gauge.budget.start
            and self._loop.time() >= self._plan_at
        ):
            drops = await database.submit(partial(dropping.plan, size=self.gauge.budget.drop))
            if not drops:
                self._plan_at = self._loop.time() + LOOK
                return
            for drop in drops:
                self.on_drop(drop)
                self.gauge.dropped += drop.leaving
            write = self._pending.take(shared=self.gauge.shared)
            assert write is not None
            await self._write(database, write)

    async def _look(self, database: Database) -> None:
        """See what the file system has left, and whether what another process reads still holds up the log."""
        self._look_at = self._loop.time() + LOOK
        self._takes(await database.submit(measure.usage))
        if self.gauge.usage.log > LOG_MAX:
            self._takes(await database.submit(measure.cut))
        low = self.gauge.looked(await database.submit(measure.room))
        if low is not None:
            assert self.gauge.free_mb is not None
            log.log(logging.WARNING if low else logging.INFO, "the disk has %d MB free", self.gauge.free_mb)
            self.on_low(self.gauge.free_mb, low)

    async def _count(self) -> None:
        """Count what each lane holds: a walk through the store, on the reader."""
        if self._database is not None:
            with contextlib.suppress(StoreError):
                self.gauge.counted(await self._database.read(measure.sizes))

    # A disk that fails.

    def _failed(self, error: StoreError) -> None:
        """Go on without a disk, once; and try it again from now on."""
        self._retry_at = self._loop.time() + RETRY
        self._gone = self._gone or is_gone(error)
        self._damaged = self._damaged or isinstance(error, DamagedError)
        self._failures += 1
        if self.trouble is not None:
            log.debug("the disk still fails: %s", error.what)
            return
        self.trouble = error.what
        log.warning("the disk failed, alarms go on without it: %s", error.what)
        self.on_trouble(self.trouble)

    async def _mend(self) -> None:
        """Have a store again, and this epoch in it."""
        if self._gone and self._database is not None:
            await self._put_back(self._database)
        if self._damaged:
            await self._set_aside()
        if self._database is None:
            self._database = await self._disk.open(self._path, MIGRATIONS)
            self._gone = self._bound = False
            await adopt(self._disk, self._path, self._database)
        await self._database.submit(partial(statements.resume, start=self.start))
        self._takes(await self._database.submit(measure.cut))
        if self.start.unstored and not self.start.epochs:  # a disk that couldn't be read when this epoch began
            self.on_salvaged((), await self._database.read(statements.ordinals))

    async def _put_back(self, deleted: Database) -> None:
        """Copy what a deleted store still gives to its place. Raises `StoreError` as long as there is hope for it."""
        try:
            await deleted.read(partial(put_back, path=self._path))
        except StoreError:
            if self._failures < GIVEN_UP:
                raise
            log.warning("the store was deleted and can't be read any more: a new one begins")
        self._database = None
        await deleted.close()

    def _healed(self) -> None:
        damage, self.trouble = self.trouble, None
        self._failures = 0
        log.info("the disk works again")
        if self._renewed:
            self._renewed = False
            self._salvage(damage)
        self._sound()

    def _sound(self) -> None:
        if self.complaint is None:
            self.on_trouble(None)

    # A store that is damaged.

    def _met(self, error: StoreError) -> None:
        """Note damage that a reading met."""
        if isinstance(error, DamagedError):
            self._failed(error)
            self._sleep.look()

    async def _set_aside(self) -> None:
        """Make room for a new store; what memory holds stays, and goes into that."""
        await set_aside(self._disk, self._path, self._rescue.stamp(), self.gauge.budget.whole)
        database, self._database = self._database, None
        if database is not None:
            await database.close()
        self._damaged, self._renewed = False, True
        self.gauge.emptied()

    def _salvage(self, damage: str | None) -> None:
        self.salvager.damage = damage
        self.salvager.begin()

    def _taken(self, taken: Sequence[Taken], ordinals: Mapping[bytes, int]) -> None:
        for item, _event in taken:
            self.gauge.counted({item.lane: len(item.wire)})
        self.on_salvaged(taken, ordinals)
