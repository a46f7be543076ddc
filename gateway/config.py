"""The gateway's settings (docs/reference/interfaces.md): read once at start, refused as a whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from gateway.delivery import timing
from gateway.errors import SettingsError
from gateway.event import Position
from gateway.settings import (
    BrokerSettings,
    Folder,
    IdentitySettings,
    Mistake,
    Part,
    Strict,
    load_toml,
    refuse_bad_transport,
)
from gateway.text import _
from gateway.topics import is_part

DEFAULT: Final = Path("/etc/c5-gateway/gateway.toml")
VARIABLE: Final = "C5_GATEWAY_CONFIG"
BAUDS: Final = (
    1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 500_000, 921_600, 1_000_000,
)  # fmt: skip


def _receiver(name: str) -> str:
    if name != "*" and not is_part(name):
        raise Mistake("receiver", _('"*" or a receiver\'s name'))
    return name


def _baud(rate: int) -> int:
    if rate not in BAUDS:
        raise Mistake("baud", _("one of {bauds}"), {"bauds": ", ".join(map(str, BAUDS))})
    return rate


def _below_max(reserve: int, info: ValidationInfo) -> int:
    most = info.data.get("max_mb")  # absent where it is a mistake itself
    if most is not None and reserve >= most:
        raise Mistake("reserve", _("less than outbox.max_mb, which is {max_mb}"), {"max_mb": most})
    return reserve


Baud = Annotated[int, Field(strict=True), AfterValidator(_baud)]
Receiver = Annotated[str, AfterValidator(_receiver)]


class PositionSettings(Strict):
    """A place, in degrees (WGS 84)."""

    latitude: float = Field(ge=-90, le=90, strict=True)
    longitude: float = Field(ge=-180, le=180, strict=True)
    accuracy_m: float | None = Field(default=None, ge=0, le=1_000_000, strict=True)

    def position(self) -> Position:
        """Return it as records carry it."""
        accuracy = None if self.accuracy_m is None else round(self.accuracy_m * 100)
        return Position(round(self.latitude * 1e7), round(self.longitude * 1e7), accuracy)


class GatewayTable(Strict):
    """`[gateway]`: who and where this gateway is."""

    id: Part
    agency: Part
    site: Part
    position: PositionSettings | None = None
    state_dir: Folder = Path("/var/lib/c5-gateway")


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

    max_mb: int = Field(default=1024, ge=16, strict=True)
    alarm_reserve_mb: Annotated[int, AfterValidator(_below_max)] = Field(
        default=64, ge=1, strict=True, validate_default=True
    )


class PortTable(Strict):
    """One `[[port]]`."""

    name: Part
    driver: Literal["field-link"] = "field-link"
    device: str = Field(min_length=1, max_length=4096)
    baud: Baud = 115_200


class LogTable(Strict):
    """`[log]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class GatewaySettings(Strict):
    """The whole file."""

    gateway: GatewayTable
    identity: IdentitySettings
    broker: list[BrokerSettings] = Field(min_length=1, max_length=8)
    delivery: DeliveryTable = DeliveryTable()
    outbox: OutboxTable = OutboxTable()
    port: tuple[PortTable, ...] = ()
    log: LogTable = LogTable()


def load(path: Path) -> GatewaySettings:
    """Read the settings, or raise `SettingsError` with each wrong key's full name and what is allowed."""
    settings = load_toml(path, GatewaySettings)
    refuse_bad_transport(settings.broker, settings.identity)
    if settings.delivery.confirmation == "broker" and any(broker.protocol != "5" for broker in settings.broker):
        raise SettingsError(
            "delivery.confirmation: " + _('"broker" asks for protocol = "5" at every broker'),
            _("MQTT 3.1.1 can't tell a delivery from a refusal"),
        )
    for index, port in enumerate(settings.port):
        for before in settings.port[:index]:
            if port.name == before.name:
                raise SettingsError(f"port[{index}].name: " + _("{name} is used twice").format(name=port.name))
            if os.path.realpath(port.device) == os.path.realpath(before.device):
                raise SettingsError(
                    f"port[{index}].device: "
                    + _("{device} is the device of the port {name} too").format(device=port.device, name=before.name),
                    _("give each port a device of its own"),
                )
    return settings


def summary(settings: GatewaySettings) -> Mapping[str, Any]:
    """Return what a person asks first of the settings; no paths, no keys."""
    return {
        "id": settings.gateway.id,
        "agency": settings.gateway.agency,
        "site": settings.gateway.site,
        "profile_s": settings.delivery.profile,
    }
