"""The outbox's schema, version by version. A version that was released is never edited; the next one is appended."""

from importlib.resources import files
from typing import Final

# What was dropped, and the status record by which C5 is told; as long as no receipt covers that record.
_DECLARED: Final = """
CREATE TABLE declared (
    lane INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    by_ordinal INTEGER NOT NULL,
    by_sequence INTEGER NOT NULL,
    PRIMARY KEY (lane, ordinal, first)
) WITHOUT ROWID
"""

# What supervision must know after a restart: troubles that were told and not their ends, and what devices are like.
_NOTE: Final = """
CREATE TABLE note (
    source TEXT NOT NULL,
    what TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (source, what)
) WITHOUT ROWID
"""

# What was declared lost: C5 is told nothing else of it, should it ask again.
_LOST: Final = """
CREATE TABLE lost (
    lane INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (lane, ordinal, first)
) WITHOUT ROWID
"""

# What local sources have had recorded, by the number that stands for their idempotency key; the newest of each type.
_RAISED: Final = """
CREATE TABLE raised (
    source TEXT NOT NULL,
    type TEXT NOT NULL,
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    at_us INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    PRIMARY KEY (source, type, number)
) WITHOUT ROWID
"""

MIGRATIONS: Final = (
    files("gateway.outbox").joinpath("schema.sql").read_text("utf-8"), _DECLARED, _NOTE, _LOST, _RAISED,
)  # fmt: skip
