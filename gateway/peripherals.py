"""OSDP lines and their peripherals: from the settings to drivers, connected with supervision, records and C5."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.config import GatewaySettings, PortTable
from gateway.delivery.item import Note, Run
from gateway.errors import C5Error
from gateway.osdp_settings import PeripheralTable
from gateway.sensing.contact import Contact
from gateway.tasks.drivers import Driver
from gateway.tasks.inputs import told
from gateway.tasks.osdp import OsdpBus
from gateway.tasks.peripherals import Input, Output, Peripheral, Peripherals
from gateway.text import _
from gateway.world import World

if TYPE_CHECKING:
    from gateway.drivers.osdp import Panel
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store
    from gateway.tasks.supervise import Supervise


class OsdpLines:
    """All OSDP lines of the settings."""

    def __init__(self, settings: GatewaySettings, world: World) -> None:
        self._settings = settings
        self._ports = [port for port in settings.port if port.driver == "osdp"]
        self._world = world
        self.lines: dict[str, OsdpBus] = {}
        self.peripherals: Peripherals

    def wire(self, recorder: "Recorder", store: "Store", supervise: "Supervise", notes: Iterable[Note]) -> None:
        """Connect the lines with what hears of them."""
        notes, loop = tuple(notes), asyncio.get_running_loop()
        usual = self._settings.supervision.stuck_s
        self.peripherals = Peripherals(
            [_peripheral(table, usual, notes) for table in self._settings.peripheral],
            recorder,
            store,
            self._world.clock,
            notes,
            later=loop.call_later,
            now=loop.time,
        )
        self.lines = {port.name: self._line(port, supervise) for port in self._ports}
        self.peripherals.buses = self.lines

    def _line(self, port: PortTable, supervise: "Supervise") -> OsdpBus:
        def panel(address: int, key: bytes, *, install: bool = False) -> "Panel":
            return self._world.osdp.panel(address, key, install=install, random=self._world.random_bytes)

        return OsdpBus(
            port.name,
            partial(self._world.osdp.line, port.device, port.baud),
            panel,
            [(one.name, one.address) for one in self._settings.peripheral if one.port == port.name],
            keys=self._world.osdp.keys(self._settings.gateway.state_dir),
            beside=self._world.beside,
            random_bytes=self._world.random_bytes,
            hearer=self.peripherals,
            lost=partial(supervise.port_lost, port.name),
            restored=partial(supervise.port_restored, port.name),
            random=self._world.random,
        )

    def drivers(self) -> Iterator[Driver]:
        """Yield what keeps each line."""
        for name, line in self.lines.items():
            yield Driver(name, line.run, line.close)

    def tick(self) -> None:
        """Time passed."""
        self.peripherals.tick(asyncio.get_running_loop().time(), self._world.clock.monotonic())

    def receipted(self, runs: Sequence[Run]) -> None:
        """C5 has these records."""
        self.peripherals.inputs.receipted(runs)

    def __contains__(self, source: object) -> bool:
        """Whether there is a peripheral, or an input of one, of this name."""
        return source in self.peripherals or source in self.peripherals.inputs

    # Ordered.

    def switch(
        self, unit: str, output: str, ended: Callable[[str | None], None], *, on: bool, seconds: float | None
    ) -> None:
        """Switch an output of a peripheral; `ended` hears what is in the way, or None: it is done."""
        if unit in self.peripherals:
            self.peripherals.switch(unit, output, ended, on=on, seconds=seconds)
        else:
            ended(f"{unit} is an input and has no outputs: name its peripheral")

    def identify(self, name: str, seconds: float, ended: Callable[[str | None], None]) -> None:
        """Have a peripheral show itself; `ended` hears what is in the way, or None: it is done."""
        if name in self.peripherals:
            self.peripherals.identify(name, seconds, ended)
        else:
            ended(f"{name} is an input: name its peripheral")

    async def install(self, name: str) -> None:
        """Let a technician give a peripheral its key. Raises C5Error."""
        port = next((one.port for one in self._settings.peripheral if one.name == name), None)
        if port is None:
            names = ", ".join(one.name for one in self._settings.peripheral) or "–"
            raise C5Error(
                _("there is no peripheral {name}").format(name=name[:64]),
                _("Name one of the settings: {names}").format(names=names),
            )
        await self.lines[port].install(name)

    # Shown.

    def glance(self) -> Mapping[str, Any]:
        """Return what `status` shows of them."""
        now = asyncio.get_running_loop().time()
        return {
            "osdp": [
                {"name": port.name, "device": port.device, "trouble": self.lines[port.name].trouble}
                for port in self._ports
            ],
            "peripherals": [self.peripherals.glance(table.name, now) for table in self._settings.peripheral],
        }

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""
        found = [f"{name}: {line.trouble}" for name, line in self.lines.items() if line.trouble is not None]
        return found + self.peripherals.troubles


def _peripheral(table: PeripheralTable, usual: float, notes: Sequence[Note]) -> Peripheral:
    position = table.position.position() if table.position else None

    def contact(name: str, on: str, off: str | None, stuck_s: float | None) -> Contact:
        return Contact(name, on, off, debounce=0.0, stuck_s=stuck_s, position=position, state=told(name, on, notes))

    return Peripheral(
        table.name,
        table.port,
        table.address,
        {
            one.name: Input(one.number, one.inverted, contact(one.name, one.on, one.off, one.stuck_after(usual)))
            for one in table.input
        },
        {one.name: Output(one.number, one.longest_s) for one in table.output},
        table.indicator,
        position,
    )
