"""Troubles that last: each is told once, and its end once, over any number of restarts.

That a trouble was told is stored in the transaction of the record that tells it. What could not be recorded (memory
stands in for a disk, and is full) was not told, and the caller tries again.

What died beside its commit is not known after the start: such a trouble is told again if it still lasts. Notes without
a record (`keep`) are what a device is like: how often it is heard, whether it judges its battery.
"""

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from gateway.delivery.item import Note
from gateway.event import Event, Lane, lane_of

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store


class Standing:
    """What was told and has not ended. A trouble's name is the type of the record that began it."""

    def __init__(self, recorder: "Recorder", store: "Store", notes: Iterable[Note]) -> None:
        self._recorder = recorder
        self._store = store
        self._values: dict[str, dict[str, int]] = {}  # by source
        self.withheld: Container[str] = ()  # sources of which nothing new is told yet
        for note in notes:
            if note.value is not None:
                self._values.setdefault(note.source, {})[note.what] = note.value

    def value(self, source: str, what: str) -> int | None:
        """Return what is noted of a source; None if it isn't."""
        return self._values.get(source, {}).get(what)

    @property
    def sources(self) -> tuple[str, ...]:
        """Of whom something is noted."""
        return tuple(source for source, values in self._values.items() if values)

    def begin(self, event: Event, value: int = 0, trouble: str = "") -> bool:
        """Tell a trouble, unless it is told; return whether it is now. One of several of a type is named."""
        trouble = trouble or event.type
        return self.value(event.source, trouble) is not None or (
            event.source not in self.withheld and self._tell(event, trouble, value)
        )

    def end(self, event: Event, trouble: str) -> bool:
        """Tell a trouble's end, if its beginning was told; return whether nothing of it is left to be told."""
        return self.value(event.source, trouble) is None or self._tell(event, trouble, None)

    def say(self, event: Event) -> bool:
        """Tell what has no end; return whether there was room."""
        room = event.source not in self.withheld and self._store.room(Lane.STATUS)
        return room and self._recorder.record(event) is not None

    def keep(self, source: str, what: str, value: int | None) -> None:
        """Note something without a record: it is durable soon."""
        note = Note(source, what, value)
        self._note(note)
        self._store.remember((), (note,))

    def leave(self, event: Event, source: str) -> bool:
        """Tell that a source is no more, and note nothing of it any more; return whether there was room."""
        if not self._store.room(lane_of(event.type)):
            return False
        notes = tuple(Note(source, what, None) for what in self._values.get(source, ()))
        if self._recorder.record(event, notes=notes) is None:
            return False
        self.forget(source)
        return True

    def forget(self, source: str) -> None:
        """A device is enrolled no more; the store forgets it by itself."""
        self._values.pop(source, None)

    def _tell(self, event: Event, trouble: str, value: int | None) -> bool:
        if not self._store.room(lane_of(event.type)):
            return False
        note = Note(event.source, trouble, value)
        if self._recorder.record(event, notes=(note,)) is None:
            return False
        self._note(note)
        return True

    def _note(self, note: Note) -> None:
        values = self._values.setdefault(note.source, {})
        if note.value is None:
            values.pop(note.what, None)
        else:
            values[note.what] = note.value
