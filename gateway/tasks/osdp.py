"""An OSDP line: its peripherals have their turns, for ever; each is connected by its own key or not at all.

A peripheral is `live` while the secure channel with its own key stands, and only then is anything of it handed on. What
it was not told yet when that ended is answered with why. A connection holds when it has answered all that it is asked
at its beginning: one that never does, or breaks three times in a minute, is lost, however often it begins.

Install mode is one technician's act for one peripheral and ends by itself: only in it the default key is accepted, to
set a new one; that new one is stored before it is sent, and the peripheral is live only when it is connected anew by
it, with the default key refused again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.delivery.backoff import Backoff
from gateway.errors import C5Error, StoreError
from gateway.sensing.osdp import ACK, Asked, Broken, Heard, Idle, Keys, LinkFault, Order, Report, explained
from gateway.sensing.reply import Garbled, Gone, Silent
from gateway.sensing.turns import REST_MAX, SOON, Turns
from gateway.tasks.drivers import Beat
from gateway.tasks.osdp_link import Done, KeyStore, Link, linked
from gateway.text import _

if TYPE_CHECKING:
    from gateway.drivers.osdp import OsdpLine, Panel

log = logging.getLogger(__name__)

RETRY_MIN: Final = 0.1  # seconds between tries to open the line
RETRY_MAX: Final = 5.0
AROUND: Final = 3.0  # seconds between two signs that the loop comes round
INSTALL_S: Final = 120.0
REFUSED_AFTER: Final = 3  # connections that could not be set up, in a row
KEY_BYTES: Final = 16

Told = Heard | Idle | Broken | Silent | Garbled | Gone


class Beside(Protocol):
    """Makes a call beside the event loop."""

    def __call__(self, call: Callable[..., None], /, *args: Any) -> Awaitable[None]:
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
        """It has answered, on a connection that holds."""

    def reported(self, name: str, report: Report) -> None:
        """It says how it is."""

    def failed(self, name: str, fault: LinkFault, now: float, *, lost: bool) -> None:
        """It is not live; `lost`: not for a moment alone."""


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
        self.links = {one: linked(one, address, keys) for one, address in peripherals}
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
        self._writes: set[asyncio.Task[None]] = set()

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
                link.counts["forged"] += line.forged.pop(link.address, 0)
                self._turned(link, panel, reply, loop.time())

    def _begun(self, link: Link, now: float) -> "Panel | None":
        """Return what its turn is done with; None: there is no key, and it is not to be spoken with."""
        if link.installing_until is not None and not link.installing(now):
            link.installed, link.installing_until = link.installation(now), None
            link.forget()
            log.warning("%s could not be installed: %s", link.name, link.installed)
        if link.panel is None:
            if link.installing_until is not None and link.keys.pending is not None:
                link.panel = self._panel(link.address, link.keys.pending, install=True)
            elif known := link.keys.known:
                key = known[link.tried % len(known)]
                link.panel = link.panels.get(key) or self._panel(link.address, key)
                link.panels[key] = link.panel
            elif link.unreadable is not None:
                self._hearer.failed(link.name, "key", now, lost=True)
        if link.live and link.panel is not None:
            link.submit(link.panel)
        return link.panel

    # What becomes of a turn.

    def _turned(self, link: Link, panel: "Panel", reply: Told, now: float) -> None:
        match reply:
            case Idle() if panel.live:
                self._turns.at(link.name, now + SOON)
            case Idle():
                self._unasked(link, panel, now)
            case Broken():
                self._broken(link, now)
            case Silent() | Garbled():
                fault: LinkFault = "silent" if isinstance(reply, Silent) else "garbled"
                link.counts[fault] += 1
                link.last, link.restarted = None, False
                if self._turns.failed(link.name, now):
                    self._lose(link, fault, now)
            case Heard():
                link.counts["answers"] += 1
                self._heard(link, panel, reply, now)
            case Gone():
                pass  # of a peripheral that says nothing

    def _heard(self, link: Link, panel: "Panel", reply: Heard, now: float) -> None:
        link.last, link.restarted = reply, False
        if link.live and not panel.live:
            self._cut(link, now, reply)
        elif panel.live and not link.live and reply.secured:
            self._secured(link, now)
        if link.live:
            while panel.reports:
                self._hearer.reported(link.name, panel.reports.popleft())
            link.settle(reply)
            if not link.settled and (reply.asked, reply.code) == (Asked.POLL, ACK):
                link.settled = True
                self._hearer.settled(link.name)
            waits = link.current is not None or bool(link.orders)
            if link.settled and not waits and not link.flaps(now):
                link.begun = 0
                self._hearer.heard(link.name, now)
            self._turns.answered(link.name, now, more=waits or not link.settled)
        else:
            panel.reports.clear()
            self._turns.answered(link.name, now, more=True)
            if reply.asked == Asked.IDENTITY:
                link.begun += 1
                self._turns.at(link.name, now + min(REST_MAX, max(0.0, link.begun - 2.0)))
                if link.begun > REFUSED_AFTER:  # libosdp begins anew by itself where sequence numbers are wrong
                    self._lose(link, "key", now)

    def _unasked(self, link: Link, panel: "Panel", now: float) -> None:
        """Libosdp had nothing to ask one that isn't connected."""
        if link.live:
            self._cut(link, now)
        if link.last is not None:
            self._given_up(link, panel, link.last, now)
        elif link.restarted:
            self._broken(link, now)
        else:  # it has asked in vain, and rests now for minutes
            panel.restart()
            link.restarted = True
            self._turns.at(link.name, now + SOON)

    def _given_up(self, link: Link, panel: "Panel", last: Heard, now: float) -> None:
        """Libosdp has ended the connection, or could not set it up: begin anew, with another key if there is one."""
        fault: LinkFault = "insecure" if last.asked == Asked.CAPABILITIES else "key"
        link.last = None
        panel.restart()
        if link.installing_until is not None:
            link.installed = explained(fault)
        elif len(link.keys.known) > 1:
            link.tried += 1
            link.panel = None
        self._turns.at(link.name, now)
        if link.begun >= REFUSED_AFTER:
            self._lose(link, fault, now)

    def _broken(self, link: Link, now: float) -> None:
        """Our own end has nothing that can be sent: with another one it may."""
        if link.live:
            self._cut(link, now)
        link.forget()
        if self._turns.failed(link.name, now):
            self._lose(link, "silent", now)

    def _secured(self, link: Link, now: float) -> None:
        """It is connected by a key of its own: that is the one it has."""
        known, installing = link.keys.known, link.installing_until is not None
        key = link.keys.pending if installing else known[link.tried % len(known)]
        if link.keys != Keys(key):
            link.keys, link.tried = Keys(key), 0
            write = asyncio.get_running_loop().create_task(self._write(link))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)
        if installing:
            link.installing_until, link.installed, link.begun = None, "", 0
            link.forget()
            log.info("%s has a key of its own now", link.name)
            return
        link.live, link.settled = True, False
        log.info("%s is connected", link.name)
        self._hearer.live(link.name, now)

    async def _write(self, link: Link) -> None:
        """Store which key it has; the line doesn't wait for the disk."""
        async with link.storing:
            try:
                await self._beside(self._keys.write, link.name, link.keys)
            except StoreError as error:  # the file has this key and the one before: both are tried at the next start
                log.warning("%s. %s", error.what, error.hint)

    def _cut(self, link: Link, now: float, reply: Heard | None = None) -> None:
        """The connection broke; what was not told yet was not done, and isn't told later."""
        refused = None if reply is None else link.refused(reply)
        if refused is not None:
            log.warning("%s refuses to be told %s", link.name, refused)
            link.begun = 0
        else:
            link.broke.append(now)
        link.live = link.settled = False
        link.drop(_("its connection broke before that was done"))
        self._hearer.failed(link.name, "key", now, lost=link.flaps(now))

    def _lose(self, link: Link, fault: LinkFault, now: float) -> None:
        if link.current is not None:  # libosdp would tell it still, when it is back
            link.forget()
        link.live = link.settled = False
        link.drop(explained(fault))
        if link.keys.key is not None:  # one that never had a key is not lost, but not installed
            self._hearer.failed(link.name, fault, now, lost=True)

    # Ordered.

    def order(self, name: str, order: Order, done: Done = lambda _wrong: None) -> bool:
        """Have a peripheral told something; False: it is not connected."""
        link = self.links[name]
        if not link.live:
            return False
        link.order(order, done)
        self._turns.hurry(name, asyncio.get_running_loop().time())
        self._wake.set()
        return True

    async def install(self, name: str) -> None:
        """Accept the default key of a peripheral for `INSTALL_S`, to give it one of its own. Raises C5Error."""
        link, now = self.links[name], asyncio.get_running_loop().time
        self._refuse(link)
        if link.preparing or link.installing(now()):
            raise C5Error(
                _("{name} is being installed already").format(name=name),
                _("Wait for what becomes of that: c5-gateway status."),
            )
        link.preparing = True
        try:
            async with link.storing:
                if link.unreadable is not None:
                    await self._beside(self._keys.put_aside, name)
                keys = Keys(link.keys.key, link.keys.pending or self._random_bytes(KEY_BYTES))
                await self._beside(self._keys.write, name, keys)
                self._refuse(link)  # it came by its own key meanwhile
                link.keys, link.unreadable = keys, None
        finally:
            link.preparing = False
        link.forget()
        link.begun, link.installed, link.installing_until = 0, None, now() + INSTALL_S
        link.unable.clear()
        if self.trouble is None:
            self._turns.answered(name, now(), more=True)
        self._wake.set()
        log.warning("%s is being installed: its default key is accepted for %d s", name, INSTALL_S)

    def _refuse(self, link: Link) -> None:
        if link.live:
            raise C5Error(
                _("{name} has its own key and is connected by it").format(name=link.name), _("There is nothing to do.")
            )

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
            link.live, link.settled, link.begun = False, False, 0
            link.forget()
            link.unable.clear()
            link.drop(self.trouble or _("the line is lost"))
