"""The gateway as one process: every part made, connected and started here, and nothing else done.

    lines ─▶ intake ─▶ recorder ─┬▶ outbox ─▶ (durable) ─▶ intake ─▶ device
                                 └▶ uplink ─▶ broker … receipt ─▶ uplink ─▶ outbox, intake ─▶ device

One flat group of tasks. A driver that ends is restarted alone; a core task that ends takes the process with it, and
systemd starts it again: the outbox has everything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway import RELEASED, __version__, notify, status
from gateway.clock import EpochClock, Timekeeper
from gateway.config import GatewaySettings, PortTable
from gateway.control.authorise import Speakers
from gateway.delivery.coverage import Coverage
from gateway.delivery.item import EventState
from gateway.delivery.link import CentreWatch
from gateway.delivery.schedule import Schedule
from gateway.drivers.field_link import FieldLink
from gateway.errors import CertificateError, Refused, StoreError
from gateway.event import Event, Lane
from gateway.identity.keystore import Own, Tls, load_anchors, load_identity, load_revocations, read_tls
from gateway.mqtt import Broker, Connection, Message, Will
from gateway.outbox.store import Outbox
from gateway.registry.devices import Registry
from gateway.signing.certificate import Revocations
from gateway.signing.chain import Chain
from gateway.signing.chains import CHAINS_MAX, decode_chain, encode_chain, encode_chains
from gateway.signing.cose import Signer
from gateway.tasks import uplink as uplinks
from gateway.tasks.intake import RECEIVED, STORED, Intake
from gateway.tasks.recorder import Recorder
from gateway.tasks.said import Self
from gateway.text import _
from gateway.tls import client_context
from gateway.topics import Route
from gateway.world import World

log = logging.getLogger(__name__)

DIAL_DEADLINE: Final = 15.0  # seconds for DNS, TCP, TLS and MQTT together
RECEIVE_MAXIMUM: Final = 64  # unacknowledged messages towards us; receipts are small and few
DRIVER_PAUSE: Final = 1.0  # seconds before a driver that ended is started again
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class App:
    """One gateway, from its settings to its tasks."""

    def __init__(self, settings: GatewaySettings, world: World | None = None) -> None:
        self.settings = settings
        self.world = world or World()
        self.own, self.tls = identity(settings, self.world.clock)
        self.registry = Registry(settings.gateway.state_dir)
        self.links: dict[str, FieldLink] = {}
        self.outbox: Outbox
        self.recorder: Recorder
        self.intake: Intake
        self.uplink: uplinks.Uplink

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
            state_dir, self.world.random_bytes(4), encode_chain(self.own.chain), self.world.disk
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
                await self._tasks()
        finally:
            self._stopping()
            await self.outbox.close()

    # Made and connected.

    def _wire(self) -> None:
        settings, world, start = self.settings, self.world, self.outbox.start
        table = settings.gateway
        signer = Signer(self.own.key, self.own.identity.thumbprint)
        position = table.position.position() if table.position else None
        chains = {lane: Chain(table.id, start.epoch, lane, start.heads.get(lane), signer) for lane in Lane}
        self.recorder = Recorder(chains, start.ordinal, self.outbox, EpochClock(world.clock).occurred, position)
        self.intake = Intake(table.id, self.recorder, self.outbox, world.clock, world.random_bytes)
        older = [chain for kept in start.older_chains if not isinstance(chain := decode_chain(kept), Refused)]
        coverage = Coverage(start.receipted)
        self.uplink = uplinks.Uplink(
            own=Self(
                route=Route(table.agency, table.site, table.id),
                epoch=start.epoch,
                ordinal=start.ordinal,
                start_count=start.start_count,
                signer=signer,
                certificates=encode_chains([self.own.chain, *older][:CHAINS_MAX]),
                not_before=max(self.own.identity.not_before, datetime.fromisoformat(RELEASED).replace(tzinfo=UTC)),
                interval=settings.delivery.interval,
            ),
            brokers=[f"{broker.host}:{broker.port}" for broker in settings.broker],
            dial=self._dialler(),
            schedule=Schedule(coverage),
            coverage=coverage,
            recorder=self.recorder,
            store=self.outbox,
            speakers=Speakers(
                table.id,
                load_anchors(settings.identity.trust_anchors),
                settings.delivery.receivers,
                _revocations(settings, world.clock),
            ),
            watch=CentreWatch(settings.delivery.profile, world.clock.monotonic()),
            ordinals=start.epochs,
            clock=world.clock,
            random=world.random,
            cloud_events=settings.delivery.cloud_events,
            confirmed_by_broker=settings.delivery.confirmation == "broker",
        )
        self.recorder.offer = self.uplink.offer
        self.uplink.downlink.on_receipted = self.intake.receipted
        self.outbox.on_trouble = self._storage
        devices = self.registry.devices()
        for device in devices.values():
            state = start.devices.get(device.id)
            if state is not None and state.key_id != device.key_id:  # enrolled anew while the service was down
                self.outbox.forget(device.id)
                self.intake.enrol(device)
            else:
                self.intake.enrol(device, state, self._events(device.id))
        for unknown in start.devices.keys() - devices.keys():  # revoked while the service was down
            self.outbox.forget(unknown)
        for port in settings.port:
            self.links[port.name] = self._link(port)

    def _events(self, device: str) -> list[EventState]:
        """Return what is known of a device's events; where the broker confirms, nobody is told that C5 has one."""
        highest = RECEIVED if self.settings.delivery.confirmation == "receiver" else STORED
        events = (event for event in self.outbox.start.events if event.device == device)
        return [replace(event, stage=min(event.stage, highest)) for event in events]

    def _dialler(self) -> uplinks.Dial:
        settings, connect = self.settings, self.world.connect
        brokers: dict[str, Broker] = {}
        for table in settings.broker:
            files = settings.identity
            context = None
            if table.tls:
                assert files.tls_certificate is not None
                assert files.tls_key is not None
                context = client_context(files.trust_anchors, files.tls_certificate, files.tls_key)
            brokers[f"{table.host}:{table.port}"] = Broker(table.host, table.port, table.protocol, context)

        def dial(
            name: str,
            will: tuple[str, bytes],
            on_message: Callable[[Message], None],
            on_closed: Callable[[str], None],
        ) -> Awaitable[Connection]:
            return connect(
                brokers[name],
                settings.gateway.id,
                keepalive=settings.delivery.keepalive,
                will=Will(*will),
                session_expiry=0,
                receive_maximum=RECEIVE_MAXIMUM,
                on_message=on_message,
                on_closed=on_closed,
                deadline=DIAL_DEADLINE,
            )

        return dial

    def _link(self, port: PortTable) -> FieldLink:
        return FieldLink(
            port.device,
            port.baud,
            frame=self.intake.frame,
            lost=lambda reason: self._record("port.lost", port.name, {"port": port.name, "reason": reason[:500]}),
            restored=lambda: self._record("port.restored", port.name, {"port": port.name}),
            random=self.world.random,
            line=self.world.line,
        )

    # Started, supervised, stopped.

    async def _tasks(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.uplink.run(), name="uplink")
            group.create_task(self._ticks(), name="intake-ticks")
            group.create_task(self._watchdog(), name="watchdog")
            for name, link in self.links.items():
                group.create_task(self._driver(name, link.run), name=f"port-{name}")

    async def _ticks(self) -> None:
        """Give intake its time; the shortest of its waits (a challenge sent again) is a second."""
        while True:
            now = self.world.clock.monotonic()
            self.intake.tick(now)
            await asyncio.sleep(min(0.5, max(0.01, self.intake.deadline - now)))

    async def _driver(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a driver again whenever it ends: it never stops another."""
        while True:
            try:
                await run()
            except Exception:  # a driver's own bug stops that driver for a second, not the gateway
                log.exception("the driver of port %s failed and is started again", name)
            await asyncio.sleep(DRIVER_PAUSE)

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
        ports, devices = len(self.links), len(self.intake.glance())
        log.info(
            "%s is up, version %s, start %d: %d ports, %d devices",
            self.settings.gateway.id, __version__, start.start_count, ports, devices,
        )  # fmt: skip
        if self.outbox.trouble is not None:  # before anybody was there to be told
            self._storage(self.outbox.trouble)

    def _stopping(self) -> None:
        notify.stopping()
        if hasattr(self, "intake"):
            log.info("stopping")
            self.intake.remember()
            self._record("gateway.stopping", self.settings.gateway.id, {"version": __version__, "cause": "stop"})

    def _storage(self, trouble: str | None) -> None:
        type_, data = ("storage.restored", {}) if trouble is None else ("storage.degraded", {"reason": trouble[:500]})
        self._record(type_, self.settings.gateway.id, data)

    def _record(self, type_: str, source: str, data: dict[str, Any]) -> None:
        self.recorder.record(Event(type_, source, data=data))

    # Asked by the technician's command line.

    async def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        return await status.answer(self, request)


def identity(settings: GatewaySettings, clock: Timekeeper) -> tuple[Own, Tls | None]:
    """Read who we are, or raise `CertificateError` naming what is wrong: the role, the date, the name."""
    files = settings.identity
    at = _EPOCH + timedelta(microseconds=clock.now_us())
    own = load_identity(
        files.signing_certificate, files.signing_key, role="gateway", anchors=load_anchors(files.trust_anchors), at=at
    )
    name = settings.gateway.id
    if own.identity.name != name:
        raise CertificateError(
            _("identity.signing_certificate is for {found}, and gateway.id is {name}").format(
                found=own.identity.name, name=name
            ),
            _("C5 refuses what this gateway signs. Correct gateway.id, or install this gateway's own certificate."),
        )
    tls = read_tls(files.tls_certificate) if files.tls_certificate else None
    if tls is not None and tls.common_name != name:
        raise CertificateError(
            _("identity.tls_certificate is for {found}, and gateway.id is {name}").format(
                found=tls.common_name, name=name
            ),
            _("The broker lets each gateway speak in its own name alone. Install this gateway's own certificate."),
        )
    return own, tls


def _revocations(settings: GatewaySettings, clock: Timekeeper) -> Revocations | None:
    """Read the revocation list; one that is out of date warns and never blocks."""
    path = settings.identity.revocation_list
    if path is None:
        return None
    revocations = load_revocations(path)
    if revocations.stale(_EPOCH + timedelta(microseconds=clock.now_us())):
        log.warning("the revocation list is out of date: %s", path)
    return revocations
