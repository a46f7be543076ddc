"""What local sources have had recorded, so that the same request makes no second record: the newest of each type.

The newest is the one that was recorded last, whatever a clock said: places only grow.
"""

import sqlite3
from typing import TypeAlias

from gateway.delivery.item import RAISED_KEPT, Item, Raised, RaisedState
from gateway.event import Lane

Known: TypeAlias = tuple[Raised, Item]  # an event and where its record is; of that the bytes are gone


def read(connection: sqlite3.Connection) -> tuple[RaisedState, ...]:
    """Return what is known, oldest first."""
    rows = connection.execute(
        "SELECT source, type, number, digest, at_us, lane, ordinal, sequence, epoch, stage FROM raised JOIN epoch"
        " USING (ordinal) ORDER BY ordinal, sequence"
    )
    return tuple(RaisedState(Raised(*row[:5]), Lane(row[5]), *row[6:]) for row in rows)


def put(connection: sqlite3.Connection, raised: Raised, item: Item, stage: int = 1) -> None:
    """Store what an event is known by, and forget the oldest of its source and type."""
    which = raised.source, raised.type
    connection.execute(
        "INSERT OR REPLACE INTO raised VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*which, raised.number, raised.digest, raised.at_us, item.lane, item.ordinal, item.sequence, stage),
    )
    connection.execute(
        "DELETE FROM raised WHERE (source, type) = (?, ?) AND (ordinal, sequence) < (SELECT ordinal, sequence"
        " FROM raised WHERE (source, type) = (?, ?) ORDER BY ordinal DESC, sequence DESC LIMIT 1 OFFSET ?)",
        (*which, *which, RAISED_KEPT - 1),
    )
