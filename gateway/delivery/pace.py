"""How much may be on its way: enough to keep the link busy, and never more than a fraction of a second of it.

On a slow link the queue that delays an alarm is not ours: it stands in the socket's buffer and in the modem, and what
stands there can't be overtaken. So no more is let out than the link carries in a round trip and 250 ms. Both are
measured by the time that each message's acknowledgement takes:

    rate     all that was on its way with a message, itself included, passed within its round trip: no link lets that
             come out too high. The highest of one round trip counts.
    base     the shortest round trip of the last half minute: the link without a queue. It begins with the queue let
             drain, or one that always stands would count as distance.
    window   rate x (base + 250 ms), at most doubled in a round trip: it begins small, and is wide open on a fast link
             within a few. It is narrowed only by what was learned while it was what limited.

A message that comes back a second late narrows the window at once: a link that falls back from 3G to 2G is choked by
what is on its way. After a pause the window opens anew, since a full one at once would be a queue.

Sources: BBR (Cardwell et al., ACM Queue 14(5), 2016) for rate and base, LEDBAT (RFC 6817) for the bound in time;
wire.md, section 3 ("A sequence is at most…").
"""

from dataclasses import dataclass
from math import inf
from typing import Final

SEQUENCE_MAX: Final = 16_384  # bytes of one publish
WINDOW_MAX: Final = 32  # publishes in flight at most, whatever the broker allows: half a MiB
QUEUE: Final = 0.25  # seconds of the link that may wait for it
SLICE: Final = 0.125  # seconds of the link that one sequence takes: half of what wire.md allows, for a finer grain
LATE: Final = 1.0  # seconds in a queue: this window was a mistake
OVERHEAD: Final = 128  # bytes that a publish costs beside its payload: topic, properties, TLS
START: Final = 1024  # bytes in flight when a connection begins
FLOOR: Final = 256  # bytes: no window and no sequence needs to be smaller; one message may always go
SOUNDING: Final = 30.0  # seconds between two measurements of the base
DRAINED: Final = 0.75  # of what the link holds without a queue is let stand on it meanwhile


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on its way."""

    size: int
    at: float
    ahead: int  # bytes on their way with it, itself included
    sounding: bool


class Pace:
    """The window of one path, and how long a sequence may be."""

    def __init__(self, start: int = START) -> None:
        self._start = start
        self._ceiling = SEQUENCE_MAX
        self.connected()

    def connected(self) -> None:
        """Begin a connection: nothing is known of its link."""
        self._in_flight = 0
        self._idle_since = -inf
        self._window: float = self._start
        self._rate = self._start / SLICE / 4
        self._best = 0.0  # rate of this round trip
        self._waited = 0.0  # for the link: the message that showed it
        self._round_at = -inf
        self._limited = False  # in this round trip, by the window
        self._base = inf
        self._sound_at = inf

    def disconnected(self) -> None:
        """End it: sequences are half as long at first, in case they were what the link didn't bear."""
        self._ceiling = max(FLOOR, self.sequence_max // 2)

    @property
    def sequence_max(self) -> int:
        """Bytes of a publish at most."""
        return max(FLOOR, min(SEQUENCE_MAX, self._ceiling, int(self._rate * SLICE)))

    def admits(self, size: int, now: float) -> bool:
        """Whether a message of this size, which can wait, may go now."""
        if not self._in_flight:
            return True
        window = min(self._window, self._drained) if now >= self._sound_at else self._window
        admitted = self._in_flight + size + OVERHEAD <= window
        self._limited |= not admitted
        return admitted

    @property
    def _drained(self) -> float:
        return DRAINED * self._rate * self._base

    def sent(self, size: int, now: float) -> Sent:
        """Note what goes out, admitted or not."""
        size += OVERHEAD
        if not self._in_flight and now >= self._idle_since + QUEUE:
            self._window = min(self._window, self._start)
        self._in_flight += size
        sounding = now >= self._sound_at and self._in_flight <= max(self._drained, size)
        return Sent(size, now, self._in_flight, sounding)

    def answered(self, sent: Sent, now: float) -> None:
        """Note the answer to it."""
        self._in_flight = max(0, self._in_flight - sent.size)
        self._idle_since = now
        self._ceiling = min(SEQUENCE_MAX, self._ceiling + sent.size // 8)
        took = max(now - sent.at, 1e-6)
        if sent.sounding:
            if now >= self._sound_at:
                self._base = took
                self._sound_at = now + SOUNDING
                self._next_round(now)
            return
        self._base = min(self._base, took)
        self._sound_at = min(self._sound_at, now + SOUNDING)
        rate, waited = sent.ahead / took, took - self._base
        if waited > LATE:
            self._best, self._waited, self._limited = rate, waited, True
            self._learn(sent, now)
        elif rate > self._best:
            self._best, self._waited = rate, waited
        if sent.at >= self._round_at:
            self._learn(sent, now)

    def _learn(self, sent: Sent, now: float) -> None:
        """Draw the conclusions of a round trip."""
        window = self._best * (self._base + QUEUE)
        if self._waited < QUEUE / 2:
            window = max(window, self._window + sent.size)  # or a window of a few messages would never hold one more
        if self._limited:
            self._window = min(max(FLOOR, window), 2 * self._window, WINDOW_MAX * (SEQUENCE_MAX + OVERHEAD))
        if self._limited or self._best > self._rate:
            self._rate = self._best
        self._best = 0.0
        self._next_round(now)

    def _next_round(self, now: float) -> None:
        self._round_at = now
        self._limited = False
