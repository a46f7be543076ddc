"""The gateway's settings (docs/reference/interfaces.md): read once at start, refused as a whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

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


Baud = Annotated[int, AfterValidator(_baud)]
Receiver = Annotated[str, AfterValidator(_receiver)]


class PositionSettings(Strict):
    """A place, in degrees (WGS 84)."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    accuracy_m: float | None = Field(default=None, ge=0, le=1_000_000)

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

    profile: int = Field(default=90, ge=3, le=3600)
    confirmation: Literal["receiver", "broker"] = "receiver"
    receivers: tuple[Receiver, ...] = ("*",)
    commanders: tuple[Part, ...] = ()
    alarm_paths: Literal["first"] = "first"
    cloud_events: bool = False

    @property
    def interval(self) -> int:
        """Seconds between two states."""
        return max(1, self.profile // 3)

    @property
    def keepalive(self) -> int:
        """Seconds within which a dead link is noticed: 30 for a profile of 90, 10 for one of 20."""
        return max(1, min(self.profile // 2, max(10, self.profile // 3)))


class OutboxTable(Strict):
    """`[outbox]`: how much disk the records may take."""

    max_mb: int = Field(default=1024, ge=16)
    alarm_reserve_mb: int = Field(default=64, ge=1)


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
    names = [port.name for port in settings.port]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise SettingsError(f"port[{index}].name: " + _("{name} is used twice").format(name=name))
    return settings


def summary(settings: GatewaySettings) -> Mapping[str, Any]:
    """Return what a person asks first of the settings; no paths, no keys."""
    return {
        "id": settings.gateway.id,
        "agency": settings.gateway.agency,
        "site": settings.gateway.site,
        "profile_s": settings.delivery.profile,
    }
