"""OSDP peripherals: from what they report to records, and from orders and presses to what they show and switch.

An input is a contact like one of the gateway's own (`tasks.inputs`), with the line's word in place of the kernel's
edges: a change that a poll tells of is told with its time, and what a connection begins with is the level, so that
what changed while a peripheral was away is told as `found`, and what was told before makes no second record. Its cover
and its supply are troubles that stand. Peripherals keep changes for a panel that is away: they are heard out first, and
asked how things are now afterwards, or the past would be told after the present.

What a peripheral is to show and to switch is kept here and told anew at each connection: one that comes back from a
power cut, and one that a killed gateway left on, is off within a poll unless it is to be on. An output that is on is
told so again every `RENEWED` seconds, for where it can it goes off by itself soon after the last time; to be off is
told until it is done.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.control.feedback import Order as Shown
from gateway.control.feedback import Pattern
from gateway.delivery.item import Note
from gateway.event import Event, Position
from gateway.sensing.contact import Contact
from gateway.sensing.osdp import (
    AskInputs,
    AskLocal,
    InputsReport,
    Lamp,
    LinkFault,
    LocalReport,
    Report,
    SetOutput,
    Show,
    Sound,
    explained,
)
from gateway.tasks.inputs import Inputs
from gateway.tasks.osdp import OsdpBus
from gateway.tasks.standing import Standing
from gateway.text import _

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

LED, BUZZER = "led", "buzzer"
DOUBLED_FOR: Final = 600.0  # seconds for which a second answer to one question is shown

RENEWED: Final = 10.0  # seconds after which an output that is on is told again: well within `sensing.osdp.ON_S`

Ended = Callable[[str | None], None]


@dataclass(frozen=True, slots=True)
class Input:
    """An input's number, and whether it is active when the peripheral says that it is not."""

    number: int
    inverted: bool
    contact: Contact


@dataclass(frozen=True, slots=True)
class Output:
    """An output's number, and for how many seconds it may be on; None: until told."""

    number: int
    max_on_s: float | None


@dataclass(slots=True)
class Peripheral:
    """A peripheral of the settings, and what is known of it since the start."""

    name: str
    port: str
    address: int
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    indicator: bool
    position: Position | None = None
    fault: LinkFault | None = None  # why it is not
    lost: bool = False
    heard_at: float | None = None
    silent_since: float | None = None
    levels: dict[str, bool] = field(default_factory=dict)  # of its inputs, in this connection
    changes: dict[str, int] = field(default_factory=dict)
    fewer: int | None = None  # inputs than the settings name
    untold: bool = False  # it was asked how its inputs are, and didn't say
    local: LocalReport | None = None
    off_at: dict[str, float] = field(default_factory=dict)  # outputs that are on as far as we know, and until when
    renew_at: dict[str, float] = field(default_factory=dict)  # and when they are told again
    lit: Lamp = Lamp.OFF
    identify_until: float | None = None
    doubled: int = 0
    doubled_at: float | None = None


class Peripherals:
    """All OSDP peripherals of this gateway."""

    def __init__(
        self,
        peripherals: Iterable[Peripheral],
        recorder: "Recorder",
        store: "Store",
        clock: "Timekeeper",
        notes: Sequence[Note],
        *,
        later: Callable[[float, Callable[[], None]], object],
        now: Callable[[], float],
    ) -> None:
        self._all = {one.name: one for one in peripherals}
        self._clock = clock
        self._now = now  # the event loop's
        notes = tuple(notes)
        self._standing = Standing(recorder, store, (note for note in notes if note.source in self._all))
        contacts = [
            (given.contact, *((f"{one.name}/{LED}", f"{one.name}/{BUZZER}") if one.indicator else (None, None)))
            for one in self._all.values()
            for given in one.inputs.values()
        ]
        self.inputs = Inputs(contacts, recorder, store, clock, self._show, later=later, notes=notes)
        self.buses: Mapping[str, OsdpBus] = {}

    def __contains__(self, name: object) -> bool:
        """Whether there is a peripheral of this name."""
        return name in self._all

    def _bus(self, own: Peripheral) -> OsdpBus:
        return self.buses[own.port]

    # What peripherals say.

    def live(self, name: str, now: float) -> None:
        """It is connected, again."""
        own = self._all[name]
        own.levels.clear()
        for output, one in own.outputs.items():
            if now < own.off_at.get(output, now):
                self._bus(own).order(name, SetOutput(one.number, on=True))
            else:
                self._off(own, output)
        if own.indicator:
            self._bus(own).order(name, Show(own.lit if own.identify_until is None else Lamp.FAST))

    def settled(self, name: str) -> None:
        """It has told what it had kept: what it says now is how it is."""
        own = self._all[name]
        if own.inputs:
            own.untold = False
            self._bus(own).order(name, AskInputs(), partial(self._asked, own))
        self._bus(own).order(name, AskLocal())

    def _asked(self, own: Peripheral, _wrong: str | None) -> None:
        own.untold = not own.levels and own.fewer is None  # whatever it has answered

    def heard(self, name: str, now: float) -> None:
        """It has answered, and its connection holds."""
        own = self._all[name]
        self._back(own, now)
        doubled = self._bus(own).links[name].counts["doubled"]
        if doubled > own.doubled:
            own.doubled, own.doubled_at = doubled, now

    def _back(self, own: Peripheral, now: float) -> None:
        noted = self._standing.value(own.name, "device.lost")
        if noted is not None:
            silent = noted if own.silent_since is None else round(now - own.silent_since)
            self._standing.end(self._event(own, "device.restored", {"silent_s": silent}), "device.lost")
        own.lost, own.fault, own.silent_since, own.heard_at = False, None, None, now

    def failed(self, name: str, fault: LinkFault, now: float, *, lost: bool) -> None:
        """It is not live."""
        own = self._all[name]
        own.fault = fault
        if own.silent_since is None:
            own.silent_since = now if own.heard_at is None else own.heard_at
        if lost and not own.lost:
            own.lost = True
            log.warning("peripheral %s is lost: %s", name, fault)
        if lost:
            silent = round(now - own.silent_since)
            self._standing.begin(self._event(own, "device.lost", {"silent_s": silent, "fault": fault}), silent)

    def reported(self, name: str, report: Report) -> None:
        """It says how it is."""
        own = self._all[name]
        match report:
            case InputsReport(active):
                own.fewer = None
                for input_name, given in own.inputs.items():
                    if given.number < len(active):
                        self._level(own, input_name, active=active[given.number] != given.inverted)
                    else:
                        own.fewer = len(active)
            case LocalReport():
                own.local = report
                self._told(own, report)

    def _level(self, own: Peripheral, name: str, *, active: bool) -> None:
        if name not in own.levels:  # asked at the connection
            self.inputs.taken(name)
            self.inputs.level(name, active=active)
            own.changes[name] = 0
        elif own.levels[name] != active:
            own.changes[name] += 1
            self.inputs.edges(name, [(round(self._clock.monotonic() * 1e9), active, own.changes[name])])
        own.levels[name] = active

    def _told(self, own: Peripheral, local: LocalReport) -> None:
        """Have C5 know what is so, whatever it knows."""
        for on, off, so in (
            ("tamper.opened", "tamper.closed", local.tampered), ("power.lost", "power.restored", local.unpowered),
        ):  # fmt: skip
            if so:
                self._standing.begin(self._event(own, on, {}))
            else:
                self._standing.end(self._event(own, off, {}), on)

    def _event(self, own: Peripheral, type_: str, data: Mapping[str, Any]) -> Event:
        return Event(type_, own.name, position=own.position, data=data or None)

    # What they are told.

    def _show(self, output: str, order: Shown) -> None:
        """Show what became of a press; a peripheral that is away shows it when it is back."""
        name, _slash, what = output.partition("/")
        own = self._all[name]
        if what == LED:
            own.lit, own.identify_until = Lamp(order.pattern), None  # a press matters more
            self._bus(own).order(name, Show(own.lit))
        else:
            self._bus(own).order(name, Sound(order.pattern is not Pattern.OFF))

    def identify(self, name: str, seconds: float, ended: Ended) -> None:
        """Have its LED blink fast for so long; `ended` hears what is in the way, or None: it is done."""
        own = self._all[name]
        if not self._bus(own).order(name, Show(Lamp.FAST), ended):
            ended(self._absent(own))
        else:
            own.identify_until = self._now() + seconds

    def switch(self, name: str, output: str, ended: Ended, *, on: bool, seconds: float | None) -> None:
        """Switch an output, for so long or as long as it may; `ended` hears what is in the way, or None: it is done."""
        own = self._all[name]
        found = own.outputs.get(output)
        if found is None:
            ended(f"{name} has no output of this name; its outputs: {', '.join(own.outputs) or 'none'}")
            return
        told = self._on(own, output, seconds, ended) if on else self._off(own, output, ended)
        if not told:
            ended(self._absent(own))

    def _on(self, own: Peripheral, output: str, seconds: float | None, ended: Ended) -> bool:
        now, one = self._now(), own.outputs[output]
        until = now + min(limit for limit in (seconds, one.max_on_s, math.inf) if limit is not None)

        def done(wrong: str | None) -> None:
            if wrong is not None and own.off_at.get(output) == until:
                del own.off_at[output]  # if it may be on all the same, a connection begins, and it is told to be off
            ended(wrong)

        if not self._bus(own).order(own.name, SetOutput(one.number, on=True), done):
            return False
        own.off_at[output], own.renew_at[output] = until, now + RENEWED
        return True

    def _off(self, own: Peripheral, output: str, ended: Ended = lambda _wrong: None) -> bool:
        """Have it be off: now, or as soon as it can be told."""
        if output in own.off_at:
            own.off_at[output] = min(own.off_at[output], self._now())

        def done(wrong: str | None) -> None:
            if wrong is None and own.off_at.get(output, math.inf) <= self._now():
                del own.off_at[output]
            ended(wrong)

        return self._bus(own).order(own.name, SetOutput(own.outputs[output].number, on=False), done)

    def _absent(self, own: Peripheral) -> str:
        return f"{own.name}: {self.trouble(own.name) or 'it is not connected'}"

    def tick(self, now: float, clock: float) -> None:
        """Switch off what has been on for as long as it should be; tell what there was no room for."""
        self.inputs.tick(clock)
        for own in self._all.values():
            for output, until in tuple(own.off_at.items()):
                if now >= until:
                    self._off(own, output)
                elif now >= own.renew_at[output]:
                    own.renew_at[output] = now + RENEWED
                    self._bus(own).order(own.name, SetOutput(own.outputs[output].number, on=True))
            if own.identify_until is not None and now >= own.identify_until:
                own.identify_until = None
                self._bus(own).order(own.name, Show(own.lit))
            if own.local is not None and self._bus(own).links[own.name].live:
                self._told(own, own.local)

    # Shown.

    def glance(self, name: str, now: float) -> dict[str, Any]:
        """Return what `status` shows of a peripheral; no key is among it."""
        own = self._all[name]
        link = self._bus(own).links[name]
        return {
            "name": name,
            "port": own.port,
            "address": own.address,
            "live": link.live,
            "installed": link.keys.key is not None,
            "installing": link.installing(now),
            "installation": link.installation(now),
            "heard_s": None if own.heard_at is None else round(now - own.heard_at, 1),
            "tampered": own.local is not None and own.local.tampered,
            "unpowered": own.local is not None and own.local.unpowered,
            "inputs": [
                {
                    "name": one,
                    "on": given.contact.on,
                    "active": own.levels.get(one),
                    "stage": self.inputs.stage(one),
                    **self.inputs.presses.glance(one),
                }
                for one, given in own.inputs.items()
            ],
            "outputs": [{"name": one, "on": one in own.off_at} for one in own.outputs],
            "counts": {what: link.counts[what] for what in ("answers", "silent", "garbled", "doubled", "forged")},
            "lost": own.lost,
            "trouble": self.trouble(name),
        }

    def trouble(self, name: str) -> str | None:
        """Return what is wrong with a peripheral, in words."""
        own = self._all[name]
        link = self._bus(own).links[name]
        if link.installing(self._now()):
            return _("it is being installed: its default key is accepted, and nothing of it is believed yet")
        if link.unreadable is not None:
            return link.unreadable
        if link.keys.key is None:
            return _("it has no key yet and is not heard: c5-gateway peripheral install {name}").format(name=name)
        if own.lost and own.fault is not None:
            return explained(own.fault)
        if own.doubled_at is not None and self._now() < own.doubled_at + DOUBLED_FOR:
            return _("two peripherals answer at its address: give each an address of its own")
        if own.untold:
            return _("it does not say how its inputs are: a press may not be heard. Is it a model with inputs?")
        if own.fewer is not None:
            return _("it has only {count} inputs, and the settings name more").format(count=own.fewer)
        return None

    @property
    def troubles(self) -> list[str]:
        """Return what is wrong now, in words."""
        text = _("peripheral {name} (address {address} on {port}): {wrong}")
        found = [
            text.format(name=own.name, address=own.address, port=own.port, wrong=wrong)
            for own in self._all.values()
            if (wrong := self.trouble(own.name)) is not None
        ]
        return found + [
            _("input {name} is held down, or its contact is stuck: a press would not be noticed").format(name=name)
            for name in self.inputs.stuck
        ]
