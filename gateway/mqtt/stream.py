"""The socket under an MQTT connection, as paho-mqtt sees it and as the event loop does.

paho reads a byte here and two there, and writes each packet by itself; over TLS each of those would be a call into
OpenSSL, and a record of its own on the wire. Between them stands `Stream`: it reads in large pieces, and gathers what
is written until the connection says `flush`.

paho has one door by which it takes a socket that isn't its own: the TLS context that it asks to wrap one. `Door` stands
in for that context, with TLS and without.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Final

from gateway.text import _

PACKET_MAX: Final = 65_536  # bytes that we accept; four times the longest message of wire.md
_UNSENT_MAX: Final = 16_384  # bytes that the kernel takes before it can send them; the default is megabytes
_CHUNK: Final = 16_384  # bytes; the longest TLS record, so that nothing is left waiting inside OpenSSL


class Stream:
    """The socket as paho sees it: reading serves what `fill` brought, writing is kept until `flush`."""

    def __init__(self, sock: socket.socket, wake: Callable[[], None]) -> None:
        self._socket = sock
        self._wake = wake
        self._in = b""
        self._at = 0
        self._out = bytearray()
        self.over = False  # the other side closed, or reading failed
        self.failure: OSError | None = None

    # What paho calls.

    def settimeout(self, seconds: float) -> None:
        """Bound the handshake, in the thread."""
        self._socket.settimeout(seconds)

    def do_handshake(self) -> None:
        """Shake hands, where there is TLS; a failure leaves no socket behind."""
        if isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket.do_handshake()
            except ConnectionError as error:  # as servers do that aren't asked in their own protocol
                self._socket.close()
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "cut in the handshake") from error
            except BaseException:
                self._socket.close()
                raise

    def setblocking(self, flag: bool) -> None:
        """Leave blocking behind, at the end of the handshake."""
        self._socket.setblocking(flag)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def recv(self, size: int) -> bytes:
        """Serve what was read; BlockingIOError when that is used up."""
        if size > PACKET_MAX:
            self.failure = OSError(_("it sent a message of {size} bytes").format(size=size))
            raise self.failure
        if self._at == len(self._in):
            if self.over:
                return b""
            raise BlockingIOError
        piece = self._in[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def send(self, data: bytes | bytearray) -> int:
        """Keep what paho writes."""
        self._out += data
        self._wake()
        return len(data)

    def close(self) -> None:
        """Do nothing: paho lets go here, before its DISCONNECT is written. The connection closes."""

    # What the connection calls.

    @property
    def unread(self) -> bool:
        """Whether paho has something to read, be it the end."""
        return self._at < len(self._in) or self.over

    @property
    def pending(self) -> bool:
        """Whether OpenSSL holds something that the event loop can't see."""
        return isinstance(self._socket, ssl.SSLSocket) and not self.over and self._socket.pending() > 0

    def discard(self) -> None:
        """Forget what was read."""
        self._at = len(self._in)

    def fill(self) -> bool:
        """Read a piece of what is there; whether there was something, be it the end."""
        assert self._at == len(self._in)
        if self.over:
            return False
        try:
            piece = self._socket.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self.failure = error
            piece = b""
        self.over = not piece
        self._in, self._at = piece, 0
        return True

    def flush(self) -> bool:
        """Write what the socket takes; whether that was all. Raises OSError."""
        while self._out:
            try:
                sent = self._socket.send(self._out)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            except OSError:
                self._out.clear()  # none of it can leave any more
                raise
            del self._out[:sent]
        return True

    def interrupt(self) -> None:
        """Wake a thread that waits for this socket."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Close the socket; what is unread or unwritten is forgotten."""
        self._in, self._at, self.over = b"", 0, True
        self._out.clear()
        self._socket.close()


class Door:
    """Stands in for the TLS context that paho asks to wrap its socket; it has a thread on the other side."""

    check_hostname = True  # the real context does, and paho must not

    def __init__(self, context: ssl.SSLContext | None, keepalive: int, wake: Callable[[], None]) -> None:
        self._context = context
        self._keepalive = keepalive
        self._wake = wake
        self._given_up = False
        self.stream: Stream | None = None

    def wrap_socket(self, sock: socket.socket, server_hostname: str, *, do_handshake_on_connect: bool) -> Stream:
        """Set the socket up for short messages on a link that may die; called by paho, in the thread."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._keepalive * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_MAX)
        try:
            if self._context:
                sock = self._context.wrap_socket(
                    sock, server_hostname=server_hostname, do_handshake_on_connect=do_handshake_on_connect
                )
        except BaseException:
            sock.close()
            raise
        self.stream = Stream(sock, self._wake)
        if self._given_up:
            self.stream.drop()
        return self.stream

    async def dial(self, connect: Callable[[], object]) -> Stream:
        """Run paho's blocking connect; if cancelled, the thread ends by itself and leaves no socket behind."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if done.done():
                if self.stream:
                    self.stream.drop()
            elif error:
                done.set_exception(error)
            else:
                done.set_result(None)

        def run() -> None:
            outcome: Exception | None = None
            try:
                connect()
            except Exception as error:  # noqa: BLE001  # handed to the event loop, whatever it is
                outcome = error
            if self._given_up:
                if self.stream:
                    self.stream.drop()
                return
            with contextlib.suppress(RuntimeError):  # the event loop has gone, and the process with it
                loop.call_soon_threadsafe(settle, outcome)

        threading.Thread(target=run, name="mqtt-connect", daemon=True).start()
        try:
            await done
        except asyncio.CancelledError:
            self._given_up = True
            if self.stream:
                self.stream.interrupt()
            raise
        assert self.stream
        return self.stream
