"""From a contact's events to records, and the answer to whoever pressed.

An input has no numbers of its own and nobody to send a press again: what memory has no room for waits here, and is
tried again. What was told of an input is stored in the transaction of the record that tells it, so that a button which
is held makes one alarm over any number of restarts (`sensing.contact`, rule 4).

The last press of an input is followed through its stages: 1 when its record is durable, 2 when C5 has receipted it, 3
when an operator has seen it; each is shown at once on the outputs that the settings name (`control.feedback`).
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.control.feedback import ACKNOWLEDGED, OFF, RECEIVED, STORED, UNSHOWN, Order, light, sound
from gateway.delivery.awaited import Awaited, Place
from gateway.delivery.item import Note, Run
from gateway.event import Event, lane_of
from gateway.sensing.contact import ACTIVE, IDLE, STUCK, Contact, Edge
from gateway.tasks.presses import Presses

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

WAITING_MAX: Final = 64  # events of an input that memory has no room for: twenty presses, and what ends them

Show = Callable[[str, Order], None]  # an output's name, and what it shall do


class _Input:
    """An input since the gateway's start."""

    def __init__(self, contact: Contact, indicator: str | None, buzzer: str | None) -> None:
        self.contact = contact
        self.indicator = indicator
        self.buzzer = buzzer
        self.noted = contact.state
        self.waiting: deque[tuple[float, Event]] = deque()  # when it was noticed, and what
        self.press = 0  # the last one, and how far it has come
        self.stage = 0
        self.place: Place | None = None


class Inputs:
    """All inputs of this gateway."""

    def __init__(
        self,
        contacts: Iterable[tuple[Contact, str | None, str | None]],
        recorder: "Recorder",
        store: "Store",
        clock: "Timekeeper",
        show: Show,
    ) -> None:
        self._inputs = {contact.name: _Input(contact, *outputs) for contact, *outputs in contacts}
        self._recorder = recorder
        self._store = store
        self._clock = clock
        self._show = show
        self._awaited: Awaited[tuple[str, int]] = Awaited()
        self.presses = Presses(clock)
        self.dropped = 0  # events that didn't even find room to wait

    def __contains__(self, name: object) -> bool:
        """Whether there is an input of this name."""
        return name in self._inputs

    # What the lines say.

    def taken(self, name: str) -> None:
        """Its line is ours, again."""
        self._inputs[name].contact.taken()

    def edges(self, name: str, edges: Sequence[Edge]) -> bool:
        """Take edges; return whether some were lost: then the level is to be read."""
        events, gap = self._inputs[name].contact.edges(edges)
        if gap:
            log.warning(
                "input %s: edges came faster than they could be read, %d are lost so far", name, self.lost(name)
            )
        self._happened(name, events)
        return gap

    def level(self, name: str, *, active: bool) -> None:
        """Take the level that was read just now."""
        self._happened(name, self._inputs[name].contact.level(self._clock.monotonic(), active=active))

    def lost(self, name: str) -> int:
        """Return how many edges of an input were lost since the start."""
        return self._inputs[name].contact.lost

    # Records.

    def _happened(self, name: str, events: Iterable[Event]) -> None:
        own, now = self._inputs[name], self._clock.monotonic()
        for event in events:
            if len(own.waiting) < WAITING_MAX:
                own.waiting.append((now if event.at_ns is None else event.at_ns / 1e9, event))
            else:
                self.dropped += 1
        self._record(own, now)
        if own.noted != own.contact.state and not own.waiting:  # back to idle, which this input doesn't tell
            own.noted = own.contact.state
            self._store.remember((), (_note(own.contact, own.noted),))

    def _record(self, own: _Input, now: float) -> None:
        """Record what waits; what there is no room for goes on waiting, and holds up nothing of another lane."""
        waiting, own.waiting = own.waiting, deque()
        for at, event in waiting:
            room = self._store.room(lane_of(event.type))
            if not room or not self._recorded(own, replace(event, age_ms=max(0, round((now - at) * 1000)))):
                own.waiting.append((at, event))

    def _recorded(self, own: _Input, event: Event) -> bool:
        name, contact = event.source, own.contact
        state = contact.after(event.type)
        notes = () if state is None else (_note(contact, state),)
        if event.type != contact.on:
            if self._recorder.record(event, notes=notes) is None:
                return False
        else:
            signed = self._recorder.record(event, stored=partial(self._stage, name, own.press + 1, STORED), notes=notes)
            if signed is None:
                return False
            log.info("input %s: %s", name, event.type)
            self.presses.happened(name, own.press + 1, event.type)
            self._awaits(own, (signed.record.lane, self._recorder.ordinal, signed.record.sequence))
        own.noted = own.noted if state is None else state
        return True

    # Stages.

    def _awaits(self, own: _Input, place: Place) -> None:
        if own.place is not None:
            self._awaited.forget(own.place)
        own.press, own.stage, own.place = own.press + 1, 0, place
        self._awaited.add(place, (own.contact.name, own.press))
        if own.indicator is not None and own.contact.on not in UNSHOWN:
            self._show(own.indicator, OFF)  # what it showed was said of another press

    def _stage(self, name: str, press: int, stage: int) -> None:
        own = self._inputs[name]
        if press != own.press or stage <= own.stage:
            return
        own.stage = stage
        self.presses.stage(name, press, stage)
        if own.indicator is not None and (order := light(own.contact.on, stage)) is not None:
            self._show(own.indicator, order)
        if own.buzzer is not None and (order := sound(own.contact.on, stage)) is not None:
            self._show(own.buzzer, order)

    def receipted(self, runs: Iterable[Run]) -> None:
        """Show what C5 has."""
        for name, press in self._awaited.receipted(runs):
            self._stage(name, press, RECEIVED)

    def acknowledged(self, name: str) -> bool:
        """Show at an input that an operator has seen its last press; False if there is no such input."""
        own = self._inputs.get(name)
        if own is None:
            return False
        if own.press == 0:  # pressed before the gateway's start: who waits there is told all the same
            own.press = 1
        self._stage(name, own.press, ACKNOWLEDGED)
        return True

    # Time.

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        deadlines = (own.contact.deadline for own in self._inputs.values())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def tick(self, now: float) -> None:
        """Tell what time brings."""
        for name, own in self._inputs.items():
            if events := own.contact.tick(now):
                self._happened(name, events)
            elif own.waiting:
                self._happened(name, ())

    @property
    def stuck(self) -> list[str]:
        """Return the inputs that are held down."""
        return [name for name, own in self._inputs.items() if own.contact.state == STUCK]

    def stage(self, name: str) -> int:
        """Return how far an input's last press has come; 0: there was none, or it is not stored."""
        return self._inputs[name].stage


def _note(contact: Contact, state: int) -> Note:
    return Note(contact.name, contact.on, None if state == IDLE else state)


def told(name: str, on: str, notes: Iterable[Note]) -> int:
    """Return what was told of an input before the start; of one that meant something else then, nothing was."""
    value = next((note.value for note in notes if (note.source, note.what) == (name, on)), None)
    return value if value in (ACTIVE, STUCK) else IDLE
