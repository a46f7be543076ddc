"""`c5-gateway run`: the service in the foreground, until SIGTERM, SIGINT or SIGHUP."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import Final

from gateway import applied, config, notify
from gateway.app import App
from gateway.settings import find_settings

SWITCH_INTERVAL: Final = 0.0005  # seconds that an alarm waits for the store's thread, where both want the interpreter


def run(path: Path | None) -> bool:
    """Run until told to stop. Raises C5Error if it can't start."""
    loaded = applied.load(find_settings(path, config.VARIABLE, config.DEFAULT))
    settings = loaded.settings
    logging.basicConfig(
        level=settings.log.level.upper(),
        format=("%(asctime)s " if sys.stderr.isatty() else "")
        + "%(levelname)s %(name)s: %(message)s",  # journald has it
        stream=sys.stderr,
    )
    if loaded.refused is not None:
        logging.getLogger(__name__).warning("what C5 has applied is not used: %s", loaded.refused)
    app = App(settings, loaded=loaded)
    gc.collect()
    gc.set_threshold(50_000, 20, 20)  # records come in floods, live until they have left, and form no cycles
    gc.freeze()  # what the start made stays: a later collection would stop us for 20 ms to look at all of it again
    sys.setswitchinterval(SWITCH_INTERVAL)
    asyncio.run(_serve(app))
    return True


async def _serve(app: App) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the last: the terminal that it ran in was closed
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await app.run(ready=notify.ready)
