"""Modbus lines and their units: from the settings to drivers, connected with supervision, records and C5."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.config import GatewaySettings, PortTable
from gateway.delivery.item import Note, Run
from gateway.errors import SettingsError
from gateway.sensing.profile import Profile, parse
from gateway.sensing.registers import reads
from gateway.tasks.bus import Bus, Station
from gateway.tasks.drivers import Driver
from gateway.tasks.units import Unit, Units
from gateway.text import _
from gateway.world import World

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store
    from gateway.tasks.supervise import Supervise

PROFILES: Final = files("gateway") / "profiles"


def profiles(settings: GatewaySettings) -> dict[str, Profile]:
    """Read the profiles that the settings name; raises SettingsError with the file, the line and what is allowed."""
    return {name: _profile(name, settings.modbus.profiles_dir) for name in {unit.profile for unit in settings.unit}}


def shipped() -> list[str]:
    """Return the names of the profiles that come with the package."""
    return sorted(one.name.removesuffix(".toml") for one in PROFILES.iterdir() if one.name.endswith(".toml"))


def _profile(name: str, folder: Path | None) -> Profile:
    """Read one: the site's own comes before the package's."""
    if folder is not None and (own := folder / f"{name}.toml").is_file():
        try:
            text = own.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                _("the profile {path} can't be read: {reason}").format(path=own, reason=error),
                _("make it readable for the service's user, as UTF-8"),
            ) from error
        return parse(text, name, str(own))
    if name not in (names := shipped()):
        raise SettingsError(
            _("there is no profile {name}").format(name=name),
            _("name one of {names}, or put {name}.toml into modbus.profiles_dir").format(
                names=", ".join(names), name=name
            ),
        )
    return parse(PROFILES.joinpath(f"{name}.toml").read_text("utf-8"), name, f"{name}.toml")


class Buses:
    """All Modbus lines of the settings."""

    def __init__(self, settings: GatewaySettings, world: World) -> None:
        self._ports = [port for port in settings.port if port.driver == "modbus"]
        self._world = world
        known = profiles(settings)
        self._units = [
            Unit(
                name=table.name,
                port=table.port,
                address=table.address,
                profile=known[table.profile],
                report_s=table.report_s or known[table.profile].report_s,
                position=table.position.position() if table.position else None,
                unread=set(reads(known[table.profile])),
            )
            for table in settings.unit
        ]
        self.lines: dict[str, Bus] = {}
        self.units: Units

    def wire(self, recorder: "Recorder", store: "Store", supervise: "Supervise", notes: Iterable[Note]) -> None:
        """Connect the lines with what hears of them."""
        self.units = Units(self._units, recorder, store, notes)
        self.lines = {port.name: self._line(port, supervise) for port in self._ports}
        self.units.lines = self.lines

    def _line(self, port: PortTable, supervise: "Supervise") -> Bus:
        timeout = port.timeout_ms / 1000
        stations = {
            unit.name: Station(unit.address, reads(unit.profile)) for unit in self._units if unit.port == port.name
        }
        return Bus(
            port.name,
            partial(self._world.modbus, port.device, port.baud, port.parity, port.stop_bits, timeout),
            stations,
            timeout,
            hearer=self.units,
            lost=partial(supervise.port_lost, port.name),
            restored=partial(supervise.port_restored, port.name),
            random=self._world.random,
        )

    def drivers(self) -> Iterator[Driver]:
        """Yield what keeps each line."""
        for name, line in self.lines.items():
            yield Driver(name, line.run, line.close)

    def __contains__(self, name: object) -> bool:
        """Whether there is a unit of this name."""
        return name in self.units

    def switch(
        self, unit: str, output: str, ended: Callable[[str | None], None], *, on: bool, seconds: float | None
    ) -> None:
        """Switch an output of a unit; `ended` hears what is in the way, or None: it is done."""
        self.units.switch(unit, output, ended, on=on, seconds=seconds, now=asyncio.get_running_loop().time())

    def tick(self) -> None:
        """Time passed."""
        self.units.tick(asyncio.get_running_loop().time())

    def receipted(self, runs: Sequence[Run]) -> None:
        """C5 has these records: no unit asks."""

    # Shown.

    def glance(self) -> Mapping[str, Any]:
        """Return what `status` shows of them."""
        now = asyncio.get_running_loop().time()
        lines = [
            {"name": port.name, "device": port.device, "trouble": self.lines[port.name].trouble} for port in self._ports
        ]
        units = [self.units.glance(unit.name, now) | {"late_s": self._late(unit)} for unit in self._units]
        return {"buses": lines, "units": units}

    def _late(self, unit: Unit) -> float:
        polling = self.lines[unit.port].polling
        return 0.0 if polling is None else round(polling.late(unit.name), 2)

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""
        found = [f"{name}: {line.trouble}" for name, line in self.lines.items() if line.trouble is not None]
        return found + self.units.troubles
