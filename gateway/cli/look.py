"""`c5-gateway status`: a running gateway at a glance."""

from pathlib import Path
from typing import Any

from gateway import config
from gateway.cli import contacts, gnss, local, peripherals, units
from gateway.cli.running import ask, not_running
from gateway.cli.said import print_json, say
from gateway.settings import find_settings
from gateway.signing.record import SYNCHRONISED
from gateway.tasks.wrong import words
from gateway.text import _
from gateway.wall import GNSS


def status(path: Path | None, *, as_json: bool) -> bool:
    """Show it; True if nothing is wrong."""
    settings = config.load(find_settings(path, config.VARIABLE, config.DEFAULT))
    found = ask(settings.gateway.state_dir, {"do": "status"})
    if found is None:
        raise not_running()
    if as_json:
        print_json(found)
    else:
        _show(found)
    return not found["troubles"]


def _show(found: dict[str, Any]) -> None:
    gateway = found["gateway"]
    say(f"{gateway['id']}  {gateway['agency']}/{gateway['site']}")
    for broker in found["brokers"]:
        say(f"  {broker['broker']}  {_path(broker)}")
        if broker["notice"]:
            say("      " + broker["notice"])
    for lane, numbers in found["lanes"].items():
        text = _("{signed} signed, {waiting} waiting").format(**numbers)
        oldest = _(", oldest {oldest}").format(**numbers) if numbers["oldest"] else ""
        say(f"  {_lane(lane):10} {text}{oldest}{autonomy(numbers['autonomy_h'])}")
    say("  " + _("outbox {file_mb} of {max_mb} MB, {dropped} records dropped").format(**found["storage"]))
    if found["salvaged"]:
        text = _("salvaged, and of no more use: {files}")
        say("  " + text.format(files=", ".join(found["salvaged"])))
    if unsigned := found["commands"]["unsigned"]:
        say("  " + _("{count} commands that no commander of C5 has signed: nothing was done").format(count=unsigned))
    for work in found["maintenance"]:
        say("  " + maintained(work))
    if found["applied"] is not None and found["applied"]["keys"]:
        say("  " + _("C5 has set from afar: {keys}").format(keys=", ".join(found["applied"]["keys"])))
    for port in found["ports"]:
        state = _("open, {frames} frames, {noise} of noise").format(**port) if port["open"] else port["trouble"]
        say(f"  {port['name']:10} {state}")
    for line in (*contacts.shown(found), *units.shown(found), *peripherals.shown(found), *gnss.shown(found)):
        say("  " + line)
    for line in local.shown(found):
        say("  " + line)
    for device in found["devices"]:
        say("  " + _device(device))
    for driver in found["drivers"]:
        if driver["restarts"]:
            text = _("the driver of {name} was started again {restarts} times, lately because: {reason}")
            say("  " + text.format(**driver))
    say("  " + _clock(found["clock"]))
    for name, certificate in found["certificates"].items():
        text = (
            _("certificate {name}: {days_left} days left")
            if certificate["days_left"] >= 0
            else _("certificate {name}: expired on {not_after}")
        )
        called = {"signing": _("for signing"), "tls": _("for TLS")}.get(name, name)
        say("  " + text.format(name=called, **certificate))
    for trouble in found["troubles"]:
        say(_("TROUBLE: {trouble}").format(trouble=trouble))
    if not found["troubles"]:
        say(_("no troubles"))


def _device(device: dict[str, Any]) -> str:
    heard = _("not heard yet") if device["heard_s"] is None else _("heard {s} s ago").format(s=device["heard_s"])
    battery = [] if device["battery_mv"] is None else [f"{device['battery_mv']} mV"]
    shown = ", ".join([heard, *battery, *map(words, device["wrong"])])
    return f"{device['id']}   {device['name'] or device['model']}: {shown}"


def _lane(name: str) -> str:
    return {"alarm": _("alarm"), "status": _("status"), "telemetry": _("telemetry")}.get(name, name)


def maintained(work: dict[str, Any]) -> str:
    """Say what is under maintenance."""
    text = (
        _("MAINTENANCE of the whole gateway, {minutes_left} min left, presses are marked as tests: {reason}")
        if work["device"] is None
        else _("MAINTENANCE of {device}, {minutes_left} min left, its presses are marked as tests: {reason}")
    )
    return text.format(**work)


def autonomy(hours: float | None) -> str:
    """Say for how long a lane keeps everything, should the link fail now; nothing where there is no end in sight."""
    if hours is None:
        return ""
    days = round(hours / 24)
    return _(", keeps {days} days").format(days=days) if days > 3 else _(", keeps {hours} h").format(hours=hours)


def _clock(clock: dict[str, Any]) -> str:
    if clock["doubted"] and clock["source"] != GNSS:
        return _("clock wrong: it shows {machine}, the gateway goes by {time}; C5 corrects its times").format(**clock)
    if clock["source"] == GNSS:
        text = _("clock by satellites within {uncertainty_ms} ms; the machine's own shows {machine}")
        return text.format(**clock)
    if clock["source"] in SYNCHRONISED:
        return _("clock synchronised within {uncertainty_ms} ms").format(**clock)
    return _("clock not synchronised")


def _path(broker: dict[str, Any]) -> str:
    if not broker["connected"]:
        return _("not connected")
    connected = _("connected with MQTT {version}").format(version=broker["version"])
    match broker["carries"]:
        case []:
            return connected + ", " + _("in reserve")
        case ["alarm"]:
            return connected + ", " + _("carries alarms")
        case _:
            return connected + ", " + _("carries the records")
