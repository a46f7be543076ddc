"""Inputs and outputs as `check` and `status` show them."""

import os
from collections.abc import Iterator
from typing import Any

from gateway.config import GatewaySettings
from gateway.drivers.gpio import try_line
from gateway.text import _


def looked(settings: GatewaySettings) -> Iterator[tuple[str, str | None, str]]:
    """Yield what each line is for, why it can't be had, and what to say if it can; nobody else holds them now."""
    used: dict[tuple[str, int | None], str] = {}
    for kind, entries in ((_("input {name}"), settings.input), (_("output {name}"), settings.output)):
        for entry in entries:
            number, wrong = try_line(entry.chip, entry.line)
            before = used.setdefault((os.path.realpath(entry.chip), number), entry.name)
            if number is not None and before != entry.name:  # by its number there, by its name here
                wrong = _("line {line} of {chip} is used by {name} too").format(
                    line=entry.line, chip=entry.chip, name=before
                )
            yield kind.format(name=entry.name), wrong, _("its line is free")


def beside(running: dict[str, Any]) -> Iterator[tuple[str, str | None, str]]:
    """Yield the same through the eyes of the running service."""
    for one in running["inputs"]:
        yield _("input {name}").format(name=one["name"]), one["trouble"], _input(one)
    for one in running["outputs"]:
        yield _("output {name}").format(name=one["name"]), one["trouble"], _output(one)


def shown(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line of `status` for each."""
    for one in found["inputs"]:
        yield f"{one['name']:10} {one['trouble'] or _input(one)}"
    for one in found["outputs"]:
        yield f"{one['name']:10} {one['trouble'] or _output(one)}"


def _input(one: dict[str, Any]) -> str:
    parts = [_("active") if one["active"] else _("idle"), one["on"]]
    stages = {1: _("last press stored"), 2: _("last press received"), 3: _("last press acknowledged")}
    if one["stage"]:
        parts.append(stages[one["stage"]])
    if one["edges_lost"]:
        parts.append(_("{count} edges came too fast to be read").format(count=one["edges_lost"]))
    return ", ".join(parts)


def _output(one: dict[str, Any]) -> str:
    kinds = {"siren": _("siren"), "strobe": _("strobe"), "led": _("led"), "buzzer": _("buzzer")}
    return f"{kinds.get(one['kind'], one['kind'])}, {_('off') if one['pattern'] == 'off' else _('on')}"
