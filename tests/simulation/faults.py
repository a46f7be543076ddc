"""What goes wrong in a seed: each fault begins, lasts, and ends what it began, also when it is cancelled.

A fault that a promise with a bound must not be held against says so (`health`); a disk that fails is none of these:
alarms go on without it.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, Final, Protocol

from firmware_sim.faults import Likelihoods
from gateway.fieldlink.message import Reading
from tests.simulation.broker import Misdeeds, SimulatedBroker
from tests.simulation.check import Checker
from tests.simulation.clock import BEGIN_US
from tests.simulation.disk import FAULTS, SimulatedDisk
from tests.simulation.field import QUIET, Bus, Device
from tests.simulation.health import Health
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Path
from tests.simulation.supervised import jammed, silent, weak
from tests.simulation.trace import Trace
from tests.simulation.world import CentreMachine, GatewayMachine


class Site(Protocol):
    """All that can go wrong."""

    loop: VirtualLoop
    trace: Trace
    health: Health
    checker: Checker
    gateway: GatewayMachine
    centre: CentreMachine
    restarting: asyncio.Lock  # one restart of the gateway at a time
    brokers: list[SimulatedBroker]
    ways: list[Path]  # of the gateway
    centre_ways: list[Path]
    buses: list[Bus]
    devices: list[Device]


async def killed(site: Site, random: Random) -> None:
    """The gateway is killed, and started again by systemd."""
    async with site.restarting:
        site.gateway.kill("SIGKILL")
        try:
            await asyncio.sleep(random.uniform(0.1, 5))
        finally:
            site.gateway.start()


async def powerless(site: Site, random: Random) -> None:
    """The gateway's machine loses power; it comes back not knowing the time."""
    async with site.restarting:
        site.gateway.kill("the power goes")
        try:
            await asyncio.sleep(random.uniform(2, 20))
        finally:
            shown = random.choice((0, BEGIN_US - 86_400_000_000, site.gateway.clock.now_us() - 60_000_000))
            site.gateway.clock.power_on(shown + random.randrange(60_000_000))
            site.gateway.start()
    await asyncio.sleep(random.uniform(0, 60))
    site.gateway.clock.synchronise()


async def stopped(site: Site, random: Random) -> None:
    """The gateway is stopped and started."""
    async with site.restarting:
        try:
            await site.gateway.stop()
            await asyncio.sleep(random.uniform(0.1, 10))
        finally:
            site.gateway.start()


async def centre_gone(site: Site, random: Random) -> None:
    """The receiver is killed or stopped, for seconds or minutes."""
    try:
        if random.random() < 0.5:
            site.centre.kill()
        else:
            await site.centre.stop()
        await asyncio.sleep(random.choice((1.0, 10.0, 90.0)) * random.random())
    finally:
        site.centre.start()


async def disk_stalls(site: Site, random: Random) -> None:
    """The gateway's disk doesn't answer for a while."""
    await _stalls(site, site.gateway.disk, random)


async def _stalls(site: Site, disk: SimulatedDisk, random: Random) -> None:
    disk.stalled_until = site.loop.time() + random.choice((0.3, 2.0, 2.0, 15.0))
    site.trace(f"a disk stalls until {disk.stalled_until:.3f}")
    await asyncio.sleep(disk.stalled_until - site.loop.time())


async def disk_fails(site: Site, random: Random) -> None:
    """The gateway's disk is full, read-only or broken for a while."""
    await _fails(site, site.gateway.disk, random)


async def _fails(site: Site, disk: SimulatedDisk, random: Random) -> None:
    disk.fault = random.choice(list(FAULTS))
    site.trace(f"a disk is {disk.fault}")
    try:
        await asyncio.sleep(random.expovariate(1 / 20))
    finally:
        disk.fault = None
        site.trace("a disk is whole again")


async def ledger_suffers(site: Site, random: Random) -> None:
    """C5's disk stalls or fails."""
    with site.health.impaired("centre"):
        await random.choice((_stalls, _fails))(site, site.centre.disk, random)


async def link_down(site: Site, random: Random) -> None:
    """A broker can't be reached: every try is refused at once."""
    await _way(site, random, site.ways, _refused)


async def link_swallows(site: Site, random: Random) -> None:
    """A black hole: packets vanish without a reset."""
    await _way(site, random, site.ways, _swallowed)


async def centre_cut_off(site: Site, random: Random) -> None:
    """C5 loses a broker, in either way; the gateway doesn't."""
    with site.health.impaired("liar"):
        await _way(site, random, site.centre_ways, random.choice((_refused, _swallowed)))


async def _way(
    site: Site, random: Random, ways: list[Path], act: Callable[[Site, Path, float], Awaitable[None]]
) -> None:
    seconds = random.choice((2.0, 20.0, 60.0, 180.0)) * random.random()
    picked = ways if random.random() < 0.2 else [random.choice(ways)]
    with site.health.impaired(*(way.broker.name for way in picked)):
        await asyncio.gather(*(act(site, way, seconds) for way in picked))


async def _refused(site: Site, way: Path, seconds: float) -> None:
    site.trace(f"{way.name} is cut")
    way.up = False
    way.cut()
    try:
        await asyncio.sleep(seconds)
    finally:
        way.up = True
        site.trace(f"{way.name} is back")


async def _swallowed(site: Site, way: Path, seconds: float) -> None:
    site.trace(f"{way.name} swallows")
    way.swallow()
    try:
        await asyncio.sleep(seconds)
    finally:
        way.release()
        site.trace(f"{way.name} swallows no more")


async def broker_restarts(site: Site, random: Random) -> None:
    """A broker is restarted, with or without what it kept."""
    broker = random.choice(site.brokers)
    persistent = random.random() < 0.5
    with site.health.impaired(broker.name, *([] if persistent else ["liar"])):
        site.trace(f"{broker.name} restarts, {'persistent' if persistent else 'forgetting'}")
        broker.up = False
        broker.restart(persistent=persistent)
        try:
            await asyncio.sleep(random.uniform(0.1, 30))
        finally:
            broker.up = True


async def refusing(site: Site, random: Random) -> None:
    """A broker refuses some channels."""
    broker = random.choice(site.brokers)
    channels = random.sample(("event/alarm", "event/status", "event/telemetry", "state", "certificates"), 2)
    with site.health.impaired("liar", "refused"):
        broker.refuses = dict.fromkeys(channels, random.choice((0x80, 0x87, 0x97, 0x99)))
        site.trace(f"{broker.name} refuses {channels}")
        try:
            await asyncio.sleep(random.expovariate(1 / 30))
        finally:
            broker.refuses = {}


async def lying(site: Site, random: Random) -> None:
    """A broker loses what it acknowledged, says things twice, and late."""
    broker = random.choice(site.brokers)
    with site.health.impaired("liar"):
        broker.misdeeds = Misdeeds(*(random.choice((0.0, 0.1, 0.5)) for _ in range(3)))
        site.trace(f"{broker.name}: {broker.misdeeds}")
        try:
            await asyncio.sleep(random.expovariate(1 / 60))
        finally:
            broker.misdeeds = Misdeeds()


async def noise(site: Site, random: Random) -> None:
    """A line spoils bytes."""
    bus = random.choice(site.buses)
    odds = (*(random.choice((0.0, 0.1, 0.4)) for _ in range(5)), random.choice((0.05, 2.0)))
    bus.disturb(Likelihoods(*odds))
    site.trace(f"{bus.name} is noisy: {odds}")
    try:
        await asyncio.sleep(random.expovariate(1 / 60))
    finally:
        bus.disturb(QUIET)


async def unplugged(site: Site, random: Random) -> None:
    """An adapter is pulled out."""
    bus = random.choice(site.buses)
    site.trace(f"{bus.name} is unplugged")
    bus.unplug()
    try:
        await asyncio.sleep(random.expovariate(1 / 15))
    finally:
        bus.plugged = True


async def device_dies(site: Site, random: Random) -> None:
    """A device loses its power."""
    device = random.choice(site.devices)
    site.trace(f"{device.id} is off")
    device.power_cut()
    try:
        await asyncio.sleep(random.expovariate(1 / 20))
    finally:
        device.power_on()


async def clock_jumps(site: Site, random: Random) -> None:
    """Somebody sets the gateway's clock wrong, and NTP sets it right later."""
    seconds = random.choice((-3600.0, -30.0, -2.0, 2.0, 30.0, 3600.0))
    site.trace(f"the clock jumps by {seconds} s")
    site.gateway.clock.jump(seconds)
    if seconds > 0:  # a state from then, that a broker kept over a restart, looks as made after it: wire.md, "Epochs"
        site.checker.excused.add("gateway.cloned")
    site.gateway.clock.synchronised = site.gateway.clock.synchronised and random.random() < 0.5
    try:
        await asyncio.sleep(random.expovariate(1 / 30))
    finally:
        site.gateway.clock.synchronise()


async def flood(site: Site, random: Random) -> None:
    """Devices send telemetry as fast as the line takes it."""
    site.trace("a flood of telemetry")
    device = random.choice(site.devices)
    for _ in range(random.choice((30, 50, 200))):
        device.measure([Reading(random.randint(1, 11), random.randint(0, 4000), -2)])
        await asyncio.sleep(0.02)


async def slow_link(site: Site, random: Random) -> None:
    """The gateway's links become slow, as over 2G."""
    rate = random.choice((2000.0, 8000.0))
    with site.health.impaired("slow"):
        site.trace(f"links carry {rate:.0f} B/s")
        for way in site.ways:
            way.rate = rate
        try:
            await asyncio.sleep(random.uniform(30, 120))
        finally:
            for way in site.ways:
                way.rate = math.inf


Act = Callable[[Site, Random], Coroutine[Any, Any, None]]
# What goes wrong, and every how many seconds on average.
KINDS: Final[dict[str, tuple[Act, float]]] = {
    "killed": (killed, 150.0),
    "powerless": (powerless, 250.0),
    "stopped": (stopped, 250.0),
    "centre": (centre_gone, 150.0),
    "disk stall": (disk_stalls, 60.0),
    "disk fault": (disk_fails, 120.0),
    "ledger": (ledger_suffers, 200.0),
    "link down": (link_down, 120.0),
    "black hole": (link_swallows, 150.0),
    "centre cut off": (centre_cut_off, 150.0),
    "broker restart": (broker_restarts, 200.0),
    "refusal": (refusing, 200.0),
    "lying broker": (lying, 200.0),
    "noise": (noise, 100.0),
    "unplugged": (unplugged, 200.0),
    "device power": (device_dies, 100.0),
    "clock": (clock_jumps, 150.0),
    "flood": (flood, 250.0),
    "slow link": (slow_link, 200.0),
    "silent": (silent, 200.0),
    "battery": (weak, 250.0),
    "jammer": (jammed, 250.0),
}
