"""What C5 has, durably: the ledger is the truth, and everything else (sinks, receipts, `watch`) follows from it.

Each call returns a future that is done once what it asked for is committed (`storing` has the work of a batch). What
is not believed is kept within bounds (wire.md, section 3, "Certificates": "held (bounded, counted)"); the gateway
still has what doesn't fit, since nothing of it is receipted. Of gateways that have proven nothing, whose names anybody
can invent, the oldest records give way, and what is held for an unknown signer is forgotten after a day.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from gateway.c5.ledger.reading import read_snapshot
from gateway.c5.ledger.schema import MIGRATIONS
from gateway.c5.ledger.storing import chain_number, save_epochs, store
from gateway.c5.reports import Tally
from gateway.c5.signers import Signer
from gateway.c5.values import Batch, Kept, KeptRecord, Outcome, Remember, Snapshot
from gateway.c5.verifier import Unproven
from gateway.database import Database, Disk
from gateway.errors import Refused
from gateway.event import LANE_NAMES, Lane
from gateway.signing import cose, record
from gateway.signing.chains import encode_chain
from gateway.topics import Route

LEDGER: Final = "ledger.db"
KEPT_OF_ONE: Final = 1000  # records of one gateway held, and as many unproven ones
KEPT_IN_ALL: Final = 20_000  # of all gateways: at most 80 MiB
GIVE_WAY: Final = 1000  # records of gateways that have proven nothing, where those fill the room
HELD_US: Final = 86_400 * 1_000_000  # a day; a certificate follows its records within seconds
REPORTS_MAX: Final = 10_000  # rows; what comes beyond is in the log alone


class Ledger:
    """The receiver's store, in its state folder. Futures raise `StoreError` where the disk fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, folder: Path, disk: Disk | None = None) -> Self:
        """Open or make the ledger. Raises StoreError."""
        return cls(await (disk or Disk()).open(folder / LEDGER, MIGRATIONS))

    async def close(self) -> None:
        """Commit what waits, and close."""
        await self._database.close()

    def load(self) -> asyncio.Future[Snapshot]:
        """Return what a centre has to know again after a start."""
        return self._database.read(read_snapshot)

    def store(self, batch: Batch) -> asyncio.Future[Outcome]:
        """Commit a batch."""
        return self._database.submit(lambda connection: store(connection, batch))

    def keep(self, kept: Kept) -> asyncio.Future[list[bytes]]:
        """Keep records aside; return the digests of those that a held record vouches for already."""
        return self._database.submit(lambda connection: _keep(connection, kept))

    def forget(self, now_us: int) -> asyncio.Future[None]:
        """Forget what has been held for a day."""
        return self._database.submit(lambda connection: _forget(connection, now_us))

    def take_kept(self, gateway: str, thumbprint: bytes) -> asyncio.Future[list[KeptRecord]]:
        """Take out what is kept of this signer, in the order in which it came, to be judged again."""
        return self._database.submit(lambda connection: _take_kept(connection, gateway, thumbprint))

    def learn(self, signer: Signer) -> asyncio.Future[None]:
        """Remember a certificate."""
        return self._database.submit(lambda connection: _learn(connection, signer))

    def remember(self, remember: Remember) -> asyncio.Future[list[str]]:
        """Remember a newest state; return the identities of held records that its heads contradict."""
        return self._database.submit(lambda connection: _remember(connection, remember))

    def owe(self, gateway: str, lane: Lane, epoch: bytes) -> asyncio.Future[None]:
        """Remember that a receipt for this chain is owed to the gateway, until a state of it is remembered."""
        return self._database.submit(lambda connection: _owe(connection, gateway, lane, epoch))

    def report(self, tallies: Sequence[Tally], now_us: int) -> asyncio.Future[None]:
        """Write reports down."""
        return self._database.submit(lambda connection: _report(connection, tallies, now_us))


def _keep(connection: sqlite3.Connection, kept: Kept) -> list[bytes]:
    gateway = kept.route.gateway
    revoked = isinstance(kept.records[0], Unproven)
    count_one = "SELECT count(*) FROM kept WHERE gateway = ? AND revoked = ?"
    (of_one,) = connection.execute(count_one, (gateway, revoked)).fetchone()
    (in_all,) = connection.execute("SELECT count(*) FROM kept").fetchone()
    if in_all + len(kept.records) > KEPT_IN_ALL:
        nameless = (
            "SELECT rowid FROM kept WHERE gateway NOT IN (SELECT gateway FROM certificates) ORDER BY rowid LIMIT ?"
        )
        in_all -= connection.execute(f"DELETE FROM kept WHERE rowid IN ({nameless})", (GIVE_WAY,)).rowcount  # noqa: S608  # constants
    room = max(0, min(KEPT_OF_ONE - of_one, KEPT_IN_ALL - in_all))
    rows = [
        (
            entry.digest,
            kept.route.agency,
            kept.route.site,
            gateway,
            int(kept.lane),
            entry.envelope.thumbprint,
            revoked,
            kept.arrived_us,
            entry.envelope.wire,
        )
        for entry in kept.records[:room]
    ]
    connection.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return [
        entry.digest
        for entry in kept.records
        if isinstance(entry, Unproven) and _vouched(connection, gateway, entry.record, entry.digest)
    ]


def _vouched(connection: sqlite3.Connection, gateway: str, content: record.Record, digest: bytes) -> bool:
    """Whether the record after this one is held, and names it."""
    chain = chain_number(connection, gateway, content.epoch, content.lane)
    find = "SELECT wire FROM records WHERE chain = ? AND sequence = ?"
    found = connection.execute(find, (chain, content.sequence + 1)).fetchone()
    envelope = cose.parse(found[0], "record") if found else Refused("none")
    after = record.decode(envelope.payload) if isinstance(envelope, cose.Envelope) else envelope
    return isinstance(after, record.Record) and after.previous == digest


def _forget(connection: sqlite3.Connection, now_us: int) -> None:
    connection.execute("DELETE FROM kept WHERE NOT revoked AND arrived_us < ?", (now_us - HELD_US,))


def _take_kept(connection: sqlite3.Connection, gateway: str, thumbprint: bytes) -> list[KeptRecord]:
    find = "SELECT agency, site, lane, arrived_us, wire FROM kept WHERE gateway = ? AND thumbprint = ? ORDER BY rowid"
    rows = connection.execute(find, (gateway, thumbprint)).fetchall()
    connection.execute("DELETE FROM kept WHERE gateway = ? AND thumbprint = ?", (gateway, thumbprint))
    return [
        KeptRecord(Route(agency, site, gateway), Lane(lane), arrived_us, wire)
        for agency, site, lane, arrived_us, wire in rows
    ]


def _learn(connection: sqlite3.Connection, signer: Signer) -> None:
    chain = encode_chain(signer.chain)
    row = (signer.gateway, signer.thumbprint, signer.judged_us, chain)
    connection.execute("INSERT OR REPLACE INTO certificates VALUES (?, ?, ?, ?)", row)


def _remember(connection: sqlite3.Connection, remember: Remember) -> list[str]:
    seen = remember.seen
    route = seen.route
    connection.execute(
        "INSERT OR REPLACE INTO gateways VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (route.gateway, route.agency, route.site, seen.epoch, seen.number, seen.online, seen.seen_us, seen.state),
    )
    save_epochs(connection, route.gateway, remember.epochs)
    if seen.online:
        paid = "DELETE FROM owed WHERE chain IN (SELECT id FROM chains WHERE gateway = ?)"
        connection.execute(paid, (route.gateway,))
    find = """
        SELECT digest FROM records JOIN chains ON chains.id = chain
        WHERE gateway = ? AND epoch = ? AND lane = ? AND sequence = ?"""
    contradicted: list[str] = []
    for lane, epoch, sequence, digest in remember.heads:
        found = connection.execute(find, (route.gateway, epoch, int(lane), sequence)).fetchone()
        if found is not None and found[0] != digest:
            contradicted.append(f"{route.gateway}/{epoch.hex()}/{LANE_NAMES[lane]}/{sequence}")
    return contradicted


def _owe(connection: sqlite3.Connection, gateway: str, lane: Lane, epoch: bytes) -> None:
    chain = chain_number(connection, gateway, epoch, lane)
    connection.execute("INSERT OR IGNORE INTO owed VALUES (?)", (chain,))


def _report(connection: sqlite3.Connection, tallies: Sequence[Tally], now_us: int) -> None:
    (rows,) = connection.execute("SELECT count(*) FROM reports").fetchone()
    for tally in tallies:
        report = tally.report
        key = (report.type, report.gateway, report.detail)
        update = """
            UPDATE reports SET text = ?, open = ?, count = count + ?, last_us = ?
            WHERE type = ? AND gateway = ? AND detail = ?"""
        if connection.execute(update, (report.text, report.open, tally.count, now_us, *key)).rowcount:
            continue
        if rows < REPORTS_MAX and report.open:
            insert = "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            connection.execute(insert, (*key, report.text, report.open, tally.count, now_us, now_us))
            rows += 1
