"""`c5-gateway outbox`: what is buffered, and whether every chain holds. Works beside a running service."""

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway import config, credentials
from gateway.cli.look import autonomy
from gateway.cli.running import ask
from gateway.cli.said import print_json, say
from gateway.clock import SystemClock
from gateway.errors import C5Error
from gateway.event import LANE_NAMES
from gateway.outbox import inspect
from gateway.settings import find_settings
from gateway.signing.cose import VerifyingKey
from gateway.text import _


def _settings(path: Path | None) -> config.GatewaySettings:
    return config.load(find_settings(path, config.VARIABLE, config.DEFAULT))


def status(path: Path | None, *, as_json: bool) -> bool:
    """Show how much waits, by lane, and for how long each keeps everything: the running service knows its pace."""
    settings = _settings(path)
    waiting = inspect.waiting(settings.gateway.state_dir)
    running: dict[str, Any] | None = None
    with contextlib.suppress(C5Error):
        running = ask(settings.gateway.state_dir, {"do": "status"})
    hours = {lane: running["lanes"][lane]["autonomy_h"] if running else None for lane in waiting}
    if as_json:
        print_json({lane: asdict(stored) | {"autonomy_h": hours[lane]} for lane, stored in waiting.items()})
        return True
    for lane, stored in waiting.items():
        say(f"{lane:10} " + _("{count} waiting, {size} bytes").format(count=stored.count, size=stored.size)
            + (_(", oldest {oldest}").format(oldest=stored.oldest) if stored.oldest else "")
            + autonomy(hours[lane]))  # fmt: skip
    return True


def show(path: Path | None, *, as_json: bool) -> bool:
    """List the records that are stored."""
    listed = [
        {
            "identity": said.identity,
            "lane": LANE_NAMES[said.lane],
            "type": said.type,
            "source": said.source,
            "occurred": inspect.rfc3339(said.occurred_us),
            "waiting": waits,
        }
        for said, waits, _wire in inspect.records(_settings(path).gateway.state_dir)
    ]
    if as_json:
        print_json(listed)
        return True
    for entry in listed:
        kept = "" if entry["waiting"] else _("  (C5 has it; kept as the lane's last)")
        say(f"{entry['occurred']}  {entry['type']:20} {entry['source']:16} {entry['identity']}{kept}")
    return True


def verify(path: Path | None, *, as_json: bool) -> bool:
    """Verify all; True if every record holds."""
    settings = _settings(path)
    own, _tls = credentials.identity(settings, SystemClock())
    key = VerifyingKey(own.identity.certificate.public_key())
    count, wrong = inspect.broken(settings.gateway.state_dir, key, own.identity.thumbprint)
    if as_json:
        print_json({"records": count, "wrong": wrong})
    else:
        for text in wrong:
            say(text)
        say(_("{count} records verified, {wrong} wrong").format(count=count, wrong=len(wrong)))
    return not wrong
