"""GPIO chips in the same process, behind the seam that the gateway takes its lines through: `World(chip=chips)`.

What of the kernel counts there is here: edges with times and numbers, a buffer that drops the oldest unread in silence,
debouncing, bias, lines that others hold, chips that are pulled out. It is a model, and deterministic: time is whatever
`now` says, and nothing moves but by the test's hand (`close`, `open`, `bounce`) and the event loop's timers.

For a gateway in a process of its own: `firmware_sim.gpiochip`.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

UNREAD_MAX = 16  # the kernel's own measure for one line
FULL_NS = 1_000_000_000

Edge = tuple[int, bool, int]


class Chips:
    """Every chip of a machine, by its path."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.chips: dict[str, Chip] = {}

    def add(self, path: str, lines: int = 8, **features: bool) -> "Chip":
        """Put a chip into the machine."""
        self.chips[path] = chip = Chip(self._now, lines, **features)
        return chip

    def input(
        self,
        path: str,
        line: int | str,
        *,
        active_low: bool,
        bias: str,
        debounce_ms: int,
        edges: Callable[[Sequence[Edge]], None],
        failed: Callable[[OSError], None],
    ) -> "HeldInput":
        """Take a line as an input."""
        taken = self._free(path, line)
        taken.bias = bias
        return HeldInput(self.chips[path], taken, debounce_ms, edges, failed, active_low=active_low)

    def output(self, path: str, line: int | str, *, active_low: bool) -> "HeldOutput":
        """Take a line as an output, and set it inactive."""
        return HeldOutput(self.chips[path], self._free(path, line), active_low=active_low)

    def killed(self) -> None:
        """The process that held lines is gone: they are free, and drive what they drove."""
        for chip in self.chips.values():
            chip.freed()

    def _free(self, path: str, line: int | str) -> "Line":
        chip = self.chips.get(path)
        if chip is None or not chip.present:
            raise _error(errno.ENOENT)
        if not chip.permitted:
            raise _error(errno.EACCES)
        found = [one for one in chip.lines if line in (one.number, one.name)]
        if not found:
            raise _error(errno.ECHRNG)
        if found[0].holder is not None:
            raise OSError(errno.EBUSY, found[0].holder)
        return found[0]


@dataclass
class Line:
    """One pin."""

    number: int
    name: str = ""
    holder: str | None = None
    bias: str = "as-is"
    pulled: bool | None = None  # what the outside connects it to: supply, ground, or nothing
    driven: bool | None = None  # what it drives as an output, also when nobody holds it any more
    changes: list[tuple[float, bool]] = field(default_factory=list)  # of an output: when, and its level

    @property
    def high(self) -> bool:
        """Its level now."""
        if self.driven is not None:
            return self.driven
        return self.bias == "pull-up" if self.pulled is None else self.pulled


class Chip:
    """One chip. `debounces`: the kernel does it; `notices`: whoever waits is woken when the chip goes (Linux 6.6)."""

    def __init__(self, now: Callable[[], float], lines: int, *, debounces: bool = True, notices: bool = True) -> None:
        self.now = now
        self.lines = [Line(number) for number in range(lines)]
        self.debounces = debounces
        self.notices = notices
        self.present = True
        self.permitted = True
        self.held: list[HeldInput | HeldOutput] = []

    def close(self, line: int) -> None:
        """Close a contact to ground."""
        self._pull(line, high=False)

    def open(self, line: int) -> None:
        """Open it: the line floats, or follows its bias."""
        self._pull(line, high=None)

    def bounce(self, line: int, edges: int, at: Sequence[float]) -> None:
        """Close and open a contact in turn, so many times, at these times, without the event loop coming round."""
        for number in range(edges):
            self._pull(line, high=False if number % 2 == 0 else None, at=at[number])

    def remove(self) -> None:
        """Pull the chip out."""
        self.present = False
        for held in self.held:
            if isinstance(held, HeldInput) and self.notices:
                asyncio.get_running_loop().call_soon(held.failed, _error(errno.ENODEV))
        self.freed()

    def insert(self) -> None:
        """Put it back: every line as it is after power-up."""
        self.present = True
        for line in self.lines:
            line.driven = None

    def freed(self) -> None:
        """Nobody holds a line any more."""
        for held in tuple(self.held):
            held.alive = False
            held.line.holder = None
        self.held.clear()

    def _pull(self, number: int, *, high: bool | None, at: float | None = None) -> None:
        line = self.lines[number]
        before = line.high
        line.pulled = high
        if line.high != before:
            for held in self.held:
                if isinstance(held, HeldInput) and held.line is line:
                    held.changed(self.now() if at is None else at)


class _Held:
    """A line that a process holds."""

    def __init__(self, chip: Chip, line: Line, *, active_low: bool) -> None:
        self.chip = chip
        self.line = line
        self.alive = True
        self.active_low = active_low
        line.holder = "c5-gateway"

    def check(self) -> None:
        """Raise OSError if the line is gone."""
        if not self.alive:
            raise _error(errno.ENODEV)

    def close(self) -> None:
        """Give it back; again is nothing."""
        if self.alive:
            self.alive = False
            self.line.holder = None
            self.chip.held = [held for held in self.chip.held if held is not self]


class HeldInput(_Held):
    """An input line, its buffer, and the kernel's debouncing."""

    def __init__(
        self,
        chip: Chip,
        line: Line,
        debounce_ms: int,
        edges: Callable[[Sequence[Edge]], None],
        failed: Callable[[OSError], None],
        *,
        active_low: bool,
    ) -> None:
        super().__init__(chip, line, active_low=active_low)
        line.driven = None
        self.failed = failed
        self._edges = edges
        self._debounce = debounce_ms / 1000 if chip.debounces else 0.0
        self._seen = line.high
        self._timer: asyncio.TimerHandle | None = None
        self._unread: list[Edge] = []
        self._number = 0
        chip.held.append(self)

    def level(self) -> bool:
        """Hand over what edges there are, then say whether the line is active."""
        self.check()
        self._hand_over()
        return (self._seen if self._debounce else self.line.high) != self.active_low

    def changed(self, at: float) -> None:
        """The pin has another level."""
        if not self._debounce:
            self._edge(at)
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._debounce, self._settled)

    def _settled(self) -> None:
        if self.alive and self.line.high != self._seen:
            self._edge(self.chip.now())

    def _edge(self, at: float) -> None:
        self._seen = self.line.high
        self._number += 1
        self._unread.append((round(at * FULL_NS), self._seen != self.active_low, self._number))
        del self._unread[:-UNREAD_MAX]  # in silence
        if len(self._unread) == 1:
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        unread, self._unread = self._unread, []
        if unread and self.alive:
            self._edges(unread)


class HeldOutput(_Held):
    """An output line."""

    def __init__(self, chip: Chip, line: Line, *, active_low: bool) -> None:
        super().__init__(chip, line, active_low=active_low)
        chip.held.append(self)
        self.put(False)

    def put(self, active: bool) -> None:
        """Set it."""
        self.check()
        high = active != self.active_low
        if high != self.line.driven:
            self.line.changes.append((self.chip.now(), high))
        self.line.driven = high


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
