"""`[modbus]` and `[[unit]]`: Modbus lines and their units in the settings, and what they must agree on."""

from typing import TYPE_CHECKING, Final

from pydantic import Field

from gateway.drivers.modbus import TCP, address
from gateway.errors import SettingsError
from gateway.field_settings import OwnName, PositionSettings
from gateway.settings import Folder, Part, Strict
from gateway.text import _

if TYPE_CHECKING:
    from gateway.config import GatewaySettings

ADDRESS_MAX: Final = 247  # of a unit on a serial line
SERIAL: Final = frozenset({"parity", "stop_bits", "timeout_ms"})  # keys of a Modbus port alone


class ModbusTable(Strict):
    """`[modbus]`: where the site's own device profiles are."""

    profiles_dir: Folder | None = None


class UnitTable(Strict):
    """One `[[unit]]`: a device on a Modbus line."""

    name: OwnName
    port: Part
    address: int = Field(ge=0, le=255, strict=True)
    profile: Part
    report_s: int | None = Field(default=None, ge=1, le=86_400, strict=True)
    position: PositionSettings | None = None


def refuse_bad_units(settings: "GatewaySettings") -> None:
    """Raise SettingsError where a Modbus line or a unit on it can't be as they are said to be."""
    lines = {port.name: port for port in settings.port if port.driver == "modbus"}
    for index, port in enumerate(settings.port):
        if port.driver != "modbus" and (extra := sorted(SERIAL & port.model_fields_set)):
            raise SettingsError(
                f"port[{index}].{extra[0]}: " + _('only with driver = "modbus"'),
                _("leave it out: the others are 8N1"),
            )
        if port.driver == "modbus" and port.device.startswith(TCP) and not _is_address(port.device):
            raise SettingsError(
                f"port[{index}].device: " + _("tcp:HOST or tcp:HOST:PORT, as tcp:192.168.1.20:502"),
                _("or a serial port: /dev/serial/by-id/…"),
            )
    used: dict[tuple[str, int], str] = {}
    for index, unit in enumerate(settings.unit):
        line = lines.get(unit.port)
        if line is None:
            raise SettingsError(
                f"unit[{index}].port: " + _("there is no Modbus port {name}").format(name=unit.port),
                _('name a [[port]] with driver = "modbus": {names}').format(names=", ".join(lines) or "–"),
            )
        if not line.device.startswith(TCP) and not 1 <= unit.address <= ADDRESS_MAX:
            raise SettingsError(
                f"unit[{index}].address: " + _("on a serial line 1 to {most}").format(most=ADDRESS_MAX),
                _("see the unit's own display, its DIP switches or its manual"),
            )
        if (before := used.setdefault((unit.port, unit.address), unit.name)) != unit.name:
            raise SettingsError(
                f"unit[{index}].address: "
                + _("{address} on {port} is the address of {name} too").format(
                    address=unit.address, port=unit.port, name=before
                ),
                _("give each unit of a line an address of its own, at the unit first"),
            )


def _is_address(device: str) -> bool:
    try:
        return bool(address(device))
    except ValueError:
        return False
