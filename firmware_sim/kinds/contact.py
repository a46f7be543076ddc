"""`[[contact]]`: push buttons on lines of GPIO chips."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from firmware_sim.contact import Contact
from firmware_sim.gpiochip import LINES, GpioChip
from firmware_sim.kinds.kind import Kind, Named, Seconds, Site, Step


class ContactSettings(Named):
    """A contact on a line of a GPIO chip; closed, it connects the line to ground (0) or supply (1), open it floats."""

    chip: Annotated[str, Field(pattern=r"^gpiochip[a-z0-9-]{0,32}$")] = "gpiochip0"
    line: Annotated[int, Field(ge=0, lt=LINES)]
    closes_to: Literal[0, 1] = 0


class ContactStep(Step):
    """What is done to a contact."""

    of: ClassVar = "contact"
    contact: str
    do: Literal["touch", "bounce", "stick", "free"]
    seconds: Seconds = 5  # how long it is touched
    edges: Annotated[int, Field(ge=1, le=1000)] = 11  # of a contact that bounces, within 20 ms


class Contacts(Kind):
    """Every contact of a run, and the chips that they are on."""

    def __init__(self, tables: Sequence[ContactSettings], site: Site) -> None:
        self.chips = {
            chip: GpioChip(site.folder / chip, names={table.line: table.name for table in tables if table.chip == chip})
            for chip in {table.chip for table in tables}
        }
        self.named = {table.name: Contact(self.chips[table.chip], table.line, table.closes_to) for table in tables}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for chip in self.chips.values():
            await self._stack.enter_async_context(chip)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def do(self, step: ContactStep) -> None:
        """Touch it, bump against it, let it stick or free it."""
        contact = self.named[step.contact]
        match step.do:
            case "touch":
                await contact.touch(step.seconds, step.edges)
            case "bounce":  # it moves, and stays where it was
                await contact.move(contact.closed, step.edges + step.edges % 2)
            case "stick":
                await contact.move(True, step.edges)
            case "free":
                await contact.move(False, step.edges)
