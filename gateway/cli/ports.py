"""`c5-gateway ports`: which serial port is which, who has it, and what answers on it.

A port that somebody has open is not touched, whoever it is: its holder would lose bytes, and its rate. What the running
service has is asked from the service; a service that is started meanwhile gets its ports at once. Where we may not see
who has what open, only ports that were named are opened. Only where nobody talks is anybody asked.

It needs no settings: it is what they are written from.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console

from gateway import applied, config
from gateway.cli import port_words
from gateway.cli.running import ask
from gateway.cli.said import print_json, say
from gateway.config import GatewaySettings, PortTable
from gateway.drivers.listening import Closed, Listened, listen, rates
from gateway.drivers.ports import Driverless, Holder, Port, by_name, driverless, holders, listed
from gateway.drivers.probing import ModbusUnits, OsdpPeripherals, modbus_units, osdp_peripherals
from gateway.errors import C5Error
from gateway.sensing.recognise import Silence
from gateway.settings import find_settings
from gateway.text import _

ROOT: Final = Path("/")

Untouched = Literal["service", "restart", "unanswered", "started", "held", "console", "bluetooth", "unseen"]


@dataclass(frozen=True, slots=True)
class Row:
    """A port and what was found of it. `untouched`: why it was not opened."""

    port: Port
    setting: PortTable | None = None
    holders: tuple[Holder, ...] = ()
    untouched: Untouched | None = None
    service: dict[str, Any] | None = None  # the running service's own account of it
    listened: Listened | Closed | None = None
    modbus: ModbusUnits | Closed | None = None
    osdp: OsdpPeripherals | Closed | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """What is known of this gateway; `note` says why it isn't more. `lines`: of the running service, by port."""

    settings: GatewaySettings | None = None
    runs: bool = False
    lines: dict[str, dict[str, Any]] | None = field(default_factory=dict)  # None: it has not answered
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """All of it."""

    rows: tuple[Row, ...]
    driverless: tuple[Driverless, ...]
    notes: tuple[str, ...]
    settings: GatewaySettings | None
    probed: bool


def run(
    path: Path | None, devices: Sequence[str], *, probe: bool, seconds: float, as_json: bool, root: Path = ROOT
) -> bool:
    """Show it; True if there is a port, and each that was looked at could be opened and was there to the end."""
    site = _site(path)
    rows, notes = _rows(site, devices, root)
    console = Console(stderr=True)
    with console.status("") if console.is_terminal else nullcontext() as shown:
        progress = _Progress(lambda text: shown.update(text) if shown else None)
        rows = asyncio.run(_looked(rows, site, probe=probe, seconds=seconds, progress=progress))
    found = Found(tuple(rows), tuple(driverless(root)), notes, site.settings, probe)
    if as_json:
        print_json(_document(found))
    else:
        for line in port_words.shown(found):
            say(line)
    return bool(rows) and all(port_words.answers(row)["trouble"] is None for row in rows)


def _site(path: Path | None) -> Site:
    place = find_settings(path, config.VARIABLE, config.DEFAULT)
    try:
        if path is None and not place.exists():
            return Site(note=_("there are no settings yet ({path})").format(path=place))
        settings = applied.load(place).settings
    except OSError as error:
        return Site(note=_("which port is whose isn't known: {reason}").format(reason=f"{place}: {error.strerror}"))
    except C5Error as error:
        return Site(note=_("which port is whose isn't known: {reason}").format(reason=error.what))
    try:
        status = _status(settings)
    except C5Error as error:
        return Site(settings, runs=True, lines=None, note=f"{error.what}. {error.hint}")
    # Each kind of line has a table of its own in the status.
    tables = [table for table in (status or {}).values() if isinstance(table, list)]
    lines = [line for table in tables for line in table if isinstance(line, dict) and "trouble" in line]
    return Site(settings, status is not None, {line["name"]: line for line in lines if "name" in line})


def _status(settings: GatewaySettings) -> dict[str, Any] | None:
    return ask(settings.gateway.state_dir, {"do": "status"})


def _started(site: Site) -> bool:
    """Whether the service runs by now."""
    try:
        return site.settings is not None and _status(site.settings) is not None
    except C5Error:  # it runs, and doesn't answer
        return True


def _rows(site: Site, devices: Sequence[str], root: Path) -> tuple[list[Row], tuple[str, ...]]:
    ports = listed(root)
    if devices:
        known = {os.path.realpath(port.device): port for port in ports}
        named: dict[str, str] = {}
        for device in devices:
            path = device if "/" in device else str(root / "dev" / device)
            named.setdefault(os.path.realpath(path), path)
        ports = [known.get(real) or by_name(path, root) for real, path in named.items()]
    held = holders([port.device for port in ports], root)
    notes = [] if site.note is None else [site.note]
    if not held.complete:
        notes.append(
            _("who has a port open can't be seen in full without sudo: only ports that you name are listened to")
        )
    rows = []
    for port in ports:
        setting = _setting(site, port)
        service = None if setting is None or site.lines is None else site.lines.get(setting.name)
        row = Row(port, setting, held.of.get(port.device, ()), service=service)
        rows.append(replace(row, untouched=_untouched(row, site, seen=held.complete or bool(devices))))
    return rows, tuple(notes)


def _setting(site: Site, port: Port) -> PortTable | None:
    tables = () if site.settings is None else site.settings.port
    real = os.path.realpath(port.device)
    return next((table for table in tables if os.path.realpath(table.device) == real), None)


def _untouched(row: Row, site: Site, *, seen: bool) -> Untouched | None:
    if row.setting is not None and site.runs:
        if site.lines is None:
            return "unanswered"
        return "restart" if row.service is None else "service"
    if row.port.console:
        return "console"
    if row.holders:
        return "held"
    if row.port.kind == "bluetooth":
        return "bluetooth"
    return None if seen else "unseen"


class _Progress:
    """What is being done at each port, as one text."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._doing: dict[str, str] = {}

    def told(self, device: str, text: str | None) -> None:
        if text is None:
            self._doing.pop(device, None)
        else:
            self._doing[device] = text
        self._show("; ".join(f"{Path(name).name}: {doing}" for name, doing in self._doing.items()))


class _StartedError(Exception):
    """The service has been started, and wants its port."""


async def _looked(rows: Sequence[Row], site: Site, *, probe: bool, seconds: float, progress: _Progress) -> list[Row]:
    """Look at all ports at once."""
    async with asyncio.TaskGroup() as group:
        looking = [
            group.create_task(_look(row, site, probe=probe, seconds=seconds, progress=progress), name=row.port.device)
            for row in rows
        ]
    return [task.result() for task in looking]


async def _look(row: Row, site: Site, *, probe: bool, seconds: float, progress: _Progress) -> Row:
    if row.untouched is not None:
        return row
    device = row.port.device

    def told(text: str) -> None:
        if row.setting is not None and _started(site):
            raise _StartedError
        progress.told(device, text)

    try:
        own = None if row.setting is None else row.setting.baud
        row = replace(row, listened=await listen(device, rates(own), seconds, told))
        if probe and isinstance(row.listened, Listened) and isinstance(row.listened.heard, Silence):
            row = replace(row, modbus=await modbus_units(device, told))
            if row.modbus is None:
                row = replace(row, osdp=await osdp_peripherals(device, told))
    except _StartedError:
        row = replace(row, untouched="started")
    finally:
        progress.told(device, None)
    return row


def _document(found: Found) -> dict[str, Any]:
    return {
        "ports": [
            asdict(row.port)
            | {"setting": None if row.setting is None else row.setting.name, "service": row.service}
            | {"holders": [asdict(holder) for holder in row.holders], "untouched": row.untouched}
            | port_words.answers(row)
            for row in found.rows
        ],
        "driverless": [asdict(one) for one in found.driverless],
        "notes": list(found.notes),
        "settings": port_words.settings(found),
    }
