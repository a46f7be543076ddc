"""What goes into an export: everything that the outbox holds, read beside a running service or from a store at rest.

The store is read in pieces, each a look of its own: a reading that lasted minutes would keep the running service's log
from being cut back. What is receipted meanwhile isn't in the file, and what is recorded meanwhile isn't either. Each
lane's last record is, though C5 may have it.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.database import open_read_only
from gateway.errors import Refused, StoreError
from gateway.event import Lane
from gateway.outbox.inspect import FILE
from gateway.outbox.statements import BEFORE_ALL
from gateway.signing import export
from gateway.signing.chains import decode_chain
from gateway.topics import Route

ROWS: Final = 512  # of one look; at most 2 MiB
_CHAINS: Final = """
    SELECT DISTINCT chain FROM epoch
    WHERE EXISTS (SELECT 1 FROM record WHERE lane IN (0, 1, 2) AND record.ordinal = epoch.ordinal) ORDER BY ordinal"""
_NEWEST: Final = "SELECT ordinal, sequence FROM record WHERE lane = ? ORDER BY ordinal DESC, sequence DESC LIMIT 1"
_RECORDS: Final = """
    SELECT ordinal, sequence, cose FROM record
    WHERE lane = ? AND (ordinal, sequence) > (?, ?) AND (ordinal, sequence) <= (?, ?)
    ORDER BY ordinal, sequence LIMIT ?"""


def parts(state_dir: Path, route: Route) -> Iterator[tuple[bytes, int]]:
    """Yield the bytes of an export piece by piece, and how many records each holds. Raises `StoreError`."""
    path = state_dir / FILE
    with contextlib.closing(open_read_only(path)) as store:
        try:
            yield from _parts(store, route)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error


def _parts(store: sqlite3.Connection, route: Route) -> Iterator[tuple[bytes, int]]:
    # Before the chains: what is signed under another one after this look is not exported.
    newest = {lane: store.execute(_NEWEST, (int(lane),)).fetchone() for lane in Lane}
    read = (decode_chain(chain) for (chain,) in store.execute(_CHAINS).fetchall())
    chains = [chain for chain in read if not isinstance(chain, Refused)]
    if chains:
        for header in export.headers(route, chains):
            yield header, 0
    total = 0
    for lane, last in newest.items():
        if last is None:
            continue
        yield export.lane(lane), 0
        place: tuple[int, int] = BEFORE_ALL
        while rows := store.execute(_RECORDS, (int(lane), *place, *last, ROWS)).fetchall():
            yield b"".join(wire for _ordinal, _sequence, wire in rows), len(rows)
            total += len(rows)
            place = rows[-1][:2]
    yield export.end(total), 0
