"""One seed: who is there, what goes wrong and when, and a quiet end in which everything must settle.

Each seed draws a few kinds of fault (not all: faults hide one another), and each kind strikes again and again, whatever
the others do. When the time is over every fault ends; presses go on for a while, so that promises with a bound are
asked for; then everything that was promised must be kept within `SETTLED_WITHIN`.

Source of the method: A. Groce et al., "Swarm Testing", ISSTA 2012; FoundationDB's simulation.
"""

import asyncio
import gc
import logging
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Final

from gateway.fieldlink.message import Reading
from tests.simulation import contacts, supervised, world
from tests.simulation.broker import SimulatedBroker
from tests.simulation.check import TYPES, Checker
from tests.simulation.disk import SimulatedDisk
from tests.simulation.faults import KINDS
from tests.simulation.field import Bus, Device, line_maker
from tests.simulation.health import Health
from tests.simulation.loop import PROCESS, Broken, VirtualLoop, place
from tests.simulation.memory import weigh
from tests.simulation.network import Network, Path
from tests.simulation.signatures import verified_once
from tests.simulation.trace import Trace

DENSE: Final = 1200.0  # seconds with faults, in one seed
CALM: Final = 60.0  # seconds of presses without a fault
SETTLED_WITHIN: Final = 300.0
WEIGHED_EVERY: Final = 60.0
ELEMENTS_MAX: Final = 60_000  # in all containers of the gateway
BYTES_MAX: Final = 8 * 1024 * 1024
PRESSED: Final = (1, 1, 1, *TYPES)  # kinds: most are panic buttons


@dataclass
class Outcome:
    """What a seed came to."""

    seed: int
    broken: str | None = None
    at: float = 0.0
    digest: str = ""
    last: tuple[str, ...] = ()
    presses: int = 0
    records: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    latencies: tuple[float, ...] = ()
    spent: float = 0.0  # seconds of a core


class _Errors(logging.Handler):
    """What a living program logs as an error breaks a promise (promise 8)."""

    def __init__(self, simulation: "Simulation") -> None:
        super().__init__(logging.ERROR)
        self._simulation = simulation

    def emit(self, record: logging.LogRecord) -> None:
        """Take it, unless the program that says it is dead."""
        process = PROCESS.get()
        if process is None or process.alive:
            error = record.exc_info[1] if record.exc_info else None
            self._simulation.checker.fail(f"{record.name} logs: {record.getMessage()} {error!r}{place(error)}")


class Simulation:
    """One run of one seed."""

    def __init__(self, seed: int, *, hours: float = DENSE / 3600, echo: bool = False) -> None:
        self.seed = seed
        self.dense = hours * 3600
        self.loop = VirtualLoop(Random(f"{seed} loop"))
        self.trace = Trace(self.loop.time, echo=echo)
        self.health = Health(self.loop.time)
        self.faults: Counter[str] = Counter()
        self.random = self._chance("scenario")
        self.restarting = asyncio.Lock()

    def _chance(self, name: str) -> Random:
        return Random(f"{self.seed} {name}")

    def run(self) -> Outcome:
        """Run it, and return what it came to; never raises for what a seed finds."""
        outcome = Outcome(self.seed)
        errors = _Errors(self)
        logging.getLogger().addHandler(errors)
        gc.collect()  # what an earlier seed left must not end in this one
        try:
            with verified_once():
                self.loop.run_until_complete(self._life())
        except Broken as broken:
            outcome.broken = str(broken)
        finally:
            logging.getLogger().removeHandler(errors)
        outcome.at = self.loop.time()
        outcome.digest, outcome.last = self.trace.digest, tuple(self.trace.last)
        outcome.faults = self.faults
        outcome.presses, outcome.latencies = len(self.checker.truth), tuple(self.checker.latencies)
        rows = self.centre.disk.look(self.checker._ledger_path, "SELECT count(*) FROM records")
        outcome.records = rows[0][0] if rows else 0
        self.loop.end()
        self.centre.disk.close()
        self.gateway.disk.close()
        return outcome

    # Who is there.

    def _build(self) -> None:
        random, loop, trace, health = self.random, self.loop, self.trace, self.health
        profile = random.choice((20, 20, 20, 30, 90))
        keepalive = max(1, min(profile // 2, max(10, profile // 3)))
        names = [f"broker-{n}" for n in range(random.choice((1, 2, 2)))]
        lines = random.choice((1, 1, 2))
        window = random.choice((10, 20, 20, 100))
        options = self._chance("options")
        alarm_paths = options.choice(("first", "first", "all"))
        gateway_disk = SimulatedDisk(self._chance("gateway disk"))
        centre_disk = SimulatedDisk(self._chance("centre disk"))
        folder = world.home().folder
        self.checker = checker = Checker(
            loop, trace, health, (gateway_disk, folder / "gateway"), (centre_disk, folder / "centre")
        )
        checker.grace = 2 * keepalive + 40.0
        checker.failover = 2 * keepalive + 30.0
        checker.paths = tuple(names)
        self.brokers = [SimulatedBroker(name, self._chance(name), trace, receive_maximum=window) for name in names]
        for broker in self.brokers:
            broker.on_publish = checker.published
            broker.maximum_packet = options.choice((None, None, 8192))
            broker.older = options.random() < 0.2
        latency = random.choice(((0.002, 0.01), (0.01, 0.05), (0.05, 0.3)))
        self.ways = [
            Path(f"gw ⇄ {broker.name}", broker, self._chance(f"gw {broker.name}"), latency) for broker in self.brokers
        ]
        self.centre_ways = [
            Path(f"c5 ⇄ {broker.name}", broker, self._chance(f"c5 {broker.name}")) for broker in self.brokers
        ]
        self.buses = [Bus(world.LINES[n], self._chance(f"bus {n}"), trace, checker) for n in range(lines)]
        fleet = world.home().labels[: random.randint(2, world.FLEET)]
        self.devices = [
            Device(self.buses[n % lines], label, f"{self.seed} {label.device}", random.choice((20.0, 60.0, 120.0)))
            for n, label in enumerate(fleet)
        ]
        checker.present = {device.id for device in self.devices} | {bus.name for bus in self.buses}
        checker.present |= {"lobby-button", "lobby-light", "lobby-siren"}
        self.gateway = world.GatewayMachine(
            loop=loop,
            table=world.settings(len(names), profile, lines, contacts.TABLES, alarm_paths=alarm_paths),
            network=Network(dict(enumerate(self.ways, 1))),
            lines=line_maker({bus.name: bus for bus in self.buses}),
            random=self._chance("gateway"),
            checker=checker,
            disk=gateway_disk,
            health=health,
            trace=trace,
        )
        self.lobby = contacts.Lobby(self.gateway, checker, trace, self._chance("lobby"))
        self.gateway.chip, self.gateway.on_up = self.lobby, self.lobby.up
        self.centre = world.CentreMachine(
            loop=loop,
            network=Network(dict(enumerate(self.centre_ways, 1))),
            brokers=len(names),
            random=self._chance("centre"),
            checker=checker,
            disk=centre_disk,
            health=health,
            trace=trace,
        )
        trace(f"MQTT 3.1.1: {[broker.name for broker in self.brokers if broker.older]}")
        trace(f"{len(names)} brokers, window {window}, profile {profile}, alarm_paths {alarm_paths}")
        trace(f"{lines} lines, {len(fleet)} devices")

    # Its life.

    async def _life(self) -> None:
        self._build()
        self.centre.start()
        await asyncio.sleep(self.random.uniform(0, 3))
        self.gateway.start()
        for device in self.devices:
            device.power_on(1)
        kinds = [kind for kind in KINDS if self.random.random() < 0.35] or [self.random.choice(list(KINDS))]
        self.trace(f"faults: {' '.join(kinds)}")
        living = [self._pressing(), self._measuring(), self._weighing(), self.lobby.live(), self.lobby.watching()]
        tasks = [self.loop.create_task(life) for life in living]
        faults = [self.loop.create_task(self._strike(kind)) for kind in kinds]
        faults.append(self.loop.create_task(self.lobby.unplugging()))
        await asyncio.sleep(self.dense)
        for task in faults:
            task.cancel()
        await asyncio.gather(*faults, return_exceptions=True)
        self.trace("all faults have ended")
        await self._mend()
        await asyncio.sleep(CALM)
        for task in tasks:
            task.cancel()
        await self._settle()
        self.checker.finish()
        supervised.judge(self.checker)
        self.lobby.judge()
        gc.collect()  # a forgotten task whose failure nobody has asked for says so now
        await asyncio.sleep(0)

    async def _mend(self) -> None:
        if not self.gateway.clock.synchronised or self.gateway.clock.offset_us:
            await asyncio.sleep(5)
            self.gateway.clock.synchronise()
        for device in self.devices:
            if not device.on:
                device.power_on()

    async def _settle(self) -> None:
        until = self.loop.time() + SETTLED_WITHIN
        while (open_ := self.checker.unsettled() or supervised.standing(self.checker)) is not None:
            if self.loop.time() >= until:
                self.checker.fail(f"not settled {SETTLED_WITHIN:.0f} s after the last press: {open_}")
            await asyncio.sleep(5)
        self.trace("settled")

    async def _pressing(self) -> None:
        random = self._chance("presses")
        every = random.choice((6.0, 20.0, 40.0))
        while True:
            await asyncio.sleep(random.expovariate(1 / every))
            for _ in range(random.choice((1, 1, 1, 1, 1, 1, 1, 3, 12))):
                random.choice(self.devices).press(random.choice(PRESSED))

    async def _measuring(self) -> None:
        random = self._chance("measurements")
        every = random.choice((5.0, 30.0, 90.0))
        while True:
            await asyncio.sleep(random.expovariate(1 / every))
            random.choice(self.devices).measure([Reading(1, random.randint(-400, 900), -1)])

    async def _weighing(self) -> None:
        """See that the gateway's memory is bounded (promise 6)."""
        while True:
            await asyncio.sleep(WEIGHED_EVERY)
            if self.checker.ready and self.gateway.app is not None:
                elements, size = weigh(self.gateway.app)
                if elements > ELEMENTS_MAX or size > BYTES_MAX:
                    self.checker.fail(f"the gateway holds {elements} elements and {size} bytes")

    async def _strike(self, kind: str) -> None:
        random = self._chance(f"fault {kind}")
        act, every = KINDS[kind]
        while True:
            await asyncio.sleep(random.expovariate(1 / every))
            self.faults[kind] += 1
            await act(self, random)
