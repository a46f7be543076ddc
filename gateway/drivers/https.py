"""HTTPS for local input: one listening socket, and connections that nobody can use to hold up anything else.

Everything is bounded: connections in all and from one address, how often an address may connect, and for each
connection the handshake, the wait for a request, the request, and the reading of its answer. An answer may be `slow`:
its connection waits a moment before it is read again, so that a flood costs the one who makes it.

An address is known once somebody there has proven who he is. All that aren't known share a bucket and a part of the
connections, so that however many addresses somebody in the tower's network takes, the known ones are let in, and the
event loop has its time. Where it is full, whoever has not proven who he is makes way, of the address with the most
connections first; among strangers not before he has had time to do so.

What is asked is decided elsewhere (`Answerer`); here is no path, no file and no name of anything.

The gateway never depends on it: a port that can't be had is told, and tried again.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

from gateway.delivery.backoff import Backoff
from gateway.drivers.http import ALL_MAX, READ, Bad, Conversation, Head, More, Over, Whole
from gateway.errors import C5Error
from gateway.sensing.asked import Request, Response, problem
from gateway.sensing.bucket import Bucket
from gateway.sensing.local import names_in
from gateway.text import _

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 32
OF_ONE_MAX: Final = 8  # connections from one address
STRANGERS_MAX: Final = 24  # connections from all addresses that aren't known
CONNECTS: Final = (1200.0, 40)  # connections from a known address, and from all others: a minute, and at once
OF_A_STRANGER: Final = (300.0, 16)  # … and from one of those
ADDRESSES_MAX: Final = 64  # known addresses; and others of which it is remembered how often they have connected
YOUNG: Final = 1.0  # seconds that a stranger has before he makes way for another
HANDSHAKE: Final = 5.0  # seconds
IDLE: Final = 60.0  # seconds without a request
REQUEST: Final = 10.0  # seconds from a request's first byte to its last
TAKE: Final = 5.0  # seconds to take an answer
CLOSE: Final = 1.0  # seconds for the other side to say farewell
RETRY_MIN, RETRY_MAX = 1.0, 30.0  # seconds between two tries to listen
AROUND: Final = 3.0  # seconds between two beats
ACCEPT_MAX: Final = 16  # connections taken in one turn of the event loop
BACKLOG: Final = 64


class Answerer(Protocol):
    """Who decides. `names` are those of a verified client certificate, `address` is for people."""

    def knows(self, names: tuple[str, ...]) -> bool:
        """Whether these names say who it is."""

    def refuse(self, request: Request, names: tuple[str, ...], address: str) -> Response | None:
        """Look at a request's head; None: let its body come."""

    async def answer(self, request: Request, names: tuple[str, ...], address: str) -> Response:
        """Answer a whole request that was not refused."""

    def count(self, what: str) -> None:
        """Count what never became a request."""


class _Client:
    """One connection."""

    def __init__(self, sock: socket.socket, address: str, at: float) -> None:
        self.sock = sock
        self.address = address
        self.at = at
        self.proven = False
        self.busy = False  # its request is being answered
        self.handed_on = False  # its socket is the event loop's to close
        self.task: asyncio.Task[None]


class Server:
    """One listening socket; `context` is asked for a TLS context at each start, and may raise C5Error."""

    def __init__(
        self,
        host: str,
        port: int,
        context: Callable[[], Any],
        answerer: Answerer,
        *,
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._answerer = answerer
        self._lost = lost
        self._restored = restored
        self._backoff = Backoff(RETRY_MIN, RETRY_MAX, random)
        self._clients: dict[_Client, None] = {}  # oldest first
        self._known: dict[str, Bucket] = {}  # by address, the one that has proven itself last at the end
        self._others: dict[str, Bucket] = {}
        self._strangers = Bucket(*CONNECTS, 0.0)
        self._listener: socket.socket | None = None
        self.trouble: str | None = None

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._clients)

    async def run(self, beat: Callable[[], None] = lambda: None) -> None:
        """Listen, and try again where that can't be; ends only when cancelled."""
        try:
            while True:
                beat()
                reason = self._open()
                if reason is None:
                    self._back()
                    while self._listener is not None:
                        beat()
                        await asyncio.sleep(AROUND)
                    return
                self._fail(reason)
                again = asyncio.get_running_loop().time() + RETRY_MIN + self._backoff.next()
                while (left := again - asyncio.get_running_loop().time()) > 0:
                    beat()
                    await asyncio.sleep(min(left, AROUND))
        finally:
            self.close()

    def close(self) -> None:
        """Listen no more, and end what there is."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for client in tuple(self._clients):
            client.task.cancel()

    def _open(self) -> str | None:
        try:
            context = self._context()
        except C5Error as error:
            return f"{error.what}. {error.hint}"
        listener = _listening(self._host, self._port)
        if isinstance(listener, str):
            return listener
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener, context)
        return None

    def _back(self) -> None:
        self._backoff.reset()
        log.info("local input listens on %s, port %d", self._host, self._port)
        if self.trouble is not None:
            self.trouble = None
            self._restored()

    def _fail(self, reason: str) -> None:
        if self.trouble is None:
            log.warning("local input can't listen, everything else goes on: %s", reason)
            self._lost(reason)
        self.trouble = reason

    # Connections.

    def _accept(self, listener: socket.socket, context: Any) -> None:
        for _turn in range(ACCEPT_MAX):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no more files, or no memory: later
                log.warning("local input takes no connection: %s", error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener)
                loop.call_later(1.0, self._again, listener, context)
                return
            sock.setblocking(False)
            address = str(peer[0])
            if not self._admitted(address):
                self._answerer.count("connections")
                sock.close()
                continue
            client = _Client(sock, address, asyncio.get_running_loop().time())
            self._clients[client] = None
            client.task = asyncio.get_running_loop().create_task(self._serve(client, context), name="local-input")
            client.task.add_done_callback(partial(self._gone, client))

    def _again(self, listener: socket.socket, context: Any) -> None:
        if self._listener is listener:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener, context)

    def _admitted(self, address: str) -> bool:
        """Whether one more from here is taken; who makes way for it is sent away."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(address)
        if known is None:
            bucket = self._others.pop(address, None) or Bucket(*OF_A_STRANGER, now)
            self._others[address] = bucket
            if len(self._others) > ADDRESSES_MAX:
                del self._others[next(iter(self._others))]
            if bucket.take(now) > 0 or self._strangers.take(now) > 0:
                return False
        elif known.take(now) > 0:
            return False
        own = [client for client in self._clients if client.address == address]
        if len(own) >= OF_ONE_MAX:
            return self._make_way(own, now - YOUNG)
        strangers = [client for client in self._clients if client.address not in self._known]
        if known is None and len(strangers) >= STRANGERS_MAX:
            return self._make_way(_crowd(strangers), now - YOUNG)
        if len(self._clients) >= CONNECTIONS_MAX:
            return self._make_way(strangers or _crowd(self._clients), now)
        return True

    def _make_way(self, among: list[_Client], before: float) -> bool:
        """Send one away: the oldest that hasn't proven who it is, else the oldest that waits for nothing."""
        unproven = [client for client in among if not client.proven]
        for client in unproven or [client for client in among if not client.busy]:
            if client.at > before:
                return False
            self._answerer.count("made way")
            del self._clients[client]
            client.task.cancel()
            return True
        return False

    def _prove(self, client: _Client) -> None:
        """Note that somebody there has proven who he is."""
        client.proven = True
        bucket = self._known.pop(client.address, None) or Bucket(*CONNECTS, asyncio.get_running_loop().time())
        self._known[client.address] = bucket
        if len(self._known) > ADDRESSES_MAX:
            del self._known[next(iter(self._known))]

    def _gone(self, client: _Client, _task: asyncio.Task[None]) -> None:
        self._clients.pop(client, None)
        if not client.handed_on:  # it was sent away before its turn came
            client.sock.close()

    async def _serve(self, client: _Client, context: Any) -> None:
        """Serve one connection to its end."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport: asyncio.Transport | None = None
        try:
            client.handed_on = True
            made, _protocol = await loop.connect_accepted_socket(
                lambda: protocol, client.sock, ssl=context, ssl_handshake_timeout=HANDSHAKE, ssl_shutdown_timeout=CLOSE
            )
            transport = made
            names = names_in(transport.get_extra_info("peercert"))
            if self._answerer.knows(names):
                self._prove(client)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            await self._talk(client, names, reader, writer)
            transport.close()
        except (OSError, TimeoutError) as error:  # TLS's errors are OSErrors
            if transport is None:
                self._answerer.count("handshakes")
                log.debug("local input: no handshake with %s: %s", client.address, error)
        except Exception:  # a mistake of ours ends one connection, and nothing else
            log.exception("local input failed in a connection from %s", client.address)
        finally:
            if transport is None:
                with contextlib.suppress(OSError):  # cancelled in a handshake: asyncio may not have begun to look at it
                    client.sock.shutdown(socket.SHUT_RDWR)
            elif not transport.is_closing():
                transport.abort()

    async def _talk(
        self, client: _Client, names: tuple[str, ...], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Hear requests and answer them, one after the other."""
        talk = Conversation()
        loop = asyncio.get_running_loop()
        ends = loop.time() + IDLE
        while True:
            match talk.next():
                case More():
                    begun = talk.begun
                    try:
                        async with asyncio.timeout_at(ends):
                            data = await reader.read(READ)
                    except TimeoutError:
                        if begun:
                            self._answerer.count("too slow")
                            await self._say(writer, talk.reply(_TOO_SLOW, close=True))
                        return
                    if not begun and data:
                        ends = loop.time() + REQUEST
                    talk.feed(data)
                    continue
                case Head(request):
                    response = self._answerer.refuse(request, names, client.address)
                    if response is None:
                        self._prove(client)
                        await self._say(writer, talk.go_on())
                        continue
                    close = True
                case Whole(request):
                    client.busy = True
                    try:
                        response, close = await self._answerer.answer(request, names, client.address), False
                    finally:
                        client.busy = False
                case Bad(response):
                    self._answerer.count("malformed")
                    close = True
                case Over():
                    return
            if response.slow:
                await asyncio.sleep(response.slow)
            await self._say(writer, talk.reply(response, close=close))
            if not talk.open:
                if close:  # what is still to come is heard out: a reset would take the answer away from who is sending
                    await _heard_out(reader)
                return
            ends = loop.time() + (REQUEST if talk.begun else IDLE)

    async def _say(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if data:
            writer.write(data)
            async with asyncio.timeout(TAKE):
                await writer.drain()


async def _heard_out(reader: asyncio.StreamReader) -> None:
    left = ALL_MAX
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE):
            while left > 0 and (data := await reader.read(READ)):
                left -= len(data)


def _crowd(clients: Iterable[_Client]) -> list[_Client]:
    """Return those of the addresses with the most connections, oldest first."""
    clients = list(clients)
    most = Counter(client.address for client in clients)
    crowd = max(most.values())
    return [client for client in clients if most[client.address] == crowd]


_TOO_SLOW: Final = problem(408, f"a request has {REQUEST:g} s")


def _listening(host: str, port: int) -> socket.socket | str:
    """Return a socket that listens, or why there is none."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        return _explain(host, port, error)
    return listener


def try_listen(host: str, port: int) -> str | None:
    """Return why nobody could listen here now; None: it was done, and ended."""
    listener = _listening(host, port)
    if isinstance(listener, str):
        return listener
    listener.close()
    return None


def _explain(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            text = _("port {port} is used by another program: sudo ss -ltnp 'sport = :{port}' says by which")
        case errno.EADDRNOTAVAIL:
            text = _("this machine has no address {host} now: ip address lists those that it has")
        case errno.EACCES:
            text = _("the service may not listen on port {port}: give it one above 1023")
        case _:
            text = _("port {port} at {host} can't be had: {reason}")
    return text.format(host=host, port=port, reason=error.strerror)
