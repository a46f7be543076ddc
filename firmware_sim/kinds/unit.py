"""`[[unit]]`: Modbus units on a line."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from firmware_sim import modbus
from firmware_sim.kinds.kind import Kind, Named, OnALine, Site, Step

Word = Annotated[int, Field(ge=0, le=65_535)]
_TABLES: Final = {
    "coils": modbus.COILS,
    "discrete": modbus.DISCRETE,
    "holding": modbus.HOLDING,
    "input": modbus.INPUT,
}


class UnitSettings(Named, OnALine):
    """A Modbus unit on a line; what stands in its tables, as pairs of an address and a value."""

    address: Annotated[int, Field(ge=1, le=247)]
    coils: tuple[tuple[Word, Word], ...] = ()
    discrete: tuple[tuple[Word, Word], ...] = ()
    holding: tuple[tuple[Word, Word], ...] = ()
    input: tuple[tuple[Word, Word], ...] = ()


class UnitStep(Step):
    """What is done to a unit."""

    of: ClassVar = "unit"
    unit: str
    do: Literal["set", "mute", "refuse", "damage", "heal"]
    table: Literal["coils", "discrete", "holding", "input"] = "input"  # where a value is set
    at_register: Word = 0
    value: Word = 0


class Units(Kind):
    """Every Modbus unit of a run. The line's baud is the time that questions and answers take."""

    def __init__(self, tables: Sequence[UnitSettings], site: Site) -> None:
        self.named = {
            table.name: modbus.Unit(
                table.address, {function: dict(getattr(table, name)) for name, function in _TABLES.items()}
            )
            for table in tables
        }
        for line in {table.line for table in tables}:
            on_it = [self.named[table.name] for table in tables if table.line == line]
            modbus.Units(site.lines[line], on_it, baud=site.lines[line].baud)

    async def do(self, step: UnitStep) -> None:
        """Change what stands in a unit, break it, or heal it."""
        unit = self.named[step.unit]
        match step.do:
            case "set":
                unit.registers[_TABLES[step.table]][step.at_register] = step.value
            case "heal":
                unit.fault = "none"
            case "mute" | "refuse" | "damage":
                unit.fault = step.do
