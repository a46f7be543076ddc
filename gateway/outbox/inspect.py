"""Looking into an outbox from another process: what waits, and whether every chain holds. Nothing is written."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.database import open_read_only
from gateway.errors import Refused, StoreError
from gateway.event import LANE_NAMES, Lane
from gateway.signing import record
from gateway.signing.cose import VerifyingKey, parse
from gateway.signing.record import Record

FILE: Final = "outbox.db"
_NOT_RECEIPTED: Final = (
    " AND (lane, ordinal, sequence) NOT IN (SELECT lane, ordinal, sequence FROM head WHERE receipted)"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What of a lane no receipt covers: how many, how many bytes, and when the oldest occurred (RFC 3339)."""

    count: int
    size: int
    oldest: str | None


def waiting(state_dir: Path) -> dict[str, Waiting]:
    """Return what waits, by lane. Raises `StoreError` if there is no outbox to look into."""
    with _opened(state_dir) as store:
        return waiting_in(store)


def waiting_in(store: sqlite3.Connection) -> dict[str, Waiting]:
    """Return what waits, by lane, in a store that is open."""
    found: dict[str, Waiting] = {}
    for lane, name in LANE_NAMES.items():
        where = f"FROM record WHERE lane = ?{_NOT_RECEIPTED}"
        count, size = store.execute(f"SELECT count(*), total(length(cose)) {where}", (lane,)).fetchone()
        first = store.execute(f"SELECT cose {where} ORDER BY ordinal, sequence LIMIT 1", (lane,)).fetchone()
        said = _decoded(first[0]) if first else None
        found[name] = Waiting(count, int(size), rfc3339(said.occurred_us) if isinstance(said, Record) else None)
    return found


def records(state_dir: Path) -> Iterator[tuple[Record, bool, bytes]]:
    """Yield each stored record in its lane's order, and whether it still waits. Raises `StoreError`."""
    with _opened(state_dir) as store:
        receipted = set(store.execute("SELECT lane, ordinal, sequence FROM head WHERE receipted"))
        rows = store.execute("SELECT lane, ordinal, sequence, cose FROM record ORDER BY lane, ordinal, sequence")
        for lane, ordinal, sequence, wire in rows:
            said = _decoded(wire)
            if isinstance(said, Refused):
                raise StoreError(f"{LANE_NAMES[Lane(lane)]} {sequence}: {said.reason}")
            yield said, (lane, ordinal, sequence) not in receipted, wire


def broken(state_dir: Path, key: VerifyingKey, thumbprint: bytes) -> tuple[int, list[str]]:
    """Verify each record: form, signature, place, and link to the one before it where that is there too.

    Returns how many were looked at, and what is wrong. A record under another certificate than `thumbprint` (before a
    renewal) is checked by its links alone.
    """
    found: list[str] = []
    count = 0
    with _opened(state_dir) as store:
        before: tuple[int, int, int, bytes] | None = None
        rows = store.execute("SELECT lane, ordinal, sequence, cose FROM record ORDER BY lane, ordinal, sequence")
        for lane, ordinal, sequence, wire in rows:
            count += 1
            name = f"{LANE_NAMES[Lane(lane)]} {ordinal}/{sequence}"
            envelope = parse(wire, "record")
            said = _decoded(wire)
            if isinstance(envelope, Refused) or isinstance(said, Refused):
                found.append(f"{name}: " + (said.reason if isinstance(said, Refused) else ""))
                before = None
                continue
            if envelope.thumbprint == thumbprint and not key.verify(envelope):
                found.append(f"{name}: the signature is not this gateway's")
            if (said.lane, said.sequence) != (lane, sequence):
                found.append(f"{name}: it is {said.identity}")
            if before is not None and before[:3] == (lane, ordinal, sequence - 1) and said.previous != before[3]:
                found.append(f"{name}: its link to the record before is broken")
            before = (lane, ordinal, sequence, envelope.digest)
    return count, found


def rfc3339(us: int) -> str:
    """Return a time as text, to the microsecond; the bare number where no calendar holds it."""
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        return str(us)


def _decoded(wire: bytes) -> Record | Refused:
    envelope = parse(wire, "record")
    return envelope if isinstance(envelope, Refused) else record.decode(envelope.payload)


@contextlib.contextmanager
def _opened(state_dir: Path) -> Iterator[sqlite3.Connection]:
    store = open_read_only(state_dir / FILE)
    try:
        yield store
    except sqlite3.Error as error:
        raise StoreError(f"{state_dir / FILE}: {error}") from error
    finally:
        store.close()
