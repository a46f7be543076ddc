"""What a receipt means here: which records C5 has, and which it lacks.

Rules (wire.md, section 3 "receipt"):

1. `up to` covers all of 1..up to of that epoch, except what the receipt lists as missing.
2. A receipt for more than was ever signed in the present epoch is refused, whole.
3. For an earlier epoch it counts as far as this store knows the epoch; an entry says nothing of other epochs. What is
   missing of an epoch that the store doesn't know is lost.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.delivery.item import Declared, Item, Position, Run
from gateway.errors import Refused
from gateway.event import Lane
from gateway.ranges import RangeSet


@dataclass(frozen=True, slots=True)
class Claim:
    """What C5 says that it has, and that it lacks."""

    covered: tuple[Run, ...]
    missing: tuple[Run, ...]
    unknown: tuple[tuple[Lane, tuple[bytes, int, int]], ...] = ()  # missing, of epochs that this store doesn't know


class Coverage:
    """What C5 has of each lane and epoch, over all paths and for good: it only grows.

    What was dropped or lost counts as covered: it is neither sent nor missed. `untold` says what C5 is still being told
    of it; of what is lost, nothing but that is ever said. Should a salvage find it after all (`found`), it is sent, and
    C5's receipts, which have covered it since it was declared, count for it again once a broker has had it. So it is
    over a restart: of what is lost, the store has neither a receipt nor a declaration any more once it is found.
    """

    def __init__(self, runs: Iterable[Run] = (), declared: Iterable[Declared] = (), lost: Iterable[Run] = ()) -> None:
        self._has: dict[tuple[Lane, int], RangeSet] = {}
        self._lost: dict[tuple[Lane, int], RangeSet] = {}
        self._found: dict[tuple[Lane, int], RangeSet] = {}
        self._told: dict[Position, list[Run]] = {}
        self.add(runs)
        for entry in declared:
            self.forgo((entry.run,), entry.by)
        lost = list(lost)
        self._lose(lost)
        for run in lost:
            for part in self.left_of(run):
                self.found(part)

    def __contains__(self, item: Item) -> bool:
        has = self._has.get((item.lane, item.ordinal))
        return has is not None and item.sequence in has

    def add(self, runs: Iterable[Run]) -> list[Run]:
        """Add what C5 has; return what of it was not known before."""
        new: list[Run] = []
        for run in runs:
            found = self._found.get((run.lane, run.ordinal))
            for left in self.left_of(run):
                parts = found.missing(left.first, left.last) if found else [(left.first, left.last)]
                for part in parts:
                    self._has.setdefault((run.lane, run.ordinal), RangeSet()).add(*part)
                    new.append(Run(run.lane, run.ordinal, *part))
        return new

    def found(self, run: Run) -> None:
        """Note that a run is here; what of it was said to be lost is no more, and C5 is to have it."""
        place = (run.lane, run.ordinal)
        for part in self.parted(run)[1]:
            self._lost[place].remove(part.first, part.last)
            self._has.setdefault(place, RangeSet()).remove(part.first, part.last)
            self._found.setdefault(place, RangeSet()).add(part.first, part.last)

    def taken(self, run: Run) -> None:
        """Note that a broker has taken a run: a receipt may speak of it."""
        if (found := self._found.get((run.lane, run.ordinal))) is not None:
            found.remove(run.first, run.last)
            if not len(found):
                del self._found[run.lane, run.ordinal]

    def forgo(self, runs: Iterable[Run], by: Position, *, lost: bool = False) -> None:
        """Note that these are here no more, and that the status record at `by` tells C5 so."""
        runs = list(runs)
        for run in runs:
            self.taken(run)
        self.add(runs)
        if lost:
            self._lose(runs)
        self._let_go()
        self._told.setdefault(by, []).extend(runs)

    def parted(self, run: Run) -> tuple[list[Run], list[Run]]:
        """Return what of a run was never lost, and what was."""
        held = self._lost.get((run.lane, run.ordinal), RangeSet()).missing(run.first, run.last)
        lost = RangeSet(held).missing(run.first, run.last)
        return [Run(run.lane, run.ordinal, *part) for part in held], [
            Run(run.lane, run.ordinal, *part) for part in lost
        ]

    def _lose(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self._lost.setdefault((run.lane, run.ordinal), RangeSet()).add(run.first, run.last)

    def untold(self, run: Run) -> list[Run]:
        """Return what of a run is not being told to C5 by a record that it hasn't receipted."""
        self._let_go()
        told = RangeSet(
            (other.first, other.last)
            for runs in self._told.values()
            for other in runs
            if (other.lane, other.ordinal) == (run.lane, run.ordinal)
        )
        return [Run(run.lane, run.ordinal, *hole) for hole in told.missing(run.first, run.last)]

    def _let_go(self) -> None:
        """Forget the declarations that C5 has, or that were replaced."""
        for by in [by for by in self._told if not self.left_of(Run(Lane.STATUS, *by, by[1]))]:
            del self._told[by]

    def left_of(self, run: Run) -> list[Run]:
        """Return what of a run C5 is not known to have."""
        has = self._has.get((run.lane, run.ordinal))
        if has is None:
            return [run]
        return [Run(run.lane, run.ordinal, *hole) for hole in has.missing(run.first, run.last)]


UpTo = Mapping[Lane, list[tuple[bytes, int]]]
Missing = Mapping[Lane, list[tuple[bytes, int, int]]]


def judge(
    up_to: UpTo, missing: Missing, *, present: bytes, signed: Mapping[Lane, int], ordinals: Mapping[bytes, int]
) -> Claim | Refused:
    """Read a receipt's ranges; `signed` is the last sequence of each lane in the present epoch."""
    covered: list[Run] = []
    for lane, entries in up_to.items():
        for epoch, last in entries:
            if epoch == present and last > signed[lane]:
                return Refused("a receipt for more than was signed")  # rule 2
            if last == 0 or (ordinal := ordinals.get(epoch)) is None:
                continue  # rule 3
            holes = RangeSet((first, end) for other, first, end in missing.get(lane, ()) if other == epoch)
            covered += [Run(lane, ordinal, *part) for part in holes.missing(1, last)]  # rule 1
    lacking = [
        Run(lane, ordinals[epoch], first, min(last, signed[lane]) if epoch == present else last)
        for lane, entries in missing.items()
        for epoch, first, last in entries
        if epoch in ordinals and (epoch != present or first <= signed[lane])
    ]
    unknown = [(lane, entry) for lane, entries in missing.items() for entry in entries if entry[0] not in ordinals]
    return Claim(tuple(covered), tuple(lacking), tuple(unknown))
