"""What a line does to bytes, from a seed: noise before them, cut ends, flipped bits, repeats, delays.

The same seed and the same chunks give the same faults, so a failed run can be run again.
"""

from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

NOISE_MAX: Final = 40  # bytes before a chunk


class Carrier(Protocol):
    """What stands between the two ends of a line, in one direction."""

    def apply(self, chunk: bytes) -> list[tuple[float, bytes]]:
        """Return what comes out at the other end: chunks, each after so many seconds."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """How likely each fault is for a chunk, 0 to 1; `delay_s` is the longest delay."""

    noise: float = 0.0
    cut: float = 0.0
    flip: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    delay_s: float = 1.0


class Faults:
    """One direction of a line. Delayed chunks may be overtaken by later ones, as with a second receiver."""

    def __init__(self, likelihoods: Likelihoods, seed: int) -> None:
        self.likelihoods = likelihoods
        self.counts = {"noise": 0, "cut": 0, "flip": 0, "repeat": 0, "delay": 0}
        self._random = Random(seed)

    def apply(self, chunk: bytes) -> list[tuple[float, bytes]]:
        """Return what comes out at the other end: chunks, each after so many seconds."""
        if not chunk:
            return []
        odds = self.likelihoods
        if self._strikes("cut", odds.cut):
            chunk = chunk[: self._random.randrange(len(chunk))]
        if chunk and self._strikes("flip", odds.flip):
            at = self._random.randrange(len(chunk))
            flipped = chunk[at] ^ 1 << self._random.randrange(8)
            chunk = chunk[:at] + bytes([flipped]) + chunk[at + 1 :]
        if self._strikes("noise", odds.noise):
            chunk = self._random.randbytes(self._random.randint(1, NOISE_MAX)) + chunk
        after = self._random.uniform(0, odds.delay_s) if self._strikes("delay", odds.delay) else 0.0
        arriving = [(after, chunk)]
        if self._strikes("repeat", odds.repeat):
            arriving.append((after + self._random.uniform(0, odds.delay_s), chunk))
        return arriving

    def _strikes(self, fault: str, likelihood: float) -> bool:
        strikes = self._random.random() < likelihood
        self.counts[fault] += strikes
        return strikes
