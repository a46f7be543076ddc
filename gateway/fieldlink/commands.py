"""The commands a device has not answered yet: sent again after 1, 2, 4 s with the same number, then given up.

Source: wire.md, section 1, "Commands".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.fieldlink.message import Command

RESEND_AFTER: Final = (1.0, 2.0, 4.0)  # seconds from one sending to the next
ANSWER_WITHIN: Final = 8.0  # seconds after the last sending; then the device is taken not to have heard
UNANSWERED_MAX: Final = 8  # a device that answers nothing costs no more memory than this
_NUMBER_MASK: Final = 2**31 - 1


@dataclass(slots=True)
class _Sent:
    command: Command
    due: float
    times: int = 1


class Commands:
    """Numbers commands from a random start and keeps those without an answer."""

    def __init__(self, first_number: int) -> None:
        self._next = first_number & _NUMBER_MASK
        self._sent: dict[int, _Sent] = {}

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        return min((sent.due for sent in self._sent.values()), default=None) if self._sent else None

    @property
    def full(self) -> bool:
        """Whether no further command can be taken."""
        return len(self._sent) >= UNANSWERED_MAX

    def waiting(self, command: int) -> bool:
        """Whether a command of this meaning has no answer yet."""
        return any(sent.command.command == command for sent in self._sent.values())

    def issue(self, command: int, arguments: Mapping[int, Any] | None, now: float) -> Command:
        """Give a command its number; the caller sends it now."""
        issued = Command(self._next, command, arguments)
        self._next = (self._next + 1) & _NUMBER_MASK
        self._sent[issued.number] = _Sent(issued, now + RESEND_AFTER[0])
        return issued

    def answered(self, number: int) -> Command | None:
        """Return the command that this number answers, which then has its answer."""
        sent = self._sent.pop(number, None)
        return None if sent is None else sent.command

    def forget(self) -> list[Command]:
        """Return all that wait, which no longer do: the device restarted."""
        sent, self._sent = self._sent, {}
        return [each.command for each in sent.values()]

    def tick(self, now: float) -> tuple[list[Command], list[Command]]:
        """Return the commands to send again now, and those given up."""
        again: list[Command] = []
        given_up: list[Command] = []
        for number, sent in list(self._sent.items()):
            if now < sent.due:
                continue
            if sent.times > len(RESEND_AFTER):
                del self._sent[number]
                given_up.append(sent.command)
                continue
            sent.due = now + (*RESEND_AFTER[1:], ANSWER_WITHIN)[sent.times - 1]
            sent.times += 1
            again.append(sent.command)
        return again, given_up
