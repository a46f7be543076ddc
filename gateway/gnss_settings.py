"""`[gnss]`: the receiver in the settings, and what it must agree with."""

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from gateway.errors import SettingsError
from gateway.settings import Strict
from gateway.text import _

if TYPE_CHECKING:
    from gateway.config import GatewaySettings

BAUD: Final = 9600  # of a port where none is given: what most receivers come with
OF_WHAT_STANDS: Final = ("moved_m", "moved_s")


class GnssTable(Strict):
    """`[gnss]`: whether the gateway moves, when it has been moved, and whether its receiver's time counts."""

    mobile: bool = Field(default=False, strict=True)
    moved_m: int = Field(default=50, ge=10, le=100_000, strict=True)
    moved_s: int = Field(default=60, ge=10, le=86_400, strict=True)
    clock: bool = Field(default=True, strict=True)


def usual_baud(port: Any) -> Any:
    """Return a port's table with the rate that receivers and OSDP peripherals have, where it gives none."""
    return {"baud": BAUD, **port} if isinstance(port, dict) and port.get("driver") in ("nmea", "osdp") else port


def refuse_bad_gnss(settings: "GatewaySettings") -> None:
    """Raise SettingsError where a receiver can't be as it is said to be."""
    ports = [index for index, port in enumerate(settings.port) if port.driver == "nmea"]
    if len(ports) > 1:
        raise SettingsError(
            f"port[{ports[1]}].driver: " + _("there is one GNSS receiver already: {name}").format(
                name=settings.port[ports[0]].name
            ),
            _("a gateway goes by one receiver; take the other [[port]] out"),
        )  # fmt: skip
    given = settings.gnss.model_fields_set
    if not ports and "gnss" in settings.model_fields_set:
        raise SettingsError(
            "gnss: " + _("there is no receiver"),
            _('add a [[port]] with driver = "nmea", or take the table out'),
        )
    if settings.gnss.mobile and (extra := [key for key in OF_WHAT_STANDS if key in given]):
        raise SettingsError(
            f"gnss.{extra[0]}: " + _("only without mobile = true"),
            _("leave it out: a gateway that moves is not reported as moved"),
        )
