"""An OSDP line: its peripherals have their turns, for ever; each is connected by its own key or not at all.

A peripheral is `live` while the secure channel with its own key holds, and only then is anything of it handed on. What
it was not told yet when that ended is answered with why. Install mode is one technician's act for one peripheral and
ends by itself: only in it the default key is accepted, to set a new one; that new one is stored before it is sent, and
the peripheral is live only when it is connected anew by it, with the default key refused again.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from gateway.delivery.backoff import Backoff
from gateway.errors import C5Error, StoreError
from gateway.sensing.osdp import ACK, BUSY, NAK, Asked, Heard, Idle, Keys, LinkFault, Order, Report, explained, proven
from gateway.sensing.reply import Garbled, Gone, Silent
from gateway.sensing.turns import REST_MAX, SOON, TRY, Turns
from gateway.tasks.drivers import Beat
from gateway.text import _

if TYPE_CHECKING:
    from gateway.drivers.osdp import OsdpLine, Panel

log = logging.getLogger(__name__)

RETRY_MIN: Final = 0.1  # seconds between tries to open the line
RETRY_MAX: Final = 5.0
AROUND: Final = 3.0  # seconds between two signs that the loop comes round
ORDERS_MAX: Final = 32  # of a peripheral, waiting for its turn
INSTALL_S: Final = 120.0
REFUSED_AFTER: Final = 3  # connections that could not be set up, in a row
KEY_BYTES: Final = 16

Done = Callable[[str | None], None]  # what is in the way, or None: it is done
Told = Heard | Idle | Silent | Garbled | Gone


class KeyStore(Protocol):
    """Where keys are."""

    def read(self, name: str) -> Keys:
        """Return a peripheral's keys."""

    def write(self, name: str, keys: Keys) -> None:
        """Write them durably, or raise StoreError."""


class Beside(Protocol):
    """Makes a call beside the event loop."""

    def __call__(self, call: Callable[[str, Keys], None], name: str, keys: Keys, /) -> Awaitable[None]:
        """Return when it is made."""


class MakePanel(Protocol):
    """Makes our end of a connection."""

    def __call__(self, address: int, key: bytes, *, install: bool = False) -> "Panel":
        """Return it."""


class Hearer(Protocol):
    """Who hears what peripherals say. `now` is the event loop's time."""

    def live(self, name: str, now: float) -> None:
        """It is connected, again: what it shows and switches is unknown."""

    def settled(self, name: str) -> None:
        """It has told all that it had kept meanwhile: how its inputs are can be asked."""

    def heard(self, name: str, now: float) -> None:
        """It has answered, on its secure channel."""

    def reported(self, name: str, report: Report) -> None:
        """It says how it is."""

    def failed(self, name: str, fault: LinkFault, now: float, *, lost: bool) -> None:
        """It is not live; `lost`: not for a moment alone."""


@dataclass(slots=True)
class Link:
    """A peripheral on the line."""

    name: str
    address: int
    keys: Keys
    panel: "Panel | None" = None
    tried: int = 0  # which of its keys the panel has
    installing_until: float | None = None
    installed: str | None = None  # what became of the last installation: "" if it has succeeded
    live: bool = False
    settled: bool = False  # it has no more to tell of what was before
    refusals: int = 0  # connections in a row that could not be set up
    last: Heard | None = None  # what it answered last, to what
    orders: "deque[tuple[Order, Done]]" = field(default_factory=deque)
    current: "tuple[Order, Done] | None" = None
    unable: set[int] = field(default_factory=set)  # questions that it has refused
    counts: Counter[str] = field(default_factory=Counter)


class OsdpBus:
    """One line and its peripherals."""

    def __init__(
        self,
        name: str,
        make: "Callable[[], OsdpLine]",
        panel: MakePanel,
        peripherals: Iterable[tuple[str, int]],
        *,
        keys: KeyStore,
        beside: Beside,
        random_bytes: Callable[[int], bytes],
        hearer: Hearer,
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self.name = name
        self.trouble: str | None = None
        self.links = {one: Link(one, address, keys.read(one)) for one, address in peripherals}
        self._make = make
        self._panel = panel
        self._keys = keys
        self._beside = beside
        self._random_bytes = random_bytes
        self._hearer = hearer
        self._lost = lost
        self._restored = restored
        self._backoff = Backoff(RETRY_MIN, RETRY_MAX, random)
        self._line: OsdpLine | None = None
        self._turns = Turns(self.links, 0.0)
        self._wake = asyncio.Event()

    async def run(self, beat: Beat = lambda: None) -> None:
        """Keep the line open and ask; ends only when cancelled."""
        self._line = line = self._make()
        try:
            while self._line is line:
                beat()
                reason = line.open()
                if reason is None:
                    self._back()
                    reason = await self._serve(line, beat)
                    if reason is None:
                        return
                line.close()
                self._fail(reason)
                await asyncio.sleep(self._backoff.next())
        finally:
            line.close()
            if self._line is line:
                self._down()

    def close(self) -> None:
        """Let go of the line, whatever the run that has it does."""
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._down()

    async def _serve(self, line: "OsdpLine", beat: Beat) -> str | None:
        """Ask until the line is gone: return why; None: another run has the line."""
        loop = asyncio.get_running_loop()
        self._turns = turns = Turns(self.links, loop.time())
        while True:
            beat()
            now = loop.time()
            name = turns.next(now)
            if name is None:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(AROUND, max(0.0, turns.deadline(now) - now))):
                        await self._wake.wait()
                continue
            link = self.links[name]
            panel = self._begun(link, now)
            if panel is None:
                turns.at(name, now + AROUND)
                continue
            reply = await line.exchange(panel)
            if self._line is not line:
                return None
            if isinstance(reply, Gone):
                return reply.reason
            if link.panel is panel:
                link.counts["doubled"] += line.doubled.pop(link.address, 0)
                await self._turned(link, panel, reply, loop.time())

    def _begun(self, link: Link, now: float) -> "Panel | None":
        """Return what its turn is done with; None: there is no key, and it is not to be spoken with."""
        if link.installing_until is not None and now >= link.installing_until:
            link.installing_until, link.panel = None, None
            link.installed = link.installed or _("it has not answered")
            log.warning("%s could not be installed: %s", link.name, link.installed)
        if link.panel is None:
            if link.installing_until is not None and link.keys.pending is not None:
                link.panel = self._panel(link.address, link.keys.pending, install=True)
            elif known := link.keys.known:
                link.panel = self._panel(link.address, known[link.tried % len(known)])
        if link.live and link.current is None and link.orders and link.panel is not None:
            self._submit(link, link.panel)
        return link.panel

    def _submit(self, link: Link, panel: "Panel") -> None:
        order, done = link.orders.popleft()
        number = getattr(order, "number", 0)
        if panel.count(order) <= number or order.code in link.unable:
            done(_("this peripheral has none, or not so many"))
        elif panel.submit(order):
            link.current = (order, done)
        else:
            done(_("it could not be told"))

    # What becomes of a turn.

    async def _turned(self, link: Link, panel: "Panel", reply: Told, now: float) -> None:
        match reply:
            case Idle() if panel.live:
                self._turns.at(link.name, now + SOON)
            case Idle():
                self._unasked(link, panel, now)
            case Silent() | Garbled():
                fault: LinkFault = "silent" if isinstance(reply, Silent) else "garbled"
                link.counts[fault] += 1
                link.last = None
                if self._turns.failed(link.name, now):
                    self._went(link, fault, now, lost=True)
            case Heard():
                link.counts["answers"] += 1
                link.last = reply
                self._settle(link, reply)
                if panel.live and not link.live and proven(reply):
                    await self._secured(link, now)
                elif link.live and not panel.live:
                    self._went(link, "key", now, lost=False)
                if link.live:
                    link.refusals = 0
                    self._hearer.heard(link.name, now)
                    while panel.reports:
                        self._hearer.reported(link.name, panel.reports.popleft())
                panel.reports.clear()
                if link.live and not link.settled and (reply.asked, reply.code) == (Asked.POLL, ACK):
                    link.settled = True
                    self._hearer.settled(link.name)
                more = not link.settled or link.current is not None or bool(link.orders)
                self._turns.answered(link.name, now, more=more)
            case Gone():
                pass  # of a peripheral that says nothing

    def _settle(self, link: Link, heard: Heard) -> None:
        """Answer whoever has ordered what was asked."""
        if link.current is None or link.current[0].code != heard.asked:
            return
        done, link.current = link.current[1], None
        if heard.code == NAK:
            link.unable.add(heard.asked)  # libosdp ends the connection for that: never again
            log.warning("%s refuses to be told %s", link.name, Asked(heard.asked).name.lower())
            done(_("it refuses that"))
        else:
            done(None)

    def _unasked(self, link: Link, panel: "Panel", now: float) -> None:
        """Libosdp had nothing to ask one that isn't connected."""
        if link.last is None:  # it has asked in vain, and rests now for minutes
            panel.restart()
            self._turns.at(link.name, now + SOON)
        elif link.last.code == BUSY:
            self._turns.at(link.name, now + TRY)
        else:
            self._given_up(link, panel, now)

    def _given_up(self, link: Link, panel: "Panel", now: float) -> None:
        """Libosdp has ended the connection, or could not set it up: begin anew, with another key if there is one."""
        last = link.last
        fault: LinkFault = "insecure" if last is not None and last.asked == Asked.CAPABILITIES else "key"
        link.last = None
        link.refusals += 1
        link.tried += 1
        if link.installing_until is not None:
            link.installed = explained(fault)
            link.panel = None
        elif len(link.keys.known) > 1:
            link.panel = None
        else:
            panel.restart()
        lost = link.refusals >= REFUSED_AFTER
        rest = 0.0 if link.refusals == 1 else min(REST_MAX, float(link.refusals - 1))
        self._turns.at(link.name, now + rest)
        if lost:
            self._went(link, fault, now, lost=True)

    async def _secured(self, link: Link, now: float) -> None:
        """It is connected by a key of its own: that is the one it has."""
        known = link.keys.known
        key = link.keys.pending if link.installing_until is not None else known[link.tried % len(known)]
        if link.keys != Keys(key):
            try:
                await self._beside(self._keys.write, link.name, Keys(key))
            except StoreError as error:  # the file has this key and the one before: both go on being tried
                log.warning("%s. %s", error.what, error.hint)
            else:
                link.keys, link.tried = Keys(key), 0
        if link.installing_until is not None:
            link.installing_until, link.installed, link.panel = None, "", None
            link.refusals, link.last = 0, None
            log.info("%s has a key of its own now", link.name)
            return
        link.live, link.settled = True, False
        log.info("%s is connected", link.name)
        self._hearer.live(link.name, now)

    def _went(self, link: Link, fault: LinkFault, now: float, *, lost: bool) -> None:
        if lost or link.live:
            self._hearer.failed(link.name, fault, now, lost=lost)
        if lost:
            link.live = False
            self._drop(link, explained(fault))
        elif fault == "key":
            link.live = False

    def _drop(self, link: Link, reason: str) -> None:
        waiting = [*([link.current] if link.current else []), *link.orders]
        link.current = None
        link.orders.clear()
        for _order, done in waiting:
            done(reason)

    # Ordered.

    def order(self, name: str, order: Order, done: Done = lambda _wrong: None) -> bool:
        """Have a peripheral told something; False: it is not connected, or too much waits for it."""
        link = self.links[name]
        if not link.live or len(link.orders) >= ORDERS_MAX:
            return False
        link.orders.append((order, done))
        self._turns.hurry(name, asyncio.get_running_loop().time())
        self._wake.set()
        return True

    async def install(self, name: str) -> None:
        """Accept the default key of a peripheral for `INSTALL_S`, to give it one of its own. Raises C5Error."""
        link = self.links[name]
        if link.live:
            raise C5Error(
                _("{name} has its own key and is connected by it").format(name=name), _("There is nothing to do.")
            )
        keys = Keys(link.keys.key, link.keys.pending or self._random_bytes(KEY_BYTES))
        await self._beside(self._keys.write, name, keys)
        now = asyncio.get_running_loop().time()
        link.keys, link.panel, link.last = keys, None, None
        link.refusals, link.installed, link.installing_until = 0, None, now + INSTALL_S
        link.unable.clear()
        if self.trouble is None:
            self._turns.answered(name, now, more=True)
        self._wake.set()
        log.warning("%s is being installed: its default key is accepted for %d s", name, INSTALL_S)

    # The line.

    def _back(self) -> None:
        self._backoff.reset()
        if self.trouble is not None:
            self.trouble = None
            log.info("the OSDP line %s is back", self.name)
            self._restored()

    def _fail(self, reason: str) -> None:
        if self.trouble is None:
            log.warning("the OSDP line %s is lost, nothing on it is heard: %s", self.name, reason)
            self._lost(reason)
        self.trouble = reason
        self._down()

    def _down(self) -> None:
        for link in self.links.values():
            link.live, link.panel, link.last, link.refusals = False, None, None, 0
            link.unable.clear()
            self._drop(link, self.trouble or _("the line is lost"))
