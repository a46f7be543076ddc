"""`c5-gateway device`: enrolment from a label.

A running service does it itself, so that its group may enrol without being root; otherwise the file is changed here,
and read at the next start.
"""

from pathlib import Path
from typing import Any

from gateway import config, status
from gateway.cli.running import ask
from gateway.cli.said import print_json, say
from gateway.errors import C5Error
from gateway.registry.devices import Registry
from gateway.settings import find_settings
from gateway.text import _


def _state_dir(path: Path | None) -> Path:
    return config.load(find_settings(path, config.VARIABLE, config.DEFAULT)).gateway.state_dir


def enrol(path: Path | None, text: str, *, name: str, latitude: float | None, longitude: float | None) -> bool:
    """Enrol a device from its label."""
    if (latitude is None) != (longitude is None):
        raise C5Error(_("a position needs both numbers"), _("Give --latitude and --longitude."))
    position = None if latitude is None or longitude is None else [latitude, longitude]
    state_dir = _state_dir(path)
    device = status.enrolment(text, name, position)
    answer = ask(state_dir, {"do": "enrol", "label": text, "name": name, "position": position})
    if answer is None:
        Registry(state_dir).enrol(device)
    say(_("{id} ({model}) is enrolled").format(id=device.id, model=device.model))
    _say_when(answer)
    return True


def revoke(path: Path | None, device: str) -> bool:
    """Revoke a device."""
    state_dir = _state_dir(path)
    answer = ask(state_dir, {"do": "revoke", "device": device})
    if answer is None:
        Registry(state_dir).revoke(device)
    say(_("{id} is not heard any more").format(id=device))
    _say_when(answer)
    return True


def show(path: Path | None, *, as_json: bool) -> bool:
    """List the devices; no key is shown."""
    state_dir = _state_dir(path)
    answer = ask(state_dir, {"do": "devices"})
    devices = status.listed(Registry(state_dir)) if answer is None else answer["devices"]
    if as_json:
        print_json(devices)
        return True
    for device in devices:
        say(f"{device['id']}  {device['model']:16}  {device['name']}")
    if not devices:
        say(_("no device is enrolled"))
    return True


def identify(path: Path | None, device: str) -> bool:
    """Have a device show itself."""
    if ask(_state_dir(path), {"do": "identify", "device": device}) is None:
        raise C5Error(_("the service isn't running"), _("Start it: systemctl start c5-gateway"))
    say(_("{id} was told to show itself").format(id=device))
    return True


def _say_when(answer: dict[str, Any] | None) -> None:
    say(
        _("the service isn't running: it will know at its start")
        if answer is None
        else _("the running service knows it")
    )
