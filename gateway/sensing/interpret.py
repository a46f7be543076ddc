"""What a device's message means: Field Link messages → events of the vocabulary.

An EVENT of a kind we don't know may be a panic from newer firmware, so it travels as an alarm with all that the device
said; one that can't be read likewise, without a kind.

Source: wire.md, section 2, "Vocabulary".
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.event import UNPROVEN, Event, Position
from gateway.fieldlink.message import EventMessage, Heartbeat, Hello, Ignored, Measurement, Reading, Result, Unreadable

UNRECOGNISED: Final = "device.unrecognised"
_ALARM_LIKE: Final = {
    1: "panic.pressed",
    2: "panic.silent",
    3: "panic.duress",
    4: "medical.requested",
    5: "fire.reported",
    6: "tamper.opened",
    7: "intrusion.detected",
    16: "panic.released",
    17: "tamper.closed",
}
_BATTERY: Final = {18: "battery.low", 19: "battery.restored"}
_PLAIN: Final = {20: "power.lost", 21: "power.restored", 22: "door.opened", 23: "door.closed", 24: "test.pressed"}
_QUANTITIES: Final = {
    1: "temperature_c",
    2: "supply_v",
    3: "battery_v",
    4: "current_a",
    5: "tilt_deg",
    6: "wind_m_s",
    7: "humidity_pct",
    8: "door_open",
    9: "illuminance_lx",
    10: "vibration_m_s2",
    11: "charge_pct",
}


def interpret(
    device: str,
    message: EventMessage | Unreadable | Hello | Measurement | Heartbeat | Result | Ignored,
    *,
    unproven: bool,
    flags: int = 0,
    position: Position | None = None,
) -> Event | None:
    """Return the event that an authentic, fresh message of this device is; None if it makes no record.

    `flags` and `position` are what the gateway knows of the device. Not limited here: unreadable EVENTs are worth one
    record a minute (limit.py).
    """
    all_flags = flags | (UNPROVEN if unproven else 0)
    match message:
        case EventMessage(number=number, age_ms=age_ms):
            type_, data = _event(message)
            return Event(type_, device, age_ms, number, position, data or None, all_flags)
        case Unreadable(plaintext):
            return Event(UNRECOGNISED, device, position=position, data={"payload": plaintext}, flags=all_flags)
        case Hello(firmware, model, reset_cause):
            joined = {"firmware": firmware, "model": model, "reset_cause": reset_cause}
            return Event("device.joined", device, position=position, data=joined, flags=all_flags)
        case Measurement(readings, age_ms):
            values = {_name(reading): _value(reading) for reading in readings}
            return Event("measurement", device, age_ms, None, position, {"values": values}, all_flags)
        case Heartbeat() | Result() | Ignored():
            return None


def _event(message: EventMessage) -> tuple[str, Mapping[str, Any]]:
    if message.kind in _ALARM_LIKE:
        said = {
            "age_ms": message.age_ms,
            "battery_mv": message.battery_mv,
            "rssi_dbm": message.rssi_dbm,
            "payload": message.plaintext,
        }
        return _ALARM_LIKE[message.kind], {name: value for name, value in said.items() if value is not None}
    if message.kind in _BATTERY:
        return _BATTERY[message.kind], {} if message.battery_mv is None else {"battery_mv": message.battery_mv}
    if message.kind in _PLAIN:
        return _PLAIN[message.kind], {}
    return UNRECOGNISED, {"kind": message.kind, "payload": message.plaintext}


def _name(reading: Reading) -> str:
    name = _QUANTITIES.get(reading.quantity, f"quantity_{reading.quantity}")
    return name if reading.index is None else f"{name}_{reading.index}"


def _value(reading: Reading) -> float:
    """Return the double nearest to the decimal: reading it as text rounds once, multiplying would round twice."""
    return float(f"{reading.value}e{reading.exponent}")
