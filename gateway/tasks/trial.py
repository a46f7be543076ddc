"""Settings from afar on trial: C5 must be heard under them, or the ones before come back (docs/decisions/0036).

Who has cut a gateway off from every broker by its settings can't take them back from where he is. So what C5 applies
counts for good once a receipt has come under it; if none has in time, what was applied before is put back, and the
gateway starts anew. C5 is told by `config.changed`, as of every change. A link that is down for as long has the same
effect: then the settings are sent once more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

from gateway.errors import StoreError

if TYPE_CHECKING:
    from gateway.clock import Timekeeper

log = logging.getLogger(__name__)

LOOK: Final = 1.0  # seconds between two looks
RETRY: Final = 30.0  # seconds after which a disk that refused is asked again
PROFILES: Final = 4  # as long as it takes to miss a gateway, and three times more: a start, and a slow link's handshake
LONGEST: Final = 900.0  # seconds


class OnTrial(Protocol):
    """What C5 has applied. Both wait for a disk, and raise StoreError."""

    @property
    def on_trial(self) -> bool:
        """Whether it counts for a while only."""

    def keep(self) -> None:
        """Have it count for good."""

    def fall_back(self) -> None:
        """Put what counted before in its place."""


def period(profile: float) -> float:
    """Return for how many seconds settings are on trial."""
    return min(LONGEST, PROFILES * profile)


async def judge(
    applied: OnTrial,
    seconds: float,
    *,
    heard: Callable[[], bool],
    clock: "Timekeeper",
    beside: Callable[[Callable[[], None]], Awaitable[None]],
    restart: Callable[[str], None],
) -> None:
    """Wait for C5 to be heard, if something is on trial; else fall back and start anew."""
    if not applied.on_trial:
        return
    until = clock.monotonic() + seconds
    while True:
        try:
            if heard():
                await beside(applied.keep)
                log.info("C5 is heard under the settings it has applied: they stay")
                return
            if clock.monotonic() >= until:
                await beside(applied.fall_back)
                log.warning("C5 was not heard for %d s under its settings: those before come back", seconds)
                restart("settings")
                return
        except StoreError as error:
            log.warning("the settings on trial: %s. %s", error.what, error.hint)
            await asyncio.sleep(RETRY)  # and C5 may be heard meanwhile
        else:
            await asyncio.sleep(LOOK)
