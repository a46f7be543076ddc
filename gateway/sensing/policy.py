"""What counts as trouble: how long, how low, how loud, how often. The settings' `[supervision]` may say otherwise."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds, millivolts, bytes a second and counts, as docs/reference/interfaces.md explains them."""

    interval_s: float = 60.0  # wire.md: HEARTBEAT's default
    grace: float = 3.0  # intervals: "a device is lost after three"
    # A CR123A (3 V lithium) holds 2.7 to 2.9 V under load for nine tenths of its life and is empty at 2.0.
    battery_low_mv: int = 2400
    battery_restored_mv: int = 2600
    jam_bytes_s: int = 100  # a fault of a few frames stays below; a carrier that is always there brings thousands
    jam_s: float = 15.0
    jam_clear_s: float = 30.0
    chatter_events: int = 60  # in a minute: one a second for so long, no hand does that
    stuck_s: float = 600.0
