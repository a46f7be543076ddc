"""A cell that discharges: by time, by each frame sent, and by each output that is on.

A lithium cell holds its voltage for years and falls within weeks; here it falls in a straight line, as fast as a test
wants. What is tested is what a device and its gateway make of a voltage, not chemistry.
"""

from dataclasses import dataclass
from typing import Final

FULL_MV: Final = 2980
_HOUR: Final = 3600.0


@dataclass(slots=True)
class Battery:
    """`idle` and `load` are mV an hour, `load` for each output that is on; `frame` is mV for each frame sent."""

    charge_mv: float = FULL_MV
    idle: float = 0.0
    frame: float = 0.0
    load: float = 0.0
    _drained_at: float = 0.0

    @property
    def millivolts(self) -> int:
        """What the board's converter reads."""
        return max(0, round(self.charge_mv))

    def replace(self, millivolts: float) -> None:
        """Put in another cell."""
        self.charge_mv = millivolts

    def drain(self, now: float, outputs: int = 0) -> None:
        """Time passed, with so many outputs on."""
        hours = max(0.0, now - self._drained_at) / _HOUR
        self._drained_at = now
        self.charge_mv = max(0.0, self.charge_mv - hours * (self.idle + outputs * self.load))

    def sent(self) -> None:
        """A frame left."""
        self.charge_mv = max(0.0, self.charge_mv - self.frame)

    def restart(self, now: float) -> None:
        """Begin to count from here; what passed while the board was off cost nothing."""
        self._drained_at = now
