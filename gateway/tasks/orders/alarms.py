"""`alarm.acknowledge`: an operator has seen an alarm, and the person who pressed is told so.

The device hears stage 3 within this call, as far as it listens; a device that sleeps hears it at its next frame, after
a restart of the gateway too, for the stage is durable with the record `alarm.acknowledged`. What it shows is its own
affair: after a silent or duress press nothing (wire.md, section 1). An input's press lights what its settings name.

The operator names a record, and the device and number in it. Where they don't agree with each other, as far as this
gateway still knows, nobody is told anything: somebody else would believe that help is coming. A happening that was
recorded again in a later epoch may be named by either record (wire.md, section 1 "Events").
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.event import LANES_BY_NAME, Event, Lane
from gateway.tasks.orders.order import Done, failed, is_number, is_text
from gateway.tasks.said import Self

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder

STATUSES: Final = ("acknowledged", "dispatched", "resolved", "false-alarm")
OPERATOR_MAX: Final = 64
_NUMBER_MAX: Final = 2**32 - 1
_IDENTITY: Final = re.compile(r"([a-z0-9-]{1,63})/([0-9a-f]{16})/(alarm|status|telemetry)/([1-9][0-9]{0,15})")

Place = tuple[Lane, int, int]  # lane, ordinal, sequence


class Devices(Protocol):
    """The enrolled devices, and what is known of their events."""

    def __contains__(self, device: object) -> bool:
        """Whether this device is enrolled."""

    def place(self, device: str, number: int) -> Place | None:
        """Return where this event was recorded, as far as it is known still."""

    def at(self, place: Place) -> tuple[str, int] | None:
        """Return the device and number of the event that was recorded here, as far as that is known still."""

    def highest(self, device: str) -> int:
        """Return the highest number of an enrolled device's events."""

    def acknowledged(self, device: str, number: int) -> str:
        """Tell an enrolled device: "now", at its "next" frame, or it knew "before"."""


class Inputs(Protocol):
    """The gateway's own inputs."""

    def acknowledged(self, name: str) -> bool:
        """Show at an input that its alarm was seen; False if there is no input of this name."""


class Alarms:
    """Tells who pressed that an operator has seen it."""

    def __init__(
        self,
        own: Self,
        ordinals: Mapping[bytes, int],
        devices: Devices,
        inputs: Inputs,
        recorder: "Recorder",
    ) -> None:
        self._gateway = own.route.gateway
        self._epoch = own.epoch
        self._ordinals = ordinals
        self._devices = devices
        self._inputs = inputs
        self._recorder = recorder

    def acknowledge(self, arguments: Mapping[str, Any]) -> Done:
        """Tell the device, or light the input's output, and record who has seen it."""
        get = arguments.get
        identity, device, number = get("record"), get("device"), get("event_number")
        status, operator = get("status"), get("operator")
        if status not in STATUSES or not is_text(operator, OPERATOR_MAX):
            return failed(f"status must be one of {', '.join(STATUSES)}, operator a name of {OPERATOR_MAX} characters")
        if type(device) is not str or not (number is None or is_number(number, 1, _NUMBER_MAX)):
            return failed("device must be a device or an input, event_number the number that the device gave")
        wrong = self._disagreement(identity, device, number)
        if wrong is not None:
            return failed(wrong)
        told = self._tell(device, number)
        if told is None:
            return failed(f"{device[:64]} is neither a device that is enrolled here nor an input of this gateway")
        event = Event("alarm.acknowledged", device, data={"record": identity, "status": status, "operator": operator})
        self._recorder.record(event, acknowledges=None if number is None else (device, number))
        return Done("done", result={"told": told})

    def _tell(self, device: str, number: int | None) -> str | None:
        """Return when the device is told ("nothing" where there is nothing to tell it); None if it isn't ours."""
        if device in self._devices:
            return "nothing" if number is None else self._devices.acknowledged(device, number)
        return "now" if number is None and self._inputs.acknowledged(device) else None

    def _disagreement(self, identity: object, device: str, number: int | None) -> str | None:
        """Return what is wrong with the record that was named, if anything is."""
        parts = _IDENTITY.fullmatch(identity) if type(identity) is str else None
        if parts is None:
            return "record must be a record's identity: gateway/epoch/alarm/sequence"
        gateway, epoch, lane, sequence = parts[1], bytes.fromhex(parts[2]), LANES_BY_NAME[parts[3]], int(parts[4])
        if gateway != self._gateway:
            return "record is another gateway's"
        if lane is not Lane.ALARM:
            return "record is no alarm"
        ordinal = self._ordinals.get(epoch)
        if ordinal is None and epoch[:4] >= self._epoch[:4]:
            return "record is of an epoch that this gateway has not had"
        present = epoch == self._epoch
        if present and sequence > (signed := self._recorder.sequence(Lane.ALARM)):
            return f"only {signed} alarms were signed in this epoch"
        here = None if ordinal is None else self._devices.at((lane, ordinal, sequence))
        if here is not None and here != (device, number):
            return f"that record is event {here[1]} of {here[0]}"
        if number is None or here is not None or device not in self._devices:
            return None
        place = self._devices.place(device, number)
        if place is not None and place[0] is not Lane.ALARM:
            return f"event {number} of {device} is no alarm"
        if place is not None and place[1] == ordinal:
            return f"event {number} of {device} is the alarm {place[2]} of that epoch"
        if place is None and present and number > self._devices.highest(device):
            return f"{device} has told no event {number}"
        return None
