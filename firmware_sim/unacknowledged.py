"""The events a device has told and heard no stage for: at most 32, oldest first, sent again until it hears one.

When they are full, a new event pushes out the oldest restoral, trouble or test (kinds 16 to 24); if there is none the
new one isn't kept. When several are due, kinds outside 16 to 24 go first.

Source: wire.md, section 1, "Events".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from gateway.fieldlink.message import KIND_RELEASED, KIND_TEST

KEPT_MAX: Final = 32
RESEND_AFTER: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds from one sending to the next
RESEND_EVERY: Final = 15.0
OLD: Final = 3600.0  # seconds after the press
RESEND_OLD_EVERY: Final = 300.0
JITTER: Final = 0.25  # of each delay, either way, so that two devices that collided don't collide again


def may_wait(kind: int) -> bool:
    """Whether an event of this kind gives way to others."""
    return KIND_RELEASED <= kind <= KIND_TEST


@dataclass(slots=True)
class Pending:
    """An event that no stage was heard for. `extra` are payload keys beyond those of wire.md."""

    number: int
    kind: int
    happened_at: float
    extra: Mapping[int, Any]
    due: float
    sent: int = 0


class Unacknowledged:
    """The events still to be told, and when."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._pending: dict[int, Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def numbers(self) -> frozenset[int]:
        """Those it keeps."""
        return frozenset(self._pending)

    @property
    def deadline(self) -> float | None:
        """When the next is due."""
        return min((pending.due for pending in self._pending.values()), default=None)

    def make_room(self) -> bool:
        """Push out the oldest that may wait if the memory is full; return whether there is room for a new event."""
        if len(self._pending) < KEPT_MAX:
            return True
        oldest = next((number for number, pending in self._pending.items() if may_wait(pending.kind)), None)
        if oldest is None:
            return False
        del self._pending[oldest]
        return True

    def add(self, number: int, kind: int, now: float, extra: Mapping[int, Any]) -> None:
        """Keep a new event, due at once. `make_room` said that there is room."""
        assert len(self._pending) < KEPT_MAX
        self._pending[number] = Pending(number, kind, now, extra, due=now)

    def next_due(self, now: float) -> Pending | None:
        """Return one event to send now, and plan its next sending; None when nothing is due."""
        due = [pending for pending in self._pending.values() if pending.due <= now]
        if not due:
            return None
        first = min(due, key=lambda pending: (may_wait(pending.kind), pending.number))
        first.due = now + self._delay(first, now) * self._random.uniform(1 - JITTER, 1 + JITTER)
        first.sent += 1
        return first

    def heard(self, number: int) -> None:
        """Forget an event: the device heard a stage for it."""
        self._pending.pop(number, None)

    @staticmethod
    def _delay(pending: Pending, now: float) -> float:
        if pending.sent < len(RESEND_AFTER):
            return RESEND_AFTER[pending.sent]
        return RESEND_OLD_EVERY if now - pending.happened_at >= OLD else RESEND_EVERY
