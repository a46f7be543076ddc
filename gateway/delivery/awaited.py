"""Who waits to hear that C5 has a record: records by their place, until a receipt covers them."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from gateway.delivery.item import Run
from gateway.event import Lane

Place = tuple[Lane, int, int]  # lane, ordinal, sequence
T = TypeVar("T")


class Awaited(Generic[T]):
    """What is waited for; whoever adds bounds it."""

    def __init__(self) -> None:
        self._waiting: dict[Place, T] = {}

    def add(self, place: Place, who: T) -> None:
        """Wait for the receipt of the record at this place."""
        self._waiting[place] = who

    def forget(self, place: Place) -> None:
        """Wait for it no more."""
        self._waiting.pop(place, None)

    def receipted(self, runs: Iterable[Run]) -> Iterator[T]:
        """Yield who waited for what C5 has now, and wait for that no more."""
        for run in runs:
            if run.lane is Lane.TELEMETRY:
                continue
            places: Iterable[Place]
            if run.last - run.first < len(self._waiting):
                places = ((run.lane, run.ordinal, sequence) for sequence in range(run.first, run.last + 1))
            else:
                at = (run.lane, run.ordinal)
                places = [place for place in self._waiting if place[:2] == at and run.first <= place[2] <= run.last]
            for place in places:
                if (who := self._waiting.pop(place, None)) is not None:
                    yield who
