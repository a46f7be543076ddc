"""Which authentic upward frames are fresh, judged by their counter alone.

Only a counter above the last accepted is fresh. The same counter and tag again, or one at most 16 below and not seen
yet, is late: a second receiver brought it. Everything else is a replay.

Source: wire.md, section 1, "Upward".
"""

from dataclasses import dataclass, replace
from enum import Enum, auto
from hmac import compare_digest
from typing import Final

LATE_MAX: Final = 16  # counters below the last accepted that a second receiver may still bring
_SEEN_MASK: Final = (1 << LATE_MAX) - 1


@dataclass(frozen=True, slots=True)
class Counters:
    """What must outlive the gateway; `seen` has bit i set for the counter `last - 1 - i`.

    `proven` is whether `last` can't be a recording's: it was known at enrolment, or a challenge was answered since.
    """

    last: int
    tag: bytes
    seen: int = 0
    proven: bool = True


class Freshness(Enum):
    """How a frame's counter stands to those before it."""

    FRESH = auto()
    LATE = auto()  # dropped in silence
    REPLAY = auto()


def judge(known: Counters | None, counter: int, tag: bytes) -> tuple[Freshness, Counters]:
    """Judge an authentic frame; return the counters that hold after it. Unknown counters take any frame, unproven."""
    if known is None:
        return Freshness.FRESH, Counters(counter, tag, proven=False)
    ahead = counter - known.last
    if ahead > 0:
        seen = (known.seen << 1 | 1) << (ahead - 1) if ahead <= LATE_MAX else 0
        return Freshness.FRESH, Counters(counter, tag, seen & _SEEN_MASK, known.proven)
    if ahead == 0:
        return Freshness.LATE if compare_digest(tag, known.tag) else Freshness.REPLAY, known
    bit = 1 << (-ahead - 1)
    if -ahead > LATE_MAX or known.seen & bit:
        return Freshness.REPLAY, known
    return Freshness.LATE, replace(known, seen=known.seen | bit)
