"""Modbus lines and their units as `check` and `status` show them."""

import asyncio
from collections.abc import Iterator
from typing import Any

from gateway import buses
from gateway.config import GatewaySettings, PortTable
from gateway.drivers.modbus import Master
from gateway.errors import C5Error
from gateway.sensing.profile import Profile
from gateway.sensing.registers import reads
from gateway.sensing.reply import Answer, words
from gateway.text import _

Finding = tuple[str, str | None, str]  # what it is, what is wrong with it, what to say if nothing is


def looked(settings: GatewaySettings) -> Iterator[Finding]:
    """Ask each unit one question; nobody else has the lines now."""
    if (wrong := unread(settings)) is not None:
        yield wrong
        return
    known = buses.profiles(settings)
    for port in settings.port:
        if port.driver == "modbus":
            yield from asyncio.run(_asked(settings, port, known))


def unread(settings: GatewaySettings) -> Finding | None:
    """Return what is wrong with the profiles that the settings name: the service would not start."""
    try:
        buses.profiles(settings)
    except C5Error as error:
        return _("profiles"), f"{error.what}. {error.hint}", ""
    return None


async def _asked(settings: GatewaySettings, port: PortTable, known: dict[str, Profile]) -> list[Finding]:
    master = Master(port.device, port.baud, port.parity, port.stop_bits, port.timeout_ms / 1000)
    found = [(_("port {name}").format(name=port.name), await master.open(), _("opened"))]
    if found[0][1] is None:
        for unit in settings.unit:
            if unit.port == port.name:
                read = reads(known[unit.profile])[0]
                reply = await master.read(unit.address, read.function, read.register, read.count)
                wrong = None if isinstance(reply, Answer) else words(reply)
                found.append((_("unit {name}").format(name=unit.name), wrong, _("answers")))
    master.close()
    return found


def beside(running: dict[str, Any]) -> Iterator[Finding]:
    """Yield the same through the eyes of the running service."""
    for line in running["buses"]:
        yield _("port {name}").format(name=line["name"]), line["trouble"], _("open")
    for unit in running["units"]:
        yield _("unit {name}").format(name=unit["name"]), unit["trouble"], _values(unit, running)


def shown(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line of `status` for each."""
    for line in found["buses"]:
        yield f"{line['name']:10} {line['trouble'] or 'Modbus, ' + _('open')}"
    for unit in found["units"]:
        yield f"{unit['name']:10} {unit['trouble'] or _values(unit, found)}{_counted(unit)}"


def told(unit: dict[str, Any]) -> str:
    """Return what the service says among its troubles of a unit that has one."""
    text = _("unit {name} (address {address} on {port}): {wrong}")
    return text.format(name=unit["name"], address=unit["address"], port=unit["port"], wrong=unit["trouble"])


def _values(unit: dict[str, Any], found: dict[str, Any]) -> str:
    """Say what it measures; where its line is gone, how long ago that was."""
    if not unit["values"]:
        return _("not heard yet")
    values = ", ".join(f"{name} {_value(value)}" for name, value in unit["values"].items())
    gone = any(line["name"] == unit["port"] and line["trouble"] for line in found["buses"])
    return _("heard {s} s ago").format(s=unit["heard_s"]) + ": " + values if gone else values


def _value(value: float | bool | None) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return _("yes") if value else _("no")
        case _:
            return f"{value:g}"


def _counted(unit: dict[str, Any]) -> str:
    counts = unit["counts"]
    if not (counts["silent"] or counts["garbled"] or counts["exceptions"]):
        return ""
    text = _(" ({answers} answers; {silent} times silent, {garbled} damaged, {exceptions} exceptions)")
    return text.format(**counts)
