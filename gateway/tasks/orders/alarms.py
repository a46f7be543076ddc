"""`alarm.acknowledge`: an operator has seen an alarm, and the person who pressed is told so.

The device hears stage 3 within this call, as far as it listens; a device that sleeps hears it at its next frame, after
a restart of the gateway too, for the stage is durable with the record `alarm.acknowledged`. What it shows is its own
affair: after a silent or duress press nothing (wire.md, section 1). An input's press lights what its settings name.

The operator names a record, and the device and number in it. Where they don't agree with each other, as far as this
gateway still knows, nobody is told anything: somebody else would believe that help is coming. A happening that was
recorded again in a later epoch may be named by either record (wire.md, section 1 "Events"). An input has no numbers:
its light speaks of its last press, so the record must be that one's, or of a time before the gateway's start.
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
UNHEARD_MAX: Final = 32  # events that a device keeps for a gateway that lost its store, and what C5 may have of them
_NUMBER_MAX: Final = 2**53 - 1  # a device's are smaller; a local source's come from its key (sensing.local)
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

    def __contains__(self, name: object) -> bool:
        """Whether there is an input of this name."""

    def at(self, place: Place) -> str | None:
        """Return the input whose last press was recorded here."""

    def acknowledged(self, name: str, place: Place | None) -> str:
        """Show at an input that its press was seen: "now", or it knew "before", or "nothing": another press came."""


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
        parts = _IDENTITY.fullmatch(identity) if type(identity) is str else None
        if parts is None:
            return failed("record must be a record's identity: gateway/epoch/alarm/sequence")
        gateway, epoch, lane, sequence = parts[1], bytes.fromhex(parts[2]), LANES_BY_NAME[parts[3]], int(parts[4])
        if gateway != self._gateway:
            return failed("record is another gateway's")
        if lane is not Lane.ALARM:
            return failed("record is no alarm")
        ordinal = self._ordinals.get(epoch)
        if ordinal is None and epoch[:4] >= self._epoch[:4]:
            return failed("record is of an epoch that this gateway has not had")
        if epoch == self._epoch and sequence > (signed := self._recorder.sequence(Lane.ALARM)):
            return failed(f"only {signed} alarms were signed in this epoch")
        place = None if ordinal is None else (lane, ordinal, sequence)
        wrong = self._disagreement(place, device, number)
        if wrong is not None:
            return failed(wrong)
        if not self._recorder.has_room(Lane.STATUS):
            return failed("this gateway can't store anything, and has no room in memory to record it")
        told = self._tell(device, number, place)
        if told is None:
            return failed(f"{device[:64]} is neither a device that is enrolled here nor an input of this gateway")
        event = Event("alarm.acknowledged", device, data={"record": identity, "status": status, "operator": operator})
        self._recorder.record(event, acknowledges=None if number is None else (device, number))
        return Done("done", result={"told": told})

    def _tell(self, device: str, number: int | None, record: Place | None) -> str | None:
        """Return when the device is told ("nothing" where there is nothing to tell it); None if it isn't ours."""
        if device in self._devices:
            return "nothing" if number is None else self._devices.acknowledged(device, number)
        return self._inputs.acknowledged(device, record) if number is None and device in self._inputs else None

    def _disagreement(self, record: Place | None, device: str, number: int | None) -> str | None:
        """Return in what the record (None: an epoch's that nobody knows any more) and the rest don't agree, if so."""
        here = None if record is None else self._devices.at(record)
        if here is not None and here != (device, number):
            return f"that record is event {here[1]} of {here[0]}"
        pressed = None if record is None else self._inputs.at(record)
        if pressed is not None and pressed != device:
            return f"that record is a press of {pressed}"
        if number is None or here is not None or device not in self._devices:
            return None
        place = self._devices.place(device, number)
        if place is not None and place[0] is not Lane.ALARM:
            return f"event {number} of {device} is no alarm"
        if place is not None and record is not None and place[1] == record[1]:
            return f"event {number} of {device} is the alarm {place[2]} of that epoch"
        present = record is not None and record[1] == self._ordinals[self._epoch]
        ahead = 0 if present else UNHEARD_MAX
        if place is None and number > self._devices.highest(device) + ahead:
            return f"{device} has told no event {number}"
        return None
