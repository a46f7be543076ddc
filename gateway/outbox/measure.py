"""What the outbox takes of the disk, kept within its budget, and what the disk has left."""

import shutil
import sqlite3
from pathlib import Path

from gateway.event import Lane
from gateway.outbox.budget import CHECKPOINT, Budget, Usage


def bound(connection: sqlite3.Connection, budget: Budget) -> None:
    """Have SQLite keep the file and its log within the budget."""
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA max_page_count = {budget.file // page}").fetchall()
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT // page}").fetchall()
    connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT}").fetchall()
    # Debian's SQLite overwrites what it deletes: a card would bear each record twice more.
    connection.execute("PRAGMA secure_delete = OFF").fetchall()


def usage(connection: sqlite3.Connection) -> Usage:
    """Return what the store takes."""
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    path = _path(connection)
    log = Path(f"{path}-wal")
    return Usage((pages - free) * page, free * page, log.stat().st_size if path and log.exists() else 0)


def cut(connection: sqlite3.Connection) -> Usage:
    """Write the log back and cut it to nothing, unless somebody is reading in it: then say how things are.

    That is no part of a transaction: what is in the caller's is committed.
    """
    connection.execute("COMMIT")
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0").fetchall()
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}").fetchall()
        connection.execute("BEGIN IMMEDIATE")
    return usage(connection)


def shrink(connection: sqlite3.Connection, pages: int) -> Usage:
    """Give so many free pages back to the file system."""
    for _ in range(pages):  # one by one: the binding steps through a statement without columns once
        connection.execute("PRAGMA incremental_vacuum(1)")
    return usage(connection)


def room(connection: sqlite3.Connection) -> int | None:
    """Return how many bytes the file system has free; None for a store that is in none."""
    path = _path(connection)
    return shutil.disk_usage(Path(path).parent).free if path else None


def sizes(connection: sqlite3.Connection) -> dict[Lane, int]:
    """Return how many bytes of records each lane holds: a walk through all of them."""
    rows = connection.execute("SELECT lane, total(length(cose)) FROM record GROUP BY lane")
    return {Lane(lane): int(size) for lane, size in rows}


def _path(connection: sqlite3.Connection) -> str:
    return next((file for _number, name, file in connection.execute("PRAGMA database_list") if name == "main"), "")
