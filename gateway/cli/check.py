"""`c5-gateway check`: every reason why this gateway would not work, one line each, with what to do.

Beside a running service the lines and brokers are asked of it: two programs on one line, or two connections in one
gateway's name, would disturb each other. Otherwise each is tried for real. The files are always read: the service may
have been started by others, and must be able to start by these.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from gateway import applied, config, credentials
from gateway.cli import contacts, drift, gnss, local, peripherals, units
from gateway.cli.allowed import refused_topics
from gateway.cli.look import autonomy, maintained
from gateway.cli.running import ask, not_running
from gateway.cli.said import print_json, say
from gateway.clock import FieldClock, moment
from gateway.config import GatewaySettings
from gateway.drivers.serial_port import try_open
from gateway.errors import C5Error, LinkError
from gateway.identity.keystore import Own, Tls, load_revocations
from gateway.mqtt import Broker, Connection
from gateway.mqtt.explain import explain_older
from gateway.registry.devices import Registry
from gateway.settings import BrokerSettings, find_settings
from gateway.signing import message
from gateway.signing.chains import encode_chains
from gateway.signing.cose import Envelope, Signer, VerifyingKey, parse
from gateway.signing.message import Centre
from gateway.signing.record import SYNCHRONISED
from gateway.text import _
from gateway.tls import client_context
from gateway.topics import Route
from gateway.wall import GNSS
from gateway.world import World

DAYS_WARNING: Final = 30  # of a certificate: time enough to renew it
DAYS_FAILED: Final = 0
FREE_MB_WARNING: Final = 512
HOURS_WARNING: Final = 24  # for which the outbox keeps everything without a link
PROBE_DEADLINE: Final = 10.0  # seconds for a broker to answer everything
_UNSAID: Final = logging.NullHandler()  # what is found is a finding; a line of a log beside it says it twice


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    result: Literal["ok", "warning", "failed"]
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Identity:
    """What the files say of who this is, and the time to judge it by."""

    clock: FieldClock
    own: Own
    tls: Tls | None
    context: Any  # for TLS; None without


def run(path: Path | None, *, as_json: bool) -> bool:
    """Look at everything; True if nothing failed. Settings that can't be read end it at once."""
    logging.getLogger("gateway").addHandler(_UNSAID)
    loaded = applied.load(find_settings(path, config.VARIABLE, config.DEFAULT))
    findings = [_settings(loaded), *_looked(loaded.settings)]
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        marks = {"ok": _("ok     "), "warning": _("WARNING"), "failed": _("FAILED ")}
        for finding in findings:
            say(f"{marks[finding.result]} {finding.what}: {finding.text}")
            if finding.hint:
                say("        " + _("what to do: {hint}").format(hint=finding.hint))
    return all(finding.result != "failed" for finding in findings)


def _settings(loaded: applied.Loaded) -> Finding:
    if loaded.refused is not None:
        text = _("what C5 has applied doesn't go together with {path}, and isn't used: {reason}")
        hint = _("Correct that file, or tell C5 to apply its settings again.")
        return Finding(_("settings"), "warning", text.format(path=loaded.path, reason=loaded.refused), hint)
    if loaded.keys:
        text = _("read; C5 has set from afar: {keys}")
        return Finding(_("settings"), "ok", text.format(keys=", ".join(loaded.keys)))
    return Finding(_("settings"), "ok", _("read"))


def _looked(settings: GatewaySettings) -> Iterator[Finding]:
    running: dict[str, Any] | None = None
    unasked: Finding | None = None
    try:
        running = ask(settings.gateway.state_dir, {"do": "status"})
    except C5Error as error:
        unasked = Finding(_("service"), "failed", error.what, error.hint)
    identity = _files(settings)
    if isinstance(identity, Finding):
        yield identity
    else:
        yield from _identity(settings, identity, running)
    yield from _disk(settings)
    yield from _deaf(settings)
    yield _devices(settings)
    if unasked is not None:
        yield unasked
        yield from _by_files(settings)
    elif running is None:
        yield Finding(_("service"), "warning", _("not running"), not_running().hint)
        for port in settings.port:
            if port.driver == "field-link":
                reason = try_open(port.device, port.baud)
                yield _port(port.name, reason, _("opened"))
        yield from (_judged(*found) for found in units.looked(settings))
        yield from (_judged(*found) for found in peripherals.looked(settings))
        yield from (_judged(*found) for found in contacts.looked(settings))
        yield from (_judged(*found) for found in local.looked(settings))
        yield from (_line(*found) for found in gnss.looked(settings))
        for broker in settings.broker:
            if isinstance(identity, Finding):
                what = _("broker {name}").format(name=f"{broker.host}:{broker.port}")
                yield Finding(what, "warning", _("not tried: without its certificate the gateway isn't let in"))
            else:
                yield from asyncio.run(_broker(settings, broker, identity))
    else:
        found = list(_beside(running))
        yield Finding(_("service"), "ok", _("running"))
        if names := drift.differing(settings, running):
            text = _("it runs by other settings than this file: {names}").format(names=", ".join(names))
            hint = _("If nothing else here has failed, restart it: sudo systemctl restart c5-gateway")
            yield Finding(_("service"), "warning", text, hint)
        yield from found
        yield from (one for one in _by_files(settings) if one not in found)


def _by_files(settings: GatewaySettings) -> Iterator[Finding]:
    """Tell what a start by the files would find wrong."""
    if (unread := units.unread(settings)) is not None:
        yield _judged(*unread)
    yield from (_judged(*found) for found in local.files(settings) if found[1] is not None)


def _beside(running: dict[str, Any]) -> Iterator[Finding]:
    """Look through the eyes of the running service."""
    yield _autonomy(running)
    for work in running["maintenance"]:
        yield Finding(_("maintenance"), "warning", maintained(work), _("It ends by itself."))
    for port in running["ports"]:
        yield _port(port["name"], port["trouble"], _("open"))
    yield from (_judged(*found) for found in (*contacts.beside(running), *units.beside(running), *gnss.beside(running)))
    yield from (_judged(*found) for found in local.beside(running))
    yield from (_judged(*found) for found in peripherals.beside(running))
    for broker in running["brokers"]:
        what = _("broker {name}").format(name=broker["broker"])
        if broker["connected"] and broker["notice"]:
            yield Finding(what, "warning", broker["notice"])
        elif broker["connected"]:
            yield Finding(what, "ok", _("connected with MQTT {version}").format(version=broker["version"]))
    told = [port["trouble"] for port in running["ports"]]
    lines = (*running["inputs"], *running["outputs"], *running["buses"], *running["osdp"])
    told += [f"{line['name']}: {line['trouble']}" for line in lines]
    told += [units.told(unit) for unit in running["units"]] + [gnss.told(row) for row in running["gnss"]]
    told += [peripherals.told(one) for one in running["peripherals"]]
    told += local.told(running)
    for trouble in running["troubles"]:
        if trouble not in told:
            yield Finding(_("trouble"), "failed", trouble)


def _autonomy(running: dict[str, Any]) -> Finding:
    hours = {lane: numbers["autonomy_h"] for lane, numbers in running["lanes"].items()}
    lasts = "; ".join(f"{lane}{autonomy(left)}" for lane, left in hours.items() if left is not None)
    if any(left is not None and left < HOURS_WARNING for left in hours.values()):
        hint = _("Give it more: outbox.max_mb. Telemetry leaves first, then status; alarms stay.")
        return Finding(_("autonomy"), "warning", lasts, hint)
    return Finding(_("autonomy"), "ok", lasts or _("no end in sight"))


def _port(name: str, reason: str | None, right: str) -> Finding:
    what = _("port {name}").format(name=name)
    if reason is None:
        return Finding(what, "ok", right)
    hint = _(
        "Its devices are not heard; they go on sending, and are heard when it is back. Plug the adapter in, or correct "
        "port.device: sudo c5-gateway ports"
    )
    return Finding(what, "failed", reason, hint)


def _deaf(settings: GatewaySettings) -> Iterator[Finding]:
    """Tell of settings by which nothing can be heard."""
    if not settings.input and all(port.driver == "nmea" for port in settings.port):
        hint = _(
            "Add a [[port]] for a receiver of buttons, or an [[input]] for a contact: docs/operate/install.md, step 3."
        )
        yield Finding(_("buttons"), "warning", _("no port for buttons and no input: no button can be heard"), hint)


def _judged(what: str, reason: str | None, right: str) -> Finding:
    if what.startswith(_("port {name}").format(name="")):
        return _line(what, reason, right)
    return Finding(what, "ok", right) if reason is None else Finding(what, "failed", reason)


def _line(what: str, reason: str | None, right: str) -> Finding:
    """Judge a line, whose devices keep nothing for when it is back."""
    if reason is None:
        return Finding(what, "ok", right)
    hint = _(
        "Nothing on it is heard until it is back. Plug the adapter in, or correct port.device: sudo c5-gateway ports"
    )
    return Finding(what, "failed", reason, hint)


def _files(settings: GatewaySettings) -> _Identity | Finding:
    """Read what makes this machine the gateway; keys that others may read too are a finding, whoever runs."""
    files = settings.identity
    try:
        clock = credentials.field_clock(settings, World())
        own, tls = credentials.identity(settings, clock)
        context = None
        if files.tls_certificate is not None and files.tls_key is not None:
            context = client_context(files.trust_anchors, files.tls_certificate, files.tls_key, clock.instead)
    except C5Error as error:
        return Finding(_("certificate"), "failed", error.what, error.hint)
    return _Identity(clock, own, tls, context)


def _identity(settings: GatewaySettings, identity: _Identity, running: dict[str, Any] | None) -> Iterator[Finding]:
    clock, own, tls = identity.clock, identity.own, identity.tls
    yield _clock(clock) if running is None or running["clock"]["source"] != GNSS else _satellites(running["clock"])
    now, sure = clock.now(), clock.quality()[0] in SYNCHRONISED
    yield _days(_("signing certificate"), (own.identity.not_after - now).days, own.identity.not_after, sure=sure)
    if tls is not None:
        yield _days(_("TLS certificate"), tls.days_left(now), tls.not_after, sure=sure)
    yield _signature(own)
    if (path := settings.identity.revocation_list) is not None:
        yield _revocations(path, now)


def _revocations(path: Path, now: datetime) -> Finding:
    what = _("revocation list")
    try:
        stale = load_revocations(path).stale(now)
    except C5Error as error:
        return Finding(what, "failed", error.what, error.hint)
    if stale:
        return Finding(what, "warning", _("out of date"), _("Fetch the newest from the authority."))
    return Finding(what, "ok", _("read"))


def _days(what: str, days: int, end: datetime, *, sure: bool) -> Finding:
    text = _("{days} days left, until {date}").format(days=days, date=f"{end:%Y-%m-%d}")
    hint = _("Ask the authority for a new one now: C5 refuses what is signed or connected under an expired one.")
    if days < DAYS_FAILED:
        expired = _("expired on {date}") if sure else _("expired on {date}, if the clock is right; nobody has set it")
        return Finding(what, "failed" if sure else "warning", expired.format(date=f"{end:%Y-%m-%d}"), hint)
    return Finding(what, "ok", text) if days >= DAYS_WARNING else Finding(what, "warning", text, hint)


def _signature(own: Own) -> Finding:
    wire = Signer(own.key, own.identity.thumbprint).sign("centre", message.encode(Centre(own.identity.name, 0)))
    envelope = parse(wire, "centre")
    good = isinstance(envelope, Envelope) and VerifyingKey(own.identity.certificate.public_key()).verify(envelope)
    if good:
        return Finding(_("signature"), "ok", _("made and verified"))
    return Finding(
        _("signature"), "failed", _("the key does not sign for its certificate"), _("Install both files again.")
    )


def _clock(clock: FieldClock) -> Finding:
    hint = _("Check that time synchronisation runs: timedatectl")
    judged = clock.judged()
    if judged.doubted:
        text = _("it shows {machine}, which can't be; the gateway goes by the latest time that it is sure of, {time}")
        text += ". " + _("Alarms go on, and C5 corrects their times once the clock is set")
        times = {"machine": moment(clock.machine.now_us()), "time": moment(judged.us)}
        return Finding(_("clock"), "warning", text.format(**times), hint)
    if judged.source not in SYNCHRONISED:
        text = _("not synchronised; events carry that they can't be trusted for their time")
        return Finding(_("clock"), "warning", text, hint)
    return Finding(_("clock"), "ok", _("synchronised within {ms} ms").format(ms=judged.uncertainty_ms))


def _satellites(said: dict[str, Any]) -> Finding:
    """Return what the running service goes by, which alone hears the receiver."""
    text = _("by satellites within {uncertainty_ms} ms; the machine's own shows {machine}")
    return Finding(_("clock"), "ok", text.format(**said))


def _disk(settings: GatewaySettings) -> Iterator[Finding]:
    folder = settings.gateway.state_dir
    if not folder.is_dir():
        yield Finding(
            _("state_dir"),
            "warning",
            _("{path} is not there").format(path=folder),
            _("The service makes it, if it may."),
        )
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            _("state_dir"), "failed", _("{path} may not be written").format(path=folder), _("Run this with sudo.")
        )
        return
    free = shutil.disk_usage(folder).free // 2**20
    low = free < FREE_MB_WARNING
    yield Finding(
        _("disk"),
        "warning" if low else "ok",
        _("{free} MB free").format(free=free),
        _("Make room: without it, events are kept in memory alone while the link is down.") if low else "",
    )


def _devices(settings: GatewaySettings) -> Finding:
    try:
        count = len(Registry(settings.gateway.state_dir).devices())
    except C5Error as error:
        return Finding(_("devices"), "failed", error.what, error.hint)
    if count == 0:
        return Finding(_("devices"), "warning", _("none is enrolled"), "c5-gateway device enrol C5D1:…")
    return Finding(_("devices"), "ok", _("{count} enrolled").format(count=count))


async def _broker(settings: GatewaySettings, table: BrokerSettings, identity: _Identity) -> list[Finding]:
    """Connect as the service would, and have the broker say whether each topic is allowed."""
    what = _("broker {name}").format(name=f"{table.host}:{table.port}")
    table_gateway = settings.gateway
    route = Route(table_gateway.agency, table_gateway.site, table_gateway.id)

    async def dial(on_closed: Callable[[str], None]) -> Connection:
        return await Connection.open(
            Broker(table.host, table.port, table.protocol, identity.context if table.tls else None),
            table_gateway.id,
            keepalive=settings.delivery.keepalive,
            will=None,
            session_expiry=0,
            receive_maximum=16,
            on_message=lambda _message: None,
            on_closed=on_closed,
            deadline=PROBE_DEADLINE,
        )

    try:
        async with asyncio.timeout(PROBE_DEADLINE):
            protocol, refused = await refused_topics(dial, route, encode_chains([identity.own.chain]))
    except LinkError as error:
        return [Finding(what, "failed", error.what, error.hint)]
    except TimeoutError:
        return [Finding(what, "failed", _("it did not answer in time"), _("Is it overloaded, or the link very slow?"))]
    found = [Finding(what, "ok", _("connected with MQTT {version}").format(version=protocol))]
    if table.protocol == "auto" and protocol == "3.1.1":
        found.append(Finding(what, "warning", *explain_older()))
    found += [
        Finding(
            what,
            "failed",
            _("it refuses {topic}: what travels there never reaches C5").format(topic=topic),
            _("Its access list must allow it to the name in this gateway's certificate."),
        )
        for topic in refused
    ]
    return found
