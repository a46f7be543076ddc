"""What the person who pressed is shown, on a light or a buzzer that the gateway itself moves.

The stages are those of a Field Link ACK: 1 stored here, 2 received at C5, 3 acknowledged by an operator. A light
blinks slowly while the press is known here alone, and is steady once C5 has it; with an operator's acknowledgement a
buzzer sounds for a moment. A silent press and one under duress show nothing at any stage: whoever threatens is looking.

Source: wire.md, section 1 "ACK stages", "Commands" (the patterns).
"""

from enum import IntEnum
from typing import Final, NamedTuple

STORED, RECEIVED, ACKNOWLEDGED = 1, 2, 3
UNSHOWN: Final = frozenset({"panic.silent", "panic.duress"})
TONE: Final = 1.5  # seconds of the buzzer: long enough to turn round to, too short to find the way by


class Pattern(IntEnum):
    """How an output is moved."""

    OFF = 0
    STEADY = 1
    SLOW = 2
    FAST = 3
    TONE = 4


# Seconds on, and off again. A tone is for what makes one itself when it has power: a buzzer, in fast pulses.
PULSES: Final = {Pattern.SLOW: 0.5, Pattern.FAST: 0.1, Pattern.TONE: 0.1}
LIGHT: Final = {STORED: Pattern.SLOW, RECEIVED: Pattern.STEADY, ACKNOWLEDGED: Pattern.STEADY}


class Order(NamedTuple):
    """What an output shall do; for how many seconds, or None: for as long as it may."""

    pattern: Pattern
    seconds: float | None = None


OFF: Final = Order(Pattern.OFF)


def light(type_: str, stage: int) -> Order | None:
    """Return what a light shows of a press at this stage, 0: it is not stored; None: as before."""
    return None if type_ in UNSHOWN else Order(LIGHT.get(stage, Pattern.OFF))


def sound(type_: str, stage: int) -> Order | None:
    """Return what a buzzer sounds of a press at this stage; None: as before."""
    return Order(Pattern.TONE, TONE) if stage == ACKNOWLEDGED and type_ not in UNSHOWN else None
