"""This gateway's own inputs and outputs: from the settings to their lines, connected with each other and with C5.

Outputs are taken, and with that set off, before anything else is done (`begin`): whatever a process that died left on.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.config import GatewaySettings
from gateway.contact_settings import InputTable, OutputTable
from gateway.delivery.item import Note, Run
from gateway.drivers.gpio import InputLine
from gateway.drivers.output import OutputLine
from gateway.drivers.pace import Pace
from gateway.sensing.contact import Contact
from gateway.tasks.drivers import Driver
from gateway.tasks.inputs import Inputs, told
from gateway.tasks.outputs import Outputs
from gateway.text import _
from gateway.world import World

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store
    from gateway.tasks.supervise import Supervise

RHYTHM: Final = frozenset({"led", "buzzer"})  # a siren and a strobe have their own, and relays don't like pulses


class Contacts:
    """All GPIO lines of the settings."""

    def __init__(self, settings: GatewaySettings, world: World) -> None:
        self._settings = settings
        self._world = world
        self._supervise: Supervise | None = None
        self._paces: dict[str, Pace] = {}  # each chip's, by its path
        self.lines: dict[str, InputLine] = {}
        self.output_lines = {table.name: self._output(table) for table in settings.output}
        shows = {output: table.name for table in settings.input for output in (table.indicator, table.buzzer) if output}
        self.outputs = Outputs(self.output_lines, shows)
        self.inputs: Inputs

    def begin(self) -> None:
        """Set every output off that can be had; what can't is tried again by its driver."""
        for line in self.output_lines.values():
            line.begin()

    def close(self) -> None:
        """Set every output off, whatever else has failed."""
        for line in self.output_lines.values():
            line.close()

    def wire(self, recorder: "Recorder", store: "Store", supervise: "Supervise", notes: Iterable[Note]) -> None:
        """Connect the lines with what hears of them."""
        self._supervise = supervise
        notes = tuple(notes)
        usual = self._settings.supervision.stuck_s
        contacts = [
            (_contact(table, usual, told(table.name, table.on, notes)), table.indicator, table.buzzer)
            for table in self._settings.input
        ]
        later = asyncio.get_running_loop().call_later
        self.inputs = Inputs(contacts, recorder, store, self._world.clock, self.outputs.show, later=later, notes=notes)
        self.lines = {table.name: self._input(table) for table in self._settings.input}

    def drivers(self) -> Iterator[Driver]:
        """Yield what keeps each line."""
        for name, line in self._all().items():
            yield Driver(name, line.run, line.close)

    def _all(self) -> dict[str, InputLine | OutputLine]:
        return {**self.lines, **self.output_lines}

    def _input(self, table: InputTable) -> InputLine:
        name, inputs = table.name, self.inputs
        return InputLine(
            self._world.chip,
            table.chip,
            table.line,
            active_low=table.active_low,
            bias=table.bias,
            debounce_ms=table.debounce_ms,
            taken=partial(inputs.taken, name),
            edges=partial(inputs.edges, name),
            level=lambda active: inputs.level(name, active=active),
            lost=partial(self._lost, name),
            restored=partial(self._restored, name),
            pace=self._pace(table.chip),
            random=self._world.random,
        )

    def _output(self, table: OutputTable) -> OutputLine:
        return OutputLine(
            self._world.chip,
            table.chip,
            table.line,
            active_low=table.active_low,
            rhythm=table.kind in RHYTHM,
            max_on_s=table.longest_s,
            taken=lambda: self.inputs.relit(table.name),
            lost=partial(self._lost, table.name),
            restored=partial(self._restored, table.name),
            pace=self._pace(table.chip),
            random=self._world.random,
        )

    def _pace(self, chip: str) -> Pace:
        return self._paces.setdefault(os.path.realpath(chip), Pace(self._world.clock.monotonic))

    def _lost(self, name: str, reason: str) -> None:
        assert self._supervise is not None
        self._supervise.port_lost(name, reason)

    def _restored(self, name: str) -> None:
        assert self._supervise is not None
        self._supervise.port_restored(name)

    def tick(self) -> None:
        """Time passed."""
        self.inputs.tick(self._world.clock.monotonic())

    def receipted(self, runs: Sequence[Run]) -> None:
        """C5 has these records."""
        self.inputs.receipted(runs)

    def __contains__(self, source: object) -> bool:
        """Whether there is an input of this name."""
        return source in self.inputs

    # Shown.

    def glance(self) -> Mapping[str, Any]:
        """Return what `status` shows of them."""
        inputs = [
            {
                "name": table.name,
                "chip": table.chip,
                "line": table.line,
                "on": table.on,
                "active": self.lines[table.name].active,
                "stage": self.inputs.stage(table.name),
                **self.inputs.presses.glance(table.name),
                "edges_lost": self.inputs.lost(table.name),
                "trouble": self.lines[table.name].trouble,
            }
            for table in self._settings.input
        ]
        outputs = [
            {
                "name": table.name,
                "chip": table.chip,
                "line": table.line,
                "kind": table.kind,
                "pattern": self.output_lines[table.name].pattern.name.lower(),
                "trouble": self.output_lines[table.name].trouble,
            }
            for table in self._settings.output
        ]
        return {"inputs": inputs, "outputs": outputs}

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""
        lines = self._all().items()
        return [f"{name}: {line.trouble}" for name, line in lines if line.trouble is not None] + [
            _("input {name} is held down, or its contact is stuck: a press would not be noticed").format(name=name)
            for name in self.inputs.stuck
        ]


def _contact(table: InputTable, usual: float, state: int) -> Contact:
    return Contact(
        table.name,
        table.on,
        table.off,
        debounce=table.debounce_ms / 1000,
        stuck_s=table.stuck_after(usual),
        position=table.position.position() if table.position else None,
        state=state,
    )
