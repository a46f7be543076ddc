"""A damaged database, kept beside its successor until what it holds has been salvaged, and a while longer.

    outbox-corrupt-20261122T010000Z.db     set aside; a salvage of it is due, also after the next start
    outbox-salvaged-20261122T010000Z.db    what could be read of it is in the store again

The name is the only state: whatever is interrupted by a power cut is found again by it. The log (`-wal`) moves first: a
log that were left behind alone, SQLite would delete. What wasn't salvaged is kept, however many there are, as long as
all of it takes no more room than a database may; of what was, the newest.

Of a database that is open in this process, neither the file nor its `-shm` is ever opened here: closing it would take
SQLite's locks with it (POSIX), and another process's reader would then cut the shared memory from under our feet.
Source: https://sqlite.org/howtocorrupt.html, section 2.2.
"""

import contextlib
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

T = TypeVar("T")
Read = Callable[[str, int, int], bytes]  # suffix ("" or "-wal"), offset, length: fewer bytes where there are no more

KEPT: Final = 2  # files that were salvaged
STAMP: Final = "%Y%m%dT%H%M%SZ"  # the date in a name
KEPT_LOG: Final = "-found"  # a log as it was found
_DUE, _DONE = "corrupt", "salvaged"
_WAL_HEADER: Final = 32  # bytes; https://sqlite.org/fileformat2.html, section 4
_FRAME_HEADER: Final = 24
_PAGE: Final = 4096  # SQLite's default, with which every database here is made
_MAGIC: Final = b"SQLite format 3\0" + _PAGE.to_bytes(2, "big")
_HEADER: Final = 100  # bytes; section 1.3 of the same


def set_aside(path: Path, stamp: str, room: int) -> list[Path]:
    """Move a database and its log to a dated name. Raises OSError.

    Of those that were moved before and aren't salvaged the oldest are deleted, and returned, if all take more than
    `room` bytes. It may be open: closed afterwards, it finds no log to delete under its path.
    """
    aside = _name(path, _DUE, _free(path, stamp))
    log = Path(f"{path}-wal")
    found = Path(f"{log}{KEPT_LOG}")
    for source, target in ((found if found.exists() else log, Path(f"{aside}-wal")), (path, aside)):
        with contextlib.suppress(FileNotFoundError):
            source.replace(target)
            target.chmod(0o600)
    for left in (log, Path(f"{path}-shm"), found):
        left.unlink(missing_ok=True)
    given_up: list[Path] = []
    room -= _size(aside)
    for old in [file for file in reversed(_asides(path, _DUE)) if file != aside]:
        room -= _size(old)
        if room < 0:
            _remove(old)
            given_up.append(old)
    _sync(path.parent)
    return given_up


def due(path: Path) -> list[Path]:
    """Return what was set aside of this database and not salvaged to the end, oldest first."""
    return _asides(path, _DUE)


def done(aside: Path) -> None:
    """Note that a file is salvaged, and delete the oldest of these; other files stay as they are. Raises OSError."""
    stem, due_, _dated = aside.stem.partition(f"-{_DUE}-")
    if due_:
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{aside}{suffix}").replace(f"{salvaged(aside)}{suffix}")
        for old in _asides(aside.with_name(stem + aside.suffix), _DONE)[:-KEPT]:
            _remove(old)


def salvaged(aside: Path) -> Path:
    """Return the name of a file that was set aside once it is salvaged; another file keeps its own."""
    return aside.with_name(aside.name.replace(f"-{_DUE}-", f"-{_DONE}-"))


def belonging(path: Path) -> list[Path]:
    """Return what is there of a database: its file and what SQLite had beside it."""
    return [file for suffix in ("", "-wal", "-shm") if (file := Path(f"{path}{suffix}")).exists()]


def is_own(path: Path, file: Path) -> bool:
    """Whether to read this file, or its log, would be to open what belongs to the database itself."""
    return any(own.samefile(read) for own in belonging(path) for read in belonging(file))


def over(path: Path) -> list[Path]:
    """Return what is still there of those set aside of this database and salvaged to the end, oldest first."""
    return [file for aside in _asides(path, _DONE) for file in belonging(aside)]


def examine(path: Path, work: Callable[[Read], T]) -> T:
    """Run `work` on a file's and its log's bytes; what can't be read is not there."""
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                files[suffix] = stack.enter_context(Path(f"{path}{suffix}").open("rb"))

        def read(suffix: str, offset: int, length: int) -> bytes:
            if suffix in files:
                with contextlib.suppress(OSError):  # a bad sector
                    return os.pread(files[suffix].fileno(), length, offset)
            return b""

        return work(read)


def is_alien(path: Path) -> bool:
    """Whether a file's header is none that we make.

    SQLite might take it all the same: for a file that may only be read, or for one that is longer, and so is full.
    """
    try:
        header = _start(path, _HEADER)
        size = path.stat().st_size + (log.stat().st_size if (log := Path(f"{path}-wal")).exists() else 0)
    except FileNotFoundError:
        return False
    if not header or Path(f"{path}-journal").exists():  # new, or about to be rolled back
        return False
    return (
        header[: len(_MAGIC)] != _MAGIC
        or not set(header[18:20]) <= {1, 2}
        or header[20:24] != bytes((0, 64, 32, 32))
        or (header[24:28] == header[92:96] and int.from_bytes(header[28:32], "big") * _PAGE > size)
        or header[44:48] not in (bytes(4), bytes((0, 0, 0, 4)))
        or header[56:60] not in (bytes(4), bytes((0, 0, 0, 1)))
        or header[72:92] != bytes(20)
    )


def keep_log(path: Path) -> None:
    """Keep the log of a database that is to be closed as it is: SQLite would cut it back to what it believes."""
    with contextlib.suppress(OSError):
        Path(f"{path}-wal{KEPT_LOG}").unlink(missing_ok=True)
        os.link(f"{path}-wal", f"{path}-wal{KEPT_LOG}")


def is_torn(path: Path, whole: int) -> bool:
    """Whether the log of a database that is open, of which SQLite believes `whole` frames, has lost what was durable.

    SQLite reads a log up to the first frame that isn't whole, and takes what follows for a commit that the power cut
    short (https://sqlite.org/walformat.html). With synchronous=FULL a commit is durable before the next one's frames
    are written: if a commit follows the bad frame, and more behind it, it isn't a power cut that SQLite saw.
    """
    log = Path(f"{path}-wal")
    try:
        with log.open("rb") as file:
            salts = file.read(_WAL_HEADER)[16:24]
            committed = False
            file.seek(_WAL_HEADER + whole * (_FRAME_HEADER + _PAGE))
            while len(header := file.read(_FRAME_HEADER)) == _FRAME_HEADER:
                if header[8:16] == salts:
                    if committed:
                        return True
                    committed = header[4:8] != bytes(4)
                file.seek(_PAGE, os.SEEK_CUR)
    except OSError:
        return False
    return False


def _start(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        return file.read(length)


def _name(path: Path, state: str, stamp: str) -> Path:
    return path.with_name(f"{path.stem}-{state}-{stamp}{path.suffix}")


def _asides(path: Path, state: str) -> list[Path]:
    """Return the databases of this state, also such of which only the log is there."""
    form = re.compile(re.escape(f"{path.stem}-{state}-") + r"\d{8}T\d{6}Z" + re.escape(path.suffix))
    try:
        names = {file.name.removesuffix("-wal") for file in path.parent.iterdir()}
    except OSError:  # the disk fails, and says so elsewhere
        return []
    return [path.with_name(name) for name in sorted(names) if form.fullmatch(name)]


def _free(path: Path, stamp: str) -> str:
    """Return the first date from this one on that is in no name yet."""
    at = datetime.strptime(stamp, STAMP)  # noqa: DTZ007  # UTC, there and back
    while any(belonging(_name(path, state, stamp)) for state in (_DUE, _DONE)):
        at += timedelta(seconds=1)
        stamp = at.strftime(STAMP)
    return stamp


def _size(aside: Path) -> int:
    return sum(file.stat().st_size for file in belonging(aside))


def _remove(aside: Path) -> None:
    for suffix in ("", "-wal"):
        Path(f"{aside}{suffix}").unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
