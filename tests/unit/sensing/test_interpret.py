"""Messages as events of the vocabulary."""

from typing import Any

import pytest

from gateway.event import TEST, UNPROVEN, Event, Lane, Position, lane_of
from gateway.fieldlink.message import (
    EventMessage,
    Heartbeat,
    Hello,
    Ignored,
    Measurement,
    Reading,
    Result,
    Unreadable,
)
from gateway.sensing.interpret import interpret

DEVICE = "0c500042"
HERE = Position(81570000, -776900000, 500)
SAID = {"age_ms": 250, "battery_mv": 2900, "rssi_dbm": -71}


@pytest.mark.parametrize(
    ("kind", "type_", "lane", "data"),
    [
        (1, "panic.pressed", Lane.ALARM, SAID),
        (2, "panic.silent", Lane.ALARM, SAID),
        (3, "panic.duress", Lane.ALARM, SAID),
        (4, "medical.requested", Lane.ALARM, SAID),
        (5, "fire.reported", Lane.ALARM, SAID),
        (6, "tamper.opened", Lane.ALARM, SAID),
        (7, "intrusion.detected", Lane.ALARM, SAID),
        (16, "panic.released", Lane.STATUS, SAID),
        (17, "tamper.closed", Lane.STATUS, SAID),
        (18, "battery.low", Lane.STATUS, {"battery_mv": 2900}),
        (19, "battery.restored", Lane.STATUS, {"battery_mv": 2900}),
        (20, "power.lost", Lane.STATUS, None),
        (21, "power.restored", Lane.STATUS, None),
        (22, "door.opened", Lane.STATUS, None),
        (23, "door.closed", Lane.STATUS, None),
        (24, "test.pressed", Lane.STATUS, None),
    ],
)
def test_each_kind_has_its_type_lane_and_data(kind: int, type_: str, lane: Lane, data: dict[str, Any] | None) -> None:
    event = interpret(DEVICE, EventMessage(9, kind, 250, 2900, -71), unproven=False, position=HERE)
    assert event == Event(type_, DEVICE, 250, 9, HERE, data, 0)
    assert lane_of(type_) == lane


def test_what_a_device_did_not_say_is_not_in_the_record() -> None:
    assert interpret(DEVICE, EventMessage(9, 1, 0), unproven=False) == Event(
        "panic.pressed", DEVICE, 0, 9, data={"age_ms": 0}
    )
    assert interpret(DEVICE, EventMessage(9, 18, 0), unproven=False) == Event("battery.low", DEVICE, 0, 9)


def test_an_alarm_with_key_6_carries_the_whole_payload() -> None:
    event = interpret(DEVICE, EventMessage(9, 1, 5, plaintext=b"whole"), unproven=False)
    assert event == Event("panic.pressed", DEVICE, 5, 9, data={"age_ms": 5, "payload": b"whole"})


@pytest.mark.parametrize("kind", [0, 8, 15, 25, 200, 2**32 - 1])
def test_an_unknown_kind_is_an_alarm_with_kind_and_payload(kind: int) -> None:
    event = interpret(DEVICE, EventMessage(9, kind, 250, 2900, plaintext=b"whole"), unproven=False)
    assert event == Event("device.unrecognised", DEVICE, 250, 9, data={"kind": kind, "payload": b"whole"})
    assert lane_of("device.unrecognised") == Lane.ALARM


def test_an_unreadable_event_is_an_alarm_without_a_kind() -> None:
    event = interpret(DEVICE, Unreadable(b"junk"), unproven=False, position=HERE)
    assert event == Event("device.unrecognised", DEVICE, position=HERE, data={"payload": b"junk"})


def test_what_could_be_a_recording_is_flagged_beside_other_flags() -> None:
    event = interpret(DEVICE, EventMessage(9, 20, 0), unproven=True, flags=TEST)
    assert event == Event("power.lost", DEVICE, 0, 9, flags=TEST | UNPROVEN)


def test_a_hello_is_a_device_that_joined() -> None:
    event = interpret(DEVICE, Hello("2.4.1", "PB-1", 1, 17), unproven=True)
    assert event == Event(
        "device.joined", DEVICE, data={"firmware": "2.4.1", "model": "PB-1", "reset_cause": 1}, flags=UNPROVEN
    )


def test_measurements_are_floats_by_name_nearest_to_their_decimals() -> None:
    readings = (
        Reading(1, 2875, -2),
        Reading(1, 7, -1, 2),
        Reading(8, 1, 0),
        Reading(10, -3, -1),
        Reading(12, 4294967295, 9),
        Reading(13, 5, -9, 0),
    )
    event = interpret(DEVICE, Measurement(readings, 40), unproven=False)
    values = {
        "temperature_c": 28.75,
        "temperature_c_2": 0.7,
        "door_open": 1.0,
        "vibration_m_s2": -0.3,
        "quantity_12": 4294967295e9,
        "quantity_13_0": 5e-9,
    }
    assert event == Event("measurement", DEVICE, 40, data={"values": values})
    assert event is not None
    assert event.data is not None
    assert all(type(value) is float for value in event.data["values"].values())


@pytest.mark.parametrize("message", [Heartbeat(1), Result(1, 0), Ignored(7, "unknown type")])
def test_heartbeats_results_and_the_ignored_make_no_record(message: Heartbeat | Result | Ignored) -> None:
    assert interpret(DEVICE, message, unproven=False) is None
