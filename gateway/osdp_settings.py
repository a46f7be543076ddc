"""`[[peripheral]]`: OSDP peripherals in the settings, their inputs and outputs, and what they must agree on."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from gateway.contact_settings import Off, On, longest, stuck_after
from gateway.errors import SettingsError
from gateway.field_settings import OwnName, PositionSettings
from gateway.settings import Part, Strict
from gateway.text import _

if TYPE_CHECKING:
    from gateway.config import GatewaySettings

ADDRESS_MAX: Final = 126  # 127 is everybody's
NUMBER_MAX: Final = 63  # of an input or output: what a report has room for
BAUDS: Final = (9600, 19_200, 38_400, 57_600, 115_200, 230_400)  # IEC 60839-11-5, 5.3


class PeripheralInput(Strict):
    """One `[[peripheral.input]]`."""

    name: OwnName
    number: int = Field(ge=0, le=NUMBER_MAX, strict=True)
    on: On
    off: Off = None
    inverted: bool = Field(default=False, strict=True)
    stuck_s: int | None = Field(default=None, ge=0, le=86_400, strict=True)

    def stuck_after(self, usual: float) -> float | None:
        """Return after how many seconds an active contact is stuck; None: never. 0 in the settings says so."""
        return stuck_after(self.on, self.stuck_s, usual)


class PeripheralOutput(Strict):
    """One `[[peripheral.output]]`."""

    name: Part
    number: int = Field(ge=0, le=NUMBER_MAX, strict=True)
    kind: Literal["siren", "strobe", "led", "buzzer"]
    max_on_s: int | None = Field(default=None, ge=1, le=3600, strict=True)

    @property
    def longest_s(self) -> int | None:
        """Seconds that it may be on, as of the gateway's own outputs."""
        return longest(self.kind, self.max_on_s)


class PeripheralTable(Strict):
    """One `[[peripheral]]`: a device on an OSDP line."""

    name: OwnName
    port: Part
    address: int = Field(ge=0, le=ADDRESS_MAX, strict=True)
    indicator: bool = Field(default=False, strict=True)
    input: tuple[PeripheralInput, ...] = ()
    output: tuple[PeripheralOutput, ...] = ()
    position: PositionSettings | None = None


def refuse_bad_peripherals(settings: "GatewaySettings") -> None:
    """Raise SettingsError where an OSDP line or a peripheral on it can't be as they are said to be."""
    lines = {port.name: port for port in settings.port if port.driver == "osdp"}
    for index, port in enumerate(settings.port):
        if port.driver == "osdp" and port.baud not in BAUDS:
            raise SettingsError(
                f"port[{index}].baud: " + _("one of {bauds}").format(bauds=", ".join(map(str, BAUDS))),
                _("see the peripherals' own settings: 9600 is what most leave the factory with"),
            )
    used: dict[tuple[str, int], str] = {}
    for index, one in enumerate(settings.peripheral):
        if one.port not in lines:
            raise SettingsError(
                f"peripheral[{index}].port: " + _("there is no OSDP port {name}").format(name=one.port),
                _('name a [[port]] with driver = "osdp": {names}').format(names=", ".join(lines) or "–"),
            )
        if (before := used.setdefault((one.port, one.address), one.name)) != one.name:
            raise SettingsError(
                f"peripheral[{index}].address: "
                + _("{address} on {port} is the address of {name} too").format(
                    address=one.address, port=one.port, name=before
                ),
                _("give each peripheral of a line an address of its own, at the peripheral first"),
            )
        for key, wrong in _twice(one):
            raise SettingsError(
                f"peripheral[{index}].{key}: " + wrong, _("give each input and output a line of its own")
            )


def _twice(one: PeripheralTable) -> Iterator[tuple[str, str]]:
    """Yield each input or output of a peripheral that is another one already."""
    tables: list[tuple[str, Sequence[PeripheralInput | PeripheralOutput]]] = [
        ("input", one.input), ("output", one.output),
    ]  # fmt: skip
    for kind, entries in tables:
        numbers, names = set[int](), set[str]()
        for index, entry in enumerate(entries):
            if entry.number in numbers:
                yield f"{kind}[{index}].number", _("{number} is used twice").format(number=entry.number)
            if entry.name in names:
                yield f"{kind}[{index}].name", _("{name} is used twice").format(name=entry.name)
            numbers.add(entry.number)
            names.add(entry.name)
