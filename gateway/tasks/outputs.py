"""The gateway's own outputs by their names: what C5 sets, and what inputs show.

How long an output may be on, its driver sees to. Who speaks last counts: a siren that C5 set off stays off.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.control.feedback import Order, Pattern

if TYPE_CHECKING:
    from gateway.drivers.output import OutputLine


class Outputs:
    """All outputs of this gateway."""

    def __init__(self, lines: Mapping[str, "OutputLine"]) -> None:
        self._lines = lines

    def show(self, name: str, order: Order) -> None:
        """Move an output, if its line can be had; if not, that is told elsewhere."""
        self._lines[name].show(*order)

    def set(self, name: str, *, on: bool, seconds: float | None) -> str | None:
        """Set an output, for so long or as long as it may; return what is in the way, if anything is."""
        line = self._lines.get(name)
        if line is None:
            return f"this gateway has no output {name}"
        if line.show(Pattern.STEADY if on else Pattern.OFF, seconds):
            return None
        return line.trouble or "its line is not ready"
