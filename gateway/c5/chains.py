"""What C5 holds of a gateway's chains, what it misses, and the receipt that says so (wire.md, sections 2 and 3).

One `Chain` is one lane of one epoch. Only what is committed goes in, so that a receipt never promises more than the
disk has. The rules:

1. `up to` is the highest sequence such that each record from 1 is received, declared unavailable, or listed as missing
   in the same receipt.
2. A head that a gateway's state names, and the last durable record that a newer epoch's first record names, make
   nothing missing until they have been known for 60 s: what they speak of may still be on its way.
3. Of an epoch that a newer one has ended, nothing beyond its last durable record is missing; what is held there stands.
4. A receipt is due for each chain in which something arrived, new or repeated. It has 64 entries of each kind, alarms
   first; what doesn't fit stays due.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.event import Lane
from gateway.ranges import RangeSet

HEAD_GRACE: Final = 60.0  # seconds; rule 2
HEADS_KEPT: Final = 8  # heads waiting for their 60 s; the newest takes the last place
ASK_AGAIN: Final = 60.0  # seconds until what is still missing is asked for again
ENTRIES: Final = 64  # of up-to and of missing ranges in one receipt, each; rule 4

Range = tuple[int, int]
Key = tuple[Lane, bytes]  # a chain's lane and epoch


@dataclass(frozen=True, slots=True)
class Receipted:
    """The two maps of a receipt, by lane: (epoch, up to), and (epoch, from, to) of what is missing."""

    up_to: Mapping[Lane, list[tuple[bytes, int]]]
    missing: Mapping[Lane, list[tuple[bytes, int, int]]]


@dataclass(slots=True)
class Chain:
    """One lane of one epoch, as C5 holds it."""

    held: RangeSet = field(default_factory=RangeSet)
    unavailable: RangeSet = field(default_factory=RangeSet)
    covered: RangeSet = field(default_factory=RangeSet)  # either
    ended_at: int | None = None  # the last durable record, once a newer epoch has named it
    asked_at: float | None = None  # when missing records were last asked for
    _known: int = 0  # a head that is older than the grace
    _heads: deque[tuple[int, float]] = field(default_factory=deque)

    def hold(self, first: int, last: int) -> None:
        """Take in what has been committed."""
        self.held.add(first, last)
        self.covered.add(first, last)

    def forgo(self, first: int, last: int) -> None:
        """Take in what the gateway declared unavailable."""
        self.unavailable.add(first, last)
        self.covered.add(first, last)

    def head(self, sequence: int, now: float) -> None:
        """Take in that the gateway says it has signed so far."""
        if sequence <= max(self._known, self.covered.highest, self._heads[-1][0] if self._heads else 0):
            return
        if len(self._heads) == HEADS_KEPT:
            self._heads.pop()
        self._heads.append((sequence, now))

    def end(self, sequence: int, now: float) -> int:
        """Take in the last durable record, named by a newer epoch; return how many records are held beyond it."""
        self.ended_at = sequence
        if sequence:
            self.head(sequence, now)
        return sum(last - max(first, sequence + 1) + 1 for first, last in self.held if last > sequence)

    @property
    def expects(self) -> bool:
        """Whether time alone may make something missing here."""
        return bool(self._heads)

    def top(self, now: float) -> int:
        """Return the highest sequence that is expected here by now."""
        while self._heads and self._heads[0][1] + HEAD_GRACE <= now:
            self._known = self._heads.popleft()[0]
        top = max(self._known, self.covered.highest)
        return top if self.ended_at is None else min(top, self.ended_at)

    def missing(self, now: float) -> list[Range]:
        """Return what was signed, isn't held and wasn't declared."""
        top = self.top(now)
        return self.covered.missing(1, top) if top else []

    def up_to(self, listed: int, gaps: list[Range], now: float) -> int:
        """Return a receipt's `up to` where the first `listed` of these gaps are listed beside it (rule 1)."""
        if listed < len(gaps):
            return gaps[listed][0] - 1
        top = self.top(now)
        beyond = self.covered.missing(top + 1, max(self.covered.highest, top) + 1)
        return beyond[0][0] - 1


class Chains:
    """All chains of one gateway, and which of them a receipt is due for."""

    def __init__(self) -> None:
        self._chains: dict[Key, Chain] = {}
        self._due: dict[Key, None] = {}  # in the order in which they became due
        self._watched: dict[Key, None] = {}  # those that may miss something: `tick` looks at no others

    def __getitem__(self, key: Key) -> Chain:
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = Chain()
        self._watched[key] = None  # whoever asks for it may change it
        return chain

    def hold(self, lane: Lane, epoch: bytes, ranges: Iterable[Range]) -> None:
        """Take in what has been committed, or came again: a receipt is due."""
        chain = self[lane, epoch]
        for first, last in ranges:
            chain.hold(first, last)
        self._due[lane, epoch] = None

    def forgo(self, lane: Lane, epoch: bytes, ranges: Iterable[Range]) -> None:
        """Take in what has been declared unavailable: a receipt is due."""
        chain = self[lane, epoch]
        for first, last in ranges:
            chain.forgo(first, last)
        self._due[lane, epoch] = None

    def owe(self, keys: Iterable[Key]) -> None:
        """Take in that somebody has to be told of these: a receipt is due."""
        for lane, epoch in keys:
            self._due[lane, epoch] = None

    def end(self, lane: Lane, link: tuple[bytes, int], begun: bytes, now: float) -> int:
        """Take in that epoch `begun` names this as the last durable record of an older one.

        Epochs between the two left nothing durable in this lane. Return how many records are held beyond the ends.
        """
        epoch, sequence = link
        beyond = self[lane, epoch].end(sequence, now)
        for other_lane, other in list(self._chains):
            if other_lane == lane and epoch[:4] < other[:4] < begun[:4]:
                beyond += self[lane, other].end(0, now)
        return beyond

    @property
    def due(self) -> bool:
        """Whether a receipt is due."""
        return bool(self._due)

    def tick(self, now: float) -> dict[Key, list[Range]]:
        """Time passed. Return what is missing; it is asked for when that becomes known, and every minute after."""
        missing: dict[Key, list[Range]] = {}
        for key in list(self._watched):
            chain = self._chains[key]
            if gaps := chain.missing(now):
                missing[key] = gaps
            elif not chain.expects:
                del self._watched[key]
        for key in missing:
            asked_at = self._chains[key].asked_at
            if asked_at is None or now >= asked_at + ASK_AGAIN:
                self._due[key] = None
        return missing

    def receipt(self, now: float) -> Receipted | None:
        """Return the next receipt that is due, if one is."""
        up_to: dict[Lane, list[tuple[bytes, int]]] = {}
        missing: dict[Lane, list[tuple[bytes, int, int]]] = {}
        room = ENTRIES
        for key in sorted(self._due, key=lambda key: key[0])[:ENTRIES]:
            lane, epoch = key
            chain = self[key]
            gaps = chain.missing(now)
            if gaps and not room:
                continue  # the lanes before it took all entries: it stays due
            listed = gaps[:room]
            room -= len(listed)
            chain.asked_at = now if gaps else None
            del self._due[key]
            up_to.setdefault(lane, []).append((epoch, chain.up_to(len(listed), gaps, now)))
            if listed:
                missing.setdefault(lane, []).extend((epoch, first, last) for first, last in listed)
        return Receipted(up_to, missing) if up_to else None
