"""What `c5-gateway ports` says: of each port, what to do about it, and the lines for the settings."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from gateway.drivers.listening import Closed, Listened
from gateway.drivers.modbus import parity_words
from gateway.drivers.ports import Port
from gateway.drivers.probing import ModbusUnits, OsdpPeripherals
from gateway.sensing.recognise import FieldLinkHeard, Heard, ModbusHeard, NmeaHeard, Noise, OsdpHeard, Silence
from gateway.text import _

if TYPE_CHECKING:
    from gateway.cli.ports import Found, Row

CONSOLES: Final = frozenset({"agetty", "getty", "login"})
INDENT: Final = "    "


def shown(found: "Found") -> Iterator[str]:
    """Yield all that a person reads."""
    yield from found.notes
    for row in found.rows:
        yield row.port.stable
        yield from (INDENT + line for line in _of(row, probed=found.probed) if line)
    for one in found.driverless:
        text = (
            _(
                "USB device {usb} {description} is plugged in, and a program has taken it from the kernel, mostly "
                "brltty: sudo apt remove brltty, then plug it in again"
            )
            if one.taken
            else _(
                "USB device {usb} {description} is plugged in, and the kernel has no driver bound to it: "
                "sudo modprobe {module}"
            )
        )
        yield text.format(usb=one.usb, description=one.description, module=one.module)
    if not found.rows:
        yield _("there is no serial port here")
        if not found.driverless:
            yield INDENT + _(
                "Plug the adapter in, then look at the end of: sudo dmesg. Nothing new there: another cable (many only "
                "charge), another socket, another adapter. A Pi's own UART is off: raspi-config, Interface Options, "
                "Serial Port; on a Pi 5 dtparam=uart0=on in /boot/firmware/config.txt"
            )
    if not found.probed and any(_silent(row) for row in found.rows):
        yield _(
            "Modbus units and OSDP peripherals speak only when they are asked: c5-gateway ports --probe DEVICE. That "
            "writes to what is connected there; do it only where you know that it is one of these, or that nothing can "
            "move"
        )
    if lines := settings(found):
        yield ""
        yield _(
            "for the settings (/etc/c5-gateway/gateway.toml; then: sudo c5-gateway check, and only then restart: "
            "sudo systemctl restart c5-gateway):"
        )
        yield ""
        yield lines.rstrip("\n")


def _of(row: "Row", *, probed: bool) -> Iterator[str]:
    port = row.port
    yield ", ".join(filter(None, (_kind(port), port.device if port.device != port.stable else "", port.driver)))
    if port.twin:
        yield _("it can't be told from another of its make: this name goes by the socket that it is in")
    if row.setting is not None:
        yield _("port {name} of the settings ({driver}, {baud})").format(
            name=row.setting.name, driver=row.setting.driver, baud=row.setting.baud
        )
        if _moves(row):
            text = _(
                'the settings name it {device}, which may be another one after the next start: device = "{stable}"'
            )
            yield text.format(device=row.setting.device, stable=port.stable)
    yield from _untouched(row)
    if row.listened is not None:
        yield from _heard(row, probed=probed)


def _kind(port: Port) -> str:
    match port.kind:
        case "usb":
            serial = _("serial number {number}").format(number=port.serial_number) if port.serial_number else ""
            return ", ".join(filter(None, ("USB", port.description, serial)))
        case "header":
            return _("the UART on pins 8 and 10 (GPIO 14 and 15)")
        case "bluetooth":
            return _("the UART of Bluetooth")
        case "debug":
            return _("the UART of the debug connector")
        case "uart":
            return _("a UART of this machine")
        case _:
            return ""


def _moves(row: "Row") -> bool:
    """Whether the settings name it by what the kernel happened to call it, or by what another may be called too."""
    port = row.port
    if row.setting is None or port.stable == port.device:
        return False
    return row.setting.device == port.device or (port.twin and "/by-id/" in row.setting.device)


def _untouched(row: "Row") -> Iterator[str]:
    match row.untouched:
        case "service" if row.service is not None:
            if (trouble := row.service["trouble"]) is None:
                yield _("the running service has it open")
            else:
                yield _("the running service says of it: {trouble}").format(trouble=trouble)
                yield from _held(row)
            if "frames" in row.service:
                yield _("{frames} Field Link frames, {noise} of noise").format(**row.service)
        case "restart":
            yield _("the running service was started before this was in the settings: restart it")
            yield from _held(row)
        case "unanswered":
            yield _("not touched: it is the running service's, which has not answered")
        case "started":
            yield _("the service was started meanwhile, and has this port now: run this again")
        case "console":
            yield _("not touched: the system's console is on it")
            yield _console()
        case "held":
            yield from _held(row)
        case "bluetooth":
            yield _("not touched: Bluetooth is on it. The one for cables is /dev/serial0")
        case "unseen":
            yield _("not listened to: sudo c5-gateway ports, or name it")


def _held(row: "Row") -> Iterator[str]:
    if not row.holders:
        return
    who = ", ".join(f"{holder.name} ({holder.pid})" for holder in row.holders)
    yield _("not touched: {who} has it open").format(who=who)
    names = {holder.name for holder in row.holders}
    if names & CONSOLES:
        yield _console()
    if "ModemManager" in names:
        yield _(
            "ModemManager takes it for a modem: install the gateway's udev rule (docs/operate/install.md, step 2) and "
            "plug the adapter in again; without a modem here: sudo systemctl disable --now ModemManager"
        )
    if "gpsd" in names:
        yield _("gpsd reads a GNSS receiver on it: sudo systemctl disable --now gpsd.socket gpsd")
    if "brltty" in names:
        yield _("brltty takes it for a Braille display: sudo apt remove brltty")


def _console() -> str:
    return _(
        "to have it: raspi-config, Interface Options, Serial Port: login shell no, hardware yes; elsewhere take "
        "console=… out of the kernel's command line and disable serial-getty@; then restart the machine"
    )


def _silent(row: "Row") -> bool:
    return isinstance(row.listened, Listened) and isinstance(row.listened.heard, Silence)


def _heard(row: "Row", *, probed: bool) -> Iterator[str]:
    match row.listened:
        case Closed(reason):
            yield reason
        case Listened():
            yield heard_words(row.listened)
            if probed and isinstance(row.listened.heard, Noise):
                yield _("not asked: something talks there")
    for asked in (row.modbus, row.osdp):
        match asked:
            case Closed(reason):
                yield reason
            case ModbusUnits():
                yield from _modbus(asked)
            case OsdpPeripherals(baud, addresses, secure, lost):
                text = _("OSDP peripherals at {baud}: address {addresses}")
                yield text.format(baud=baud, addresses=_numbers(addresses) or "–")
                if secure:
                    yield _("one of them speaks over a secure channel alone: its key is needed, or its install mode")
                yield from filter(None, [lost])
            case None:
                pass


def heard_words(listened: Listened) -> str:
    """Return what was heard, in words."""
    heard, baud = listened.heard, listened.baud
    match heard:
        case FieldLinkHeard(frames, devices):
            text = _("Field Link at {baud}: {frames} frames of device {devices}")
            return text.format(baud=baud, frames=frames, devices=", ".join(devices))
        case NmeaHeard(sentences, kinds):
            text = (
                _("NMEA 0183 at {baud}, a GNSS receiver: {sentences} sentences, {kinds}")
                if heard.gnss
                else _(
                    "NMEA 0183 at {baud}, no GNSS receiver (AIS, weather, a compass): {sentences} sentences, {kinds}"
                )
            )
            return text.format(baud=baud, sentences=sentences, kinds=", ".join(kinds))
        case OsdpHeard(addresses) | ModbusHeard(addresses):
            kind = "OSDP" if isinstance(heard, OsdpHeard) else "Modbus RTU"
            text = _("{kind} at {baud}, and somebody else asks there already: address {addresses}")
            return text.format(kind=kind, baud=baud, addresses=_numbers(addresses) or "–")
        case Noise(count):
            text = _(
                "{count} bytes at {baud}, and nothing that is known: another rate, another protocol, or a line that "
                "nobody holds idle (RS-485 without bias). Perhaps your press of a button: listen again (--seconds 60)"
            )
            return text.format(count=count, baud=baud)
        case Silence():
            covered = ", ".join(
                _("{seconds} s at {baud}").format(baud=rate, seconds=f"{each:g}") for rate, each in listened.at
            )
            text = _(
                "silence: {covered}. A button speaks when it is pressed: press it while this listens (--seconds 60); "
                "only at {baud} is every press heard"
            )
            return text.format(covered=covered, baud=baud)


def _modbus(units: ModbusUnits) -> Iterator[str]:
    line = f"{units.baud}, {parity_words(units.parity)}"
    if units.addresses:
        yield _("Modbus units at {line}: address {addresses}").format(line=line, addresses=_numbers(units.addresses))
    if units.damaged:
        text = _(
            "damaged answers at {line}: address {addresses}; causes: two units of one address; the wrong parity; "
            "termination"
        )
        yield text.format(line=line, addresses=_numbers(units.damaged))
    if units.echo:
        yield _("only our own questions are heard: switch the adapter's echo off")
    yield from filter(None, [units.lost])


def _numbers(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def answers(row: "Row") -> dict[str, Any]:
    """Return what was heard and what answered, for programs."""
    found: dict[str, Any] = {"heard": None, "modbus": None, "osdp": None, "trouble": None}
    for each in (row.listened, row.modbus, row.osdp):
        match each:
            case Closed(reason):
                found["trouble"] = reason
            case Listened(heard, baud, at):
                found["heard"] = {"what": _what(heard), "baud": baud, "seconds": dict(at)} | _members(heard)
            case ModbusUnits() | OsdpPeripherals():
                found["modbus" if isinstance(each, ModbusUnits) else "osdp"] = _members(each)
                found["trouble"] = each.lost
            case None:
                pass
    return found


def _what(heard: Heard) -> str:
    match heard:
        case FieldLinkHeard():
            return "field-link"
        case NmeaHeard():
            return "nmea"
        case OsdpHeard():
            return "osdp"
        case ModbusHeard():
            return "modbus"
        case Noise():
            return "noise"
        case Silence():
            return "silence"


def _members(value: Heard | ModbusUnits | OsdpPeripherals) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def settings(found: "Found") -> str:
    """Return the lines for the settings: a [[port]] for each that was recognised, and is none of them yet.

    There is one GNSS receiver at most: a second [[port]] of it would keep the service from starting.
    """
    given = found.settings
    used = set() if given is None else {given.gateway.id, *given.names}
    receiver = given is not None and any(port.driver == "nmea" for port in given.port)
    tables = []
    for row in found.rows:
        if row.setting is None and (keys := _keys(row)) is not None:
            kind, baud, more = keys
            if kind == "nmea" and receiver:
                continue
            receiver = receiver or kind == "nmea"
            name = next(each for each in _candidates(kind) if each not in used)
            used.add(name)
            lines = ["[[port]]", f'name = "{name}"', f'driver = "{kind}"', f"device = {json.dumps(row.port.stable)}"]
            tables.append("\n".join([*lines, f"baud = {baud}", *more]) + "\n")
    return "\n".join(tables)


def _candidates(kind: str) -> Iterator[str]:
    yield kind
    number = 2
    while True:
        yield f"{kind}-{number}"
        number += 1


def _keys(row: "Row") -> tuple[str, int, list[str]] | None:
    """Return the driver, the rate, and further lines of a port's table."""
    match row.listened:
        case Listened(FieldLinkHeard(), baud):
            return "field-link", baud, []
        case Listened(NmeaHeard() as heard, baud) if heard.gnss:
            return "nmea", baud, []
        case _:
            pass
    match row.modbus, row.osdp:
        case ModbusUnits(baud, parity, addresses), _ if addresses:
            units = _("# a [[unit]] for each address: {addresses} (docs/operate/modbus.md)")
            return "modbus", baud, [f'parity = "{parity}"', units.format(addresses=_numbers(addresses))]
        case _, OsdpPeripherals(baud, addresses):
            peripherals = _("# peripherals at address {addresses} (docs/operate/osdp.md)")
            return "osdp", baud, [peripherals.format(addresses=_numbers(addresses) or "–")]
        case _:
            return None
