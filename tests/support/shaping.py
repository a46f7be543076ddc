"""A slow link between a client and a broker: a rate, a distance, and a modem's buffer, each way.

async with Shaped(broker.port, rate=2000, delay=0.2) as link:
    ... connect to 127.0.0.1:link.port ...

The bytes of all its connections share the link, as they would behind one modem. What has been taken and not yet been
sent is in the modem's buffer; when that is full nothing more is taken, and the rest waits with the sender. The kernel's
receive buffer stands before it and is as small as the kernel allows (some 4 KB), so the whole is that much longer.
Nothing is lost and nothing overtaken: what TCP makes of losses is not shown here.
"""

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import Self

HOST = "127.0.0.1"
PIECE = 256  # bytes that go through at a time
RECEIVED = 2048  # bytes; the kernel takes at least twice that


class _Way:
    """One direction: when it is free again."""

    def __init__(self, rate: float, delay: float, buffer: int) -> None:
        self._rate = rate
        self._delay = delay
        self._buffer = buffer
        self._free_at = 0.0
        self.carried = 0  # bytes

    def room_at(self) -> float:
        """Return when the buffer will have room for a piece."""
        return self._free_at - (self._buffer - PIECE) / self._rate

    def arrives_at(self, size: int, now: float) -> float:
        """Put a piece at the end of the buffer; return when the other end has it."""
        self.carried += size
        self._free_at = max(now, self._free_at) + size / self._rate
        return self._free_at + self._delay


class Shaped:
    """The link; `rate` in bytes a second, `delay` in seconds, `buffer` in bytes, all for one way."""

    def __init__(self, target: int, *, rate: float, delay: float, buffer: int = 8192) -> None:
        self.port = 0
        self._target = target
        self._up, self._down = (_Way(rate, delay, buffer) for _ in range(2))
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        listener = socket.create_server((HOST, 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._start(self._listen(listener))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def carried(self) -> int:
        """Bytes that went towards the broker so far."""
        return self._up.carried

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _listen(self, listener: socket.socket) -> None:
        with listener:
            while True:
                near, _ = await asyncio.get_running_loop().sock_accept(listener)
                self._start(self._connect(near))

    async def _connect(self, near: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with near, socket.socket() as far, contextlib.suppress(OSError):
            for end in (near, far):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)
            await loop.sock_connect(far, (HOST, self._target))
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._carry(near, far, self._up))
                    ways.create_task(self._carry(far, near, self._down))
            except* OSError:
                pass  # an end that resets takes the other with it

    async def _carry(self, source: socket.socket, target: socket.socket, way: _Way) -> None:
        """Carry one direction until its source ends; the end is passed on."""
        loop = asyncio.get_running_loop()
        on_their_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, piece = await on_their_way.get()
                await asyncio.sleep(due - loop.time())
                if not piece:
                    target.shutdown(socket.SHUT_WR)
                    return
                await loop.sock_sendall(target, piece)

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            piece = b"-"
            while piece:
                await asyncio.sleep(way.room_at() - loop.time())
                piece = await loop.sock_recv(source, PIECE)
                on_their_way.put_nowait((way.arrives_at(len(piece), loop.time()), piece))
