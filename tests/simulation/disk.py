"""A simulated disk: real SQLite in memory runs the real statements; time, faults and forgetting are ours.

A group of writes is committed as on the real disk, in one transaction, after a delay; until then nothing of it is
there, and its callers are told a moment later. When the power goes (or the process is killed), a group whose commit
has not X

    full, readonly   writes fail (ENOSPC, EROFS)
    io               reads and writes fail (EIO)
    stall            everything waits until it is over
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, TypeVar

from gateway import aside, database
from gateway.database import Database, Disk, Work
from gateway.errors import StoreError
from tests.simulation.loop import PROCESS

T = TypeVar("T")
Fault = Literal["full", "readonly", "io"]
GROUP_MAX: Final = 4096
FAULTS: Final[dict[Fault, str]] = {
    "full": "database or disk is full",
    "readonly": "attempt to write a readonly database",
    "io": "disk I/O error",
}
Pending = list[tuple[Work[Any], "asyncio.Future[Any]"]]


class _Connection(sqlite3.Connection):
    """A connection that fails as its disk does."""

    disk: "SimulatedDisk"

    def _strike(self, sql: str) -> None:
        fault = self.disk.fault
        if fault is not None and (fault == "io" or sql.lstrip()[:6].upper() in _WRITES):
            raise sqlite3.OperationalError(FAULTS[fault])

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Execute, unless the disk fails."""
        if self.disk.fault is not None:
            self._strike(sql)
        return _EXECUTE(self, sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        """Execute, unless the disk fails."""
        if self.disk.fault is not None:
            self._strike(sql)
        return super().executemany(sql, parameters)


_EXECUTE: Final = sqlite3.Connection.execute
_WRITES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "REPLAC", "CREATE", "ALTER "})


class SimulatedDatabase(Database):
    """One file on a simulated disk, open in one process."""

    def __init__(self, disk: "SimulatedDisk", path: Path, connection: _Connection) -> None:
        self._path = path
        self._disk = disk
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._queue: Pending = []
        self._committing: Pending = []  # being committed
        self._doubtful: Pending = []  # their commit failed, and nothing was written since
        self._telling: Pending = []
        self._reading: set[asyncio.Future[Any]] = set()
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self.process = PROCESS.get()
        if self.process is not None:
            self.process.at_death.append(self.cut)

    @property
    def alive(self) -> bool:
        """There are no threads to die."""
        return True

    def _still_there(self) -> None:
        """Nobody deletes a file in memory."""

    @property
    def dead(self) -> bool:
        """Whether the process that opened it is."""
        return self.process is not None and not self.process.alive

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Run `work` in the next group."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self.dead:
            future.cancel()
            return future
        self._queue.append((work, future))
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._begin)
        return future

    def _begin(self) -> None:
        self._committing, self._queue = self._queue[:GROUP_MAX], self._queue[GROUP_MAX:]
        self._loop.call_later(self._disk.delay(), self._write)

    def _write(self) -> None:
        if self.dead:
            return
        if (wait := self._disk.stalled()) > 0:
            self._loop.call_later(wait, self._write)
            return
        group, self._committing = self._committing, []
        outcomes = self._commit(self._connection, group)
        failed = any(isinstance(outcome, StoreError) for _future, outcome in outcomes)
        self._doubtful = group if failed else []
        self._disk.commits += not failed
        self._telling = group
        self._loop.call_later(self._disk.random.uniform(0, 0.002), self._told, outcomes)

    def _told(self, outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
        if self.dead:
            return
        self._telling = []
        database._tell(outcomes)
        if self._queue:
            self._begin()
        else:
            self._idle.set()

    def read(self, work: Work[T]) -> asyncio.Future[T]:
        """Run `work` on what was committed last."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self.dead:
            future.cancel()
            return future
        self._reading.add(future)
        self._loop.call_later(self._disk.delay() / 4, self._read, work, future)
        return future

    def _read(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        if self.dead:
            return
        if (wait := self._disk.stalled()) > 0:
            self._loop.call_later(wait, self._read, work, future)
            return
        self._reading.discard(future)
        try:
            outcome = work(self._connection)
        except Exception as error:  # noqa: BLE001  # handed to the caller, as the real one does
            outcome = database._explained(error, self._path)
        database._tell([(future, outcome)])

    async def close(self) -> None:
        """Commit what waits, then close."""
        while not self.dead and not self._idle.is_set():
            await self._idle.wait()
        self._disk.release(self._path, self)

    def cut(self) -> None:
        """The process is no more: what was being committed is there or not."""
        doubtful = self._committing or self._doubtful
        if doubtful and self._disk.fault is None and self._disk.random.random() < 0.5:
            self._commit(self._connection, [(work, self._loop.create_future()) for work, _future in doubtful])
        for _work, future in (*self._committing, *self._telling, *self._queue):
            future.cancel()
        for future in self._reading:
            future.cancel()
        self._idle.set()
        self._disk.release(self._path, self)


class SimulatedDisk(Disk):
    """The disk of one machine: its files outlive whoever opens them."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.fault: Fault | None = None
        self.stalled_until = 0.0
        self.commits = 0
        self._files: dict[Path, _Connection] = {}
        self._holders: dict[Path, SimulatedDatabase] = {}

    def delay(self) -> float:
        """Draw how long a commit takes: 0.5 to 4 ms, and sometimes as an SD card has it."""
        slow = self.random.random()
        return self.random.uniform(0.0005, 0.004) if slow < 0.97 else self.random.uniform(0.02, 0.25)

    def stalled(self) -> float:
        """Return how many seconds it still doesn't answer."""
        return self.stalled_until - asyncio.get_running_loop().time()

    async def open(self, path: Path, migrations: Sequence[str]) -> Database:
        """Open a database for writing."""
        await self._wait()
        if path in self._holders:
            raise StoreError(f"{path} is in use by another process", "")
        connection = self._files.get(path)
        if connection is None:
            self._try("CREATE")
            connection = sqlite3.connect(":memory:", isolation_level=None, factory=_Connection)
            connection.disk = self
            self._files[path] = connection
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < len(migrations):
                self._try("CREATE")
            database._migrate(connection, path, migrations)
        except sqlite3.Error as error:
            raise database._explained(error, path) from error
        opened = self._holders[path] = SimulatedDatabase(self, path, connection)
        return opened

    async def set_asides(self, _path: Path) -> list[Path]:
        """Return nothing: this disk forgets and fails, and damages no file."""
        return []

    async def examine(self, path: Path, work: Callable[[aside.Read], T]) -> T:
        """Run `work` on the bytes of a file; what can't be read is not there."""
        await self._wait()
        connection = self._files.get(path)
        content = b"" if connection is None or self.fault == "io" else connection.serialize()
        return work(lambda suffix, offset, length: b"" if suffix else content[offset : offset + length])

    async def glimpse(self, path: Path, work: Work[T]) -> T:
        """Read once."""
        await self._wait()
        try:
            connection = self._files.get(path)
            if connection is None:
                raise sqlite3.OperationalError("unable to open database file")
            return work(connection)
        except sqlite3.Error as error:
            raise database._explained(error, path) from error

    async def _wait(self) -> None:
        await asyncio.sleep(self.delay())
        if (wait := self.stalled()) > 0:
            await asyncio.sleep(wait)

    def _try(self, sql: str) -> None:
        if self.fault is not None and (self.fault == "io" or sql in _WRITES):
            error = sqlite3.OperationalError(FAULTS[self.fault])
            raise database._explained(error, Path("disk")) from error

    def release(self, path: Path, holder: SimulatedDatabase) -> None:
        """Let another process open it."""
        if self._holders.get(path) is holder:
            del self._holders[path]

    def look(self, path: Path, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Return what is durable, whatever the disk does: the checker's eye."""
        connection = self._files.get(path)
        if connection is None:
            return []
        return _EXECUTE(connection, sql, parameters).fetchall()

    def close(self) -> None:
        """Forget everything."""
        for connection in self._files.values():
            connection.close()
