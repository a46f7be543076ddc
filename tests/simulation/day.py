"""A day on one line with 32 devices: gentle faults, and each of them is at C5 as the right records, once.

`python -m tests.simulation --day`. What happens is a list that the seed draws; from it follows, for each source, the
very sequence of records that C5 must hold at the end, with the time within which each must have occurred.
"""

import asyncio
import resource
import time
from dataclasses import dataclass
from random import Random
from typing import Final

from gateway.event import Lane
from gateway.fieldlink.label import Label
from gateway.registry.devices import Device as Enrolled
from gateway.registry.devices import Registry
from tests.simulation import supervised, world
from tests.simulation.clock import BEGIN_US
from tests.simulation.faults import killed, stopped
from tests.simulation.field import Device
from tests.simulation.memory import weigh
from tests.simulation.scenario import PRESSED, Outcome, Simulation

DEVICES: Final = 32
BEAT: Final = 60.0  # seconds between two heartbeats
GRACE: Final = 180.0
SLACK: Final = 10.0
EVERY: Final = 240.0  # seconds between two faults, on average
START: Final = 5.0  # seconds that a start of the gateway takes at most, systemd's pause included


@dataclass(frozen=True, slots=True)
class Expected:
    """A record that must be at C5, having occurred between these simulated seconds."""

    type: str
    source: str
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a day cost: of the whole simulation, gateway, centre and field together, and the gateway's own memory."""

    cpu_s: float
    peak_mb: float
    elements: int
    bytes: int


class Day(Simulation):
    """One day of one seed."""

    def __init__(self, seed: int, *, hours: float = 24.0, echo: bool = False) -> None:
        super().__init__(seed, hours=hours, echo=echo)
        self.expected: list[Expected] = []
        self.figures: Figures
        self._busy: set[str] = set()
        self._starts: list[float] = []
        self._weighed = 0, 0

    def run(self) -> Outcome:
        """Run it, and measure it."""
        began = time.process_time()
        outcome = super().run()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        elements, size = self._weighed
        self.figures = Figures(time.process_time() - began, peak, elements, size)
        return outcome

    def _build(self) -> None:
        place = world.home()
        labels = [Label(f"0c5d{n:04x}", "PB-1", Random(f"day {n}").randbytes(16)) for n in range(1, DEVICES + 1)]
        registry = Registry(place.folder / "gateway")
        for known in registry.devices():
            registry.revoke(known)
        for label in labels:
            registry.enrol(Enrolled(label.device, label.model, label.key))
        super()._build()
        for bus in self.buses:
            bus.devices.clear()
        self.devices = [Device(self.buses[0], label, f"{self.seed} {label.device}", BEAT) for label in labels]
        self.checker.present |= {label.device for label in labels}

    async def _life(self) -> None:
        self._build()
        self.centre.start()
        await asyncio.sleep(2)
        self.gateway.start()
        await asyncio.sleep(START)
        for device in self.devices:
            device.power_on(1)
            await asyncio.sleep(BEAT / DEVICES)
        living = [self.loop.create_task(life) for life in (self._pressing(), self._measuring(), self._weighing())]
        faults = self._chance("day")
        acts: set[asyncio.Task[None]] = set()
        until = self.loop.time() + self.dense
        while self.loop.time() < until:
            await asyncio.sleep(faults.expovariate(1 / EVERY))
            name, act = faults.choice((*_ACTS, *_ACTS, ("restart", Day._restarted)))
            self.faults[name] += 1
            acts.add(self.loop.create_task(act(self, faults)))
        if acts:
            await asyncio.wait(acts)
        await asyncio.sleep(90)
        for life in living:
            life.cancel()
        self._weighed = weigh(self.gateway.app)
        await self._settle()
        self.checker.finish()
        self._judge()
        await asyncio.sleep(0)

    async def _pressing(self) -> None:
        random = self._chance("presses")
        while True:
            await asyncio.sleep(random.expovariate(1 / 30))
            random.choice(self.devices).press(random.choice(PRESSED))

    # What happens, one thing at a time to each source.

    def _free(self, random: Random) -> Device | None:
        free = [device for device in self.devices if device.id not in self._busy]
        return random.choice(free) if free else None

    async def _silent(self, random: Random) -> None:
        if (device := self._free(random)) is None:
            return
        self._busy.add(device.id)
        cut, seconds = self.loop.time(), random.choice((45.0, random.uniform(400, 3600)))
        device.power_cut()
        await asyncio.sleep(seconds)
        if seconds > GRACE:
            # The grace begins anew where the gateway did before it was over.
            again = any(cut - SLACK < started < cut + GRACE + SLACK for started in self._starts)
            late = GRACE + (GRACE + START if again else 0.0)
            self.expected.append(Expected("device.lost", device.id, cut + GRACE - BEAT - SLACK, cut + late + SLACK))
            now = self.loop.time()
            self.expected.append(Expected("device.restored", device.id, now - 1, now + BEAT + SLACK))
        device.power_on()
        await asyncio.sleep(2 * BEAT)
        self._busy.discard(device.id)

    async def _weak(self, random: Random) -> None:
        if (device := self._free(random)) is None:
            return
        self._busy.add(device.id)
        began = self.loop.time()
        says_so = self.devices.index(device) % 2 == 0  # the board: the gateway then makes nothing of its millivolts
        low = 2300 if says_so else random.choice((2450, 2550))
        device.machine.cell.replace(low)
        await asyncio.sleep(1200)
        device.machine.cell.replace(2980)
        if low == 2450:
            now = self.loop.time()
            self.expected.append(Expected("battery.low", device.id, began + 300, began + 1000))
            self.expected.append(Expected("battery.restored", device.id, now, now + BEAT + SLACK))
        await asyncio.sleep(2 * BEAT)
        self._busy.discard(device.id)

    async def _jammed(self, random: Random) -> None:
        bus = self.buses[0]
        if bus.name in self._busy:
            return
        self._busy.add(bus.name)
        began, seconds = self.loop.time(), random.choice((5.0, 120.0))
        while self.loop.time() < began + seconds:
            if bus.port is not None:
                bus.port.take(random.randbytes(supervised.JAM_BYTES))
            await asyncio.sleep(0.5)
        if seconds > 60:
            now = self.loop.time()
            self.expected.append(Expected("radio.jammed", bus.name, began + 10, began + 60))
            self.expected.append(Expected("radio.cleared", bus.name, now + 25, now + 60))
        await asyncio.sleep(120)
        self._busy.discard(bus.name)

    async def _restarted(self, random: Random) -> None:
        if self.buses[0].name in self._busy:  # a jammer's windows would begin anew
            return
        self._busy.add(self.buses[0].name)
        await asyncio.sleep(5)  # nothing that was told just now is to die beside its commit
        await random.choice((killed, stopped))(self, random)
        self._starts.append(self.loop.time())
        await asyncio.sleep(START)
        self._busy.discard(self.buses[0].name)

    async def _linkless(self, random: Random) -> None:
        with self.health.impaired(*(way.broker.name for way in self.ways)):
            for way in self.ways:
                way.up = False
                way.cut()
            await asyncio.sleep(random.uniform(10, 1800))
            for way in self.ways:
                way.up = True

    # And what C5 must have of it.

    def _judge(self) -> None:
        wanted: dict[str, list[Expected]] = {}
        for expected in self.expected:
            wanted.setdefault(expected.source, []).append(expected)
        for source in {*wanted, *(device.id for device in self.devices), self.buses[0].name}:
            found = [record for record in supervised.told(self.checker) if record.source == source]
            due = wanted.get(source, [])
            if [record.type for record in found] != [expected.type for expected in due]:
                self.checker.fail(f"C5 has {[record.type for record in found]} of {source}; what happened is {due}")
            for record, expected in zip(found, due, strict=False):
                at = (record.occurred_us - BEGIN_US) / 1e6
                if not expected.first <= at <= expected.last or record.lane is not Lane.STATUS:
                    self.checker.fail(f"{record.type} of {source} at {at:.1f} in lane {record.lane}, not {expected}")


_ACTS: Final = (
    ("silent", Day._silent), ("battery", Day._weak), ("jammer", Day._jammed), ("link down", Day._linkless),
)  # fmt: skip
