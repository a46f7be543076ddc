"""A peripheral as its OSDP line has it: its keys, our end of its connection, and what it is to be told.

Of two orders about the same output, light or question only the later one waits, so that what waits is bounded by what
the peripheral has. What it refuses over its secure channel is not ordered again, for libosdp ends the connection at
each refusal; but to be off is ordered whatever was refused before. A NAK in clear is no refusal: anybody can send it.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from gateway.errors import StoreError
from gateway.sensing.osdp import NAK, Asked, Heard, Keys, Order, SetOutput, about
from gateway.text import _

if TYPE_CHECKING:
    from gateway.drivers.osdp import Panel

log = logging.getLogger(__name__)

FLAPS: Final = 3  # connections that broke, within
FLAPS_S: Final = 60.0  # seconds: it isn't said to be back in that time

Done = Callable[[str | None], None]  # what is in the way, or None: it is done


class KeyStore(Protocol):
    """Where keys are."""

    def read(self, name: str) -> Keys:
        """Return a peripheral's keys, or raise StoreError."""

    def put_aside(self, name: str) -> None:
        """Leave a file that can't be read lying beside."""

    def write(self, name: str, keys: Keys) -> None:
        """Write them durably, or raise StoreError."""


@dataclass(slots=True)
class Link:
    """A peripheral on the line. While it is not live, nothing waits to be told to it."""

    name: str
    address: int
    keys: Keys
    unreadable: str | None = None  # why its keys can't be had
    panel: "Panel | None" = None
    panels: "dict[bytes, Panel]" = field(default_factory=dict)  # by key: they are begun anew, not made anew
    tried: int = 0  # which of its keys the panel has
    installing_until: float | None = None
    installed: str | None = None  # what became of the last installation: "" if it has succeeded
    preparing: bool = False  # a key for its installation is being stored
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)
    live: bool = False
    settled: bool = False  # it has no more to tell of what was before
    begun: int = 0  # connections in a row of which none has held
    broke: "deque[float]" = field(default_factory=lambda: deque(maxlen=FLAPS))  # when connections did
    last: Heard | None = None  # what it answered last, to what
    restarted: bool = False  # since it was asked last
    orders: "dict[tuple[int, int], tuple[Order, Done]]" = field(default_factory=dict)
    current: "tuple[Order, Done] | None" = None
    unable: set[tuple[int, int]] = field(default_factory=set)  # what it has refused
    counts: Counter[str] = field(default_factory=Counter)

    def installing(self, now: float) -> bool:
        """Whether its default key is accepted."""
        return self.installing_until is not None and now < self.installing_until

    def installation(self, now: float) -> str | None:
        """Return what became of the last installation: "" if it has succeeded, None if there was none or it lasts."""
        if self.installing_until is not None and now >= self.installing_until:
            return self.installed or _("it has not answered")
        return self.installed

    def flaps(self, now: float) -> bool:
        """Whether it breaks too often to be said to be back."""
        return len(self.broke) == FLAPS and now - self.broke[0] < FLAPS_S

    def forget(self) -> None:
        """Have our end made anew."""
        self.panel, self.last, self.restarted = None, None, False
        self.panels.clear()

    # Ordered.

    def order(self, order: Order, done: Done) -> None:
        """Have it told; what waits about the same is not told any more."""
        before = self.orders.pop(about(order), None)
        self.orders[about(order)] = (order, done)
        if before is not None:
            before[1](_("another order came before it was told"))

    def submit(self, panel: "Panel") -> None:
        """Have the next order told, if there is one and none is under way."""
        if self.current is not None or not self.orders:
            return
        order, done = self.orders.pop(next(iter(self.orders)))
        code, number = about(order)
        off = isinstance(order, SetOutput) and not order.on
        if panel.count(order) <= number or ((code, number) in self.unable and not off):
            done(_("this peripheral has none, or not so many"))
        elif panel.submit(order):
            self.current = (order, done)
        else:
            done(_("it could not be told"))

    def settle(self, heard: Heard) -> None:
        """Answer whoever has ordered what was asked: it has answered, and its connection stands."""
        if self.current is not None and self.current[0].code == heard.asked:
            done, self.current = self.current[1], None
            done(None)

    def refused(self, heard: Heard) -> str | None:
        """Answer whoever has ordered what it refuses; return what that was, if it is the first time."""
        if heard.code != NAK or not heard.secured or self.current is None or self.current[0].code != heard.asked:
            return None
        (order, done), self.current = self.current, None
        first = about(order) not in self.unable
        self.unable.add(about(order))
        done(_("it refuses that"))
        return Asked(heard.asked).name.lower() if first else None

    def drop(self, reason: str) -> None:
        """Answer everybody who waits."""
        waiting = [*([self.current] if self.current else []), *self.orders.values()]
        self.current = None
        self.orders.clear()
        for _order, done in waiting:
            done(reason)


def linked(name: str, address: int, keys: KeyStore) -> Link:
    """Return a peripheral as it is at the start."""
    try:
        return Link(name, address, keys.read(name))
    except StoreError as error:
        log.warning("%s. %s", error.what, error.hint)
        return Link(name, address, Keys(), f"{error.what}. {error.hint}")
