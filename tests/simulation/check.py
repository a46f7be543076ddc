"""The promises, and whether they were kept (docs/explain/simulation.md has them in words).

The checker knows the truth: what was pressed, what each device was told, what was durable when power went. It looks at
the disks and at C5's ledger by itself, and believes no part of the gateway.
"""

import hashlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.c5 import lasting
from gateway.c5.ledger import LEDGER
from gateway.c5.values import Committed
from gateway.event import LANE_NAMES, Lane, lane_of
from gateway.outbox.inspect import FILE
from gateway.signing.cose import Envelope, parse, split_sequence
from gateway.signing.record import Record, decode
from tests.simulation.authority import GATEWAY
from tests.simulation.disk import SimulatedDisk
from tests.simulation.health import Health
from tests.simulation.loop import VirtualLoop
from tests.simulation.trace import Trace

if TYPE_CHECKING:
    from tests.simulation.network import Connection

ALARM_WITHIN: Final = 2.0  # seconds from the whole frame to C5's verification, where nothing is in the way
SLOWER: Final = 8.0  # more over a link of 16 kbit/s: what 16 KiB of alarms, states and receipts take there
# What C5 may report of an honest gateway that is killed, cut off, or whose broker lies.
# What its records begin and end is judged as records (supervised).
OWN: Final = frozenset(
    {"gateway.offline", "link.failed", "receipts.unread", "records.undurable", "records.missing", "record.held"}
)
HONEST: Final = OWN | lasting.TYPES
OVER: Final = frozenset(
    {"gateway.offline", "link.failed", "receipts.unread", "records.missing", "record.held"}
)  # and what must be over at the end
# Kinds that are pressed, and what wire.md says that they are.
TYPES: Final = {
    1: "panic.pressed", 2: "panic.silent", 3: "panic.duress", 4: "medical.requested", 6: "tamper.opened",
    16: "panic.released", 22: "door.opened", 23: "door.closed", 24: "test.pressed",
}  # fmt: skip
BATTERY: Final = {18: "battery.low", 19: "battery.restored"}  # what boards say by themselves
Happening = tuple[str, int]  # device, event number


@dataclass(frozen=True, slots=True)
class Press:
    """What a device noticed."""

    kind: int
    at: float

    @property
    def type(self) -> str:
        """The type of its record."""
        return (TYPES | BATTERY)[self.kind]


class Checker:
    """Watches one run. `grace` is what a gateway is given to find and use a path that has come (back)."""

    def __init__(
        self,
        loop: VirtualLoop,
        trace: Trace,
        health: Health,
        outbox: tuple[SimulatedDisk, Path],
        ledger: tuple[SimulatedDisk, Path],
    ) -> None:
        self.loop = loop
        self.health = health
        self.truth: dict[Happening, Press] = {}
        self.owed: set[Happening] = set()  # kept by their device until it is told
        self.stages: dict[Happening, int] = {}
        self.arrived: dict[Happening, float] = {}
        self.latencies: list[float] = []
        self.grace = 60.0
        self.failover = 60.0
        self.paths: tuple[str, ...] = ()
        self.ready = False
        self.present: set[str] = set()  # devices and lines of which nothing may stand at the end
        self.excused: set[str] = set()  # reports that a fault of this run may cause, besides
        self._trace = trace
        self._disk, folder = outbox
        self._outbox_path = folder / FILE
        self._ledger, folder = ledger
        self._ledger_path = folder / LEDGER
        self._counters: dict[str, int] = {}
        self._heard: dict[Happening, float] = {}  # alarms whose whole frame reached the gateway
        self._waiting: dict[Happening, float] = {}  # … in this life of it, and which it hasn't published yet
        self._published: set[Happening] = set()  # in this life of it
        self._durable: dict[tuple[bytes, int], tuple[int, bytes]] = {}  # epoch and lane: the last durable record

    def fail(self, what: str) -> None:
        """End the run: a promise was broken."""
        if self.loop.broken is None:
            self._trace(f"BROKEN: {what}")
            self.loop.broken = what

    # What devices do and hear.

    def pressed(self, device: str, number: int, kind: int) -> None:
        """A device noticed something and keeps it until it is told."""
        if (device, number) in self.truth:
            self.fail(f"{device} used event number {number} twice: the simulation itself is wrong")
        self.truth[device, number] = Press(kind, self.loop.time())
        self.owed.add((device, number))

    def device_started(self, device: str) -> None:
        """A device begins anew."""
        self.device_forgot(device)

    def device_forgot(self, device: str) -> None:
        """A device lost its power, and what it had not been told of."""
        self.owed = {happening for happening in self.owed if happening[0] != device}

    def pushed_out(self, device: str, kept: AbstractSet[int]) -> None:
        """A device's memory was full: what isn't among these it will not say again."""
        self.owed = {happening for happening in self.owed if happening[0] != device or happening[1] in kept}

    def told(self, device: str, number: int, stage: int) -> None:
        """A device heard a stage: it must be true (promise 1)."""
        happening = (device, number)
        self.stages[happening] = max(stage, self.stages.get(happening, 0))
        if happening not in self.truth:
            self.fail(f"{device} was told stage {stage} of event {number}, which never happened")
        elif not self.at_c5(happening) and (stage >= 2 or not self.durable(happening)):
            self.fail(f"{device} was told stage {stage} of event {number}, and it isn't there")
        else:
            self.owed.discard(happening)

    def at_c5(self, happening: Happening) -> bool:
        """Whether C5's ledger has it."""
        find = "SELECT 1 FROM records WHERE source = ? AND event_number = ?"
        return bool(self._ledger.look(self._ledger_path, find, happening))

    def ledger(self, find: str, values: Sequence[str] = ()) -> list[Any]:
        """Return what C5's ledger says."""
        return self._ledger.look(self._ledger_path, find, values)

    def durable_to(self, epoch: bytes, lane: Lane) -> int:
        """Return the last sequence that was durable when the gateway last ended, or was looked at."""
        return self._durable.get((epoch, int(lane)), (0, b""))[0]

    def durable(self, happening: Happening) -> bool:
        """Whether the gateway's store has it."""
        return bool(
            self._disk.look(self._outbox_path, "SELECT 1 FROM event WHERE device = ? AND number = ?", happening)
        )

    # Alarms in time (promise 5).

    def frame(self, device: str, counter: int, event: int | None) -> None:
        """A whole frame reached a gateway that runs."""
        fresh = counter > self._counters.get(device, 0)
        self._counters[device] = max(counter, self._counters.get(device, 0))
        if event is None or not fresh or not self.ready:
            return
        happening = (device, event)
        press = self.truth[happening]
        known = happening in self._heard or happening in self._published or self.durable(happening)
        if known or lane_of(press.type) is not Lane.ALARM:
            return
        self._heard[happening] = now = self.loop.time()
        self._waiting[happening] = now
        self.loop.call_later(ALARM_WITHIN, self._due, happening, now, ALARM_WITHIN, self.paths)
        for path in self.paths:
            self.loop.call_later(self.failover, self._due, happening, now, self.failover, (path,))

    def _due(self, happening: Happening, heard: float, bound: float, paths: tuple[str, ...]) -> None:
        """An alarm must have arrived by now if these paths and C5 have been well for long enough."""
        if happening in self.arrived or self.loop.broken is not None:
            return
        slow = not self.health.well(heard - self.grace, "slow")
        if slow and self.loop.time() < heard + bound + SLOWER:
            self.loop.call_at(heard + bound + SLOWER, self._due, happening, heard, bound, paths)
            return
        names = ("gateway", "centre", "liar", *paths)
        if self.health.well(heard - self.grace, *names):
            self.fail(f"alarm {happening} was heard at {heard:.4f} and isn't at C5 {bound:.1f} s later, over {paths}")

    def published(self, connection: "Connection", topic: str, payload: bytes, flying: int) -> None:
        """The gateway hands a message to a connection."""
        if connection.client_id != GATEWAY:
            return
        if flying > connection.receive_maximum:
            self.fail(f"{flying} messages in flight, and the broker allows {connection.receive_maximum}")
        if connection.maximum_packet is not None and len(payload) + len(topic) + 16 > connection.maximum_packet:
            self.fail(f"a packet of {len(payload)} bytes, and the broker allows {connection.maximum_packet}")
        if topic.endswith("/event/alarm"):
            for content in records(payload):
                happening = (content.source, content.event_number or 0)
                self._published.add(happening)
                self._waiting.pop(happening, None)
        elif topic.endswith("/event/telemetry"):
            now = self.loop.time()  # at which bytes may bring a reading that lay unfinished, and then the alarm
            behind = [h for h, at in self._waiting.items() if connection.opened_at < at - 1.0 and at < now]
            if behind and self.health.well(now - self.grace, "refused"):
                self.fail(f"telemetry goes out while the alarm {behind[0]} waits")

    # What C5 has.

    left_out = 0
    trouble: str | None = None

    def put(self, committed: Committed) -> None:
        """C5 committed a batch: the checker is one of its sinks."""
        for index in committed.outcome.contradicting:
            self.fail(f"two different records of one identity: {committed.batch.records[index].record.identity}")
        for verified in committed.batch.records:
            content = verified.record
            if content.event_number is None:
                continue
            happening = (content.source, content.event_number)
            if happening in self.arrived:
                continue
            self.arrived[happening] = now = self.loop.time()
            if happening not in self.truth:
                self.fail(f"C5 has {content.identity}, event {happening}, which never happened")
            if (heard := self._heard.get(happening)) is not None:
                self.latencies.append(now - heard)

    # A gateway's life.

    def gateway_started(self) -> None:
        """The gateway runs and hears its lines."""
        self.ready = True
        self._waiting.clear()
        self._published.clear()
        self._heard = {happening: at for happening, at in self._heard.items() if happening in self.arrived}

    def gateway_ended(self) -> None:
        """It runs no more: what is durable now must reach C5."""
        self.ready = False
        self._waiting.clear()
        find = "SELECT epoch, lane, sequence, digest FROM head JOIN epoch USING (ordinal)"
        for epoch, number, sequence, digest in self._disk.look(self._outbox_path, find):
            before = self._durable.get((epoch, number), (0, b""))
            self._durable[epoch, number] = max(before, (sequence, digest))

    # The end.

    def unsettled(self) -> str | None:
        """Return what keeps things from being settled, if anything does."""
        if self.owed:
            return f"devices still wait to be told of {sorted(self.owed)[:3]} ({len(self.owed)})"
        self.gateway_ended()
        self.ready = True
        for (epoch, number), (sequence, _digest) in self._durable.items():
            if (missing := self._missing(epoch, number, sequence)) is not None:
                return missing
        if waiting := self._disk.look(self._outbox_path, _WAITING):
            return f"the outbox holds what C5 has not receipted: {waiting[:3]} ({len(waiting)})"
        for type_, detail in self._ledger.look(self._ledger_path, "SELECT type, detail FROM reports WHERE open"):
            if type_ in OVER:
                return f"C5 reports {type_} {detail}"
        return None

    def _missing(self, epoch: bytes, number: int, sequence: int) -> str | None:
        find = """SELECT held, first, last FROM spans JOIN chains ON chains.id = chain
                  WHERE epoch = ? AND lane = ? ORDER BY first"""
        spans = self._ledger.look(self._ledger_path, find, (epoch, number))
        if any(held and first == 1 and last >= sequence for held, first, last in spans):
            return None
        name = f"{LANE_NAMES[Lane(number)]} lane of epoch {epoch.hex()}"
        return f"C5 has {spans[:4]} of the {name}, and {sequence} records were durable"

    def finish(self) -> None:
        """Everything is settled: judge what C5 holds (promises 2 to 4)."""
        for happening, stage in self.stages.items():
            if not self.at_c5(happening):
                self.fail(f"{happening} was told stage {stage}, and never reached C5")
        self._judge_happenings()
        self._judge_chains()
        look = self._ledger.look
        for type_, detail, text in look(self._ledger_path, "SELECT type, detail, text FROM reports"):
            allowed = type_ in HONEST | self.excused
            if not allowed and not (type_ == "records.unavailable" and self._was_never_durable(text)):
                self.fail(f"C5 reports {type_}: {text} ({detail})")
        if look(self._ledger_path, "SELECT 1 FROM contradictions"):
            self.fail("C5 holds contradictions")

    def _was_never_durable(self, text: str) -> bool:
        return text.startswith("the gateway lost") and not self._declared_durable()

    def _declared_durable(self) -> bool:
        find = "SELECT wire FROM records WHERE type = 'records.unavailable'"
        told = [
            content.data or {} for (wire,) in self._ledger.look(self._ledger_path, find) for content in records(wire)
        ]
        return any(
            self._durable.get((epoch, data["lane"]), (0, b""))[0] >= first
            for data in told
            if data["reason"] == "lost"
            for epoch, first, _last in data["ranges"]
        )

    def _judge_happenings(self) -> None:
        find = "SELECT source, event_number, type, repeat_of FROM records WHERE event_number IS NOT NULL"
        first: set[tuple[str, int, str]] = set()
        for source, number, type_, repeat_of in self._ledger.look(self._ledger_path, find):
            press = self.truth.get((source, number))
            if press is None or press.type != type_:
                self.fail(f"C5 has {type_} of {source}, event {number}; what happened is {press}")
            elif repeat_of is None:
                if (source, number, type_) in first:
                    self.fail(f"C5 counts event {number} of {source} twice")
                first.add((source, number, type_))

    def _judge_chains(self) -> None:
        find = "SELECT epoch, lane, sequence, digest, wire FROM records JOIN chains ON chains.id = chain"
        held: dict[tuple[bytes, int, int], bytes] = {}
        links: list[tuple[tuple[bytes, int, int], bytes]] = []
        for epoch, number, sequence, digest, wire in self._ledger.look(self._ledger_path, find):
            if hashlib.sha256(wire).digest() != digest:
                self.fail(f"C5 holds other bytes than it verified: {epoch.hex()}/{number}/{sequence}")
            (content,) = records(wire)
            held[epoch, number, sequence] = digest
            before = (epoch, number, sequence - 1) if sequence > 1 else None
            if content.link is not None:
                before = (content.link[0], number, content.link[1])
            if before is not None:
                links.append((before, content.previous))
        for before, previous in links:
            if held.get(before, previous) != previous:
                self.fail(f"a record does not follow {before}, which it names")
        for (epoch, number), (sequence, digest) in self._durable.items():
            if held.get((epoch, number, sequence), digest) != digest:
                self.fail(f"C5 and the gateway hold two different records as {epoch.hex()}/{number}/{sequence}")


_WAITING = """
    SELECT lane, ordinal, sequence FROM record WHERE NOT EXISTS
    (SELECT 1 FROM receipted r WHERE (r.lane, r.ordinal) = (record.lane, record.ordinal)
     AND record.sequence BETWEEN r.first AND r.last)"""


def records(payload: bytes) -> list[Record]:
    """Read the records of a publish; a simulated gateway's own."""
    found = []
    for wire in split_sequence(payload):
        envelope = parse(wire, "record")
        assert isinstance(envelope, Envelope), envelope
        content = decode(envelope.payload)
        assert isinstance(content, Record), content
        found.append(content)
    return found
