"""A running gateway at a glance, and what the command line may ask of it over the control socket."""

import asyncio
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gateway import aside
from gateway.clock import FieldClock, moment
from gateway.config import summary
from gateway.errors import C5Error, Refused
from gateway.event import LANE_NAMES
from gateway.field_settings import PositionSettings
from gateway.fieldlink.label import parse
from gateway.mqtt.explain import explain_older
from gateway.outbox import salvager
from gateway.outbox.inspect import FILE
from gateway.registry.devices import NAME_MAX, Device, Registry
from gateway.settings import BrokerSettings
from gateway.tasks.path import Path
from gateway.text import _

if TYPE_CHECKING:
    from gateway.app import App


T = TypeVar("T")


async def answer(app: "App", request: dict[str, Any]) -> dict[str, Any]:
    """Do what the command line asks. Raises C5Error with what happened and what to do."""
    match request:
        case {"do": "status"}:
            return await glance(app)
        case {"do": "enrol", "label": str(text), "name": str(name), "position": position}:
            device = enrolment(text, name, position)
            await change_devices(app, app.registry.enrol, device)
            return {"id": device.id, "model": device.model}
        case {"do": "revoke", "device": str(device)}:
            await change_devices(app, app.registry.revoke, device)
            return {}
        case {"do": "devices"}:
            return {"devices": await asyncio.to_thread(listed, app.registry)}
        case {"do": "identify", "device": str(device)}:
            app.intake.identify(device)
            return {}
        case {"do": "install", "peripheral": str(name)}:
            await app.osdp.install(name)
            return {}
        case {"do": "salvage", "file": str(file)}:
            await asyncio.to_thread(refuse_own, app.settings.gateway.state_dir / FILE, pathlib.Path(file))
            app.outbox.salvager.begin(pathlib.Path(file))
            return {}
        case {"do": "salvaging"}:
            progress = app.outbox.salvager.progress
            return {"busy": app.outbox.salvager.busy, "salvage": salvager.summary(progress) if progress else None}
        case {
            "do": "maintenance",
            "name": "maintenance.begin" | "maintenance.renew" | "maintenance.end" as name,
            "arguments": dict(given),
        }:
            done = app.works.by_hand(name, given)
            if done.outcome != "done":
                raise C5Error(done.text or name)
            return {}
        case _:
            raise C5Error(_("the running service doesn't know this request"), _("Restart it after an update."))


def refuse_own(store: pathlib.Path, file: pathlib.Path) -> None:
    """Raise C5Error where closing the file would take the locks away that we hold on our own store."""
    if not file.is_file() or aside.is_own(store, file):
        raise C5Error(
            _("{file} is no file that can be salvaged").format(file=file),
            _("Give a store that was set aside (outbox-….db), or another card's outbox.db."),
        )


def enrolment(text: str, name: str, position: Any) -> Device:
    """Return the device that a label's text, a name and a place in degrees describe. Raises C5Error."""
    label = parse(text.strip())
    if isinstance(label, Refused):
        raise C5Error(
            _("this is not a device label: {reason}").format(reason=label.reason),
            _("Scan the QR code again, or type its text exactly as printed: C5D1:…"),
        )
    if len(name) > NAME_MAX or not name.isprintable():
        raise C5Error(
            _("the name is too long or not printable"), _("Give at most {max} characters.").format(max=NAME_MAX)
        )
    place = None
    if position is not None:
        match position:
            case [int() | float() as latitude, int() | float() as longitude] if (
                -90 <= latitude <= 90 and -180 <= longitude <= 180 and bool not in map(type, position)
            ):
                place = PositionSettings(latitude=latitude, longitude=longitude).position()
            case _:
                raise C5Error(_("this is no position"), _("Give --latitude (-90 to 90) and --longitude (-180 to 180)."))
    return Device(label.device, label.model, label.key, name, place)


def listed(registry: Registry) -> list[dict[str, Any]]:
    """Return the enrolled devices as `device list` shows them; no key is among it."""
    return [
        {
            "id": device.id,
            "model": device.model,
            "name": device.name,
            "position": None
            if device.position is None
            else {"latitude": device.position.latitude / 1e7, "longitude": device.position.longitude / 1e7},
        }
        for device in registry.devices().values()
    ]


async def change_devices(app: "App", change: Callable[[T], object], which: T) -> None:
    """Change the file of enrolled devices, beside the alarms, and go by what it says then.

    Who asked may have lost patience with a card that stalls: what is in the file counts all the same, and whatever
    became of the change. C5 is told of each device that goes, also of the one that it has commanded to: it may have
    gone before, or though its command failed.
    """

    async def changed() -> None:
        try:
            await app.world.beside(change, which)
        finally:
            await _reload_devices(app)

    await asyncio.shield(asyncio.get_running_loop().create_task(changed(), name="devices"))


async def _reload_devices(app: "App") -> None:
    """Take up what was changed in the file of enrolled devices.

    A device that comes new, or anew, has no known counter: what it says is flagged until it has answered a challenge.
    """
    devices = await app.world.beside(app.registry.devices)
    for known in app.intake.glance():
        if known["id"] not in devices:
            app.intake.revoke(known["id"])
            app.outbox.forget(known["id"])
    for device in devices.values():
        if app.intake.enrol(device):  # with another key: what was known under its id was of another device
            app.outbox.forget(device.id)
    app.supervise.watch(devices)


async def glance(app: "App") -> dict[str, Any]:
    """Return the whole status."""
    now = app.clock.now()
    waiting = await app.outbox.waiting()
    storage = app.outbox.gauge.health()
    over = await asyncio.to_thread(aside.over, app.settings.gateway.state_dir / FILE)
    certificates = {"signing": app.own.identity.not_after}
    if app.tls is not None:
        certificates["tls"] = app.tls.not_after
    return {
        "gateway": dict(summary(app.settings)),
        "epoch": app.outbox.start.epoch.hex(),
        "start_count": app.outbox.start.start_count,
        "brokers": [
            {"broker": path.broker, "connected": path.ready,
             "carries": [LANE_NAMES[lane] for lane in sorted(path.carries)], "version": path.version,
             "notice": _notice(table, path), "troubles": list(path.troubles.values())}
            for table, path in zip(app.settings.broker, app.uplink.paths, strict=True)
        ],
        "storage": {key: value for key, value in storage.items() if key != "hours"} | app.outbox.gauge.exact(),
        "salvaged": [str(file) for file in over],
        "lanes": {
            name: {"signed": app.recorder.sequence(lane), "waiting": waiting[name].count, "bytes": waiting[name].size,
                   "oldest": waiting[name].oldest, "autonomy_h": storage["hours"][name]}
            for lane, name in LANE_NAMES.items()
        },
        "receipts": app.uplink.downlink.receipts,
        "commands": dict(app.commands.counts),
        "ports": [
            {"name": name, "open": trouble is None, "frames": link.frames, "noise": link.noise, "trouble": trouble}
            for name, link in app.links.items() for trouble in (link.port.trouble or app.supervise.fault(name),)
        ],
        **{table: rows for side in app.sides for table, rows in side.glance().items()},
        "frames": dict(app.intake.counts),
        "devices": [
            known | app.supervise.glance(known["id"]) | app.intake.presses.glance(known["id"])
            for known in app.intake.glance()
        ],
        "maintenance": app.works.glance(),
        "applied": None if app.loaded is None else app.loaded.glance(),
        "drivers": [
            {"name": name, "restarts": state.restarts, "reason": state.reason, "abandoned": state.abandoned}
            for name, state in app.drivers.states.items()
        ],
        "clock": clock(app.clock),
        "certificates": {name: {"not_after": at.isoformat(), "days_left": (at - now).days}
                         for name, at in certificates.items()},
        "troubles": troubles(app),
    }  # fmt: skip


def clock(field: FieldClock) -> dict[str, Any]:
    """Return what the gateway makes of its clock. `doubted`: it goes by `time`, not by what the machine shows."""
    judged = field.judged()
    return {
        "source": judged.source,
        "uncertainty_ms": judged.uncertainty_ms,
        "doubted": judged.doubted,
        "time": moment(judged.us),
        "machine": moment(field.machine.now_us()),
        "floor": moment(field.floor_us()),
    }


def _notice(table: BrokerSettings, path: Path) -> str | None:
    """Say what should be known of a path that works."""
    if table.protocol == "auto" and path.version == "3.1.1":
        return ". ".join(explain_older())
    return None


def troubles(app: "App") -> list[str]:
    """Return all that is wrong now, the gravest first."""
    found = list(app.uplink.troubles)
    if app.outbox.trouble is not None:
        found.insert(0, _("nothing can be stored: {reason}").format(reason=app.outbox.trouble))
    elif app.outbox.salvager.damage is not None:
        done = salvager.summary(app.outbox.salvager.progress)["percent"] if app.outbox.salvager.progress else 0
        text = _(
            "the store was damaged, and a new one is in use; what is left is being salvaged, {done} percent: {reason}"
        )
        found.insert(0, text.format(done=done, reason=app.outbox.salvager.damage))
    gauge = app.outbox.gauge
    if gauge.low:
        found.append(_("the disk is nearly full: {free} MB free").format(free=gauge.free_mb))
    if gauge.usage.used > gauge.budget.start:
        found.append(
            _("the outbox is full: the oldest records leave, {count} since the start").format(count=gauge.dropped)
        )
    if refused := app.recorder.refused + app.contacts.inputs.dropped + app.osdp.peripherals.inputs.dropped:
        found.append(_("{count} events had no room and were not accepted").format(count=refused))
    if app.loaded is not None and app.loaded.refused is not None:
        text = _(
            "what C5 has applied to the settings doesn't go together with this gateway's file, and isn't used: {reason}"
        )
        found.append(text.format(reason=app.loaded.refused))
    if (stranger := app.intake.stranger) is not None:
        found.append(
            _("device {id} is heard and is not enrolled: c5-gateway device enrol C5D1:{id}:…").format(id=stranger)
        )
    found += [link.port.trouble for link in app.links.values() if link.port.trouble is not None]
    found += [trouble for side in app.sides for trouble in side.troubles]
    found += app.drivers.troubles + app.supervise.troubles + app.blind
    return found
