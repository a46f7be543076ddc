"""Which command does what: each name of wire.md, connected with the part that carries it out."""

from typing import TYPE_CHECKING

from gateway import status
from gateway.control.authorise import Speakers
from gateway.control.maintenance import Maintenance
from gateway.errors import SettingsError
from gateway.local_input import Acknowledged
from gateway.tasks import trial
from gateway.tasks.commands import Commands
from gateway.tasks.orders import service
from gateway.tasks.orders.alarms import Alarms, Inputs, Place
from gateway.tasks.orders.field import Field
from gateway.tasks.orders.maintenance import Works
from gateway.tasks.orders.order import at_once
from gateway.tasks.orders.records import Records
from gateway.tasks.orders.service import Service
from gateway.tasks.said import Self
from gateway.text import _

if TYPE_CHECKING:
    from gateway.app import App


def works(app: "App") -> Works:
    """Make what begins and ends maintenance."""
    name = app.settings.gateway.id
    return Works(
        name,
        Maintenance(name),
        app.recorder,
        app.world.clock,
        lambda source: source in app.intake or any(source in side for side in app.sides),
    )


def started(app: "App") -> None:
    """Tell C5 by which of its settings this gateway runs, unless it was told."""
    name = app.settings.gateway.id
    if app.loaded is not None:
        digest = service.untold(name, app.outbox.start.notes, app.loaded.sha256)
        if digest is not None:
            service.tell_settings(name, app.recorder, digest)


async def settings_on_trial(app: "App") -> None:
    """Take back what C5 has applied if C5 isn't heard under it; by a broker that confirms, its link is enough."""
    delivery = app.settings.delivery
    by_broker = delivery.confirmation == "broker"
    if app.loaded is not None:
        await trial.judge(
            app.loaded,
            trial.period(delivery.profile),
            heard=lambda: (
                any(path.ready for path in app.uplink.paths) if by_broker else app.uplink.downlink.receipts > 0
            ),
            clock=app.world.clock,
            beside=app.world.beside,
            restart=app.restart,
        )


class _Inputs:
    """All inputs that are followed to an operator, whatever they are wired to."""

    def __init__(self, *kinds: Inputs) -> None:
        self._kinds = kinds

    def __contains__(self, name: object) -> bool:
        return any(name in kind for kind in self._kinds)

    def at(self, place: Place) -> str | None:
        return next((name for kind in self._kinds if (name := kind.at(place)) is not None), None)

    def acknowledged(self, name: str, place: Place | None) -> str:
        return next(kind for kind in self._kinds if name in kind).acknowledged(name, place)


def commands(app: "App", own: Self, speakers: Speakers) -> Commands:
    """Make what obeys commanders."""
    name, start, recorder = own.route.gateway, app.outbox.start, app.recorder
    ordinals = {**start.epochs, start.epoch: start.ordinal}

    async def apply(toml: str) -> str:
        if app.loaded is None:
            raise SettingsError(_("this gateway has no settings file"))
        return await app.world.beside(app.loaded.apply, toml)

    async def revoke(device: str) -> None:
        await status.change_devices(app, app.registry.revoke, device)

    inputs = _Inputs(app.contacts.inputs, app.osdp.peripherals.inputs, app.gnss)
    alarms = Alarms(own, ordinals, Acknowledged(app.intake, app.local.local), inputs, recorder)
    field = Field(name, app.intake, app.contacts.outputs, app.buses, app.osdp)
    itself = Service(name, recorder, apply=apply, revoke=revoke, restart=app.restart)
    return Commands(
        own=own,
        speakers=speakers,
        commanders=app.settings.delivery.commanders,
        recorder=recorder,
        clock=app.clock,
        handlers={
            "alarm.acknowledge": at_once(alarms.acknowledge),
            "records.resend": at_once(Records(start.epoch, recorder, app.uplink.downlink.resend).resend),
            "output.set": field.set_output,
            "device.identify": field.identify,
            "maintenance.begin": at_once(app.works.begin),
            "maintenance.end": at_once(app.works.end),
            "certificate.renew": service.renew,
            "gateway.restart": itself.restart,
        },
        slow={"config.apply": itself.apply_settings, "device.revoke": itself.revoke_device},
    )
