"""Is a device's battery low? By the millivolts that it says, unless it judges its battery itself.

1. Low is what stays below the one threshold, from reading to reading, for `HOLD`: a radio that sends, or a cold night,
   pulls a good cell down for a moment. Restored is one reading at or above the other: nobody but a person does that.
2. A device that tells of its battery itself (kinds 18 and 19) is believed from then on, and nothing is made of its
   millivolts: one trouble, one record. The hold is also the time in which its own word comes first.
3. 0 mV is a device on the mains that has nothing to measure.
"""

from typing import Final

HOLD: Final = 300.0  # seconds


class Battery:
    """One device's. `low`: it is told as low; `own`: the device judges itself."""

    def __init__(self, low_mv: int, restored_mv: int, *, low: bool = False, own: bool = False) -> None:
        self._low_mv = low_mv
        self._restored_mv = restored_mv
        self.low = low
        self.own = own
        self.millivolts: int | None = None
        self._below_since: float | None = None
        self._newest = 0

    def measured(self, millivolts: int, now: float) -> bool | None:
        """Take a reading; return what is now to be told: low or not. Set `low` once it is."""
        if not millivolts:
            return None
        self.millivolts = millivolts
        if millivolts >= self._low_mv:
            self._below_since = None
        elif self._below_since is None:
            self._below_since = now
        if self.own:
            return None
        if self.low:
            return False if millivolts >= self._restored_mv else None
        held = self._below_since is not None and now >= self._below_since + HOLD
        return True if held else None

    def said(self, number: int, *, low: bool) -> bool:
        """Take the device's own word, of the event with this number; return whether it is the newest."""
        self.own = True
        if number <= self._newest:
            return False
        self._newest, self.low = number, low
        return True
