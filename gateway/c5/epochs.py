"""Each start of a gateway is an epoch: restarts told apart from lost stores, restored images and clones.

The rules (wire.md, section 2, "Epochs"):

1. A state of an epoch that C5 hadn't heard a state of is newer, whatever its count, and its epoch is the present one;
   unless a newer epoch's first record already names that epoch as the one before it.
2. A start count that C5 has met in another epoch, or (in a newer epoch) one below the present epoch's, makes an epoch
   suspect. A suspect is a lost store if its chains begin with zeros, nothing if its own or the other's
   `gateway.started` says unstored, else a restored image or a clone.
   A first state that was made before the newer epoch's came to C5 is no evidence yet: a broker may have kept it. The
   newer one is present again with its next live state. The latecomer is a suspect once it says something live: made
   after the newer epoch's first had come, or (its clock may be wrong) two states that came as far apart as they were
   made.
3. An older epoch's state made after the newer epoch's first one is a clone's. The newer epoch's clock may be too early
   after a power cut, and the older one's last states may come late: made after C5 had heard that first one, too. One
   that is ahead of C5's clock was made by a clock that had been set wrong, and proves nothing.
4. An old epoch's record that arrives late is none of these.

A suspect is judged when its `gateway.started`, the first record of its status lane and the other's `gateway.started`
are known. Only a lost store is also told 60 s after it was first heard of, by what is known then: nobody knows of an
epoch whose `gateway.started` never came that it was stored (docs/decisions/0030). After a lost store counts begin again
at 1: epochs from before it are no longer compared with.

Not checked here: signatures (`verifier`), and whether a record contradicts another of its identity (`ledger`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from gateway.event import Lane
from gateway.signing.message import State
from gateway.signing.record import ZEROS, Record

JUDGED_AFTER: Final = 60.0  # seconds; evidence that is on its way has come by then, or is asked for again
APART_US: Final = 20_000_000  # between two live states; what a broker kept comes at once
PACE_US: Final = 5_000_000  # by which links and brokers delay one state more than another
AHEAD_US: Final = 1_000_000  # by which the clock of a gateway may be ahead of C5's, and be right
STARTED: Final = "gateway.started"


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The gateway began anew: what C5 hadn't got of the epochs before is gone."""

    epoch: bytes
    other: bytes


@dataclass(frozen=True, slots=True)
class Cloned:
    """Two gateways with one identity, or one that went back to an older image of itself."""

    epoch: bytes
    other: bytes


Finding = StoreLost | Cloned


@dataclass(slots=True)
class Epoch:
    """What is known of one start; `None` where it isn't known yet."""

    epoch: bytes
    first_state_us: int | None = None
    superseded_us: int | None = None  # the first state of the epoch after it
    zeros: bool | None = None  # whether its chains begin with zeros, by those first records that are known
    status_known: bool = False  # the status lane's first record is among them
    unstored: bool | None = None
    ended: bool = False  # a newer epoch's first record names it
    past: bool = False  # from before a lost store
    suspect_of: bytes | None = None  # the other epoch, while it isn't judged

    @property
    def count(self) -> int:
        """The start count."""
        return int.from_bytes(self.epoch[:4], "big")


class Epochs:
    """All epochs of one gateway."""

    def __init__(self, known: Iterable[Epoch] = (), present: bytes | None = None, now: float = 0.0) -> None:
        self.known = {epoch.epoch: epoch for epoch in known}
        self.present = present
        self.changed: set[bytes] = set()  # what the ledger doesn't know yet; the caller empties it
        self._heard_at = {epoch.epoch: now for epoch in self.known.values() if epoch.suspect_of}
        self._said: dict[bytes, tuple[int, int, int]] = {}  # epoch → number, made, came: since `present` is

    def record(self, record: Record, now: float) -> list[Finding]:
        """Take in a verified record."""
        known = self.known.get(record.epoch)
        if known is not None and record.sequence != 1 and record.type != STARTED:
            return []
        epoch = known or self._heard_of(record.epoch, now)
        if record.sequence == 1:
            self._first(epoch, record)
        if record.type == STARTED and record.lane == Lane.STATUS:
            epoch.unstored = bool((record.data or {}).get("unstored"))
            self.changed.add(epoch.epoch)
        return self.tick(now)

    def state(self, state: State, now: float, heard_us: int) -> list[Finding]:
        """Take in a verified state that came at `heard_us`; afterwards `present` says whether its epoch is present."""
        epoch = self.known.get(state.epoch) or self._heard_of(state.epoch, now)
        if not state.online:  # a will was made when its connection began (rule 3)
            return []
        present = self.known[self.present] if self.present else None
        if epoch.first_state_us is None and not epoch.ended:
            self._succeed(epoch, state.time_us, heard_us, now)
            self._keeps_pace(state, heard_us)  # the first it compares with
            return self.tick(now)
        live = self._keeps_pace(state, heard_us)
        if present is epoch:
            newer = max((o for o in self.known.values() if _displaced(o, epoch)), key=attrgetter("count"), default=None)
            if newer is not None and (live or _made_after(newer.first_state_us, state, heard_us)):
                self._replace(newer, epoch, heard_us, now)
            return self.tick(now)
        if present is None:
            return []
        if _displaced(epoch, present):
            if live or _made_after(present.first_state_us, state, heard_us):
                self._return(epoch, present)
            return []
        if live and epoch.count < present.count and _came_later(epoch, present):
            self._replace(present, epoch, heard_us, now)
            return self.tick(now)
        since = epoch.superseded_us if epoch.superseded_us is not None else present.first_state_us
        return [Cloned(epoch.epoch, present.epoch)] if _made_after(since, state, heard_us) else []

    def tick(self, now: float) -> list[Finding]:
        """Judge the suspects whose evidence is complete, or overdue (rule 2)."""
        findings: list[Finding] = []
        for name in list(self._heard_at):
            epoch = self.known[name]
            other = self.known.get(epoch.suspect_of) if epoch.suspect_of else None
            if other is None:
                del self._heard_at[name]
                continue
            complete = epoch.status_known and epoch.unstored is not None and other.unstored is not None
            overdue = now >= self._heard_at[name] + JUDGED_AFTER
            if complete or (overdue and epoch.zeros):
                del self._heard_at[name]
                findings += self._judge(epoch, other)
        return findings

    def _heard_of(self, name: bytes, now: float) -> Epoch:
        epoch = self.known[name] = Epoch(name)
        self.changed.add(name)
        same = [o for o in self.known.values() if o.count == epoch.count and o is not epoch and not o.past]
        if same:
            self._suspect(epoch, same[-1], now)
        return epoch

    def _suspect(self, epoch: Epoch, other: Epoch, now: float) -> None:
        epoch.suspect_of = other.epoch
        self._heard_at[epoch.epoch] = now

    def _first(self, epoch: Epoch, record: Record) -> None:
        empty = record.previous == ZEROS
        epoch.zeros = empty if epoch.zeros is None else epoch.zeros and empty
        epoch.status_known = epoch.status_known or record.lane == Lane.STATUS
        self.changed.add(epoch.epoch)
        before = self.known.get(record.link[0]) if record.link else None
        if before is not None and before is not epoch and not before.ended:
            before.ended = True
            self.changed.add(before.epoch)

    def _succeed(self, epoch: Epoch, made_us: int, heard_us: int, now: float) -> None:
        """Make this the present epoch (rule 1)."""
        before = self.known.get(self.present) if self.present else None
        epoch.first_state_us = max(made_us, heard_us)
        self._begin(epoch)
        late = before is not None and epoch.count <= before.count and made_us <= (before.first_state_us or 0)
        if before is not None and not late:
            before.superseded_us = epoch.first_state_us
            self.changed.add(before.epoch)
            if epoch.count < before.count and epoch.suspect_of is None:
                self._suspect(epoch, before, now)

    def _begin(self, epoch: Epoch) -> None:
        self.present = epoch.epoch
        self._said.clear()
        self.changed.add(epoch.epoch)

    def _return(self, newer: Epoch, late: Epoch) -> None:
        """Make an epoch the present one again: what displaced it had come late."""
        late.superseded_us = newer.first_state_us
        self._begin(newer)
        self.changed.add(late.epoch)

    def _replace(self, newer: Epoch, live: Epoch, heard_us: int, now: float) -> None:
        """Take in that what seemed to be late is alive: the gateway began anew, went back, or there are two."""
        newer.superseded_us = heard_us
        self.changed.add(newer.epoch)
        live.superseded_us = None
        self._begin(live)
        if live.count < newer.count and live.suspect_of is None:
            self._suspect(live, newer, now)

    def _keeps_pace(self, state: State, heard_us: int) -> bool:
        """Whether this was made as long after an earlier state as it came after it: somebody says it now."""
        number, made, heard = self._said.setdefault(state.epoch, (state.number, state.time_us, heard_us))
        apart = heard_us - heard
        return state.number > number and apart >= APART_US and abs(state.time_us - made - apart) <= PACE_US

    def _judge(self, epoch: Epoch, other: Epoch) -> list[Finding]:
        epoch.suspect_of = None
        self.changed.add(epoch.epoch)
        if epoch.unstored or other.unstored:
            return []
        if not epoch.zeros:
            return [Cloned(epoch.epoch, other.epoch)]
        for older in self.known.values():
            if older is not epoch and not older.past:
                older.past = True
                self.changed.add(older.epoch)
        return [StoreLost(epoch.epoch, other.epoch)]


def _made_after(since_us: int | None, state: State, heard_us: int) -> bool:
    return since_us is not None and since_us < state.time_us <= heard_us + AHEAD_US


def _displaced(newer: Epoch, late: Epoch) -> bool:
    """Whether an epoch was present until the first state of one before it came, perhaps late (rule 2)."""
    never_superseded = newer is not late and newer.superseded_us is None and not newer.past
    return never_superseded and newer.count >= late.count and _came_later(late, newer)


def _came_later(epoch: Epoch, other: Epoch) -> bool:
    """Whether the first state of an epoch came after that of another."""
    first, others = epoch.first_state_us, other.first_state_us
    return first is not None and others is not None and first >= others
