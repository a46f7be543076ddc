"""The gateway's settings (docs/reference/interfaces.md): read once at start, refused as a whole."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from gateway.bus_settings import ModbusTable, UnitTable, refuse_bad_units
from gateway.contact_settings import InputTable, OutputTable, refuse_bad_contacts
from gateway.delivery import timing
from gateway.errors import SettingsError
from gateway.field_settings import Baud, DeviceFile, OwnName, PositionSettings
from gateway.gnss_settings import GnssTable, refuse_bad_gnss, usual_baud
from gateway.local_settings import LocalInputTable, SourceTable, refuse_bad_sources
from gateway.osdp_settings import PeripheralInput, PeripheralTable, refuse_bad_peripherals
from gateway.sensing.policy import Policy
from gateway.settings import (
    BrokerSettings,
    Folder,
    IdentitySettings,
    Mistake,
    Part,
    Strict,
    check_tables,
    read_toml,
    refuse_bad_transport,
)
from gateway.text import _
from gateway.topics import is_part

DEFAULT: Final = Path("/etc/c5-gateway/gateway.toml")
VARIABLE: Final = "C5_GATEWAY_CONFIG"


def _receiver(name: str) -> str:
    if name != "*" and not is_part(name):
        raise Mistake("receiver", _('"*" or a receiver\'s name'))
    return name


def _below_max(reserve: int, info: ValidationInfo) -> int:
    most = info.data.get("max_mb")  # absent where it is a mistake itself
    if most is not None and reserve >= most:
        raise Mistake("reserve", _("less than outbox.max_mb, which is {max_mb}"), {"max_mb": most})
    return reserve


Receiver = Annotated[str, AfterValidator(_receiver)]


class GatewayTable(Strict):
    """`[gateway]`: who and where this gateway is."""

    id: Part
    agency: Part
    site: Part
    position: PositionSettings | None = None
    state_dir: Folder = Path("/var/lib/c5-gateway")
    site_file: Folder | None = None  # which cameras look at what (gateway.site)


class DeliveryTable(Strict):
    """`[delivery]`: how C5 is reached and believed."""

    profile: int = Field(default=90, ge=3, le=3600, strict=True)
    confirmation: Literal["receiver", "broker"] = "receiver"
    receivers: tuple[Receiver, ...] = Field(default=("*",), min_length=1)  # without any nothing is ever receipted
    commanders: tuple[Part, ...] = ()
    alarm_paths: Literal["first", "all"] = "first"
    cloud_events: bool = Field(default=False, strict=True)

    @property
    def interval(self) -> int:
        """Seconds between two states."""
        return timing.interval(self.profile)

    @property
    def keepalive(self) -> int:
        """Seconds within which a dead link is noticed: 30 for a profile of 90, 10 for one of 20."""
        return timing.keepalive(self.profile)


class OutboxTable(Strict):
    """`[outbox]`: how much disk the records may take."""

    max_mb: int = Field(default=1024, ge=16, le=1_000_000, strict=True)  # it stands in each state, for C5 to read
    alarm_reserve_mb: Annotated[int, AfterValidator(_below_max)] = Field(
        default=64, ge=1, strict=True, validate_default=True
    )


class PortTable(Strict):
    """One `[[port]]`."""

    name: OwnName
    driver: Literal["field-link", "modbus", "nmea", "osdp"] = "field-link"
    device: DeviceFile
    baud: Baud = 115_200
    parity: Literal["none", "even", "odd"] = "none"  # of modbus alone, as the two below
    stop_bits: Literal[1, 2] = 1
    timeout_ms: int = Field(default=300, ge=20, le=10_000, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _with_usual_baud(cls, given: Any) -> Any:
        return usual_baud(given)


_POLICY: Final = Policy()


def _above_low(restored: int, info: ValidationInfo) -> int:
    low = info.data.get("battery_low_mv")
    if low is not None and restored <= low:
        raise Mistake("restored", _("more than supervision.battery_low_mv, which is {low}"), {"low": low})
    return restored


class SupervisionTable(Strict):
    """`[supervision]`: what counts as trouble."""

    interval_s: int = Field(default=round(_POLICY.interval_s), ge=1, le=86_400, strict=True)
    grace: int = Field(default=round(_POLICY.grace), ge=2, le=100, strict=True)
    battery_low_mv: int = Field(default=_POLICY.battery_low_mv, ge=0, le=60_000, strict=True)
    battery_restored_mv: Annotated[int, AfterValidator(_above_low)] = Field(
        default=_POLICY.battery_restored_mv, ge=1, le=60_000, strict=True, validate_default=True
    )
    jam_bytes_s: int = Field(default=_POLICY.jam_bytes_s, ge=1, le=1_000_000, strict=True)
    jam_s: int = Field(default=round(_POLICY.jam_s), ge=5, le=3600, strict=True)
    jam_clear_s: int = Field(default=round(_POLICY.jam_clear_s), ge=5, le=3600, strict=True)
    chatter_events: int = Field(default=_POLICY.chatter_events, ge=2, le=100_000, strict=True)
    stuck_s: int = Field(default=round(_POLICY.stuck_s), ge=10, le=86_400, strict=True)

    def policy(self) -> Policy:
        """Return it as supervision goes by it."""
        return Policy(**self.model_dump())


class LogTable(Strict):
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"


Named = (
    PortTable | InputTable | OutputTable | UnitTable | PeripheralTable | PeripheralInput | SourceTable | LocalInputTable
)


class GatewaySettings(Strict):
    """The whole file."""

    gateway: GatewayTable
    identity: IdentitySettings
    broker: list[BrokerSettings] = Field(min_length=1, max_length=8)
    delivery: DeliveryTable = DeliveryTable()
    outbox: OutboxTable = OutboxTable()
    port: tuple[PortTable, ...] = ()
    input: tuple[InputTable, ...] = ()
    output: tuple[OutputTable, ...] = ()
    modbus: ModbusTable = ModbusTable()
    gnss: GnssTable = GnssTable()
    unit: tuple[UnitTable, ...] = ()
    peripheral: tuple[PeripheralTable, ...] = ()
    local_input: LocalInputTable | None = None
    source: tuple[SourceTable, ...] = ()
    supervision: SupervisionTable = SupervisionTable()
    log: LogTable = LogTable()

    @property
    def names(self) -> frozenset[str]:
        """The sources of records that are named here, beside the gateway itself."""
        ports, units = [port.name for port in self.port], [unit.name for unit in self.unit]
        peripherals = [name for one in self.peripheral for name in (one.name, *(given.name for given in one.input))]
        local = [one.name for one in self.source] + ([self.local_input.name] if self.local_input else [])
        return frozenset(
            local + ports + [one.name for one in self.input] + [one.name for one in self.output] + units + peripherals
        )


def load(path: Path) -> GatewaySettings:
    """Read the settings, or raise `SettingsError` with each wrong key's full name and what is allowed."""
    return checked(read_toml(path), path)


def checked(tables: dict[str, Any], path: Path, source: str | None = None) -> GatewaySettings:
    """Read settings that are TOML already, of the file `path`, as `load` does; `source` is what to correct."""
    settings = check_tables(tables, GatewaySettings, path, source)
    refuse_bad_transport(settings.broker, settings.identity)
    if settings.delivery.confirmation == "broker" and any(broker.protocol != "5" for broker in settings.broker):
        raise SettingsError(
            "delivery.confirmation: " + _('"broker" asks for protocol = "5" at every broker'),
            _("MQTT 3.1.1 can't tell a delivery from a refusal"),
        )
    for index, port in enumerate(settings.port):
        for before in settings.port[:index]:
            if os.path.realpath(port.device) == os.path.realpath(before.device):
                raise SettingsError(
                    f"port[{index}].device: "
                    + _("{device} is the device of the port {name} too").format(device=port.device, name=before.name),
                    _("give each port a device of its own"),
                )
    _refuse_shared_names(settings)
    refuse_bad_contacts(settings)
    refuse_bad_units(settings)
    refuse_bad_sources(settings)
    refuse_bad_peripherals(settings)
    refuse_bad_gnss(settings)
    return settings


def _refuse_shared_names(settings: GatewaySettings) -> None:
    """Raise SettingsError where a name would be two sources of records."""
    used = {settings.gateway.id: "gateway.id"}
    tables: list[tuple[str, Sequence[Named]]] = [
        ("port", settings.port), ("input", settings.input), ("output", settings.output), ("unit", settings.unit),
        ("peripheral", settings.peripheral), ("source", settings.source),
        ("local_input", (settings.local_input,) if settings.local_input else ()),
        *((f"peripheral[{index}].input", one.input) for index, one in enumerate(settings.peripheral)),
    ]  # fmt: skip
    for kind, entries in tables:
        for index, entry in enumerate(entries):
            key = f"{kind}[{index}].name"
            if (before := used.setdefault(entry.name, key)) != key:
                raise SettingsError(
                    f"{key}: " + _("{name} is used twice").format(name=entry.name),
                    _("C5 tells them apart by their names; {key} has this one").format(key=before),
                )


def summary(settings: GatewaySettings) -> Mapping[str, Any]:
    """Return what a person asks first of the settings; no paths, no keys."""
    return {
        "id": settings.gateway.id,
        "agency": settings.gateway.agency,
        "site": settings.gateway.site,
        "profile_s": settings.delivery.profile,
    }
