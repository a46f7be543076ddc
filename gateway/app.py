"""The gateway as one process: every part made, connected and started here, and nothing else done.

    lines ─▶ intake ─▶ recorder ─┬▶ outbox ─▶ (durable) ─▶ intake ─▶ device
                                 └▶ uplink ─▶ broker … receipt ─▶ uplink ─▶ outbox, intake ─▶ device

One flat group of tasks. A driver that ends is restarted alone; a core task that ends takes the process with it, and
systemd starts it again: the outbox has everything.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from gateway import RELEASED, __version__, notify, site, status
from gateway.applied import Loaded
from gateway.buses import Buses
from gateway.clock import EpochClock
from gateway.commanding import commands, settings_on_trial, started, works
from gateway.config import GatewaySettings, PortTable
from gateway.contacts import Contacts
from gateway.control.authorise import Speakers
from gateway.credentials import field_clock, identity, revocations
from gateway.delivery.coverage import Coverage
from gateway.delivery.item import EventState, Run
from gateway.dialling import dialler
from gateway.drivers.field_link import FieldLink
from gateway.errors import Refused, StoreError
from gateway.event import Event, Lane
from gateway.gnss import Gnss
from gateway.identity.keystore import (
    load_anchors,
    own_key,
)
from gateway.local_input import LocalInput
from gateway.outbox.budget import Budget
from gateway.outbox.salvage import Prover, Taken, runs
from gateway.outbox.salvager import Rescue
from gateway.outbox.store import Outbox
from gateway.peripherals import OsdpLines
from gateway.registry.devices import Registry
from gateway.signing.chain import Chain
from gateway.signing.chains import CHAINS_MAX, decode_chain, encode_chain, encode_chains
from gateway.signing.cose import Signer, VerifyingKey
from gateway.tasks.clockwatch import ClockWatch
from gateway.tasks.drivers import Driver, Drivers
from gateway.tasks.intake import RECEIVED, STORED, Intake
from gateway.tasks.recorder import Recorder
from gateway.tasks.said import Self
from gateway.tasks.storage import Storage
from gateway.tasks.supervise import Supervise
from gateway.tasks.uplink import Uplink
from gateway.text import _
from gateway.topics import Route
from gateway.world import World

if TYPE_CHECKING:
    from gateway.fieldside import FieldSide
    from gateway.tasks.commands import Commands
    from gateway.tasks.orders.maintenance import Works

log = logging.getLogger(__name__)

LEAVE: Final = 1.0  # seconds for a reply to leave before the gateway that gave it does


class RestartError(Exception):
    """This gateway is to stop, and to be started again."""


class App:
    """One gateway, from its settings to its tasks."""

    def __init__(self, settings: GatewaySettings, world: World | None = None, loaded: Loaded | None = None) -> None:
        self.settings = settings
        self.loaded = loaded
        given = world or World()
        self.gnss = Gnss(settings, given)
        self.buses = Buses(settings, given)  # refuses a bad profile before a line is touched
        self.contacts = Contacts(settings, given)
        self.osdp = OsdpLines(settings, given)
        self.local = LocalInput(settings, given)
        self.video, self.blind = site.video_or_none(settings)
        self.sides: tuple[FieldSide, ...] = (self.contacts, self.buses, self.gnss, self.osdp, self.local)
        self.contacts.begin()  # before anything that may fail: what a killed gateway left on goes off
        self.clock = field_clock(settings, given)
        self.gnss.tell(self.clock)
        self.world = replace(given, clock=self.clock)  # nothing goes by the machine's clock unjudged
        self.own, self.tls = identity(settings, self.clock)
        self.registry = Registry(settings.gateway.state_dir)
        self.links: dict[str, FieldLink] = {}
        self.drivers = Drivers(given.random)
        self.outbox: Outbox
        self.recorder: Recorder
        self.intake: Intake
        self.uplink: Uplink
        self.commands: Commands
        self.works: Works
        self._cause = "stop"
        self._restarting = asyncio.Event()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Run until cancelled. Raises `StoreError` or `CertificateError` if it can't start."""
        state_dir = self.settings.gateway.state_dir
        try:
            state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                _("state_dir {path} can't be made: {error}").format(path=state_dir, error=error.strerror),
                _("Make the folder, owned by the service's user."),
            ) from error
        self.outbox = await Outbox.open(
            state_dir,
            self.world.random_bytes(4),
            encode_chain(self.own.chain),
            self.world.disk,
            budget=Budget(self.settings.outbox.max_mb, self.settings.outbox.alarm_reserve_mb),
            rescue=Rescue(Prover(self.settings.gateway.id, self._own_key), self.clock.now_us),
        )
        try:
            self._wire()
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self.world.console(state_dir, self._asked))
                except StoreError as error:  # a folder that is read-only must not stop the alarms
                    log.warning("the command line can't reach this service: %s. %s", error.what, error.hint)
                self._started()
                ready()
                try:
                    await self._tasks()
                except* RestartError:
                    log.info("starting anew")
        finally:
            self.contacts.close()
            self._stopping()
            await self.outbox.close()

    # Made and connected.

    def _wire(self) -> None:
        settings, world, start = self.settings, self.world, self.outbox.start
        table = settings.gateway
        signer = Signer(self.own.key, self.own.identity.thumbprint)
        position = table.position.position() if table.position else None
        chains = {lane: Chain(table.id, start.epoch, lane, start.heads.get(lane), signer) for lane in Lane}
        self.recorder = Recorder(chains, start.ordinal, self.outbox, EpochClock(self.clock).occurred, position)
        self.intake = Intake(table.id, self.recorder, self.outbox, world.clock, world.random_bytes)
        policy = settings.supervision.policy()
        self.supervise = Supervise(policy, self.recorder, self.outbox, world.clock, start.notes, gateway=table.id)
        self.intake.on_heard = self.supervise.heard
        self.drivers.on_failed = partial(self.supervise.port_lost, who="driver")
        self.drivers.on_steady = partial(self.supervise.port_restored, who="driver")
        older = [kept_chain for kept in start.older_chains if not isinstance(kept_chain := decode_chain(kept), Refused)]
        coverage = Coverage(start.receipted, start.declared, start.lost)
        own = Self(
            route=Route(table.agency, table.site, table.id),
            epoch=start.epoch,
            ordinal=start.ordinal,
            start_count=start.start_count,
            signer=signer,
            certificates=encode_chains([self.own.chain, *older][:CHAINS_MAX]),
            not_before=max(self.own.identity.not_before, datetime.fromisoformat(RELEASED).replace(tzinfo=UTC)),
            interval=settings.delivery.interval,
            health=lambda: {"storage": self.outbox.gauge.brief(), **self.uplink.health, **self.works.brief()},
        )
        anchors = load_anchors(settings.identity.trust_anchors)
        speakers = Speakers(table.id, anchors, settings.delivery.receivers, revocations(settings, world.clock))
        self.uplink = Uplink(
            own=own,
            brokers=[f"{broker.host}:{broker.port}" for broker in settings.broker],
            dial=dialler(settings, world, self.clock),
            coverage=coverage,
            recorder=self.recorder,
            store=self.outbox,
            speakers=speakers,
            profile=settings.delivery.profile,
            ordinals=start.epochs,
            clock=self.clock,
            random=world.random,
            alarms_everywhere=settings.delivery.alarm_paths == "all",
            cloud_events=settings.delivery.cloud_events,
            confirmed_by_broker=settings.delivery.confirmation == "broker",
        )
        self.recorder.offer = self.uplink.offer
        self.recorder.video = self.video
        self.local.begin(start.raised, self.clock, self.outbox.forget)
        for side in self.sides:
            side.wire(self.recorder, self.outbox, self.supervise, start.notes)
        self.uplink.downlink.on_receipted = self._receipted
        self.works = works(self)
        self.commands = commands(self, own, speakers)
        self.commands.say = self.uplink.reply
        self.uplink.downlink.on_command = self.commands.arrived
        self.storage = Storage(table.id, self.recorder, coverage, {**start.epochs, start.epoch: start.ordinal})
        self.outbox.on_trouble = self.storage.trouble
        self.outbox.on_low = self.storage.low
        self.outbox.on_drop = self.storage.drop
        self.outbox.on_salvaged = self._salvaged
        self.outbox.salvager.on_lost = lambda lost: self.storage.lost([entry.run for entry in lost])
        unread = start.unstored and not start.epochs  # a disk that couldn't be read: what it holds may still be sent
        self.uplink.downlink.salvaging = lambda: unread or self.outbox.unsure
        devices = self.registry.devices()
        for device in devices.values():
            state = start.devices.get(device.id)
            if state is not None and state.key_id != device.key_id:  # enrolled anew while the service was down
                self.outbox.forget(device.id)
                self.supervise.revoked(device.id)
                self.intake.enrol(device)
            else:
                self.intake.enrol(device, state, self._events(device.id))
        for unknown in start.devices.keys() - devices.keys():  # revoked while the service was down
            self.outbox.forget(unknown)
            self.supervise.revoked(unknown)
        self.supervise.watch(devices)
        for port in settings.port:
            if port.driver == "field-link":
                self.links[port.name] = self._link(port)
                self.supervise.port(port.name)
        self.supervise.gone(settings.names | {table.id}, self.local.gone)

    def _events(self, device: str) -> list[EventState]:
        """Return what is known of a device's events; where the broker confirms, nobody is told that C5 has one."""
        events = [event for event in self.outbox.start.events if event.device == device]
        if self.settings.delivery.confirmation == "receiver":
            return events
        return [replace(event, stage=STORED) if event.stage == RECEIVED else event for event in events]

    def _link(self, port: PortTable) -> FieldLink:
        return FieldLink(
            port.device,
            port.baud,
            frame=self.intake.frame,
            noise=partial(self.supervise.noise, port.name),
            lost=partial(self.supervise.port_lost, port.name),
            restored=partial(self.supervise.port_restored, port.name),
            random=self.world.random,
            line=self.world.line,
        )

    def _receipted(self, runs: Sequence[Run]) -> None:
        self.intake.receipted(runs)
        for side in self.sides:
            side.receipted(runs)

    # Started, supervised, stopped.

    async def _tasks(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.uplink.run(), name="uplink")
            group.create_task(self._ticks(), name="intake-ticks")
            group.create_task(self.commands.run(), name="commands")
            group.create_task(self._until_restart(), name="restart")
            group.create_task(self._clockwatch().run(), name="clock")
            group.create_task(self._watchdog(), name="watchdog")
            group.create_task(settings_on_trial(self), name="settings-on-trial")
            links = (Driver(name, link.run, link.close) for name, link in self.links.items())
            for driver in chain(links, *(side.drivers() for side in self.sides)):
                group.create_task(self.drivers.keep(driver), name=f"driver-{driver.name}")

    def _clockwatch(self) -> ClockWatch:
        name, state_dir = self.settings.gateway.id, self.settings.gateway.state_dir
        keep = partial(self.world.floor.write, state_dir)
        return ClockWatch(self.clock, keep, lambda type_, data: self._record(type_, name, data))

    async def _ticks(self) -> None:
        """Give intake, commands and supervision their time; the shortest wait (a challenge sent again) is a second."""
        while True:
            now = self.world.clock.monotonic()
            self.intake.tick(now)
            self.commands.tick(now)
            self.works.tick(now)
            for side in self.sides:
                side.tick()
            self.supervise.tick()
            await asyncio.sleep(min(1.0, max(0.01, self.intake.deadline - now)))

    def restart(self, cause: str) -> None:
        """Stop in order, and leave it to systemd to start anew; what has just been said has a moment to leave."""
        self._cause = cause
        self._restarting.set()

    async def _until_restart(self) -> None:
        await self._restarting.wait()
        await asyncio.sleep(LEAVE)
        raise RestartError

    async def _watchdog(self) -> None:
        """Tell systemd that the event loop comes round and the store's threads live.

        An outage, a dead line or a disk that stalls is not a hang: a restart would mend none, and stop the alarms.
        """
        interval = notify.watchdog_interval()
        while interval is not None:
            if self.outbox.alive:
                notify.watchdog()
            await asyncio.sleep(interval)

    def _started(self) -> None:
        start = self.outbox.start
        data = {
            "version": __version__,
            "cause": "start",
            "start_count": start.start_count,
            "unstored": start.unstored,
        }
        self._record("gateway.started", self.settings.gateway.id, data)
        started(self)
        ports, devices = len(self.links), len(self.intake.glance())
        log.info(
            "%s is up, version %s, start %d: %d ports, %d devices",
            self.settings.gateway.id, __version__, start.start_count, ports, devices,
        )  # fmt: skip
        if self.outbox.complaint is not None:  # before anybody was there to be told
            self.storage.trouble(self.outbox.complaint)

    def _stopping(self) -> None:
        notify.stopping()
        if hasattr(self, "intake"):
            log.info("stopping")
            self.intake.remember()
            data = {"version": __version__, "cause": self._cause}
            self._record("gateway.stopping", self.settings.gateway.id, data)

    def _record(self, type_: str, source: str, data: dict[str, Any]) -> bool:
        return self.recorder.record(Event(type_, source, data=data)) is not None

    def _own_key(self, chain: Sequence[bytes]) -> VerifyingKey | None:
        return own_key(chain, load_anchors(self.settings.identity.trust_anchors), self.settings.gateway.id)

    def _salvaged(self, taken: Sequence[Taken], ordinals: Mapping[bytes, int]) -> None:
        """Send what a salvage has found, which delivery has passed by without finding it."""
        found = runs(taken)
        self.storage.found(found, ordinals)
        self.uplink.downlink.learn(ordinals)
        self.intake.salvaged(one.event for one in taken if one.event is not None)
        for run in found:
            self.uplink.requested(run, self.clock.monotonic())
        self.uplink.pump()

    # Asked by the technician's command line.

    async def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        return await status.answer(self, request)
