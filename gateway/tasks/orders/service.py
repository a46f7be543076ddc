"""Commands to the gateway itself: new settings, a new start, and a device that is to be heard no more.

A gateway that starts anew answers first. The command can't come again: it is for an epoch that has ended.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from gateway.delivery.item import Note
from gateway.event import Event
from gateway.tasks.orders.order import Answer, Done, Order, failed

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder

CHANGED: Final = "config.changed"
NOTHING: Final = hashlib.sha256(b"").hexdigest()  # what takes back all that was applied
RENEWAL: Final = (
    "this gateway can't renew its certificates by itself: issue new ones at the authority, and have a technician "
    "install them and restart the service"
)


class Service:
    """Changes this gateway; each callable waits for its disk, and raises C5Error where it can't be done.

    `apply` gets settings and returns their SHA-256, `revoke` a device; `restart` gets the cause, and begins nothing
    before the reply has had time to leave.
    """

    def __init__(
        self,
        gateway: str,
        recorder: "Recorder",
        *,
        apply: Callable[[str], Awaitable[str]],
        revoke: Callable[[str], Awaitable[None]],
        restart: Callable[[str], None],
    ) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._apply = apply
        self._revoke = revoke
        self._restart = restart

    async def apply_settings(self, order: Order) -> Done:
        """Lay settings over the technician's, and start anew by them."""
        toml = order.arguments.get("toml")
        if type(toml) is not str:
            return failed("toml must be settings as text; an empty one takes back what was applied")
        digest = await self._apply(toml)
        tell_settings(self._gateway, self._recorder, digest)
        return Done("done", result={"sha256": digest}, then=lambda: self._restart("settings"))

    async def revoke_device(self, order: Order) -> Done:
        """Hear a device no more: its frames are a stranger's."""
        device = order.arguments.get("device")
        if type(device) is not str:
            return failed("device must be a device that is enrolled here")
        await self._revoke(device)
        return Done("done", noted={"device": device})

    def restart(self, _order: Order, answer: Answer) -> None:
        """Stop in order; systemd starts the service again."""
        answer(Done("done", then=lambda: self._restart("command")))


def tell_settings(gateway: str, recorder: "Recorder", digest: str) -> None:
    """Tell C5 by which of its settings the gateway runs; that it was told is stored with the record."""
    event = Event(CHANGED, gateway, data={"sha256": digest})
    recorder.record(event, notes=(Note(gateway, CHANGED, _number(digest)),))


def untold(gateway: str, notes: Iterable[Note], digest: str | None) -> str | None:
    """Return the SHA-256 of settings that C5 was not told of: a power cut came between the file and the record."""
    told = next((note.value for note in notes if (note.source, note.what) == (gateway, CHANGED)), _number(NOTHING))
    digest = digest or NOTHING
    return None if _number(digest) == told else digest


def _number(digest: str) -> int:
    """Return of it what a note can hold."""
    return int(digest[:12], 16)


def renew(_order: Order, answer: Answer) -> None:
    """Answer who wants new certificates."""
    answer(failed(RENEWAL))
