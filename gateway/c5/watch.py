"""The ledger as a person sees it: tables for `status` and `watch`, read beside the running receiver."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.c5.ledger.reading import Held, Told, look
from gateway.c5.overview import View, overview
from gateway.c5.sinks import moment
from gateway.c5.times import is_sure
from gateway.database import open_read_only
from gateway.event import LANE_NAMES
from gateway.text import _

EVERY: Final = 0.5  # seconds between two looks
SHOWN_FOR_US: Final = 86_400_000_000  # a day from when a trouble was last met; the ledger keeps it
LASTING: Final = frozenset(
    {"records.missing", "gateway.offline", "gateway.cloned", "link.failed"}
)  # shown until they end
RECORDS_SHOWN: Final = 12
REPORTS_SHOWN: Final = 8
WIDE: Final = 4096  # columns where there is no terminal: more than any line takes


def read(path: Path, now_us: int) -> tuple[list[View], list[Held], list[Told]]:
    """Return gateways, the newest records, and present troubles. Raises StoreError."""
    connection = open_read_only(path)
    try:
        found = look(connection, RECORDS_SHOWN)
    finally:
        connection.close()
    reports = [told for told in found.reports if _is_current(told, now_us)]
    return overview(found.snapshot, found.records, found.kept, now_us), found.newest, reports


def tables(views: Sequence[View], newest: Sequence[Held], reports: Sequence[Told], *, expand: bool = True) -> Group:
    """Return what a terminal shows, as wide as it is; without `expand`, as wide as what is in it."""
    tables = _gateways(views), _records(newest), _reports(reports)
    for table in tables:
        table.expand = expand
    return Group(*tables)


def show(views: Sequence[View], newest: Sequence[Held], reports: Sequence[Told], console: Console) -> None:
    """Print the tables once: to a terminal in its width, into a file or a pipe with nothing cut."""
    if not console.is_terminal:
        console.width = WIDE
    console.print(tables(views, newest, reports, expand=console.is_terminal))


def watch(path: Path, console: Console) -> None:
    """Show a live view until interrupted. Raises StoreError."""
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            live.update(tables(*read(path, time.time_ns() // 1000)), refresh=True)
            time.sleep(EVERY)


def _is_current(told: Told, now_us: int) -> bool:
    return told.report.open and (told.report.type in LASTING or told.last_us > now_us - SHOWN_FOR_US)


def _gateways(views: Sequence[View]) -> Table:
    table = Table(title=_("Gateways"), title_justify="left")
    for heading in (_("gateway"), _("place"), _("is"), _("last state"), _("records"), _("missing"), _("not believed")):
        table.add_column(heading)
    for view in views:
        seen = view.seen
        place = f"{seen.route.agency}/{seen.route.site}" if seen else "-"
        online = {
            True: Text(_("online"), "green"),
            False: Text(_("offline"), "bold red"),
            None: Text(_("unknown"), "yellow"),
        }[view.online]
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
    table = Table(title=_("Newest records"), title_justify="left")
    for heading in (_("occurred"), _("gateway"), _("lane"), _("type"), _("device"), _("remarks")):
        table.add_column(heading)
    for held in newest:
        content = held.record
        remarks = [_("told before")] * held.repeated + [_("signer expired")] * held.expired
        remarks += [_("test")] * (content.flags & 1) + [_("unproven")] * (content.flags >> 1 & 1)
        if not is_sure(content):
            known = held.corrected_us != content.occurred_us
            remarks.append(_("time corrected") if known else _("time not sure"))
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
    table = Table(title=_("Troubles"), title_justify="left")
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
