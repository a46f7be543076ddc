"""How a store is opened, whatever is found there: a sound one, none, a damaged one, or a disk that fails.

A damaged store is set aside and a new one takes its place, at once: an alarm is durable again before anything is
salvaged. What the old one's small tables still say is taken over before the epoch begins (`wreck`); its records follow
while the gateway runs (`salvager`).

Where nothing can be stored the gateway begins its epoch all the same, with what can be read.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.database import Database, Disk, Work
from gateway.errors import DamagedError, StoreError
from gateway.outbox import statements, wreck
from gateway.outbox.migrate import MIGRATIONS
from gateway.outbox.pages import Pages, Read
from gateway.outbox.statements import Start
from gateway.outbox.wreck import Known
from gateway.text import _

log = logging.getLogger(__name__)

T = TypeVar("T")
Look = Callable[[sqlite3.Connection], Start]


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of it: `failed` is the disk's error, with which the gateway goes on without one."""

    database: Database | None
    start: Start
    failed: StoreError | None = None
    damage: str | None = None  # what was wrong with the store that was set aside, now or before


async def open_store(
    disk: Disk, path: Path, random4: bytes, chain: bytes, *, stamp: Callable[[], str], room: int
) -> Opened:
    """Open the store and begin an epoch; `stamp` dates what is set aside, and `room` is what all of it may take.

    Raises `StoreError` only if another process has the store, or newer software made it.
    """
    look = partial(statements.look, random4=random4, chain=chain)
    database: Database | None = None
    damage: str | None = None
    try:
        try:
            database = await disk.open(path, MIGRATIONS)
            await database.read(wreck.check)
            return await _begun(disk, path, database, random4, chain)
        except DamagedError as error:
            damage = error.what
            log.warning("the store is damaged and set aside: %s", damage)
            await set_aside(disk, path, stamp(), room)
            if database is not None:
                await database.close()
        database = None
        database = await disk.open(path, MIGRATIONS)
        return replace(await _begun(disk, path, database, random4, chain), damage=damage)
    except StoreError as error:
        if not isinstance(error, DamagedError) and (
            error.__cause__ is None or isinstance(error.__cause__, BlockingIOError)
        ):
            raise
        if damage is None and await disk.set_asides(path):
            damage = _("a store was set aside before")
        start = await _glimpsed(disk, path, database, look) or _unknown(random4, chain)
        return Opened(database, start, error, damage)


async def set_aside(disk: Disk, path: Path, stamp: str, room: int) -> None:
    """Set a store aside; raises `StoreError`."""
    for file in await disk.set_aside(path, stamp, room):
        log.warning("%s is deleted and was not salvaged: what was set aside takes more than outbox.max_mb", file)


async def _begun(disk: Disk, path: Path, database: Database, random4: bytes, chain: bytes) -> Opened:
    """Begin the epoch, with what was set aside before, should its salvage not have come to its end."""
    chains = await adopt(disk, path, database)
    start = await database.submit(partial(statements.begin, random4=random4, chain=chain))
    if chains is None:
        return Opened(database, start)
    older = tuple(dict.fromkeys(used for used in (*start.older_chains, *chains) if used != chain))
    return Opened(database, replace(start, older_chains=older), damage=_("a store was set aside before"))


async def adopt(disk: Disk, path: Path, database: Database) -> tuple[bytes, ...] | None:
    """Take over what the small tables of stores that were set aside say, the newest first.

    Return the chains under which their records are signed; None if nothing was set aside. Raises `StoreError`.
    """
    due = await disk.set_asides(path)
    chains: dict[bytes, None] = {}
    for aside in reversed(due):
        known = await disk.examine(aside, _known)
        await database.submit(partial(wreck.adopt, found=known, whole=True))
        chains |= dict.fromkeys(known.chains)
    return tuple(chains) if due else None


async def _glimpsed(disk: Disk, path: Path, database: Database | None, look: Look) -> Start | None:
    """Return what a store says that can't be written, or not even opened; None if it says nothing."""
    if database is not None:
        with contextlib.suppress(StoreError):
            return await database.read(_checked(look))
    with contextlib.suppress(StoreError):
        return await disk.glimpse(path, _checked(look))
    for file in (path, *reversed(await disk.set_asides(path))):
        known = await disk.examine(file, _known)
        if known.epochs:
            return _from_wreck(known, look)
    return None


def _from_wreck(known: Known, look: Look) -> Start:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in MIGRATIONS:
            connection.executescript(script)
        wreck.adopt(connection, known, whole=True)
        return look(connection)


def _unknown(random4: bytes, chain: bytes) -> Start:
    # An ordinal that no epoch of a store that can't be read has, should it come back.
    ordinal = 2**32 + int.from_bytes(random4, "big")
    return Start(ordinal, statements.epoch(1, random4), 1, True, {}, (), {}, {}, (), chain, ())


def _checked(work: Work[T]) -> Work[T]:
    """Have the small tables looked through first: noise is no epoch, and no counter."""

    def checked(connection: sqlite3.Connection) -> T:
        wreck.check(connection)
        return work(connection)

    return checked


def _known(read: Read) -> Known:
    return wreck.known(Pages(read))
