"""What the tasks need of the outbox."""

from collections.abc import Sequence
from typing import Protocol

from gateway.delivery.item import DeviceState, Entry, Item, Note, Run, Want
from gateway.event import Lane


class Store(Protocol):
    """Keeps records until C5 has them."""

    def room(self, lane: Lane) -> bool:
        """Whether a record of this lane can be taken."""

    def append(self, entry: Entry) -> None:
        """Store a record."""

    def remember(self, states: Sequence[DeviceState], notes: Sequence[Note] = ()) -> None:
        """Store counters and notes that no record carried."""

    async def read(self, want: Want) -> tuple[list[Item], bool | None]:
        """Return records in order, and whether that was all; None: the disk could not be read."""

    def receipted(self, runs: Sequence[Run]) -> None:
        """Forget what C5 has."""
