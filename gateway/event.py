"""What happened, before it is signed: an event, its lane, and the vocabulary of wire.md.

A type's lane is part of its meaning: life safety travels on the alarm lane alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple


class Lane(IntEnum):
    """An independent chain with its own delivery (wire.md, section 2)."""

    ALARM = 0
    STATUS = 1
    TELEMETRY = 2


LANE_NAMES: Final = {Lane.ALARM: "alarm", Lane.STATUS: "status", Lane.TELEMETRY: "telemetry"}
LANES_BY_NAME: Final = {name: lane for lane, name in LANE_NAMES.items()}


class Position(NamedTuple):
    """Where, in 1e-7 degrees; accuracy in centimetres where known."""

    latitude: int
    longitude: int
    accuracy_cm: int | None = None


TEST: Final = 1  # flag: a walk test or maintenance
UNPROVEN: Final = 2  # flag: a recording could have caused it


@dataclass(frozen=True, slots=True)
class Event:
    """One happening, as the gateway understood it.

    `source` is a device id, an input's or unit's name, or the gateway id. `age_ms` is how long ago the device says
    it happened. `at_ns`, where the kernel has stamped it, is its time on the monotonic clock, and counts instead.
    """

    type: str
    source: str
    age_ms: int = 0
    event_number: int | None = None
    position: Position | None = None
    data: Mapping[str, Any] | None = None
    flags: int = 0
    at_ns: int | None = None


ALARMS: Final = frozenset(
    {
        "panic.pressed",
        "panic.silent",
        "panic.duress",
        "medical.requested",
        "fire.reported",
        "tamper.opened",
        "intrusion.detected",
        "position.moved",
        "device.unrecognised",
    }
)
TELEMETRY: Final = frozenset({"measurement"})


def lane_of(type_: str) -> Lane:
    """Return the lane that carries this type: status for whatever isn't named otherwise."""
    if type_ in ALARMS:
        return Lane.ALARM
    if type_ in TELEMETRY:
        return Lane.TELEMETRY
    return Lane.STATUS


# SIA DC-05 (Contact ID) codes: E an event, R a restoral.
CONTACT_ID: Final[Mapping[str, str]] = {
    "panic.pressed": "E120",
    "panic.silent": "E122",
    "panic.duress": "E121",
    "medical.requested": "E100",
    "fire.reported": "E110",
    "tamper.opened": "E383",
    "intrusion.detected": "E130",
    "panic.released": "R120",
    "tamper.closed": "R383",
    "battery.low": "E384",
    "battery.restored": "R384",
    "power.lost": "E301",
    "power.restored": "R301",
    "test.pressed": "E601",
    "device.lost": "E381",
    "device.restored": "R381",
    "radio.jammed": "E344",
    "radio.cleared": "R344",
    "gateway.started": "E305",
    "link.failed": "E350",
    "link.restored": "R350",
    "centre.silent": "E354",
    "centre.restored": "R354",
    "clock.stepped": "E625",
    "config.changed": "E306",
}
