"""One batch into the ledger: stored whole, with all that follows from it, in the caller's transaction.

The rules of wire.md that are kept here:

1. Identity is unique. The same payload again is a repetition and changes nothing; another payload under the same
   identity is kept beside the first, and told ("Identity").
2. A record names the hash of the one before it; where both are held and differ, it is told (section 2, key 5).
3. Equal (device, event number, type) is one happening, whatever the epoch and the gateway ("Events").
4. A record with a synchronised clock fixes when its epoch began ("Time"); readers compute with that.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, groupby, pairwise
from itertools import chain as flatten
from typing import Final, NamedTuple

from gateway.c5.epochs import Epoch
from gateway.c5.times import began_us
from gateway.c5.values import Batch, Outcome
from gateway.c5.verifier import Verified, VerifiedRun
from gateway.event import LANE_NAMES, Lane
from gateway.signing.cose import Envelope, parse
from gateway.signing.record import SYNCHRONISED, Record, decode

_COLUMNS: Final = "chain, verified_us, digest, wire, sequence, type, source, event_number, expired"
_ROWS: Final = 128  # in one statement: each statement costs a turn of the interpreter's lock
_NO_NUMBER: Final = -1


@dataclass(slots=True)
class _Findings:
    at: int = 0  # the index in the batch from which the indexes of an epoch's records count
    known: set[int] = field(default_factory=set)
    contradicting: set[int] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    repeats: dict[int, str] = field(default_factory=dict)
    began_us: dict[bytes, int] = field(default_factory=dict)


def store(connection: sqlite3.Connection, batch: Batch) -> Outcome:
    """Store a batch; the caller commits."""
    findings = _Findings()
    for epoch, records in _by_epoch(batch.records):
        chain = chain_number(connection, batch.gateway, epoch, batch.lane)
        _insert(connection, chain, batch.verified_us, records, findings)
        for run in _runs(records):
            columns = _columns(run)
            extend_span(connection, chain, 1, columns.sequences[0], columns.sequences[-1])
            findings.broken += _broken(connection, chain, run, columns)
        if (fixed_us := _fix_time(connection, batch.gateway, epoch, records)) is not None:
            findings.began_us[epoch] = fixed_us
        findings.at += len(records)
    for declared in batch.declared:
        chain = chain_number(connection, batch.gateway, declared.epoch, declared.lane)
        extend_span(connection, chain, 0, declared.first, declared.last)
    save_epochs(connection, batch.gateway, batch.epochs)
    if connection.execute("SELECT 1 FROM kept WHERE gateway = ? LIMIT 1", (batch.gateway,)).fetchone():
        digests = _columns(batch.records).digests
        connection.executemany("DELETE FROM kept WHERE digest = ?", [(digest,) for digest in digests])
    known, contradicting = frozenset(findings.known), frozenset(findings.contradicting)
    return Outcome(known, contradicting, tuple(findings.broken), findings.repeats, findings.began_us)


def chain_number(connection: sqlite3.Connection, gateway: str, epoch: bytes, lane: Lane) -> int:
    """Return the number of a chain, made if it isn't there."""
    find = "SELECT id FROM chains WHERE gateway = ? AND epoch = ? AND lane = ?"
    found = connection.execute(find, (gateway, epoch, int(lane))).fetchone()
    if found is None:
        insert = "INSERT INTO chains (gateway, epoch, lane) VALUES (?, ?, ?) RETURNING id"
        found = connection.execute(insert, (gateway, epoch, int(lane))).fetchone()
        connection.execute("INSERT OR IGNORE INTO epochs (gateway, epoch) VALUES (?, ?)", (gateway, epoch))
    return int(found[0])


def extend_span(connection: sqlite3.Connection, chain: int, held: int, first: int, last: int) -> None:
    """Add first..last to the sequences held (1) or declared unavailable (0), merged with their neighbours."""
    find = "SELECT first, last FROM spans WHERE chain = ? AND held = ? AND first <= ? ORDER BY first DESC LIMIT 1"
    before = connection.execute(find, (chain, held, first)).fetchone()
    joined = before is not None and before[1] >= first - 1
    begin, end = (before[0], max(before[1], last)) if joined else (first, last)
    swallowed = "chain = ? AND held = ? AND first > ? AND first <= ?"
    key = (chain, held, begin, end + 1)
    (furthest,) = connection.execute(f"SELECT max(last) FROM spans WHERE {swallowed}", key).fetchone()  # noqa: S608  # constants
    if furthest is not None:
        connection.execute(f"DELETE FROM spans WHERE {swallowed}", key)  # noqa: S608  # constants
        end = max(end, furthest)
    connection.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?)", (chain, held, begin, end))


def save_epochs(connection: sqlite3.Connection, gateway: str, epochs: Sequence[Epoch]) -> None:
    """Write down what is known of these starts."""
    connection.executemany(
        """
        INSERT INTO epochs (gateway, epoch, first_state_us, superseded_us, zeros, status_known, unstored, ended, past,
            suspect_of) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET first_state_us = excluded.first_state_us, superseded_us = excluded.superseded_us,
            zeros = excluded.zeros, status_known = excluded.status_known, unstored = excluded.unstored,
            ended = excluded.ended, past = excluded.past, suspect_of = excluded.suspect_of""",
        [
            (
                gateway, e.epoch, e.first_state_us, e.superseded_us, e.zeros, e.status_known, e.unstored, e.ended,
                e.past, e.suspect_of,
            )
            for e in epochs
        ],
    )  # fmt: skip


class _Columns(NamedTuple):
    """What of records goes into their rows, each a list as long as there are records."""

    sequences: Sequence[int]
    clocks: Sequence[Sequence[int]]  # source, uncertainty, monotonic time
    types: Sequence[str]
    sources: Sequence[str]
    numbers: Sequence[int]
    digests: Sequence[bytes]
    wires: Sequence[bytes]
    expired: Sequence[int]  # sqlite3 is slow with a bool


def _columns(records: Sequence[Verified]) -> _Columns:
    if isinstance(records, VerifiedRun):
        run = records.columns
        none, expired = [_NO_NUMBER] * len(records), [int(records.expired)] * len(records)
        return _Columns(run.sequences, run.clocks, run.types, run.sources, none, run.digests, run.wires, expired)
    contents = [verified.record for verified in records]
    return _Columns(
        [content.sequence for content in contents],
        [content.clock for content in contents],
        [content.type for content in contents],
        [content.source for content in contents],
        [_NO_NUMBER if content.event_number is None else content.event_number for content in contents],
        [verified.digest for verified in records],
        [verified.envelope.wire for verified in records],
        [int(verified.expired) for verified in records],
    )


def _by_epoch(records: Sequence[Verified]) -> Iterator[tuple[bytes, Sequence[Verified]]]:
    if isinstance(records, VerifiedRun):
        yield records.columns.epoch, records
        return
    for epoch, group in groupby(records, lambda verified: verified.record.epoch):
        yield epoch, list(group)


def _insert(
    connection: sqlite3.Connection, chain: int, verified_us: int, records: Sequence[Verified], findings: _Findings
) -> None:
    columns = _columns(records)
    inserted = 0
    for begin in range(0, len(records), _ROWS):
        part = slice(begin, begin + _ROWS)
        wires = columns.wires[part]
        sizes = [len(wire) for wire in wires]
        begins = accumulate(sizes, initial=1)
        further = (columns.sequences, columns.types, columns.sources, columns.numbers, columns.expired)
        rows = zip(begins, sizes, *(column[part] for column in further))  # noqa: B905  # `begins` is one longer
        values: list[object] = [chain, verified_us, b"".join(columns.digests[part]), b"".join(wires)]
        values += flatten.from_iterable(rows)
        inserted += connection.execute(_insertion(len(wires)), values).rowcount
    told = [(index, records[index]) for index, number in enumerate(columns.numbers) if number != _NO_NUMBER]
    if inserted < len(records):
        (newest,) = connection.execute("SELECT max(id) FROM records").fetchone()
        fresh: set[int] = set()
        for index, verified in enumerate(records):
            if _is_new(connection, chain, verified, newest - inserted, fresh):
                continue
            if _contradicts(connection, chain, verified, verified_us):
                findings.contradicting.add(findings.at + index)
            else:
                findings.known.add(findings.at + index)
    old = findings.contradicting | findings.known
    for index, verified in told:
        if findings.at + index not in old and (first := _told_before(connection, chain, verified.record)):
            findings.repeats[findings.at + index] = first


@lru_cache(maxsize=_ROWS)
def _insertion(rows: int) -> str:
    """Return the statement that stores so many records.

    It cuts digests and records out of two long values itself: sqlite3 takes a microsecond to see that it can bind bytes
    or a None, and has numbers and text bound in a twentieth of that.
    """
    row = f"(?1, ?2, substr(?3, %d, 32), substr(?4, ?, ?), ?, ?, ?, nullif(?, {_NO_NUMBER}), ?)"
    return f"INSERT OR IGNORE INTO records ({_COLUMNS}) VALUES {', '.join(row % (32 * n + 1) for n in range(rows))}"  # noqa: S608  # constants


def _is_new(connection: sqlite3.Connection, chain: int, verified: Verified, newest: int, fresh: set[int]) -> bool:
    """Whether this record is the one that this batch has put under its identity."""
    find = "SELECT id, digest FROM records WHERE chain = ? AND sequence = ?"
    number, digest = connection.execute(find, (chain, verified.record.sequence)).fetchone()
    if number <= newest or number in fresh or digest != verified.digest:
        return False
    fresh.add(number)
    return True


def _contradicts(connection: sqlite3.Connection, chain: int, verified: Verified, verified_us: int) -> bool:
    """Whether another payload has this identity, which nobody knew; this record is kept beside it (rule 1)."""
    sequence = verified.record.sequence
    find = "SELECT wire FROM records WHERE chain = ? AND sequence = ?"
    held = parse(connection.execute(find, (chain, sequence)).fetchone()[0], "record")
    if isinstance(held, Envelope) and held.payload == verified.envelope.payload:
        return False
    insert = "INSERT OR IGNORE INTO contradictions VALUES (?, ?, ?, ?, ?)"
    row = (chain, sequence, verified_us, verified.digest, verified.envelope.wire)
    return connection.execute(insert, row).rowcount > 0


def _told_before(connection: sqlite3.Connection, chain: int, content: Record) -> str | None:
    """Return the identity of the record that told this happening first, if one did (rule 3), and mark the repeat."""
    found = connection.execute(
        """
        SELECT records.id, chains.gateway, chains.epoch, chains.lane, sequence
        FROM records JOIN chains ON chains.id = chain
        WHERE source = ? AND event_number = ? AND type = ? ORDER BY records.id LIMIT 1""",
        (content.source, content.event_number, content.type),
    ).fetchone()
    first, gateway, epoch, lane, sequence = found
    mark = "UPDATE records SET repeat_of = ? WHERE chain = ? AND sequence = ? AND id <> ?"
    if not connection.execute(mark, (first, chain, content.sequence, first)).rowcount:
        return None
    return f"{gateway}/{epoch.hex()}/{LANE_NAMES[Lane(lane)]}/{sequence}"


def _runs(records: Sequence[Verified]) -> Iterator[Sequence[Verified]]:
    """Cut records of one chain into runs of consecutive sequences."""
    if isinstance(records, VerifiedRun):
        yield records
        return
    run = list(records[:1])
    for before, after in pairwise(records):
        if after.record.sequence != before.record.sequence + 1:
            yield run
            run = []
        run.append(after)
    yield run


def _broken(connection: sqlite3.Connection, chain: int, run: Sequence[Verified], columns: _Columns) -> Iterator[str]:
    """Yield the records of a run, and the one after it, that don't name the hash of the one before them (rule 2)."""
    first = run[0].record
    before = _digest_before(connection, chain, first)
    if before is not None and before != first.previous:
        yield first.identity
    if not isinstance(run, VerifiedRun):  # there the verifier saw to it
        for earlier, later in pairwise(run):
            if later.record.previous != earlier.digest:
                yield later.record.identity
    find = "SELECT wire FROM records WHERE chain = ? AND sequence = ?"
    found = connection.execute(find, (chain, columns.sequences[-1] + 1)).fetchone()
    envelope = parse(found[0], "record") if found else None
    after = decode(envelope.payload) if isinstance(envelope, Envelope) else None
    if isinstance(after, Record) and after.previous != columns.digests[-1]:
        yield after.identity


def _digest_before(connection: sqlite3.Connection, chain: int, content: Record) -> bytes | None:
    """Return the hash of the record that this one follows, in this epoch or the one before; None if it isn't held."""
    if content.link is None:
        find = "SELECT digest FROM records WHERE chain = ? AND sequence = ?"
        found = connection.execute(find, (chain, content.sequence - 1)).fetchone()
    else:
        find = """
            SELECT digest FROM records JOIN chains ON chains.id = chain
            WHERE gateway = ? AND epoch = ? AND lane = ? AND sequence = ?"""
        epoch, sequence = content.link
        found = connection.execute(find, (content.gateway, epoch, int(content.lane), sequence)).fetchone()
    return bytes(found[0]) if found else None


def _fix_time(connection: sqlite3.Connection, gateway: str, epoch: bytes, records: Sequence[Verified]) -> int | None:
    """Keep the best clock that was met in an epoch (rule 4); return when it began, if one of these needs to know."""
    clocks = _columns(records).clocks
    known = [(uncertainty, index) for index, (source, uncertainty, _) in enumerate(clocks) if source in SYNCHRONISED]
    if known:
        best = records[min(known)[1]].record
        update = """
            UPDATE epochs SET began_us = ?, uncertainty_ms = ?
            WHERE gateway = ? AND epoch = ? AND (uncertainty_ms IS NULL OR uncertainty_ms > ?)"""
        uncertainty = best.clock.uncertainty_ms
        connection.execute(update, (began_us(best), uncertainty, gateway, epoch, uncertainty))
    if len(known) == len(records):
        return None
    find = "SELECT began_us FROM epochs WHERE gateway = ? AND epoch = ?"
    (found,) = connection.execute(find, (gateway, epoch)).fetchone()
    return None if found is None else int(found)
