"""`c5-gateway device`: enrolment from a label. The file of devices is changed, then a running service told."""

from pathlib import Path

from gateway import config, console
from gateway.cli.said import print_json, say
from gateway.config import GatewaySettings, PositionSettings
from gateway.errors import C5Error, Refused
from gateway.fieldlink.label import parse
from gateway.registry.devices import NAME_MAX, Device, Registry
from gateway.settings import find_settings
from gateway.text import _


def _settings(path: Path | None) -> GatewaySettings:
    return config.load(find_settings(path, config.VARIABLE, config.DEFAULT))


def enrol(path: Path | None, text: str, *, name: str, latitude: float | None, longitude: float | None) -> bool:
    """Enrol a device from its label."""
    label = parse(text.strip())
    if isinstance(label, Refused):
        raise C5Error(
            _("this is not a device label: {reason}").format(reason=label.reason),
            _("Scan the QR code again, or type its text exactly as printed: C5D1:…"),
        )
    if (latitude is None) != (longitude is None):
        raise C5Error(_("a position needs both numbers"), _("Give --latitude and --longitude."))
    if len(name) > NAME_MAX or not name.isprintable():
        raise C5Error(_("the name is too long"), _("Give at most {max} characters.").format(max=NAME_MAX))
    position = None
    if latitude is not None and longitude is not None:
        position = PositionSettings(latitude=latitude, longitude=longitude).position()
    settings = _settings(path)
    Registry(settings.gateway.state_dir).enrol(Device(label.device, label.model, label.key, name, position))
    say(_("{id} ({model}) is enrolled").format(id=label.device, model=label.model))
    _tell(settings)
    return True


def revoke(path: Path | None, device: str) -> bool:
    """Revoke a device."""
    settings = _settings(path)
    Registry(settings.gateway.state_dir).revoke(device)
    say(_("{id} is not heard any more").format(id=device))
    _tell(settings)
    return True


def show(path: Path | None, *, as_json: bool) -> bool:
    """List the devices; no key is shown."""
    devices = Registry(_settings(path).gateway.state_dir).devices().values()
    listed = [
        {
            "id": device.id,
            "model": device.model,
            "name": device.name,
            "position": None
            if device.position is None
            else {"latitude": device.position.latitude / 1e7, "longitude": device.position.longitude / 1e7},
        }
        for device in devices
    ]
    if as_json:
        print_json(listed)
    else:
        for device in devices:
            say(f"{device.id}  {device.model:16}  {device.name}")
        if not listed:
            say(_("no device is enrolled"))
    return True


def identify(path: Path | None, device: str) -> bool:
    """Have a device show itself."""
    if console.ask(_settings(path).gateway.state_dir, {"do": "identify", "device": device}) is None:
        raise C5Error(_("the service isn't running"), _("Start it: systemctl start c5-gateway"))
    say(_("{id} was told to show itself").format(id=device))
    return True


def _tell(settings: GatewaySettings) -> None:
    if console.ask(settings.gateway.state_dir, {"do": "reload devices"}) is None:
        say(_("the service isn't running: it will know at its start"))
    else:
        say(_("the running service knows it"))
