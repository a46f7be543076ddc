"""Sets of whole numbers as merged, sorted ranges: which sequences are receipted, held, missing."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator


class RangeSet:
    """A set of positive integers, small while its members are consecutive.

    >>> held = RangeSet([(1, 3), (5, 9)])
    >>> held.add(4, 4)
    >>> list(held)
    [(1, 9)]
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Add first..last, both included."""
        assert first <= last, (first, last)
        low = bisect_left(self._lasts, first - 1)
        high = low
        while high < len(self._firsts) and self._firsts[high] <= last + 1:
            first = min(first, self._firsts[high])
            last = max(last, self._lasts[high])
            high += 1
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def remove(self, first: int, last: int) -> None:
        """Remove first..last, both included, as far as they are in the set."""
        kept = [part for a, b in self for part in ((a, min(b, first - 1)), (max(a, last + 1), b)) if part[0] <= part[1]]
        self._firsts = [a for a, _ in kept]
        self._lasts = [b for _, b in kept]

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._firsts) and self._firsts[at] <= number

    def missing(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the ranges of first..last that are not in the set."""
        holes: list[tuple[int, int]] = []
        at = bisect_left(self._lasts, first)
        while first <= last:
            if at == len(self._firsts) or self._firsts[at] > last:
                holes.append((first, last))
                break
            if first < self._firsts[at]:
                holes.append((first, self._firsts[at] - 1))
            first = self._lasts[at] + 1
            at += 1
        return holes

    @property
    def up_to(self) -> int:
        """The highest n such that all of 1..n are in the set; 0 if 1 is not."""
        return self._lasts[0] if self._firsts and self._firsts[0] <= 1 else 0

    @property
    def highest(self) -> int:
        """The highest member, or 0."""
        return self._lasts[-1] if self._lasts else 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        """How many ranges (not how many numbers)."""
        return len(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"
