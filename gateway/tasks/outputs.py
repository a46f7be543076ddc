"""The gateway's own outputs by their names: what C5 sets, and what inputs show.

How long an output may be on, its driver sees to. Who speaks last counts: a siren that C5 set off stays off. What shows
what became of presses is its input's alone: by a light that C5 set somebody would believe that help is coming.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.control.feedback import Order, Pattern

if TYPE_CHECKING:
    from gateway.drivers.output import OutputLine


class Outputs:
    """All outputs of this gateway."""

    def __init__(self, lines: Mapping[str, "OutputLine"], shows: Mapping[str, str]) -> None:
        self._lines = lines
        self._shows = shows  # outputs that are an input's, and whose

    def show(self, name: str, order: Order) -> None:
        """Move an output, if its line can be had; if not, that is told elsewhere."""
        self._lines[name].show(*order)

    def set(self, name: str, *, on: bool, seconds: float | None) -> str | float | None:
        """Set an output, for so long or as long as it may.

        Returns what is in the way, if anything is; else for how many seconds it is on, None: until told.
        """
        line = self._lines.get(name)
        if line is None:
            return f"this gateway has no output {name}"
        if (owner := self._shows.get(name)) is not None:
            return f"{name} shows what became of presses of {owner}, and nothing else may"
        if line.show(Pattern.STEADY if on else Pattern.OFF, seconds):
            limits = [limit for limit in (seconds, line.max_on_s) if limit is not None]
            return min(limits, default=None) if on else None
        return line.trouble or "its line is not ready"
