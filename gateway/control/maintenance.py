"""Who is being tested, and until when: what happens there is flagged inside the signature, and never held back.

Rules:

1. A record is flagged (wire.md, flag 1) if it happened at a device or input under maintenance, between its beginning
   and its end. What happened before and arrives late is not flagged: it may be somebody in need.
2. Maintenance ends by itself after its minutes. It isn't stored: a gateway that starts anew has none. A press that is
   wrongly taken for real costs a visit, one that is wrongly taken for a test may cost a life.
3. The gateway's own records are never flagged: its troubles are real, whoever is at work there.
"""

from dataclasses import dataclass
from typing import Final

from gateway.event import TEST

MINUTES_MAX: Final = 480
SCOPES_MAX: Final = 256  # devices and inputs under maintenance by themselves


@dataclass(frozen=True, slots=True)
class Work:
    """Maintenance of one device or input, or of all (None); times are monotonic seconds."""

    scope: str | None
    reason: str
    begun_at: float
    ends_at: float


class Maintenance:
    """What is under maintenance at one gateway."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._works: dict[str | None, Work] = {}

    def begin(self, scope: str | None, minutes: int, reason: str, now: float) -> bool:
        """Begin, or go on until so many minutes from now; False if there is no room for another."""
        if scope not in self._works and len(self._works) >= SCOPES_MAX:
            return False
        before = self._works.get(scope)
        begun_at = now if before is None or now >= before.ends_at else before.begun_at
        self._works[scope] = Work(scope, reason, begun_at, now + 60.0 * minutes)
        return True

    def end(self, scope: str | None = None) -> list[Work]:
        """End one device's or input's, or all (None); return what has ended."""
        ended = list(self._works.values()) if scope is None else [work for work in [self._works.get(scope)] if work]
        for work in ended:
            del self._works[work.scope]
        return ended

    def tick(self, now: float) -> list[Work]:
        """Return what has ended by itself (rule 2)."""
        ended = [work for work in self._works.values() if now >= work.ends_at]
        for work in ended:
            del self._works[work.scope]
        return ended

    def flags(self, source: str, happened_at: float, now: float) -> int:
        """Return the flag of a record (rule 1)."""
        if not self._works or source == self._gateway:
            return 0
        works = (self._works.get(source), self._works.get(None))
        return TEST if any(work and work.begun_at <= happened_at and now < work.ends_at for work in works) else 0

    def works(self, now: float) -> list[Work]:
        """Return what is under maintenance now."""
        return [work for work in self._works.values() if now < work.ends_at]
