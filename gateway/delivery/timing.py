"""From the settings' profile to every time that a loss depends on.

The promise: whatever fails, C5 knows within the profile P (EN 50136's reporting time: 20, 90 or 180 s in the field).
The hardest failure is a black hole: packets vanish, nothing is reset. i is the interval between two states, k the
keep-alive, t how often a connection looks at what is overdue.

    the gateway notices on its own    A state goes out on each path every i, also when nothing else does, and no PUBACK
                                      within k ends the connection. The worst hole begins just after a PUBACK:
                                          i + k + t                    (20: 6 + 10 + 1 = 17 s; 90: 30 + 30 + 1 = 61 s;
                                                                        180: 60 + 60 + 1 = 121 s)
                                      `link.failed` leaves on another path in the same moment, which is connected.
    the kernel notices                TCP_USER_TIMEOUT is k: what is sent and stays unacknowledged for k ends it too.
                                      Probes of TCP's own would add nothing to what MQTT sends every i.
    C5 notices, told by the broker    The broker publishes the will after one and a half keep-alives of silence (MQTT
                                      5.0, 3.1.2.10): 1.5 k ≤ 0.75 P  (20: 15 s; 90: 45 s; 180: 90 s)
    C5 notices by itself              Three intervals without a state, should the broker keep the will from it:
                                          3 i ≤ P from the last state's arrival, and the second between two looks

An alarm doesn't wait for any of them: what isn't acknowledged within `LATE` goes out on every other path as well.
"""

from typing import Final

LATE: Final = 3.0  # seconds without a PUBACK after which an alarm takes the other paths too; 2G answers within two
_HOLD_MAX: Final = 60.0
_DIAL_MAX: Final = 15.0
_TICK_MAX: Final = 1.0


def interval(profile: int) -> int:
    """Seconds between two states on each connection."""
    return max(1, profile // 3)


def keepalive(profile: int) -> int:
    """Seconds within which a dead link is noticed once something was sent: 30 for a profile of 90, 10 for one of 20."""
    return max(1, min(profile // 2, max(10, profile // 3)))


def tick(keepalive: float) -> float:
    """Seconds between two looks of a connection at what is overdue."""
    return min(_TICK_MAX, keepalive / 10)


def noticed(profile: int) -> float:
    """Seconds after which a black hole is noticed at the latest, and `link.failed` out."""
    return interval(profile) + keepalive(profile) + tick(keepalive(profile))


def dial(profile: int) -> float:
    """Seconds for DNS, TCP, TLS and MQTT together: a path that can't even be opened is reported within the profile."""
    return min(_DIAL_MAX, 0.75 * profile)


def hold(profile: int) -> float:
    """Seconds for which a path that had failed must hold before it carries the records again."""
    return min(float(profile), _HOLD_MAX)
