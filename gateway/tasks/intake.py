"""From a frame on a line to a record, and back to the device that sent it.

A frame is judged by its device's session; what comes of it is recorded in the same call, and answered. The stages of an
event are told as they become true: 1 when its record is durable, 2 when C5 has receipted it.

Refused frames make a record too, but at most one a minute for a device (and one for all unknown devices together):
noise must not fill the outbox.

What C5 wants of a device goes out here too: that an operator has seen an event (`acknowledged`), and commands (`ask`).
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.delivery.awaited import Awaited, Place
from gateway.delivery.item import DeviceState, EventState, Run
from gateway.errors import C5Error, Refused
from gateway.event import UNPROVEN, Event, Lane
from gateway.fieldlink.actions import (
    Action,
    CommandEnded,
    Heard,
    NewEvent,
    Proven,
    RepeatedEvent,
    Replayed,
    Send,
    Unauthenticated,
    UnreadableEvent,
)
from gateway.fieldlink.freshness import Counters
from gateway.fieldlink.message import EventMessage, Ignored, Result, Upward
from gateway.fieldlink.seal import Direction, read_header
from gateway.fieldlink.session import ACKNOWLEDGED, WINDOW, DeviceSession
from gateway.sensing.interpret import interpret
from gateway.sensing.limit import Limiter
from gateway.tasks.presses import Presses
from gateway.text import _

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.registry.devices import Device
    from gateway.tasks.recorder import Recorder
    from gateway.tasks.store import Store

log = logging.getLogger(__name__)

STORED, RECEIVED = 1, 2
IDENTIFY: Final = 3  # the command
STRANGER: Final = 600.0  # seconds for which an unknown device is shown after it was heard
PLACES: Final = WINDOW + 1  # of a device's newest events
REMEMBER: Final = 10.0  # seconds: counters that no record carried are stored this often (30 s are allowed)
_UNKNOWN: Final = "device.unknown"
_UNREADABLE: Final = "unreadable"
Write = Callable[[bytes], None]
Ended = Callable[[Result | None], None]  # gets a device's answer; None: it gave none, or started anew


class _Known:
    """An enrolled device since the gateway's start."""

    def __init__(self, device: "Device", session: DeviceSession) -> None:
        self.device = device
        self.key_id = device.key_id  # a hash
        self.session = session
        self.write: Write | None = None  # the line that it was heard on last
        self.heard_at: float | None = None
        self.dirty = False
        self.awaiting: deque[Place] = deque()  # its events whose receipt is awaited, oldest first
        self.places: dict[int, Place] = {}  # where its newest events were recorded
        self.asked: dict[int, Ended] = {}  # by command number


class Intake:
    """All enrolled devices, whatever line they are heard on."""

    def __init__(
        self,
        gateway: str,
        recorder: "Recorder",
        store: "Store",
        clock: "Timekeeper",
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._known: dict[str, _Known] = {}
        self._unanswered: dict[str, _Known] = {}  # those with commands out: no others have anything to `tick`
        self._awaiting: Awaited[tuple[str, int]] = Awaited()
        self._limits: Limiter[tuple[str, str]] = Limiter()
        self._unreadable: Limiter[str] = Limiter()  # never asked to `tick`: the next one is a record of its own
        self._last_unknown = ""
        self._unknown_at = -STRANGER
        self._remember_at = clock.monotonic() + REMEMBER
        self.presses = Presses(clock)
        self.counts: dict[str, int] = {}
        # A device was heard: what it said that is new, and its records' flags. An event is recorded before.
        self.on_heard: Callable[[str, Upward | None, int], None] = lambda _device, _message, _flags: None

    # Devices.

    def enrol(self, device: "Device", state: DeviceState | None = None, events: Sequence[EventState] = ()) -> bool:
        """Hear this device from now on; its state is as the outbox has it. Return whether it is another than before."""
        known = self._known.get(device.id)
        if known is not None and known.device.key == device.key:
            known.device = device
            return False
        self.revoke(device.id)  # another key is another device: what that one waits for is not told to this
        session = DeviceSession(
            device.id,
            device.key,
            counters=Counters(state.counter, state.tag, state.seen, state.proven) if state else None,
            events={event.number: event.stage for event in events},
            highest_event=state.highest_event if state else 0,
            first_number=int.from_bytes(self._random_bytes(4), "big") >> 1,
            challenge=partial(self._random_bytes, 8),
        )
        self._known[device.id] = known = _Known(device, session)
        for event in events:
            known.places[event.number] = place = event.lane, event.ordinal, event.sequence
            if event.stage < RECEIVED:
                self._await(known, place, event.number)
        return True

    def revoke(self, device: str) -> None:
        """Hear it no more: its frames are a stranger's."""
        known = self._known.pop(device, None)
        if known is None:
            return
        self._unanswered.pop(device, None)
        for place in known.awaiting:
            self._awaiting.forget(place)
        for ended in known.asked.values():
            ended(None)

    def identify(self, device: str, seconds: int = 30) -> None:
        """Have a device show itself. Raises C5Error if it can't be told."""
        if device not in self._known:
            raise C5Error(_("{device} is not enrolled").format(device=device[:64]), _("See: c5-gateway device list"))
        refused = self.ask(device, IDENTIFY, {1: seconds}, lambda _result: None)
        if refused is not None:
            raise C5Error(f"{device}: {refused.reason}", _("Press the device once, then try again."))

    def ask(self, device: str, command: int, arguments: Mapping[int, Any], ended: Ended) -> Refused | None:
        """Ask something of an enrolled device; `ended` gets the answer in its time, unless this is refused."""
        known, now = self._known[device], self._clock.monotonic()
        told = known.session.command(command, arguments, now)
        if isinstance(told, Refused):
            return told
        number, actions = told
        known.asked[number] = ended
        self._perform(known, actions, now, None)
        return None

    def __contains__(self, device: object) -> bool:
        """Whether this device is enrolled."""
        return device in self._known

    @property
    def stranger(self) -> str | None:
        """The device that was heard lately and is not enrolled, if one was."""
        lately = self._clock.monotonic() < self._unknown_at + STRANGER
        return self._last_unknown if lately and self._last_unknown not in self._known else None

    def glance(self) -> list[dict[str, Any]]:
        """Return what `status` shows of each device."""
        now = self._clock.monotonic()
        return [
            {
                "id": known.device.id,
                "name": known.device.name,
                "model": known.device.model,
                "heard_s": None if known.heard_at is None else round(now - known.heard_at, 1),
                "proven": not known.session.unproven,
                "highest_event": known.session.highest_event,
            }
            for known in self._known.values()
        ]

    # Frames.

    def frame(self, body: bytes, write: Write) -> bool:
        """Take one frame that a line brought; `write` answers on that line. False if it was no frame of ours."""
        header = read_header(body)
        if isinstance(header, Refused):
            self._count("malformed")
            return False
        if header.direction is Direction.DOWN:
            return True  # an echo
        known = self._known.get(header.device)
        now = self._clock.monotonic()
        if known is None:
            self._last_unknown, self._unknown_at = header.device, now
            self._report(_UNKNOWN, self._gateway, now)
            return True
        self._perform(known, known.session.receive(header, body, now), now, write)
        return True

    def _perform(self, known: _Known, actions: Iterable[Action], now: float, write: Write | None) -> None:
        device = known.device.id
        for action in actions:
            match action:
                case Send(wire):
                    if (line := write or known.write) is not None:
                        line(wire)
                    continue
                case Replayed():
                    self._report("device.replayed", device, now)
                    continue
                case Unauthenticated():
                    self._report("device.unauthenticated", device, now)
                    continue
                case NewEvent(message, unproven):
                    new = self._new(known, message, unproven=unproven)
                    self._heard(known, now, write, message if new else None)
                    continue
                case UnreadableEvent(message, unproven):
                    self._count(_UNREADABLE)
                    # Without room nothing has happened: the minute begins with a record.
                    if self._store.room(Lane.ALARM) and self._unreadable.happened(device, now) is not None:
                        event = interpret(device, message, unproven=unproven, position=known.device.position)
                        assert event is not None
                        self._recorder.record(event, self._state(known))
                    self._heard(known, now, write, message)
                case Heard(message, unproven):
                    self._heard(known, now, write, message)
                    event = interpret(device, message, unproven=unproven, position=known.device.position)
                    if event is not None and self._recorder.record(event, self._state(known)) is not None:
                        continue  # its counters are with its record
                    if isinstance(message, Ignored):
                        self._count("ignored")
                case RepeatedEvent():
                    self._heard(known, now, write)
                case CommandEnded(number, result):
                    if (ended := known.asked.pop(number, None)) is not None:
                        ended(result)
                case Proven():
                    pass
            known.dirty = True
        if known.session.deadline is not None and self._known.get(device) is known:
            self._unanswered[device] = known

    def _heard(self, known: _Known, now: float, write: Write | None, message: Upward | None = None) -> None:
        known.heard_at = now
        known.write = write or known.write
        self.on_heard(known.device.id, message, UNPROVEN if known.session.unproven else 0)

    def _new(self, known: _Known, message: EventMessage, *, unproven: bool) -> bool:
        """Record an event; if memory has no room for it nothing has happened, and the device will send it again."""
        device, number = known.device.id, message.number
        event = interpret(device, message, unproven=unproven, position=known.device.position)
        assert event is not None
        state = self._state(known, number)
        signed = self._recorder.record(event, state, partial(self._stage, device, number, STORED))
        if signed is None:
            self._count("no room")
            return False
        self.presses.happened(device, number, event.type)
        known.session.recorded(number)
        known.dirty = False
        self._await(known, (signed.record.lane, self._recorder.ordinal, signed.record.sequence), number)
        return True

    def _await(self, known: _Known, place: Place, number: int) -> None:
        known.places[number] = place
        if len(known.places) > PLACES:
            del known.places[next(iter(known.places))]
        self._awaiting.add(place, (known.device.id, number))
        known.awaiting.append(place)
        if len(known.awaiting) > WINDOW:
            self._awaiting.forget(known.awaiting.popleft())

    # Stages.

    def _stage(self, device: str, number: int, stage: int) -> None:
        known = self._known.get(device)
        if known is not None:
            self._perform(known, known.session.stage(number, stage), self._clock.monotonic(), None)
            self.presses.stage(device, number, stage)

    def receipted(self, runs: Iterable[Run]) -> None:
        """Tell the devices what C5 has."""
        for device, number in self._awaiting.receipted(runs):
            self._stage(device, number, RECEIVED)

    def place(self, device: str, number: int) -> Place | None:
        """Return where this event was recorded, as far as it is known still."""
        known = self._known.get(device)
        return known.places.get(number) if known else None

    def at(self, place: Place) -> tuple[str, int] | None:
        """Return the device and number of the event that was recorded here, as far as that is known still."""
        for known in self._known.values():
            for number, recorded in known.places.items():
                if recorded == place:
                    return known.device.id, number
        return None

    def highest(self, device: str) -> int:
        """Return the highest number of an enrolled device's events."""
        return self._known[device].session.highest_event

    def acknowledged(self, device: str, number: int) -> str:
        """Tell an enrolled device that an operator has seen its event: "now", at its "next" frame, or "before"."""
        known = self._known[device]
        if known.session.events.get(number, 0) >= ACKNOWLEDGED:
            return "before"
        self._stage(device, number, ACKNOWLEDGED)
        return "next" if known.write is None else "now"

    def salvaged(self, events: Iterable[EventState]) -> None:
        """Take up events whose records a salvage has found, unless their devices have sent them again meanwhile."""
        for event in events:
            known = self._known.get(event.device)
            if known is not None and event.number not in known.session.events:
                known.session.recorded(event.number)
                self._await(known, (event.lane, event.ordinal, event.sequence), event.number)
                self._stage(event.device, event.number, STORED)

    # Time.

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        sessions = (known.session.deadline for known in self._unanswered.values())
        deadlines = (self._remember_at, self._limits.deadline, *sessions)
        return min(deadline for deadline in deadlines if deadline is not None)

    def tick(self, now: float) -> None:
        """Send commands again, report what was counted, store counters."""
        for device, known in list(self._unanswered.items()):
            self._perform(known, known.session.tick(now), now, None)
            if known.session.deadline is None:
                self._unanswered.pop(device, None)
        for (type_, source), count in self._limits.tick(now):
            self._refused(type_, source, count)
        if now >= self._remember_at:
            self._remember_at = now + REMEMBER
            self.remember()

    def remember(self) -> None:
        """Store the counters that no record carried."""
        dirty = [known for known in self._known.values() if known.dirty]
        self._store.remember([state for known in dirty if (state := self._state(known)) is not None])
        for known in dirty:
            known.dirty = False

    def _state(self, known: _Known, number: int = 0) -> DeviceState | None:
        counters = known.session.counters
        if counters is None:
            return None
        highest = max(known.session.highest_event, number)
        return DeviceState(
            known.device.id, counters.last, counters.tag, counters.seen, counters.proven, highest, known.key_id
        )

    def _report(self, type_: str, source: str, now: float) -> None:
        self._count(type_)
        if (count := self._limits.happened((type_, source), now)) is not None:
            self._refused(type_, source, count)

    def _refused(self, type_: str, source: str, count: int) -> None:
        log.warning(
            "frames were refused: %s of %s, %d", type_, self._last_unknown if type_ == _UNKNOWN else source, count
        )
        data: Mapping[str, Any] = {"count": count}
        if type_ == _UNKNOWN:
            data = {"count": count, "last_id": self._last_unknown}
        self._recorder.record(Event(type_, source, data=data))

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
