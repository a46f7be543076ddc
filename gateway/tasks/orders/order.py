"""A command as the one who carries it out sees it, and what he answers: exactly once, at once or later.

What a commander asks is authorised, not right: every argument is looked at, and one that is wrong fails the command
with its reason, before anything has moved.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

TEXT_MAX: Final = 500  # characters of a reply's text, and of a reason in a record


@dataclass(frozen=True, slots=True)
class Order:
    """A command that is to be obeyed."""

    name: str
    arguments: Mapping[str, Any]
    by: str  # the commander


@dataclass(frozen=True, slots=True)
class Done:
    """What became of it. `noted` goes into its record, `then` happens once the reply is on its way."""

    outcome: Literal["done", "failed"]
    text: str | None = None
    result: Mapping[str, Any] | None = None
    noted: Mapping[str, Any] = field(default_factory=dict)
    then: Callable[[], None] = lambda: None


Answer = Callable[[Done], None]
Handler = Callable[[Order, Answer], None]
Slow = Callable[[Order], Awaitable[Done]]  # waits for a disk


def failed(text: str) -> Done:
    """Return that it was not done, and why."""
    return Done("failed", text[:TEXT_MAX])


def at_once(act: Callable[[Mapping[str, Any]], Done]) -> Handler:
    """Return the handler of a command that is done when `act` returns."""
    return lambda order, answer: answer(act(order.arguments))


def is_number(value: object, least: int, most: int) -> bool:
    """Whether an argument is a whole number in this range."""
    return type(value) is int and least <= value <= most


def is_text(value: object, most: int) -> bool:
    """Whether an argument is a printable text of 1 to `most` characters."""
    return type(value) is str and 0 < len(value) <= most and value.isprintable()
