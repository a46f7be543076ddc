"""From a contact's events to records, and the answer to whoever pressed.

An input has no numbers of its own and nobody to send a press again: what memory has no room for waits here, and is
tried again. What was told of an input is stored in the transaction of the record that tells it, so that a button which
is held makes one alarm over any number of restarts (`sensing.contact`, rule 4).

The last press of an input is followed through its stages: 1 when its record is durable, 2 when C5 has receipted it, 3
when an operator has seen it; each is shown at once on the outputs that the settings name (`control.feedback`). Of
inputs that share a light it shows the least. Where that press was recorded, and how far it has come, is noted too:
after a restart the light goes on blinking for what C5 lacks. That C5 has a press it shows only if that was heard since
the start: the press of whoever looks at it may be a later one, of which nothing was stored.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.control.feedback import ACKNOWLEDGED, OFF, RECEIVED, STORED, UNSHOWN, Order, light, sound
from gateway.delivery.awaited import Awaited, Place
from gateway.delivery.item import PRESS, Note, Run
from gateway.event import Event, lane_of
from gateway.sensing.contact import ACTIVE, IDLE, STUCK, Contact, Edge
from gateway.tasks.presses import Presses

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

WAITING_MAX: Final = 64  # events of an input that memory has no room for: twenty presses, and what ends them

NOTED: Final = ("ordinal", "sequence", "stage")  # of an input's last press

Show = Callable[[str, Order], None]  # an output's name, and what it shall do


class _Input:
    """An input since the gateway's start."""

    def __init__(self, contact: Contact, indicator: str | None, buzzer: str | None) -> None:
        self.contact = contact
        self.indicator = indicator
        self.buzzer = buzzer
        self.noted = contact.state
        self.settles = False  # its tick is under way
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
        *,
        later: Callable[[float, Callable[[], None]], object],
        notes: Iterable[Note] = (),
    ) -> None:
        self._inputs = {contact.name: _Input(contact, *outputs) for contact, *outputs in contacts}
        self._recorder = recorder
        self._store = store
        self._clock = clock
        self._show = show
        self._later = later
        self._awaited: Awaited[tuple[str, int]] = Awaited()
        self._lit: dict[str, Order] = {}  # what each light shows of the last press
        self.presses = Presses(clock)
        self.dropped = 0  # events that didn't even find room to wait
        self._restore({(note.source, note.what): note.value for note in notes})

    def __contains__(self, name: object) -> bool:
        """Whether there is an input of this name."""
        return name in self._inputs

    def _restore(self, noted: Mapping[tuple[str, str], int | None]) -> None:
        """Go on with the presses of before the start; the lights are lit once whoever made this is ready."""
        for name, own in self._inputs.items():
            ordinal, sequence, stage = (noted.get((name, f"{PRESS}{own.contact.on}.{what}")) for what in NOTED)
            if ordinal is None or sequence is None or stage not in (STORED, RECEIVED, ACKNOWLEDGED):
                continue
            own.press, own.stage, own.place = 1, stage, (lane_of(own.contact.on), ordinal, sequence)
            if stage > STORED:
                continue
            self._awaited.add(own.place, (name, own.press))
            if own.indicator is not None and (order := light(own.contact.on, stage)) is not None:
                self._lit[own.indicator] = order
        for output in tuple(self._lit):
            self._later(0.0, partial(self.relit, output))

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
        self._settles(name)
        return gap

    def level(self, name: str, *, active: bool) -> None:
        """Take the level that was read just now."""
        self._happened(name, self._inputs[name].contact.level(self._clock.monotonic(), active=active))

    def lost(self, name: str) -> int:
        """Return how many edges of an input were lost since the start."""
        return self._inputs[name].contact.lost

    def _settles(self, name: str) -> None:
        """Have what a bounce leaves told when the bounce is over, where the kernel can't wait for that itself."""
        own, now = self._inputs[name], self._clock.monotonic()
        if own.settles or (at := own.contact.settles_at) is None:
            return

        def settled() -> None:
            own.settles = False
            self._happened(name, own.contact.tick(self._clock.monotonic()))
            self._settles(name)

        own.settles = True
        self._later(max(0.001, at - now), settled)

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
        full = 0  # those at the front that have to go on waiting
        while full < len(own.waiting):
            at, event = own.waiting[full]
            lane = lane_of(event.type)
            signed = self._recorder.sequence(lane)
            try:
                if self._store.room(lane):
                    self._recorded(own, replace(event, age_ms=max(0, round((now - at) * 1000))))
            finally:  # a mistake on the way out neither loses what waits nor records this twice
                if self._recorder.sequence(lane) > signed:
                    del own.waiting[full]
                else:
                    full += 1

    def _recorded(self, own: _Input, event: Event) -> None:
        name, contact = event.source, own.contact
        state = contact.after(event.type)
        notes = () if state is None else (_note(contact, state),)
        if event.type != contact.on:
            if self._recorder.record(event, notes=notes) is None:
                return
        else:
            place = self._recorder.ordinal, self._recorder.sequence(lane_of(event.type)) + 1
            notes = (
                *notes,
                *(_press(contact, what, value) for what, value in zip(NOTED, (*place, STORED), strict=True)),
            )
            signed = self._recorder.record(event, stored=partial(self._stage, name, own.press + 1, STORED), notes=notes)
            if signed is None:
                return
            log.info("input %s: %s", name, event.type)
            self.presses.happened(name, own.press + 1, event.type)
            self._awaits(own, (signed.record.lane, self._recorder.ordinal, signed.record.sequence))
        own.noted = own.noted if state is None else state

    # Stages.

    def _awaits(self, own: _Input, place: Place) -> None:
        if own.place is not None:
            self._awaited.forget(own.place)
        own.press, own.stage, own.place = own.press + 1, 0, place
        self._awaited.add(place, (own.contact.name, own.press))
        self._light(own)  # what it showed was said of another press

    def _stage(self, name: str, press: int, stage: int) -> None:
        own = self._inputs[name]
        if press != own.press or stage <= own.stage:
            return
        own.stage = stage
        if stage > STORED:  # that was noted with the record
            self._store.remember((), (_press(own.contact, "stage", stage),))
        self.presses.stage(name, press, stage)
        self._light(own)
        if own.buzzer is not None and (order := sound(own.contact.on, stage)) is not None:
            self._show(own.buzzer, order)

    def receipted(self, runs: Iterable[Run]) -> None:
        """Show what C5 has."""
        for name, press in self._awaited.receipted(runs):
            self._stage(name, press, RECEIVED)

    def acknowledged(self, name: str, place: Place | None) -> str:
        """Show at an input that an operator has seen its last press, if the record at this place is that press's.

        None is a place in an epoch that nobody knows any more. Return "now", "before", or "nothing" where the record is
        of an earlier press: the light speaks of another one by now.
        """
        own = self._inputs[name]
        earlier = place is None or place[1] < self._recorder.ordinal
        if own.place is None and earlier:  # pressed before the gateway's start: who waits there is told all the same
            own.press = 1
        elif own.place is None or place != own.place:
            return "nothing"
        if own.stage == ACKNOWLEDGED:
            return "before"
        self._stage(name, own.press, ACKNOWLEDGED)
        return "now"

    def at(self, place: Place) -> str | None:
        """Return the input whose last press was recorded here."""
        return next((name for name, own in self._inputs.items() if own.place == place), None)

    def _light(self, own: _Input) -> None:
        """Show the least stage of all presses that the light of this one's input is for."""
        if own.indicator is None or own.contact.on in UNSHOWN:
            return
        sharing = (other for other in self._inputs.values() if other.indicator == own.indicator and other.press)
        order = light(own.contact.on, min(other.stage for other in sharing if other.contact.on not in UNSHOWN)) or OFF
        self._lit[own.indicator] = order
        self._show(own.indicator, order)

    def relit(self, output: str) -> None:
        """An output's line is ours, again, and off: have it show what it showed last of a press."""
        if (order := self._lit.get(output)) is not None:
            self._show(output, order)

    # Time.

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


def _press(contact: Contact, what: str, value: int) -> Note:
    return Note(contact.name, f"{PRESS}{contact.on}.{what}", value)


def told(name: str, on: str, notes: Iterable[Note]) -> int:
    """Return what was told of an input before the start; of one that meant something else then, nothing was."""
    value = next((note.value for note in notes if (note.source, note.what) == (name, on)), None)
    return value if value in (ACTIVE, STUCK) else IDLE
