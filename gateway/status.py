"""A running gateway at a glance, and what the command line may ask of it over the control socket."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.config import summary
from gateway.errors import C5Error
from gateway.event import LANE_NAMES, Lane
from gateway.text import _

if TYPE_CHECKING:
    from gateway.app import App


def answer(app: "App", request: dict[str, Any]) -> dict[str, Any]:
    """Do what the command line asks. Raises C5Error with what happened and what to do."""
    match request:
        case {"do": "status"}:
            return glance(app)
        case {"do": "reload devices"}:
            reload_devices(app)
            return {"devices": len(app.intake.glance())}
        case {"do": "identify", "device": str(device)}:
            app.intake.identify(device)
            return {}
        case _:
            raise C5Error(_("the running service doesn't know this request"), _("Restart it after an update."))


def reload_devices(app: "App") -> None:
    """Take up what the command line changed in the file of enrolled devices.

    A device that comes new, or anew, has no known counter: what it says is flagged until it has answered a challenge.
    """
    devices = app.registry.devices()
    for known in app.intake.glance():
        if known["id"] not in devices:
            app.intake.revoke(known["id"])
            app.outbox.forget(known["id"])
    for device in devices.values():
        app.intake.enrol(device)


def glance(app: "App") -> dict[str, Any]:
    """Return the whole status."""
    now = datetime.now(UTC)
    source, uncertainty = app.world.clock.quality()
    certificates = {"signing": app.own.identity.not_after}
    if app.tls is not None:
        certificates["tls"] = app.tls.not_after
    return {
        "gateway": dict(summary(app.settings)),
        "epoch": app.outbox.start.epoch.hex(),
        "start_count": app.outbox.start.start_count,
        "brokers": [
            {"broker": name, "connected": name == app.uplink.broker}
            for name in (f"{table.host}:{table.port}" for table in app.settings.broker)
        ],
        "lanes": {LANE_NAMES[lane]: {"signed": app.recorder.sequence(lane)} for lane in Lane},
        "receipts": app.uplink.receipts,
        "ports": [
            {"name": name, "open": link.port.trouble is None, "frames": link.frames, "noise": link.noise,
             "trouble": link.port.trouble}
            for name, link in app.links.items()
        ],
        "frames": dict(app.intake.counts),
        "devices": app.intake.glance(),
        "clock": {"source": source, "uncertainty_ms": uncertainty},
        "certificates": {name: {"not_after": at.isoformat(), "days_left": (at - now).days}
                         for name, at in certificates.items()},
        "troubles": troubles(app),
    }  # fmt: skip


def troubles(app: "App") -> list[str]:
    """Return all that is wrong now, the gravest first."""
    found = list(app.uplink.troubles.values())
    if app.outbox.trouble is not None:
        found.insert(0, _("nothing can be stored: {reason}").format(reason=app.outbox.trouble))
    if app.recorder.refused:
        found.append(_("{count} events had no room and were not accepted").format(count=app.recorder.refused))
    found += [link.port.trouble for link in app.links.values() if link.port.trouble is not None]
    return found
