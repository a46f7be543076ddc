"""The ledger as a person sees it: tables for `status` and `watch`, read beside the running receiver."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.c5.ledger import reading
from gateway.c5.ledger.reading import Held, Told
from gateway.c5.overview import View, overview
from gateway.c5.sinks import moment
from gateway.database import open_read_only
from gateway.event import LANE_NAMES
from gateway.text import _

EVERY: Final = 0.5  # seconds between two looks
RECORDS_SHOWN: Final = 12
REPORTS_SHOWN: Final = 8


def read(connection: sqlite3.Connection, now_us: int) -> tuple[list[View], list[Held], list[Told]]:
    """Return gateways, the newest records, and open reports, all of one moment."""
    connection.execute("BEGIN")
    try:
        snapshot = reading.read_snapshot(connection)
        records, kept = reading.read_record_counts(connection), reading.read_kept_counts(connection)
        newest = reading.read_newest(connection, RECORDS_SHOWN)
        reports = [told for told in reading.read_reports(connection) if told.report.open]
    finally:
        connection.execute("ROLLBACK")
    return overview(snapshot, records, kept, now_us), newest, reports


def tables(views: Sequence[View], newest: Sequence[Held], reports: Sequence[Told]) -> Group:
    """Return what a terminal shows."""
    return Group(_gateways(views), _records(newest), _reports(reports))


def watch(path: Path, console: Console) -> None:
    """Show a live view until interrupted. Raises StoreError."""
    connection = open_read_only(path)
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            live.update(tables(*read(connection, time.time_ns() // 1000)), refresh=True)
            time.sleep(EVERY)


def _gateways(views: Sequence[View]) -> Table:
    table = Table(title=_("Gateways"), title_justify="left", expand=True)
    for heading in (_("gateway"), _("place"), _("is"), _("last state"), _("records"), _("missing"), _("not believed")):
        table.add_column(heading)
    for view in views:
        seen = view.seen
        place = f"{seen.route.agency}/{seen.route.site}" if seen else "-"
        online = Text(_("online"), "green") if seen and seen.online else Text(_("offline"), "bold red")
        missing = sum(gap.count for gap in view.missing)
        table.add_row(
            view.gateway,
            place,
            online,
            _clock(seen.seen_us) if seen else "-",
            str(view.records),
            Text(str(missing), "bold red" if missing else ""),
            str(view.kept),
        )
    return table


def _records(newest: Sequence[Held]) -> Table:
    table = Table(title=_("Newest records"), title_justify="left", expand=True)
    for heading in (_("occurred"), _("gateway"), _("lane"), _("type"), _("device"), _("remarks")):
        table.add_column(heading)
    for held in newest:
        content = held.record
        remarks = [_("told before")] * held.repeated + [_("signer expired")] * held.expired
        remarks += [_("test")] * (content.flags & 1) + [_("unproven")] * (content.flags >> 1 & 1)
        table.add_row(
            _clock(held.corrected_us),
            content.gateway,
            LANE_NAMES[content.lane],
            Text(_printable(content.type), "bold red" if content.lane == 0 else ""),
            content.source,
            ", ".join(remarks),
        )
    return table


def _reports(reports: Sequence[Told]) -> Table:
    table = Table(title=_("Troubles"), title_justify="left", expand=True)
    for heading in (_("last"), _("times"), _("type"), _("gateway"), _("what")):
        table.add_column(heading)
    for told in reports[:REPORTS_SHOWN]:
        report = told.report
        table.add_row(_clock(told.last_us), str(told.count), report.type, report.gateway or "-", Text(report.text))
    return table


def _clock(us: int) -> str:
    return (moment(us) or "-")[:19].replace("T", " ")


def _printable(text: str) -> str:
    """Return foreign text without what could steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
