"""What a device session asks of its caller: values, of which none may be dropped.

Of each accepted frame exactly one of `NewEvent`, `RepeatedEvent`, `UnreadableEvent` and `Heard` is returned, so each of
these feeds supervision; no other does.
"""

from dataclasses import dataclass

from gateway.fieldlink.message import EventMessage, Heartbeat, Hello, Ignored, Measurement, Result, Unreadable


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes to the device's line; they begin with a delimiter, for a line that was idle."""

    wire: bytes


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that no record was made of. Record it and call `recorded`, or don't: the device will send it again."""

    message: EventMessage
    unproven: bool


@dataclass(frozen=True, slots=True)
class RepeatedEvent:
    """An event that a record was made of. Nothing to do but to feed supervision."""

    number: int


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """An authentic EVENT that can't be read: one record a minute for a device at most."""

    message: Unreadable
    unproven: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """Any other authentic and fresh message."""

    message: Hello | Heartbeat | Measurement | Result | Ignored
    unproven: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """An authentic frame that is not fresh: not acted on, not fed to supervision, counted and reported."""


@dataclass(frozen=True, slots=True)
class Unauthenticated:
    """A frame that names this device and was not made with its key: the same."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The device answered a challenge: what it says is no longer flagged. Store `counters`."""


@dataclass(frozen=True, slots=True)
class CommandEnded:
    """A command of the caller's has its result; None: the device restarted, or never answered."""

    number: int
    result: Result | None


Action = Send | NewEvent | RepeatedEvent | UnreadableEvent | Heard | Replayed | Unauthenticated | Proven | CommandEnded
