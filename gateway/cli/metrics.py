"""`c5-gateway metrics`: a running gateway's figures for Prometheus, on standard output."""

import sys
from pathlib import Path

from gateway import config
from gateway.cli.running import ask
from gateway.metrics import exposition
from gateway.settings import find_settings


def metrics(path: Path | None) -> bool:
    """Print them; True if the service answers."""
    settings = config.load(find_settings(path, config.VARIABLE, config.DEFAULT))
    found = ask(settings.gateway.state_dir, {"do": "status"})
    sys.stdout.write(exposition(found))
    return found is not None
