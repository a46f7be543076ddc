"""A simulated device: its whole behaviour as a state machine, without a line or a clock.

It says HELLO, numbers its events and tells each again until it hears a stage, lives by heartbeats, obeys commands and
shows how far the last press has come. Kinds 2 and 3 (silent, duress) show nothing at any stage: whoever stands over
the person who pressed must not see a difference.

A board that sleeps has its radio on only for a moment after each frame of its own, and hears nothing else. Whatever
comes in that is not the gateway speaking to it now (noise, another's frame, a forgery, a recording) moves nothing and
is counted in `refused`.

Every method returns actions, and the caller performs them all, in order. A board that can't read its flash has a
`fault` and returns none.

Source: wire.md, section 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from firmware_sim.battery import FULL_MV, Battery
from firmware_sim.downward import Downward
from firmware_sim.flash import BLOCK, Flash, Reserved
from firmware_sim.orders import Orders
from firmware_sim.unacknowledged import Pending, Unacknowledged
from gateway.fieldlink import framing, message, seal
from gateway.fieldlink.label import Label
from gateway.fieldlink.message import Ack, Command, EventMessage, Heartbeat, Hello, Measurement, Reading

POWER_ON, BROWN_OUT, WATCHDOG, SOFTWARE = 1, 2, 3, 4  # reset causes
PRESSED, SILENT, DURESS, TAMPER_OPENED, RELEASED, TAMPER_CLOSED = 1, 2, 3, 6, 16, 17
BATTERY_LOW, BATTERY_RESTORED, POWER_LOST, POWER_RESTORED, TEST = 18, 19, 20, 21, 24
HEARTBEAT: Final = 60.0  # seconds
LOW_MV: Final = 2400  # a lithium cell near its end
SHOWN_MAX: Final = 256  # events whose stage the board remembers
# What a board counts of what came in and moved nothing: bytes while asleep; frames that are damaged; of others, or an
# echo; not made with its key; authentic and not fresh (a recording, a repeat); authentic and of no meaning to it.
REFUSALS: Final = ("asleep", "garbled", "others", "forged", "replayed", "ignored")
_SHOW_NOTHING: Final = frozenset({SILENT, DURESS})
_AGE_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Send:
    """Put these bytes on the line; they begin with a delimiter. `event` is the event's number, where it is one."""

    wire: bytes
    event: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The board heard a stage of one of its events."""

    event: int
    stage: int


@dataclass(frozen=True, slots=True)
class Happened:
    """The board took an event and gave it this number."""

    event: int
    kind: int


Action = Send | Told | Happened


class Machine:
    """One board from one start to the next. `random` spreads its resends.

    `awake` is how many seconds it hears after each frame of its own; None: always. `battery` discharges; with
    `battery_mv` alone it doesn't.
    """

    def __init__(
        self,
        label: Label,
        flash: Flash,
        random: Random,
        *,
        firmware: str = "2.4.1",
        heartbeat: float = HEARTBEAT,
        battery_mv: int = FULL_MV,
        battery: Battery | None = None,
        rssi_dbm: int | None = None,
        awake: float | None = None,
    ) -> None:
        self.label = label
        self.firmware = firmware
        self.cell = battery or Battery(battery_mv)
        self.awake = awake
        self.refused = dict.fromkeys(REFUSALS, 0)
        self.sent = 0  # frames, over all its starts
        self.rssi_dbm = rssi_dbm
        self.stages: dict[int, int] = {}  # highest stage heard for each event, 0 for none
        self.orders = Orders()
        self.fault = False
        self._flash = flash
        self._random = random
        self._cipher = seal.Cipher(label.key)
        self._interval = heartbeat
        self._low = self.battery_mv < LOW_MV
        self._restart(0.0)

    def start(self, now: float, cause: int = POWER_ON) -> list[Action]:
        """Begin anew: what was in memory is gone, what is in flash is not."""
        self._restart(now)
        stored = self._flash.load()
        self.fault = stored is None
        if stored is None:
            return []
        self._reserved = stored
        self._counter = stored.counter
        hello = Hello(self.firmware, self.label.model, cause, stored.event)
        self._heartbeat_at = now + self._interval
        return [self._send(hello, now)]

    @property
    def battery_mv(self) -> int:
        """What it says of its battery."""
        return self.cell.millivolts

    def listens(self, now: float) -> bool:
        """Whether its radio is on."""
        return self.awake is None or now < self._sent_at + self.awake

    @property
    def indicator(self) -> int:
        """The highest stage heard for the newest event that shows anything."""
        return self.stages.get(self._showing, 0)

    @property
    def unacknowledged(self) -> int:
        """How many events have heard no stage."""
        return len(self._events)

    @property
    def kept(self) -> frozenset[int]:
        """Their numbers."""
        return self._events.numbers

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        if self.fault:
            return None
        return min(at for at in (self._heartbeat_at, self._events.deadline) if at is not None)

    def press(self, kind: int, now: float, extra: Mapping[int, Any] | None = None) -> tuple[int | None, list[Action]]:
        """Let something happen; return its event number, None if it was not kept.

        `extra` are further payload keys, as newer firmware may send.
        """
        if self.fault or not self._events.make_room():
            return None, []
        number = self._reserved.event + 1
        self._store(replace(self._reserved, event=number))
        self.stages[number] = 0
        if len(self.stages) > SHOWN_MAX:
            del self.stages[next(iter(self.stages))]
        if kind not in _SHOW_NOTHING:
            self._showing = number
        self._events.add(number, kind, now, extra or {})
        return number, [Happened(number, kind), *self._due_events(now)]

    def battery(self, millivolts: int, now: float) -> tuple[int | None, list[Action]]:
        """Put in a battery of this voltage; the board says so when it becomes low, or is restored."""
        self.cell.replace(millivolts)
        return self._measure_battery(now)

    def measure(self, readings: Sequence[Reading], now: float) -> list[Action]:
        """Tell readings taken just now; they are told once."""
        return [] if self.fault else [self._send(Measurement(tuple(readings), age_ms=0), now)]

    def receive(self, chunk: bytes, now: float) -> list[Action]:
        """Take bytes off the line."""
        if self.fault:
            return []
        if not self.listens(now):
            self.refused["asleep"] += len(chunk)
            self._decoder = framing.Decoder()
            return []
        actions: list[Action] = []
        for frame in self._decoder.feed(chunk):
            if isinstance(frame, framing.Frame):
                actions += self._frame(frame.body, now)
            else:
                self.refused["garbled"] += 1
        return actions

    def tick(self, now: float) -> list[Action]:
        """Time passed: tell events again, that the board lives, and (measured then) what became of its battery."""
        if self.fault:
            return []
        actions = self._due_events(now)
        if now >= self._heartbeat_at:
            self.cell.drain(now, self.orders.how_many_on(now))
            actions += self._measure_battery(now)[1]
            self._heartbeat_at = now + self._interval
            uptime_s = int(now - self._started_at)
            beat = Heartbeat(uptime_s, self.battery_mv, self.rssi_dbm, interval_s=round(self._interval))
            actions.append(self._send(beat, now))
        return actions

    def _restart(self, now: float) -> None:
        self._decoder = framing.Decoder()
        self._downward = Downward()
        self._events = Unacknowledged(self._random)
        self.orders = Orders()
        self.stages = {}
        self._showing = 0
        self._reserved = Reserved()
        self._counter = 0
        self._started_at = now
        self._heartbeat_at = now
        self._sent_at = float("-inf")
        self.cell.restart(now)

    def _measure_battery(self, now: float) -> tuple[int | None, list[Action]]:
        low = self.battery_mv < LOW_MV
        if low == self._low:
            return None, []
        number, actions = self.press(BATTERY_LOW if low else BATTERY_RESTORED, now)
        if number is not None:  # else its memory is full of alarms: it says so at a later heartbeat
            self._low = low
        return number, actions

    def _frame(self, body: bytes, now: float) -> list[Action]:
        header = seal.read_header(body)
        if not isinstance(header, seal.Header):
            return self._refuse("garbled")
        if header.device != self.label.device or header.direction is not seal.Direction.DOWN:
            return self._refuse("others")
        plaintext = self._cipher.open(body)
        if plaintext is None:
            return self._refuse("forged")
        if not self._downward.accept(header.counter, header.number, now):
            return self._refuse("replayed")
        match message.read_downward(header.type, plaintext):
            case Ack(number, stage) if stage > self.stages.get(number, stage):
                self.stages[number] = stage
                self._events.heard(number)
                return [Told(number, stage)]
            case Command() as command:
                result, reboot = self.orders.obey(command, now)
                answer: list[Action] = [self._send(result, now)]
                return answer + self.start(now, SOFTWARE) if reboot else answer
            case message.Ignored():
                return self._refuse("ignored")
        return []

    def _refuse(self, why: str) -> list[Action]:
        self.refused[why] += 1
        return []

    def _due_events(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while (event := self._events.next_due(now)) is not None:
            actions.append(self._send_event(event, now))
        return actions

    def _send_event(self, event: Pending, now: float) -> Send:
        age_ms = min(round((now - event.happened_at) * 1000), _AGE_MAX)
        said = EventMessage(event.number, event.kind, age_ms, self.battery_mv, self.rssi_dbm)
        return Send(self._seal(message.Type.EVENT, message.encode(said, event.extra), now), event.number)

    def _send(self, said: message.Sendable, now: float) -> Send:
        return Send(self._seal(message.type_of(said), message.encode(said), now))

    def _seal(self, type_: message.Type, payload: bytes, now: float) -> bytes:
        self._counter += 1
        if self._counter > self._reserved.counter:
            self._store(replace(self._reserved, counter=self._reserved.counter + BLOCK))
        self._downward.sent(self._counter, now)
        self._sent_at = now
        self.sent += 1
        self.cell.sent()
        header = seal.Header(type_, seal.Direction.UP, self.label.device, self._counter)
        return b"\0" + framing.encode(self._cipher.seal(header, payload))

    def _store(self, reserved: Reserved) -> None:
        self._flash.store(reserved)
        self._reserved = reserved
