"""A contact: a button, a door, a charger's relay. Edges and levels of its line → events.

Nothing pressed may be lost, and nothing invented. What follows from it here:

1. A change is told at its first edge, with the kernel's time. Edges within `debounce` seconds of one another belong to
   it, and when they have ended the level that is left counts. (The kernel has debounced before. This is kept because
   a chip that does it in hardware, which the kernel prefers, does it for as long as its registers go, and because
   rule 2 must know what is one contact's bounce.)
2. Edges are numbered. Where numbers are missing, edges were lost, and a line that was idle before the gap has been
   pressed in it, whatever its level is now: a lost edge can't have been another. A line that was active has been
   released, and pressed again if two or more are missing. One press of a gap is told, at the time of the first edge
   after it; further ones are counted with what rule 5 counts. If the whole gap is no longer than `debounce`, its edges
   are one contact's bounce, which has been told.
3. The level that is read is the truth: a change that no edge told of is told as `found`, at the time of the reading.
4. What was told outlives the process (`state`). At a start, or when a chip is back, an active line whose press was
   told makes no other; if none was, it was pressed meanwhile. If nothing is known an active line is told: an alarm
   twice is better than none.
5. `BURST` presses are told at once, and one more for each minute: a burst's first is always told, and so is, within
   that time, one that is still held. The others are counted: `device.chattering`, at once and then once a minute.
6. Active for longer than `stuck_s`, it is `device.stuck`: once, and anew after a release.

Not decided here: whether an alarm is meant. A latching button is active until somebody resets it.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway.event import Event, Position

Edge = tuple[int, bool, int]  # the kernel's monotonic time in ns, whether the line is active since, its number

BURST: Final = 20  # presses: nobody's hand makes more of one alarm
PRESS_EVERY: Final = 60.0  # seconds for one more
REPORT_EVERY: Final = 60.0  # seconds between two reports of chattering
NUMBERS: Final = 2**32  # the kernel's count begins again

IDLE, ACTIVE, STUCK = 0, 1, 2
STUCK_TYPE: Final = "device.stuck"

# What a contact can mean, and how the end of it is called.
MEANINGS: Final[Mapping[str, str | None]] = {
    "panic.pressed": "panic.released",
    "panic.silent": None,
    "panic.duress": None,
    "medical.requested": None,
    "fire.reported": None,
    "tamper.opened": "tamper.closed",
    "intrusion.detected": None,
    "battery.low": "battery.restored",
    "power.lost": "power.restored",
    "door.opened": "door.closed",
    "test.pressed": None,
}
# What a hand does, and ends: with any of these a contact that stays active is a fault, or somebody's despair.
MOMENTARY: Final = frozenset({"panic.pressed", "panic.silent", "panic.duress", "medical.requested", "test.pressed"})


class Contact:
    """One input; `state` is what was last told of it, before the start."""

    def __init__(
        self,
        name: str,
        on: str,
        off: str | None,
        *,
        debounce: float,
        stuck_s: float | None,
        position: Position | None = None,
        state: int = IDLE,
    ) -> None:
        self.name = name
        self.on = on
        self.lost = 0  # edges
        self.state = state
        self._off = off
        self._debounce = debounce
        self._stuck_s = stuck_s
        self._position = position
        self._level = self._raw = state != IDLE
        self._at_ns: int | None = None  # of the last edge, or None: the level was read
        self._quiet_at = 0.0  # when a change is no bounce any more
        self._next = 1  # the number of the next edge
        self._active_at: float | None = None  # when it was told, or first seen, active
        self._presses, self._counted_at = float(BURST), 0.0
        self._untold = 0  # presses not told and not reported yet
        self._report_at = 0.0

    def after(self, type_: str) -> int | None:
        """Return the `state` that a record of this type leaves; None: it says nothing of that."""
        states = {self.on: ACTIVE, STUCK_TYPE: STUCK}
        return IDLE if type_ == self._off else states.get(type_)

    def taken(self) -> None:
        """The line is ours, again: its edges are numbered from 1."""
        self._next = 1

    def edges(self, edges: Iterable[Edge]) -> tuple[list[Event], bool]:
        """Take what the kernel noticed; return the events, and whether edges were lost: then read the level."""
        events: list[Event] = []
        gap = False
        for at_ns, active, number in edges:
            at = at_ns / 1e9
            if missing := (number - self._next) % NUMBERS:
                gap = True
                self.lost += missing
                events += self._missed(missing, at, at_ns, active=active)
            self._next = (number + 1) % NUMBERS
            events += self._edge(at, at_ns, active=active)
        return events, gap

    def level(self, now: float, *, active: bool) -> list[Event]:
        """Take the level that was read just now."""
        events = self._settle(now)
        if self._active_at is None and active and self.state == ACTIVE:
            self._active_at = now  # told before the start
        self._raw = active
        if now >= self._quiet_at and active != self._level:
            self._at_ns = None
            events += self._changed(now, active=active)
        return events

    @property
    def settles_at(self) -> float | None:
        """When a bounce is over that has left another level than was told: `tick` is due then, not just each second."""
        return None if self._raw == self._level else self._quiet_at

    def tick(self, now: float) -> list[Event]:
        """Time passed."""
        events = self._settle(now) + self._report(now)
        if self._level and self.state == IDLE and self._may_tell(now):
            events.append(self._pressed(now))
        if (
            self.state == ACTIVE
            and self._stuck_s is not None
            and self._active_at is not None
            and now >= self._active_at + self._stuck_s
        ):
            self.state = STUCK
            seconds = round(now - self._active_at)
            events.append(Event(STUCK_TYPE, self.name, position=self._position, data={"count": 1, "active_s": seconds}))
        return events

    # One after another.

    def _edge(self, at: float, at_ns: int, *, active: bool) -> list[Event]:
        events = self._settle(at)
        bounce = at < self._quiet_at
        if bounce or active != self._level:
            self._at_ns, self._quiet_at = at_ns, at + self._debounce
        self._raw = active
        if not bounce and active != self._level:
            events += self._changed(at, active=active)
        return events

    def _settle(self, now: float) -> list[Event]:
        """Take the level that a bounce has left, once it is over."""
        if self._raw == self._level or now < self._quiet_at:
            return []
        return self._changed(now, active=self._raw)

    def _missed(self, missing: int, at: float, at_ns: int, *, active: bool) -> list[Event]:
        """Tell of edges that were lost before this one (rule 2)."""
        if at < self._quiet_at:
            return []
        events = self._settle(at)
        presses = (missing + (not self._level)) // 2
        self._at_ns = at_ns
        if presses:
            events += self._changed(at, active=False) + self._changed(at, active=True)
            events += self._not_told(presses - 1, at)
        return events + self._changed(at, active=not active)

    # What is told.

    def _changed(self, at: float, *, active: bool) -> list[Event]:
        was, self._level = self._level, active
        self._raw = active
        if active == was:
            return []
        if active:
            return [self._pressed(at)] if self._may_tell(at) else self._not_told(1, at)
        if self.state == IDLE:  # its press was not told
            return []
        self.state, self._active_at = IDLE, None
        return [] if self._off is None else [self._event(self._off)]

    def _pressed(self, at: float) -> Event:
        self.state, self._active_at = ACTIVE, at
        return self._event(self.on)

    def _event(self, type_: str) -> Event:
        found = {"found": True} if self._at_ns is None else None
        return Event(type_, self.name, position=self._position, data=found, at_ns=self._at_ns)

    def _may_tell(self, at: float) -> bool:
        self._presses = min(float(BURST), self._presses + max(0.0, at - self._counted_at) / PRESS_EVERY)
        self._counted_at = max(at, self._counted_at)
        if self._presses < 1:
            return False
        self._presses -= 1
        return True

    def _not_told(self, presses: int, at: float) -> list[Event]:
        self._untold += presses
        return self._report(at)

    def _report(self, at: float) -> list[Event]:
        if not self._untold or at < self._report_at:
            return []
        count, self._untold, self._report_at = self._untold, 0, at + REPORT_EVERY
        return [Event("device.chattering", self.name, position=self._position, data={"count": count})]
