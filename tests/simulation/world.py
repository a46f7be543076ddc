"""Two machines, the network between them, and the field: built anew for each seed around the real programs.

    devices ─ buses ─▶ App ─ paths ─▶ brokers ─ paths ─▶ Receiver ─▶ ledger
                        │                                   │
                   gateway's disk                      centre's disk

`Gateway` and `Centre` are machines: they start their program on what their disk kept, kill it, or stop it.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Final, cast

from gateway.app import App
from gateway.c5 import app as centre_app
from gateway.c5.centre import Centre
from gateway.c5.ledger import Ledger
from gateway.c5.receiver import Receiver
from gateway.c5.signers import Signers
from gateway.c5.values import Snapshot
from gateway.config import GatewaySettings
from gateway.drivers.gpiochip import Chip, Gpiod
from gateway.errors import StoreError
from gateway.fieldlink.label import Label
from gateway.identity.keystore import load_anchors, load_identity
from gateway.mqtt import Broker, Connection
from gateway.registry.devices import Device as Enrolled
from gateway.registry.devices import Registry
from gateway.settings import check_tables
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Signer
from gateway.world import World
from tests.simulation import authority, clock
from tests.simulation.check import Checker
from tests.simulation.disk import SimulatedDisk
from tests.simulation.health import Health
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.trace import Trace

FLEET: Final = 8
RESTARTED_AFTER: Final = 2.0  # seconds, by systemd
LINES: Final = ("radio-0", "radio-1")


@dataclass(frozen=True)
class Home:
    """What every seed of this process shares: certificates, enrolled devices, and no record."""

    folder: Path
    certificates: Path
    labels: tuple[Label, ...]
    _kept: tempfile.TemporaryDirectory[str]


@cache
def home() -> Home:
    """Make it once."""
    kept = tempfile.TemporaryDirectory(prefix="c5-simulation-")
    folder = Path(kept.name)
    authority.make_authority(folder / "authority")
    labels = tuple(Label(f"0c50{n:04x}", "PB-1", Random(f"label {n}").randbytes(16)) for n in range(1, FLEET + 1))
    registry = Registry(folder / "gateway")
    for label in labels:
        registry.enrol(Enrolled(label.device, label.model, label.key))
    return Home(folder, folder / "authority", labels, kept)


def settings(
    brokers: int, profile: int, lines: int, contacts: Mapping[str, Any] = MappingProxyType({}), **delivery: Any
) -> GatewaySettings:
    """Return a gateway's settings, checked as the file's are; `contacts`: its `[[input]]` and `[[output]]`."""
    place = home()
    own = place.certificates / "gateway" / authority.GATEWAY
    tables: dict[str, Any] = {
        "gateway": {
            "id": authority.GATEWAY, "agency": "test", "site": "bench", "state_dir": str(place.folder / "gateway"),
        },
        "identity": {
            "trust_anchors": str(place.certificates / "trust-anchors.pem"),
            "signing_certificate": str(own / "signing.pem"),
            "signing_key": str(own / "signing.key"),
        },
        "broker": [{"host": "127.0.0.1", "port": 1 + n, "tls": False} for n in range(brokers)],
        "delivery": {"profile": profile, **delivery},
        "port": [{"name": name, "device": name} for name in LINES[:lines]],
        "supervision": {"battery_low_mv": 2500, "battery_restored_mv": 2700},  # the boards' own threshold is below
        **contacts,
    }  # fmt: skip
    return check_tables(tables, GatewaySettings, place.folder / "gateway.toml")


@contextlib.asynccontextmanager
async def no_console(*_: object) -> AsyncIterator[None]:
    """Nobody asks at this gateway's door."""
    yield


async def at_once(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Do at once what a thread does elsewhere."""
    return call(*args, **kwargs)


@contextlib.contextmanager
def lives_on(name: str, process: Process | None, checker: Checker) -> Iterator[None]:
    """A program that ends by itself breaks a promise."""
    try:
        yield
    except BaseException as error:
        if process is not None and process.alive and not isinstance(error, asyncio.CancelledError):
            checker.fail(f"{name} ended: {error!r}")
        raise


class GatewayMachine:
    """The gateway's computer: clock, disk and network stay, the program comes and goes."""

    def __init__(
        self,
        *,
        loop: VirtualLoop,
        table: GatewaySettings,
        network: Network,
        lines: Any,
        random: Random,
        checker: Checker,
        disk: SimulatedDisk,
        health: Health,
        trace: Trace,
    ) -> None:
        self.disk = disk
        self.clock = clock.SimulatedClock(loop.time)
        self.floor = clock.SimulatedFloor()
        self.app: App | None = None
        self.process: Process | None = None
        self.chip: Chip = Gpiod()
        self.on_up: Callable[[], None] = lambda: None
        self._loop = loop
        self._settings = table
        self._network = network
        self._lines = lines
        self._random = random
        self._checker = checker
        self._health = health
        self._trace = trace
        self._health.begin("gateway")

    def start(self) -> None:
        """Start the program."""
        self._trace("gateway starts")
        self.process = Process("gateway", self._loop, self._main)

    async def _main(self) -> None:
        world = World(
            clock=self.clock,
            floor=self.floor,
            random=self._random.random,
            random_bytes=self._random.randbytes,
            disk=self.disk,
            connect=self._network.connect,
            line=self._lines,
            chip=self.chip,
            console=no_console,
            beside=at_once,
        )
        self.app = app = App(self._settings, world)
        process = self.process
        with lives_on("the gateway", process, self._checker):
            await app.run(lambda: self._up(process))

    def _up(self, process: Process | None) -> None:
        if process is not None and process.alive:
            self._trace("gateway is up")
            self.on_up()
            self._checker.gateway_started()
            self._health.end("gateway")

    def kill(self, why: str) -> None:
        """SIGKILL, or the power goes."""
        self._trace(f"gateway: {why}")
        self._down()
        if self.process is not None:
            self.process.kill()
        self._checker.gateway_ended()

    async def stop(self) -> None:
        """SIGTERM."""
        self._trace("gateway stops")
        self._down()
        if self.process is not None:
            await self.process.stop()
        self._checker.gateway_ended()

    def _down(self) -> None:
        if self._checker.ready:
            self._health.begin("gateway")
        self._checker.ready = False


class CentreMachine:
    """C5's computer, with the real receiver put together as `c5.app` does it."""

    def __init__(
        self,
        *,
        loop: VirtualLoop,
        network: Network,
        brokers: int,
        random: Random,
        checker: Checker,
        disk: SimulatedDisk,
        health: Health,
        trace: Trace,
    ) -> None:
        self.disk = disk
        self.process: Process | None = None
        self._loop = loop
        self._network = network
        self._brokers = brokers
        self._random = random
        self._checker = checker
        self._health = health
        self._trace = trace
        self._clock = clock.SimulatedClock(loop.time)
        self._running = False
        health.begin("centre")

    def start(self) -> None:
        """Start the receiver."""
        self._trace("centre starts")
        self.process = Process("centre", self._loop, self._main)

    async def _main(self) -> None:
        place = home()
        own = place.certificates / "receiver" / authority.RECEIVER
        anchors = load_anchors(place.certificates / "trust-anchors.pem")
        at = clock.moment(self._clock.true_us())
        identity = load_identity(own / "signing.pem", own / "signing.key", role="receiver", anchors=anchors, at=at)
        centre = Centre(authority.RECEIVER, Signer(identity.key, identity.identity.thumbprint), Signers(anchors, None))
        process = self.process
        ledger, known = await self._opened(place.folder / "centre")
        try:
            with lives_on("the receiver", process, self._checker):
                centre.restore(known, self._loop.time())
                receiver = Receiver(
                    centre,
                    ledger,
                    [(f"broker-{n}", self._dial(1 + n)) for n in range(self._brokers)],
                    agencies=["+"],
                    certificates=encode_chain(identity.chain),
                    sinks=[self._checker],
                    wall=self._clock.true_us,
                    random=self._random.random,
                )
                if process is not None and process.alive:
                    self._running = True
                    self._health.end("centre")
                await receiver.run()
        finally:
            await ledger.close()

    async def _opened(self, folder: Path) -> tuple[Ledger, Snapshot]:
        """Open the ledger and read it; a receiver whose disk fails ends, and systemd starts it again."""
        while True:
            with contextlib.suppress(StoreError):
                ledger = await Ledger.open(folder, self.disk)
                try:
                    return ledger, await ledger.load()
                except StoreError:
                    await ledger.close()
            await asyncio.sleep(RESTARTED_AFTER)

    def _dial(self, port: int) -> Any:
        async def dial(on_message: Any, on_closed: Any) -> Connection:
            opened = await self._network.connect(
                Broker("127.0.0.1", port, "5", None),
                authority.RECEIVER,
                keepalive=centre_app.KEEPALIVE,
                will=None,
                session_expiry=centre_app.SESSION,
                receive_maximum=centre_app.IN_FLIGHT,
                on_message=on_message,
                on_closed=on_closed,
                deadline=centre_app.DIAL_WITHIN,
                manual_ack=True,
            )
            return cast("Connection", opened)

        return dial

    def kill(self) -> None:
        """SIGKILL."""
        self._trace("centre is killed")
        self._down()
        if self.process is not None:
            self.process.kill()

    async def stop(self) -> None:
        """SIGTERM."""
        self._trace("centre stops")
        self._down()
        if self.process is not None:
            await self.process.stop()

    def _down(self) -> None:
        if self._running:
            self._health.begin("centre")
        self._running = False
