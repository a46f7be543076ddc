"""What local sources have had recorded, so that the same request makes no second record: the newest of each source."""

import sqlite3
from typing import Final

from gateway.delivery.item import Item, Raised, RaisedState
from gateway.event import Lane

KEPT: Final = 256  # events of a source that are known by their keys,
KEPT_US: Final = 86_400_000_000  # … for a day: then the same key is another event


def read(connection: sqlite3.Connection) -> tuple[RaisedState, ...]:
    """Return what is known, oldest first."""
    rows = connection.execute(
        "SELECT source, number, digest, at_us, lane, ordinal, sequence, epoch, stage FROM raised JOIN epoch"
        " USING (ordinal) ORDER BY ordinal, at_us"
    )
    return tuple(RaisedState(Raised(*row[:4]), Lane(row[4]), *row[5:]) for row in rows)


def put(connection: sqlite3.Connection, raised: Raised, item: Item) -> None:
    """Store what an event is known by, and forget its source's oldest."""
    source = raised.source
    connection.execute(
        "INSERT OR REPLACE INTO raised VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        (source, raised.number, raised.digest, raised.at_us, item.lane, item.ordinal, item.sequence),
    )
    connection.execute(
        "DELETE FROM raised WHERE source = ? AND (at_us < ? OR number NOT IN"
        " (SELECT number FROM raised WHERE source = ? ORDER BY ordinal DESC, at_us DESC LIMIT ?))",
        (source, raised.at_us - KEPT_US, source, KEPT),
    )
