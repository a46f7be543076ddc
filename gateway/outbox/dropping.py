"""What leaves when the outbox is full, and how C5 is told: oldest telemetry first, then status, alarms never.

Rules (wire.md, section 2 "Unavailable"):

1. What leaves is declared by `records.unavailable`, in the transaction in which it leaves. Each lane's last stays.
2. A declaration is never dropped. Once there are several of a lane that no receipt covers, the next one says all that
   they say, and they go. A declaration is a status record with a sequence of its own, and C5 must not miss that
   sequence either: another declaration, of the status lane, says so, beside it.
3. Each names at most `RANGES_MAX` ranges, to stay within a record. One that is full is left as it is.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from gateway.delivery.item import Declared, Position, Run
from gateway.event import Lane
from gateway.outbox.statements import declared
from gateway.ranges import RangeSet

RANGES_MAX: Final = 96  # of at most 32 bytes each
MERGE: Final = 8  # unreceipted declarations of a lane, after which the next one says all that they say
_OLDEST: Final = (
    "SELECT ordinal, sequence, length(cose) FROM record WHERE lane = ?"
    " AND (ordinal, sequence) < (SELECT ordinal, sequence FROM head WHERE lane = ?)"
    " AND (lane = 2 OR instr(cose, CAST('records.unavailable' AS BLOB)) = 0) ORDER BY ordinal, sequence"
)
_SAYS_DROPPED: Final = (  # and not "lost": that is another thing to say
    "SELECT 1 FROM record WHERE lane = 1 AND ordinal = ? AND sequence = ? AND instr(cose, CAST('dropped' AS BLOB)) > 0"
)


@dataclass(frozen=True, slots=True)
class Drop:
    """One declaration to be made: what it says, of which lane."""

    lane: Lane
    runs: tuple[Run, ...]
    leaving: int  # records that leave now; the rest are older declarations, and what they said

    def data(self, epochs: Mapping[int, bytes]) -> dict[str, Any]:
        """Return it as the data of `records.unavailable`; `epochs` by ordinal."""
        ranges = [[epochs[run.ordinal], run.first, run.last] for run in self.runs]
        return {"lane": int(self.lane), "ranges": ranges, "count": _count(self.runs), "reason": "dropped"}


def plan(connection: sqlite3.Connection, size: int) -> list[Drop]:
    """Choose records of about `size` bytes to leave, and what is to be said of it; nothing if none may."""
    chosen: dict[Lane, list[Run]] = {}
    for lane in (Lane.TELEMETRY, Lane.STATUS):
        chosen[lane], freed = _oldest(connection, lane, size)
        size -= freed
        if size <= 0:
            break
    older = [entry for entry in declared(connection) if connection.execute(_SAYS_DROPPED, entry.by).fetchone()]
    return declarations(chosen, older)


def _oldest(connection: sqlite3.Connection, lane: Lane, size: int) -> tuple[list[Run], int]:
    runs: list[Run] = []
    freed = 0
    rows = connection.execute(_OLDEST, (lane, lane))
    for ordinal, sequence, length in rows:
        if runs and (runs[-1].ordinal, runs[-1].last + 1) == (ordinal, sequence):
            runs[-1] = Run(lane, ordinal, runs[-1].first, sequence)
        elif len(runs) < RANGES_MAX:
            runs.append(Run(lane, ordinal, sequence, sequence))
        else:
            break
        freed += length
        if freed >= size:
            break
    rows.close()
    return runs, freed


def declarations(chosen: Mapping[Lane, Sequence[Run]], older: Sequence[Declared]) -> list[Drop]:
    """Return what is to be said of what leaves, together with what older declarations have said (rule 2)."""
    if not any(chosen.values()):
        return []
    drops: list[Drop] = []
    superseded: list[Run] = []
    told = {lane: _by_record(older, lane) for lane in (Lane.TELEMETRY, Lane.STATUS)}
    if runs := chosen.get(Lane.TELEMETRY):
        said, gone = _said(runs, told[Lane.TELEMETRY], MERGE)
        drops.append(Drop(Lane.TELEMETRY, said, _count(runs)))
        superseded = gone
    if runs := [*chosen.get(Lane.STATUS, ()), *superseded]:
        # Where older ones go there must be one of these anyway, and it takes those before it with it.
        said, gone = _said(runs, told[Lane.STATUS], 1 if superseded else MERGE)
        drops.append(Drop(Lane.STATUS, said, _count(chosen.get(Lane.STATUS, ()))))
    return drops


def _by_record(older: Sequence[Declared], lane: Lane) -> list[tuple[Position, list[Run]]]:
    of_lane = [entry for entry in older if entry.run.lane is lane]
    return [(by, [entry.run for entry in group]) for by, group in groupby(of_lane, lambda entry: entry.by)]


def _said(
    runs: Sequence[Run], told: Sequence[tuple[Position, list[Run]]], least: int
) -> tuple[tuple[Run, ...], list[Run]]:
    """Return these runs with those of older declarations, as far as one record holds them, and the older ones' places.

    A status declaration says of the older ones itself that they are gone; for those of telemetry the caller sees to it.
    """
    said = _merged(runs)
    superseded: list[Run] = []
    if len(told) < least:
        return said, superseded
    for (ordinal, sequence), before in told:
        itself = Run(Lane.STATUS, ordinal, sequence, sequence)
        more = [*before, itself] if before[0].lane is Lane.STATUS else before
        longer = _merged([*said, *more])
        if len(longer) <= RANGES_MAX:
            said = longer
            superseded.append(itself)
    return said, superseded


def _count(runs: Iterable[Run]) -> int:
    return sum(run.last - run.first + 1 for run in runs)


def _merged(runs: Iterable[Run]) -> tuple[Run, ...]:
    spans: dict[tuple[Lane, int], RangeSet] = {}
    for run in runs:
        spans.setdefault((run.lane, run.ordinal), RangeSet()).add(run.first, run.last)
    return tuple(Run(*place, *span) for place, ranges in sorted(spans.items()) for span in ranges)
