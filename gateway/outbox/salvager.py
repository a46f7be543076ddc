"""Which files are to be salvaged, one after the other, beside everything else that the outbox does.

What was set aside is found by its name, also after a restart; a technician may name another file. Until all of it is
through, nobody can say what is lost (`damage`), and nobody should.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.database import Database, Disk, Work
from gateway.errors import StoreError
from gateway.outbox.salvage import Lost, Progress, Prover, Reckoning, Taken, reckon, salvage
from gateway.text import _

log = logging.getLogger(__name__)

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rescue:
    """What is needed should the store be damaged: whose record is ours, and what the time is (it dates the file)."""

    prover: Prover = field(default_factory=lambda: Prover("", lambda _chain: None))
    now_us: Callable[[], int] = lambda: 0

    def stamp(self) -> str:
        """Return the time as it stands in a file's name."""
        return f"{_EPOCH + timedelta(microseconds=max(0, self.now_us())):%Y%m%dT%H%M%SZ}"


class Salvager:
    """Salvages into one store; its callbacks come on the event loop."""

    def __init__(self, disk: Disk, path: Path, prover: Prover, database: Callable[[], Database | None]) -> None:
        self._disk = disk
        self._path = path
        self._prover = prover
        self._database = database
        self._named: list[Path] = []
        self._task: asyncio.Task[None] | None = None
        self.damage: str | None = None  # what was found, while its salvage isn't through
        self.progress: Progress | None = None  # of the file being looked through, or of the last one
        self.on_taken: Callable[[Sequence[Taken], Mapping[bytes, int]], None] = lambda _taken, _ordinals: None
        self.on_lost: Callable[[Sequence[Lost]], None] = lambda _lost: None
        self.on_end: Callable[[], None] = lambda: None

    @property
    def busy(self) -> bool:
        """Whether something is being salvaged: what isn't here may still be found."""
        return self._task is not None and not self._task.done()

    def begin(self, named: Path | None = None) -> None:
        """Salvage what was set aside, and this file too."""
        if named is not None:
            self._named.append(named)
        if not self.busy:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="salvage")

    def change(self, work: Work[T]) -> Awaitable[T]:
        """Run `work` in a transaction; raises `StoreError`."""
        return self._open.submit(work)

    def look(self, work: Work[T]) -> Awaitable[T]:
        """Run `work` on what was committed last; raises `StoreError`."""
        return self._open.read(work)

    @property
    def _open(self) -> Database:
        if (database := self._database()) is None:
            raise StoreError(_("nothing can be stored now"))
        return database

    def taken(self, taken: Sequence[Taken], ordinals: Mapping[bytes, int]) -> None:
        """Note what was taken in, and the ordinals of its epochs."""
        self.on_taken(taken, ordinals)

    async def close(self) -> None:
        """Stop; what isn't through begins anew after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        through: set[Path] = set()
        while await self._next(through) is not None:  # else nothing, or a name that the disk doesn't let us change
            await self._all(through)
        damage, self.damage = self.damage, None
        if damage is not None:
            self.on_end()

    async def _all(self, through: set[Path]) -> None:
        """Salvage all that is due, then say what is lost: what one file lacks, the next may have."""
        reckoning = Reckoning()
        files: dict[Path, Progress] = {}
        gone: list[Lost] = []
        while (file := await self._next(through)) is not None:
            while file is not None:
                through.add(file)
                files[file] = await self._one(file, reckoning)
                file = await self._next(through)
            gone = await reckon(self, reckoning)  # then look again: a store may have been set aside meanwhile
        self.on_lost(gone)
        for file, progress in files.items():
            progress.lost = gone
            if progress.error is None:  # else the next start tries it again
                await self._disk.salvaged(file)
            log.info("salvaged %s: %s", file, summary(progress))

    async def _next(self, through: Collection[Path]) -> Path | None:
        due = [*await self._disk.set_asides(self._path), *self._named]
        return next((file for file in due if file not in through), None)

    async def _one(self, file: Path, reckoning: Reckoning) -> Progress:
        log.warning("salvaging %s", file)
        self.progress = progress = Progress(file.name)
        if not (whole := file not in self._named):
            self._named.remove(file)
        try:
            await salvage(self._disk, file, self._prover, self, progress, reckoning=reckoning, whole=whole)
        except Exception as error:  # a file of which we make nothing must not keep us from the next one
            reason = error.what if isinstance(error, StoreError) else repr(error)
            log.warning("%s could not be salvaged: %s", file, reason, exc_info=not isinstance(error, StoreError))
            progress.error = reason
            reckoning.told = False  # it may have known of receipts that no other file knows of
        return progress


def summary(progress: Progress) -> dict[str, Any]:
    """Return what came of it, for the log and the command line."""
    return {
        "file": progress.name,
        "done": progress.lost is not None,
        "percent": 100 * progress.looked // max(1, progress.parts),
        "taken": {lane.name.lower(): count for lane, count in progress.taken.items()},
        "had": progress.had,
        "error": progress.error,
        "lost": [
            {"lane": run.lane.name.lower(), "epoch": epoch.hex(), "first": run.first, "last": run.last}
            for run, epoch in progress.lost or ()
        ],
    }
