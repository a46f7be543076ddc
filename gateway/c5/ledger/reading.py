"""What can be read from a ledger: by the receiver after a start, and by `watch`, `status` and `verify` beside it.

Each function takes a connection and changes nothing.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.c5.epochs import Epoch
from gateway.c5.times import corrected
from gateway.c5.values import KeptRecord, Report, Seen, Snapshot, Span
from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import cose, record
from gateway.signing.chains import decode_chain
from gateway.signing.record import Record
from gateway.topics import Route


@dataclass(frozen=True, slots=True)
class Told:
    """A report as it stands in the ledger."""

    report: Report
    count: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class Held:
    """A record as the ledger holds it. `corrected_us` is when it occurred, by the best clock of its epoch (wire.md)."""

    record: Record
    verified_us: int
    corrected_us: int
    expired: bool
    repeated: bool


@dataclass(frozen=True, slots=True)
class Look:
    """All that a person is shown, of one moment. Records and kept ones are counted by gateway."""

    snapshot: Snapshot
    records: dict[str, int]
    kept: dict[str, int]
    newest: list[Held]
    alarms: list[Held]
    reports: list[Told]


def look(connection: sqlite3.Connection, newest: int, alarms: int) -> Look:
    """Return what is there, with so many of the newest records, and of the newest alarms."""
    connection.execute("BEGIN")
    try:
        return Look(
            read_snapshot(connection),
            read_record_counts(connection),
            read_kept_counts(connection),
            read_newest(connection, newest),
            read_newest_alarms(connection, alarms),
            read_reports(connection),
        )
    finally:
        connection.execute("ROLLBACK")


def read_snapshot(connection: sqlite3.Connection) -> Snapshot:
    """Return what a centre has to know again after a start."""
    return Snapshot(
        signers=list(read_signers(connection)),
        spans=[
            Span(gateway, Lane(lane), epoch, bool(held), first, last)
            for gateway, lane, epoch, held, first, last in connection.execute(
                "SELECT gateway, lane, epoch, held, first, last FROM spans JOIN chains ON chains.id = chain"
            )
        ],
        firsts=[
            content
            for (wire,) in connection.execute(
                "SELECT wire FROM chains JOIN records ON chain = chains.id AND sequence = 1 ORDER BY epoch"
            )
            if (content := _content(wire)) is not None
        ],
        epochs=list(_epochs(connection)),
        seen=read_seen(connection),
        unproven=[
            KeptRecord(Route(agency, site, gateway), Lane(lane), arrived_us, wire)
            for agency, site, gateway, lane, arrived_us, wire in connection.execute(
                "SELECT agency, site, gateway, lane, arrived_us, wire FROM kept WHERE revoked ORDER BY rowid"
            )
        ],
        reports=[told.report for told in read_reports(connection) if told.report.open],
        held=connection.execute("SELECT DISTINCT gateway, thumbprint FROM kept WHERE NOT revoked").fetchall(),
        owed=[
            (gateway, Lane(lane), epoch)
            for gateway, lane, epoch in connection.execute(
                "SELECT gateway, lane, epoch FROM owed JOIN chains ON chains.id = chain ORDER BY chain"
            )
        ],
    )


def read_signers(connection: sqlite3.Connection) -> Iterator[tuple[str, tuple[bytes, ...], int]]:
    """Yield gateway, chain, and a time for which the chain was proven."""
    for gateway, chain, proven_us in connection.execute("SELECT gateway, chain, proven_us FROM certificates"):
        certificates = decode_chain(chain)
        if not isinstance(certificates, Refused):
            yield gateway, certificates, proven_us


def read_seen(connection: sqlite3.Connection) -> list[Seen]:
    """Return each gateway by its newest state."""
    rows = connection.execute(
        "SELECT agency, site, gateway, epoch, number, online, seen_us, state FROM gateways ORDER BY gateway"
    )
    return [
        Seen(Route(agency, site, gateway), epoch, number, bool(online), seen_us, state)
        for agency, site, gateway, epoch, number, online, seen_us, state in rows
    ]


def read_reports(connection: sqlite3.Connection) -> list[Told]:
    """Return all reports, the newest first."""
    rows = connection.execute(
        "SELECT type, gateway, detail, text, open, count, first_us, last_us FROM reports ORDER BY last_us DESC"
    )
    return [
        Told(Report(type_, gateway, detail, text, bool(open_)), count, first_us, last_us)
        for type_, gateway, detail, text, open_, count, first_us, last_us in rows
    ]


def read_kept_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many records of each gateway are kept aside: held, or unproven."""
    return dict(connection.execute("SELECT gateway, count(*) FROM kept GROUP BY gateway"))


def read_record_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many records of each gateway are held."""
    query = """
        SELECT gateway, sum(last - first + 1) FROM spans JOIN chains ON chains.id = chain
        WHERE held GROUP BY gateway"""
    return dict(connection.execute(query))


def read_newest(connection: sqlite3.Connection, count: int) -> list[Held]:
    """Return the records that were stored last, the newest first."""
    rows = connection.execute(
        """
        SELECT wire, verified_us, expired, repeat_of, began_us
        FROM records JOIN chains ON chains.id = chain JOIN epochs USING (gateway, epoch)
        ORDER BY records.id DESC LIMIT ?""",
        (count,),
    )
    return _held(rows)


def read_newest_alarms(connection: sqlite3.Connection, count: int) -> list[Held]:
    """Return the alarms that were stored last, the newest first.

    Each chain's last by number, of which the last stored are among these; no record of another lane is looked at.
    """
    rows = connection.execute(
        """
        SELECT wire, verified_us, expired, repeat_of, began_us
        FROM chains JOIN epochs USING (gateway, epoch) JOIN records ON records.id IN (
            SELECT id FROM records AS own WHERE own.chain = chains.id ORDER BY own.sequence DESC LIMIT ?1)
        WHERE lane = 0 ORDER BY records.id DESC LIMIT ?1""",
        (count,),
    )
    return _held(rows)


def _held(rows: Iterable[tuple[bytes, int, int, int | None, int | None]]) -> list[Held]:
    return [
        Held(content, verified_us, corrected(content, began_us), bool(expired), repeat_of is not None)
        for wire, verified_us, expired, repeat_of, began_us in rows
        if (content := _content(wire)) is not None
    ]


def _content(wire: bytes) -> Record | None:
    """Read a record that was verified before it was stored; None if the file was damaged since."""
    envelope = cose.parse(wire, "record")
    content = record.decode(envelope.payload) if isinstance(envelope, cose.Envelope) else None
    return content if isinstance(content, Record) else None


def _epochs(connection: sqlite3.Connection) -> Iterator[tuple[str, Epoch]]:
    query = """
        SELECT gateway, epoch, first_state_us, superseded_us, zeros, status_known, unstored, ended, past, suspect_of
        FROM epochs ORDER BY gateway, epoch"""
    for gateway, epoch, first, superseded, zeros, status_known, unstored, ended, past, suspect in connection.execute(
        query
    ):
        yield (
            gateway,
            Epoch(
                epoch,
                first,
                superseded,
                None if zeros is None else bool(zeros),
                bool(status_known),
                None if unstored is None else bool(unstored),
                bool(ended),
                bool(past),
                suspect,
            ),
        )
