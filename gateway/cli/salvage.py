"""`c5-gateway outbox salvage FILE`: records out of a damaged store, or another card's, into this gateway's outbox.

The running service does it, beside its work; without one it is done here, in the store at rest. Either way each record
proves itself, and what C5 has already is not taken in.
"""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from gateway import aside, config, credentials
from gateway.cli.running import ask
from gateway.cli.said import print_json, say
from gateway.clock import SystemClock
from gateway.database import Disk
from gateway.errors import C5Error
from gateway.identity.keystore import load_anchors, own_key
from gateway.outbox.inspect import FILE
from gateway.outbox.migrate import MIGRATIONS
from gateway.outbox.salvage import Progress, Prover, Reckoning, reckon, salvage
from gateway.outbox.salvager import Salvager, summary
from gateway.settings import find_settings
from gateway.signing.chains import encode_chain
from gateway.text import _

LOGS: Final = ("", "-wal")  # a store, and its log beside it
LOOK: Final = 0.5  # seconds between two questions to the running service


def run(settings_path: Path | None, file: Path, *, as_json: bool) -> bool:
    """Salvage, and print what came of it; False if something is lost."""
    settings = config.load(find_settings(settings_path, config.VARIABLE, config.DEFAULT))
    state_dir = settings.gateway.state_dir
    file = file.absolute()
    store = state_dir / FILE
    if not file.is_file() or aside.is_own(store, file):  # reading it here would take its locks away
        raise C5Error(
            _("{file} is no file that can be salvaged").format(file=file),
            _("Give a store that was set aside (outbox-….db), or another card's outbox.db."),
        )
    sizes = [belonging.stat().st_size for suffix in LOGS if (belonging := Path(f"{file}{suffix}")).is_file()]
    if not any(sizes):
        raise C5Error(
            _("{file} is empty").format(file=file),
            _("Copy it from the card once more, with the file beside it whose name ends in -wal."),
        )
    if ask(state_dir, {"do": "salvage", "file": str(file)}) is not None:
        told = _followed(state_dir)
    else:
        told = asyncio.run(_at_rest(settings, file))
    if as_json:
        print_json(told)
    else:
        _print(told)
    if told["error"]:
        hint = _("The service's user must be able to read it: copy it into {path}.").format(path=state_dir)
        raise C5Error(told["error"], hint)
    if not any((*told["taken"].values(), told["had"], told["lost"])):
        raise C5Error(
            _("nothing in {file} is a record of this gateway").format(file=file),
            _("Is it the right file, or the right card? One that was set aside is named outbox-….db."),
        )
    if not as_json and not told["lost"]:
        _tell_what_is_left(file)
    return not told["lost"]


def _tell_what_is_left(file: Path) -> None:
    """Say that what was salvaged is of no more use; what was set aside, only once the service has renamed it."""
    if left := aside.belonging(aside.salvaged(file)):
        text = _("Nothing in {files} is needed any more: delete it, or leave it as it is.")
        say(text.format(files=", ".join(map(str, left))))


def _followed(state_dir: Path) -> dict[str, Any]:
    while True:
        time.sleep(LOOK)
        answer = ask(state_dir, {"do": "salvaging"})
        if answer is None:
            raise C5Error(_("the service has stopped"), _("Start it, and salvage the file again: nothing comes twice."))
        if not answer["busy"]:
            told: dict[str, Any] = answer["salvage"]
            return told


async def _at_rest(settings: config.GatewaySettings, file: Path) -> dict[str, Any]:
    own, _tls = credentials.identity(settings, SystemClock())
    anchors = load_anchors(settings.identity.trust_anchors)
    prover = Prover(settings.gateway.id, lambda chain: own_key(chain, anchors, settings.gateway.id))
    prover.introduce(encode_chain(own.chain))
    disk, path = Disk(), settings.gateway.state_dir / FILE
    database = await disk.open(path, MIGRATIONS)
    progress = Progress(file.name)
    try:
        into, reckoning = Salvager(disk, path, prover, lambda: database), Reckoning()
        await salvage(disk, file, prover, into, progress, reckoning=reckoning, whole=False)
        progress.lost = await reckon(into, reckoning)
    finally:
        await database.close()
    return summary(progress)


def _print(told: dict[str, Any]) -> None:
    for lane, count in told["taken"].items():
        say(f"{lane:10} " + _("{count} salvaged").format(count=count))
    say(_("{count} were here already, or C5 has them").format(count=told["had"]))
    for lost in told["lost"]:
        say(_("lost: {lane} {first} to {last} of epoch {epoch}").format(**lost))
    if told["lost"]:
        say(_("C5 is told of what is lost; should it have a record all the same, that one stands."))
