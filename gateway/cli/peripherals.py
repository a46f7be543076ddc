"""OSDP lines and peripherals as `check` and `status` show them, and `c5-gateway peripheral install`."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway import config
from gateway.cli.running import ask, not_running
from gateway.cli.said import say
from gateway.config import GatewaySettings
from gateway.drivers.osdp_keys import KeyFiles
from gateway.drivers.serial_port import try_open
from gateway.errors import C5Error, StoreError
from gateway.settings import find_settings
from gateway.text import _

Finding = tuple[str, str | None, str]  # what it is, what is wrong with it, what to say if nothing is
EVERY: Final = 0.5  # seconds
WAIT_S: Final = 150.0  # for what becomes of an installation: its two minutes, and a connection by the new key


def install(path: Path | None, name: str) -> bool:
    """Have the running service give a peripheral its key; wait for what becomes of it."""
    state_dir = config.load(find_settings(path, config.VARIABLE, config.DEFAULT)).gateway.state_dir
    if ask(state_dir, {"do": "install", "peripheral": name}) is None:
        raise not_running()
    until = time.monotonic() + WAIT_S
    say(_("{name}: its default key is accepted for two minutes; put it into install mode now").format(name=name))
    while (found := ask(state_dir, {"do": "status"})) is not None:
        own = next(one for one in found["peripherals"] if one["name"] == name)
        if own["live"]:
            say(_("{name} has a key of its own and is connected by it; the default key is refused").format(name=name))
            return True
        if not own["installing"] and own["installation"]:
            raise C5Error(
                _("{name} was not installed: {reason}").format(name=name, reason=own["installation"]),
                _("Nothing of it is believed. See its manual for its install mode (often a reset), then try again."),
            )
        if time.monotonic() > until:
            raise C5Error(
                _("nothing is known of the installation of {name} yet").format(name=name),
                _("See what is wrong with it, then try again: c5-gateway status."),
            )
        time.sleep(EVERY)
    raise not_running()


def looked(settings: GatewaySettings) -> Iterator[Finding]:
    """Open each line, and see whether each peripheral has its key; nobody else has them now."""
    for port in settings.port:
        if port.driver == "osdp":
            yield _("port {name}").format(name=port.name), try_open(port.device, port.baud), _("opened")
    for one in settings.peripheral:
        missing = _("it has no key yet and is not heard: c5-gateway peripheral install {name}").format(name=one.name)
        try:
            wrong = None if KeyFiles(settings.gateway.state_dir).read(one.name).known else missing
        except StoreError as error:
            wrong = f"{error.what}. {error.hint}"
        yield _("peripheral {name}").format(name=one.name), wrong, _("it has its key")


def beside(running: dict[str, Any]) -> Iterator[Finding]:
    """Yield the same through the eyes of the running service."""
    for line in running["osdp"]:
        yield _("port {name}").format(name=line["name"]), line["trouble"], _("open")
    for one in running["peripherals"]:
        yield _("peripheral {name}").format(name=one["name"]), one["trouble"], _state(one)


def shown(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line of `status` for each."""
    for line in found["osdp"]:
        yield f"{line['name']:10} {line['trouble'] or 'OSDP, ' + _('open')}"
    for one in found["peripherals"]:
        yield f"{one['name']:10} {one['trouble'] or _state(one)}"
        for given in one["inputs"]:
            level = {None: "–", True: _("active"), False: _("idle")}[given["active"] if one["live"] else None]
            yield f"  {given['name']:10} {level}, {given['on']}"
        for given in one["outputs"]:
            yield f"  {given['name']:10} {_('on') if given['on'] else _('off')}"


def told(one: dict[str, Any]) -> str:
    """Return what the service says among its troubles of a peripheral that has one."""
    text = _("peripheral {name} (address {address} on {port}): {wrong}")
    return text.format(name=one["name"], address=one["address"], port=one["port"], wrong=one["trouble"])


def _state(one: dict[str, Any]) -> str:
    said = [_("connected by its own key") if one["live"] else _("not connected yet")]
    if one["tampered"]:
        said.append(_("its cover is open"))
    if one["unpowered"]:
        said.append(_("its supply is gone"))
    return ", ".join(said)
