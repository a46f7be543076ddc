"""SQLite on threads of its own: many requests, one commit.

Writes queue up for one thread. It takes whatever waits, runs it in one transaction, commits, and only then are the
callers told: a disk that takes 4 ms for a commit still stores thousands of records a second, and nobody on the event
loop ever waits for it. Reads have a second thread and connection, so that a stalled commit doesn't stop them (WAL:
a reader sees the last commit).

A disk that fails is a `StoreError` for every request of that group, and nothing of the group is stored. A request
that is wrong in itself fails alone. A file that is there no more fails too (`is_gone`): SQLite would go on writing into
one that no path leads to.

Source: https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import queue
import re
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from gateway import aside
from gateway.errors import DamagedError, StoreError
from gateway.text import _

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_Request = tuple[Work[Any], "asyncio.Future[Any]"]

GROUP_MAX: Final = 4096  # requests in one transaction: bounds how long the first of them waits
WAL_MAX: Final = 8 * 1024 * 1024  # bytes the log is cut back to after a checkpoint
SCHEMA_MAX: Final = 1000  # a higher schema number is no newer software's, it is noise
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
# A schema that isn't ours has no code of its own (SQLITE_ERROR), nor has text that is none (it comes from Python).
_NO_TEXT: Final = "Could not decode to UTF-8"
_MISFIT: Final = re.compile("unsupported file format|no such (table|column)|already exists|has [0-9]+ columns but")
_COLUMNS: Final = (
    "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
    " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite@_%' ESCAPE '@'"
)
CACHE_KIB: Final = 512  # of each connection, instead of 2 MiB: records are written once and read once, in order


class Database:
    """One SQLite file: WAL, synchronous=FULL, one writing process."""

    _migrations: Sequence[str] = ()  # what its schema is by

    def __init__(self, path: Path, lock: int, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._lock = lock
        self._files = {path: _file(path)}  # which file the store is; its log is made with the first commit
        self._loop = asyncio.get_running_loop()
        self._writes: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._threads = (
            threading.Thread(target=self._write_loop, args=(writer,), name="store-writer", daemon=True),
            threading.Thread(target=self._read_loop, args=(reader,), name="store-reader", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[str]) -> Self:
        """Open or make the file and bring it to the newest schema.

        `migrations` are scripts, each run once, in order; the file remembers how many it has had. Raises `StoreError`
        if another process has the file open for writing, if newer software made it, or if the disk fails.
        """
        database = cls(path, *await asyncio.to_thread(_open, path, migrations))
        database._migrations = migrations  # its own
        return database

    @property
    def alive(self) -> bool:
        """Whether both threads are there. A disk that stalls one is no reason to doubt it."""
        return all(thread.is_alive() for thread in self._threads)

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Run `work` in the next group; the future is done once the group is durable, or has failed."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._writes.put((work, future))
        return future

    def read(self, work: Work[T]) -> asyncio.Future[T]:
        """Run `work` on the reading thread, on what was committed last."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._reads.put((work, future))
        return future

    async def close(self) -> None:
        """Commit what waits, then close the file."""
        self._writes.put(None)
        self._reads.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        os.close(self._lock)

    def _write_loop(self, connection: sqlite3.Connection) -> None:
        while (group := self._group())[0] is not None:
            self._settle(self._commit(connection, [request for request in group if request is not None]))
            if group[-1] is None:
                break
        connection.close()

    def _group(self) -> list[_Request | None]:
        """Wait for a request, then take with it what else waits; None is the end."""
        group = [self._writes.get()]
        with contextlib.suppress(queue.Empty):
            while group[-1] is not None and len(group) < GROUP_MAX:
                group.append(self._writes.get_nowait())
        return group

    def _commit(self, connection: sqlite3.Connection, group: list[_Request]) -> list[tuple[asyncio.Future[Any], Any]]:
        """Run a group in one transaction; return each future with its result or exception."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [(future, work(connection)) for work, future in group]
            connection.execute("COMMIT")
            self._still_there()
        except Exception as error:  # noqa: BLE001  # a request's own mistake must not end the thread or its neighbours
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            broken_disk = isinstance(error, sqlite3.Error | OSError) and not isinstance(error, sqlite3.IntegrityError)
            if len(group) == 1 or broken_disk:
                explained = self._explained(error, connection)
                return [(future, explained) for _work, future in group]
            return [outcome for request in group for outcome in self._commit(connection, [request])]
        return results

    def _still_there(self) -> None:
        """Raise OSError if the store or its log was deleted or replaced while it is open."""
        for path in (self._path, Path(f"{self._path}-wal")):
            if self._files.setdefault(path, found := _file(path)) != found:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    def _read_loop(self, connection: sqlite3.Connection) -> None:
        while (request := self._reads.get()) is not None:
            work, future = request
            try:
                outcome = work(connection)
            except Exception as error:  # noqa: BLE001  # handed to the caller
                outcome = self._explained(error, connection)
            self._settle([(future, outcome)])
        connection.close()

    def _explained(self, error: Exception, connection: sqlite3.Connection) -> Exception:
        return _explained(error, self._path, lambda: _shape(connection) == _made(self._migrations))

    def _settle(self, outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(_tell, outcomes)


class Disk:
    """Where databases are; a simulation hands in its own."""

    async def open(self, path: Path, migrations: Sequence[str]) -> Database:
        """Open a database for writing; see `Database.open`."""
        return await Database.open(path, migrations)

    async def glimpse(self, path: Path, work: Work[T]) -> T:
        """Read once in a file that can't be opened as usual. Raises `StoreError`.

        A full disk has no room for what the readers of a database share: nothing is shared here.
        """
        return await asyncio.to_thread(_glimpse, path, work)

    async def set_aside(self, path: Path, stamp: str, room: int) -> list[Path]:
        """Move a damaged database out of the way, to a name with this date; raises `StoreError`. See `aside`."""
        try:
            return await asyncio.to_thread(aside.set_aside, path, stamp, room)
        except OSError as error:
            raise _explained(error, path) from error

    async def set_asides(self, path: Path) -> list[Path]:
        """Return what was set aside of this database and not salvaged to the end, oldest first."""
        return await asyncio.to_thread(aside.due, path)

    async def examine(self, path: Path, work: Callable[[aside.Read], T]) -> T:
        """Run `work` on the bytes of a file and its log, which nobody writes."""
        return await asyncio.to_thread(aside.examine, path, work)

    async def salvaged(self, path: Path) -> None:
        """Note that what was set aside has been salvaged to the end."""
        with contextlib.suppress(OSError):  # it is salvaged once more after the next start, which changes nothing
            await asyncio.to_thread(aside.done, path)


def _glimpse(path: Path, work: Work[T]) -> T:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            return work(connection)
    except sqlite3.Error as error:
        raise _explained(error, path) from error


def _file(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def is_gone(error: StoreError) -> bool:
    """Whether this says that the open file is not the one under its path any more."""
    return isinstance(error.__cause__, FileNotFoundError)


def put_back(connection: sqlite3.Connection, path: Path) -> None:
    """Put everything that this connection still reads under its path again; for a store that `is_gone`.

    Close the database then, and open it anew.
    """
    copy = path.with_name(f"{path.name}.back")
    copy.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(copy)) as target:
        copy.chmod(0o600)
        connection.backup(target)
    copy.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _tell(outcomes: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _explained(error: Exception, path: Path, sound: Callable[[], bool] = lambda: False) -> Exception:
    """Return what a caller is told. `sound`: the schema is as it should be, and a misfit is a mistake of ours."""
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    kind = DamagedError if _is_damage(error, sound) else StoreError
    explained = kind(
        _("{path}: {error}").format(path=path, error=error),
        _("Check that the disk has room, is writable and healthy (df -h, dmesg). Alarms go on without it."),
    )
    explained.__cause__ = error
    return explained


def _is_damage(error: Exception, sound: Callable[[], bool]) -> bool:
    """Whether it is the file's content that is wrong, and not the disk or the request."""
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return str(error).startswith(_NO_TEXT)
    if code == sqlite3.SQLITE_ERROR:
        return _MISFIT.search(str(error)) is not None and not sound()
    return code & 0xFF in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ


def _shape(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Return the tables and columns that are there; nothing, if that can't be read."""
    try:
        return set(connection.execute(_COLUMNS))
    except sqlite3.Error:
        return set()


def _made(migrations: Sequence[str]) -> set[tuple[str, str]]:
    """Return the tables and columns that these make."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for script in migrations:
            connection.executescript(script)
        return _shape(connection)


def _open(path: Path, migrations: Sequence[str]) -> tuple[int, sqlite3.Connection, sqlite3.Connection]:
    try:
        lock = _lock_file(Path(f"{path}.lock"))
    except OSError as error:
        raise StoreError(
            _("{path} can't be opened: {error}").format(path=path, error=error.strerror),
            _("Check that the folder exists and belongs to the user of this service."),
        ) from error
    writer: sqlite3.Connection | None = None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                _("{path} is in use by another process").format(path=path),
                _("Two programs on one store would contradict each other. Stop the other one first."),
            ) from error
        try:
            if aside.is_alien(path):
                raise DamagedError(_("{path} is no database of ours").format(path=path))
            writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
            path.chmod(0o600)
            writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
            writer.execute("PRAGMA journal_mode = WAL")
            if aside.is_torn(path, _frames(writer)):
                raise DamagedError(_("{path}: its log has lost what was durable").format(path=path))
            writer.execute("PRAGMA synchronous = FULL")
            writer.execute(f"PRAGMA journal_size_limit = {WAL_MAX}")
            _migrate(writer, path, migrations)
            reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            reader.execute("PRAGMA query_only = ON")
            for connection in (writer, reader):
                connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except (sqlite3.Error, OSError) as error:
            raise _explained(error, path) from error
    except BaseException as error:
        if isinstance(error, DamagedError):
            aside.keep_log(path)
        if writer is not None:
            writer.close()
        os.close(lock)
        raise
    return lock, writer, reader


def _frames(writer: sqlite3.Connection) -> int:
    """Return how many frames of the log SQLite believes. They are in the file after this, as far as nobody reads."""
    (_busy, frames, _moved) = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return max(0, int(frames))


def _lock_file(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # two programs on a store that can't be written are two still


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < 0 or version > SCHEMA_MAX:
        raise DamagedError(_("{path} has no schema").format(path=path))
    if version > len(migrations):
        raise StoreError(
            _("{path} was made by newer software (schema {version})").format(path=path, version=version),
            _("Install that version again, or move the file aside: what it holds unsent stays in it."),
        )
    for number in range(version, len(migrations)):
        connection.executescript(f"BEGIN; {migrations[number]}; PRAGMA user_version = {number + 1}; COMMIT;")


def in_use(path: Path) -> bool:
    """Whether another process has this store open for writing."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a store for looking, beside a running service. Raises `StoreError` if there is none."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise StoreError(
            _("{path} can't be read: {error}").format(path=path, error=error),
            _("Check state_dir in the settings, and that you may read it (sudo)."),
        ) from error
    return connection
