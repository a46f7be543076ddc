"""`[[peripheral]]`: OSDP peripherals, several on a line by their addresses.

One comes as it leaves the factory, with the default key. The key that a gateway installs in it stays in the folder of
the run, readable by its owner alone, as it would in its flash.
"""

import os
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from firmware_sim.kinds.kind import Kind, Named, OnALine, Site, Step
from firmware_sim.osdp import Peripheral


class PeripheralSettings(Named, OnALine):
    """A peripheral on a line."""

    address: Annotated[int, Field(ge=0, le=126)]
    inputs: Annotated[int, Field(ge=0, le=64)] = 2
    outputs: Annotated[int, Field(ge=0, le=64)] = 1


class PeripheralStep(Step):
    """What happens to a peripheral: at an input, its cover, its supply (it has a battery), itself."""

    of: ClassVar = "peripheral"
    peripheral: str
    do: Literal[
        "press", "release", "open", "close", "mains-lost", "mains-restored", "mute", "heal", "power-cut", "power-on",
    ]  # fmt: skip
    number: Annotated[int, Field(ge=0, le=63)] = 0  # of the input


class Peripherals(Kind):
    """Every OSDP peripheral of a run."""

    def __init__(self, tables: Sequence[PeripheralSettings], site: Site) -> None:
        self._keys = {table.name: site.folder / f"{table.name}.osdp-key" for table in tables}
        self.named = {
            table.name: Peripheral(
                site.lines[table.line],
                table.address,
                inputs=table.inputs,
                outputs=table.outputs,
                key=path.read_bytes() if (path := self._keys[table.name]).exists() else None,
            )
            for table in tables
        }
        self._on: set[str] = set()

    async def __aenter__(self) -> Self:
        for name in self.named:
            self._power(name, on=True)
        return self

    def _power(self, name: str, *, on: bool) -> None:
        if on and name not in self._on:
            self._on.add(name)
            self.named[name].start()
        elif not on and name in self._on:
            self._on.remove(name)
            self.named[name].stop()

    async def __aexit__(self, *_: object) -> None:
        for name, peripheral in self.named.items():
            self._power(name, on=False)
            if peripheral.key is not None:
                with os.fdopen(os.open(self._keys[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(peripheral.key)

    async def do(self, step: PeripheralStep) -> None:
        """Press, open its cover, take its supply away, break it or heal it."""
        peripheral = self.named[step.peripheral]
        match step.do:
            case "press" | "release":
                peripheral.set_input(step.number, active=step.do == "press")
            case "open" | "close":
                peripheral.tamper(opened=step.do == "open")
            case "mains-lost" | "mains-restored":
                peripheral.power(present=step.do == "mains-restored")
            case "mute":
                peripheral.mute()
            case "heal":
                peripheral.heal()
            case "power-cut" | "power-on":
                self._power(step.peripheral, on=step.do == "power-on")
