"""The ledger as a person sees it: tables for `status` and `watch`, read beside the running receiver."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.c5 import lasting
from gateway.c5.ledger.reading import Held, Told, look
from gateway.c5.overview import View, overview
from gateway.c5.sinks import moment
from gateway.c5.times import is_sure
from gateway.database import open_read_only
from gateway.event import LANE_NAMES, TEST, UNPROVEN
from gateway.text import _

EVERY: Final = 0.5  # seconds between two looks
SHOWN_FOR_US: Final = 86_400_000_000  # a day from when a trouble was last met; the ledger keeps it
LASTING: Final = lasting.TYPES | {  # shown until they end
    "records.missing", "gateway.offline", "gateway.cloned", "link.failed", "receipts.unread"
}  # fmt: skip
ALARMS_SHOWN: Final = 6
RECORDS_SHOWN: Final = 12
VIDEO_SHOWN: Final = 2  # cameras of an alarm; the rest is in its data
REPORTS_SHOWN: Final = 8
RECORD_WIDTH: Final = 42  # columns of 80 that a record's identity may have to itself; a longer one is folded
WIDE: Final = 4096  # columns where there is no terminal: more than any line takes


@dataclass(frozen=True, slots=True)
class Shown:
    """Gateways, the newest alarms and records, and present troubles."""

    views: list[View]
    alarms: list[Held]
    newest: list[Held]
    reports: list[Told]


def read(path: Path, now_us: int) -> Shown:
    """Return what there is to show. Raises StoreError."""
    connection = open_read_only(path)
    try:
        found = look(connection, RECORDS_SHOWN, ALARMS_SHOWN)
    finally:
        connection.close()
    reports = [told for told in found.reports if _is_current(told, now_us)]
    views = overview(found.snapshot, found.records, found.kept, now_us)
    return Shown(views, found.alarms, found.newest, reports)


def tables(shown: Shown, *, expand: bool = True) -> Group:
    """Return what a terminal shows, as wide as it is; without `expand`, as wide as what is in it.

    A terminal that isn't high enough cuts the end: there stands what scrolls by.
    """
    tables = _gateways(shown.views), _alarms(shown.alarms), _reports(shown.reports), _records(shown.newest)
    for table in tables:
        table.expand = expand
    return Group(*tables)


def show(shown: Shown, console: Console) -> None:
    """Print the tables once: to a terminal in its width, into a file or a pipe with nothing cut."""
    if not console.is_terminal:
        console.width = WIDE
    console.print(tables(shown, expand=console.is_terminal))


def watch(path: Path, console: Console) -> None:
    """Show a live view until interrupted. Raises StoreError."""
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            live.update(tables(read(path, time.time_ns() // 1000)), refresh=True)
            time.sleep(EVERY)


def alarm_json(held: Held) -> dict[str, object]:
    """Return an alarm as `status --json` shows it: what `alarm.acknowledge` asks for, and what it is."""
    content = held.record
    return {
        "identity": content.identity,
        "gateway": content.gateway,
        "type": content.type,
        "device": content.source,
        "event_number": content.event_number,
        "occurred_us": held.corrected_us,
        "flags": [name for bit, name in ((TEST, "test"), (UNPROVEN, "unproven")) if content.flags & bit],
    }


def _is_current(told: Told, now_us: int) -> bool:
    return told.report.open and (told.report.type in LASTING or told.last_us > now_us - SHOWN_FOR_US)


def _gateways(views: Sequence[View]) -> Table:
    table = Table(title=_("Gateways"), title_justify="left")
    table.add_column(_("gateway"), no_wrap=True)
    for heading in (_("place"), _("is"), _("last state"), _("records"), _("missing"), _("not believed")):
        table.add_column(heading, overflow="fold")
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


def _alarms(alarms: Sequence[Held]) -> Table:
    """Return the alarms with all that an acknowledgement asks for, in two lines each: 80 columns are enough."""
    table = Table(title=_("Newest alarms"), title_justify="left")
    table.add_column(_("occurred"))
    whole = all(len(held.record.identity) <= RECORD_WIDTH for held in alarms)
    table.add_column(_("type, record"), overflow="fold", no_wrap=whole)
    table.add_column(_("device, event"), overflow="fold")
    table.add_column(_("remarks"), overflow="fold")
    for held in alarms:
        content = held.record
        what = Text.assemble((_printable(content.type), "bold red"), "\n", content.identity)
        whose = content.source if content.event_number is None else f"{content.source}\n{content.event_number}"
        table.add_row(_clock(held.corrected_us), what, whose, _remarks(held))
    return table


def _records(newest: Sequence[Held]) -> Table:
    table = Table(title=_("Newest records"), title_justify="left")
    table.add_column(_("occurred"))
    table.add_column(_("gateway"), no_wrap=True)
    table.add_column(_("lane"))
    table.add_column(_("type"), no_wrap=True)
    table.add_column(_("device"), overflow="fold")
    table.add_column(_("remarks"))
    for held in newest:
        content = held.record
        table.add_row(
            _clock(held.corrected_us),
            content.gateway,
            LANE_NAMES[content.lane],
            Text(_printable(content.type), "bold red" if content.lane == 0 else ""),
            content.source,
            _remarks(held),
        )
    return table


def _remarks(held: Held) -> str:
    content = held.record
    remarks = [_("told before")] * held.repeated + [_("signer expired")] * held.expired
    remarks += [_("test")] * (content.flags & 1) + [_("unproven")] * (content.flags >> 1 & 1)
    remarks += _video(content.data)
    if not is_sure(content):
        known = held.corrected_us != content.occurred_us
        remarks.append(_("time corrected") if known else _("time not sure"))
    return ", ".join(remarks)


def _video(data: Mapping[str, Any] | None) -> list[str]:
    """Return where to look, as the gateway's site file says; what isn't of that form is left out."""
    shows = (data or {}).get("video")
    named = [
        "/".join(_printable(name) for name in (show.get("camera"), show.get("preset")) if type(name) is str)
        for show in (shows if type(shows) is list else ())
        if type(show) is dict
    ]
    return [_("video: {cameras}").format(cameras=" ".join(named[:VIDEO_SHOWN]))] if any(named) else []


def _reports(reports: Sequence[Told]) -> Table:
    table = Table(title=_("Troubles"), title_justify="left")
    for heading in (_("last"), _("times")):
        table.add_column(heading)
    for heading in (_("type"), _("gateway")):
        table.add_column(heading, no_wrap=True)
    table.add_column(_("what"), overflow="fold")
    for told in reports[:REPORTS_SHOWN]:
        report = told.report
        table.add_row(_clock(told.last_us), str(told.count), report.type, report.gateway or "-", Text(report.text))
    return table


def _clock(us: int) -> str:
    return (moment(us) or "-")[:19].replace("T", " ")


def _printable(text: str) -> str:
    """Return foreign text without what could steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
