"""Asking the running service, and telling "not running" from "running, and can't be asked"."""

from pathlib import Path
from typing import Any

from gateway import console
from gateway.database import in_use
from gateway.errors import C5Error
from gateway.outbox.inspect import FILE
from gateway.text import _


def not_running() -> C5Error:
    """Return the error of a service that has to run, and doesn't."""
    return C5Error(
        _("the service isn't running"),
        _(
            "No press is heard now; buttons go on sending, and are heard when it runs. "
            "Start it: systemctl start c5-gateway"
        ),
    )


def ask(state_dir: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """Ask the running service; None if none is running. Raises C5Error with its answer, or if it can't be asked."""
    answer = console.ask(state_dir, request)
    if answer is None and in_use(state_dir / FILE):
        raise C5Error(
            _("the service runs, but it could not make its control socket in {path}").format(path=state_dir),
            _("Alarms go out. Make the folder writable for the service's user, then restart it."),
        )
    return answer
