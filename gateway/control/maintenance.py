"""Who is being tested, and until when: what happens there is flagged inside the signature, and never held back.

Rules:

1. A record is flagged (wire.md, flag 1) if it happened at a device or input under maintenance, between its beginning
   and its end. What happened before and arrives late is not flagged: it may be somebody in need.
2. Maintenance ends by itself after its minutes. It isn't stored: a gateway that starts anew has none. A press that is
   wrongly taken for real costs a visit, one that is wrongly taken for a test may cost a life.
3. Only what somebody at a device or input causes by his own hand is flagged (`CAUSED`). The gateway's own records
   never are, nor is a trouble that lasts: whoever is at work there, a device that is lost then is lost afterwards, and
   a mast that is carried away is gone.
4. A walk test has a maintenance of its own, beside that of C5: it ends no other's. C5 ends all of a scope.
"""

from dataclasses import dataclass
from typing import Final

from gateway.event import ALARMS, TEST

MINUTES_MAX: Final = 480
SCOPES_MAX: Final = 256  # devices and inputs under maintenance by themselves
CAUSED: Final = (ALARMS - {"position.moved"}) | {
    *("panic.released", "tamper.closed", "test.pressed", "door.opened", "door.closed"),
}


@dataclass(frozen=True, slots=True)
class Work:
    """Maintenance of one device or input, or of all (None), by a walk or by C5 (None); times are monotonic seconds."""

    scope: str | None
    reason: str
    begun_at: float
    ends_at: float
    walk: str | None = None


class Maintenance:
    """What is under maintenance at one gateway."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._works: dict[tuple[str | None, str | None], Work] = {}

    def begin(self, scope: str | None, minutes: int, reason: str, now: float, walk: str | None = None) -> bool:
        """Begin, or go on until so many minutes from now; False if there is no room for another."""
        key = scope, walk
        if key not in self._works and len(self._works) >= SCOPES_MAX:
            return False
        before = self._works.get(key)
        begun_at = now if before is None or now >= before.ends_at else before.begun_at
        self._works[key] = Work(scope, reason, begun_at, now + 60.0 * minutes, walk)
        return True

    def end(self, scope: str | None = None, walk: str | None = None) -> list[Work]:
        """End a walk's, or one device's or input's, or all (None); return what has ended."""
        ended = [
            work
            for work in self._works.values()
            if (work.walk == walk if walk is not None else scope is None or work.scope == scope)
        ]
        self._drop(ended)
        return ended

    def tick(self, now: float) -> list[Work]:
        """Return what has ended by itself (rule 2)."""
        ended = [work for work in self._works.values() if now >= work.ends_at]
        self._drop(ended)
        return ended

    def flags(self, type_: str, source: str, happened_at: float, now: float) -> int:
        """Return the flag of a record (rules 1 and 3)."""
        if not self._works or source == self._gateway or type_ not in CAUSED:
            return 0
        works = (work for work in self._works.values() if work.scope is None or work.scope == source)
        return TEST if any(work.begun_at <= happened_at and now < work.ends_at for work in works) else 0

    def works(self, now: float) -> list[Work]:
        """Return what is under maintenance now."""
        return [work for work in self._works.values() if now < work.ends_at]

    def _drop(self, ended: list[Work]) -> None:
        for work in ended:
            del self._works[work.scope, work.walk]
