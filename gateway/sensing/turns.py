"""Whose turn it is on an OSDP line: each peripheral once a poll, and one that is silent so rarely that few notice.

1. A peripheral that answers is asked again `POLL` seconds later: sooner libosdp has nothing to say to it. While a
   connection is set up, or something waits to be told, it is at once.
2. One that is silent costs the line `ANSWER` seconds. It is asked again after `TRY`, as libosdp wants it; after
   `LOST_AFTER` questions without an answer it is lost, and asked every `REST` seconds at first and `REST_MAX` later, so
   that it never takes more than a twelfth of the line's time.
3. The turn that is due the longest comes first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

POLL: Final = 0.051  # OSDP_PD_POLL_TIMEOUT_MS of libosdp is 50, which it must be past
ANSWER: Final = 0.203  # OSDP_RESP_TOUT_MS is 200, likewise
TRY: Final = 0.805  # OSDP_CMD_RETRY_WAIT_MS is 800
LOST_AFTER: Final = 3
REST: Final = 2.5
REST_MAX: Final = 5.0
SOON: Final = 0.004  # until one that had nothing to say is asked whether it has by now


@dataclass(slots=True)
class _Turn:
    due: float
    failures: int = 0


class Turns:
    """All peripherals of one line. Times are those of one monotonic clock."""

    def __init__(self, names: Iterable[str], now: float) -> None:
        self._turns = {name: _Turn(now) for name in names}

    def next(self, now: float) -> str | None:
        """Return whose turn it is, if it is somebody's."""
        if not self._turns:
            return None
        due, name = min((turn.due, name) for name, turn in self._turns.items())
        return name if due <= now else None

    def deadline(self, now: float) -> float:
        """Return when it is somebody's turn."""
        return min((turn.due for turn in self._turns.values()), default=now + REST_MAX)

    def at(self, name: str, due: float) -> None:
        """Set the next turn."""
        self._turns[name].due = due

    def hurry(self, name: str, now: float) -> None:
        """Something is to be told: it is this one's turn, unless it is silent."""
        if not self._turns[name].failures:
            self._turns[name].due = now

    def answered(self, name: str, now: float, *, more: bool) -> None:
        """It answered; there is `more` to say at once."""
        self._turns[name] = _Turn(now if more else now + POLL)

    def failed(self, name: str, now: float) -> bool:
        """It didn't answer, or its connection couldn't be set up; return whether it is lost."""
        turn = self._turns[name]
        turn.failures += 1
        rests = turn.failures - LOST_AFTER
        turn.due = now + (TRY if rests < 0 else min(REST * (rests + 1), REST_MAX))
        return rests >= 0
