"""A TCP proxy between a client and a broker, with a network's faults on demand.

async with Proxy(broker.port) as link:
    ... connect to 127.0.0.1:link.port ...
    link.cut()                  # every connection ends now, as when a router restarts; new ones are accepted
    link.refuse = True          # new ones are not
    link.pause()                # a black hole: connections stay open, nothing goes through
    link.resume()               # what was held goes through after all
    link.black_hole()           # the same a layer below: packets vanish, nothing acknowledges or resets them
    link.restore()              # and no more
    link.delay = 0.3            # seconds, each way
    link.rate = 2000            # bytes per second, each way
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
from typing import Self

CHUNK = 4096  # bytes read at a time: small, so that a slow link's queue stands in the sender and not here
QUEUE = 16  # chunks held each way; what more there is waits with the sender
_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # Linux's SO_…; the module socket has neither
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 seconds: closing sends RST


class Proxy:
    def __init__(self, target: int, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.delay = 0.0
        self.rate: float | None = None
        self.refuse = False
        self.connections = 0  # accepted so far
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._listener: socket.socket | None = None
        self._clients: dict[asyncio.StreamWriter, socket.socket] = {}  # our own copies: asyncio keeps its own to itself
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        listener = socket.create_server((self.host, self.port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)  # the kernel must not be the queue either
        self.port = listener.getsockname()[1]
        self._listener = listener.dup()
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=CHUNK)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        assert self._listener
        self._listener.close()
        self.cut()
        self.resume()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self, *, reset: bool = True) -> None:
        """End every connection, with RST or in good order."""
        for writer in self._open:
            if reset:
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()

    def pause(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def black_hole(self) -> None:
        """Drop every packet that comes from the clients, new connections' too, and send them nothing.

        A socket filter that lets nothing in (BPF `ret #0`) is what a router that forgot its routes looks like.
        """
        self.pause()
        instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
        program = struct.pack("HP", 1, ctypes.addressof(instruction))
        for sock in self._sockets():
            sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)

    def restore(self) -> None:
        """Let packets in again; what TCP still sends again comes through after all."""
        for sock in self._sockets():
            with contextlib.suppress(OSError):  # accepted since
                sock.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        self.resume()

    def _sockets(self) -> list[socket.socket]:
        """The listener and the clients' ends; not the broker's."""
        assert self._listener
        return [self._listener, *self._clients.values()]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        self._open.add(writer)
        self._clients[writer] = socket.socket(fileno=socket.dup(writer.get_extra_info("socket").fileno()))
        try:
            if self.refuse:
                return
            self.connections += 1
            try:
                their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK)
            except OSError:
                return
            self._open.add(their_writer)
            try:
                async with asyncio.TaskGroup() as directions:
                    directions.create_task(self._forward(reader, their_writer))
                    directions.create_task(self._forward(their_reader, writer))
            finally:
                self._open.discard(their_writer)
                their_writer.close()
        finally:
            self._open.discard(writer)
            self._clients.pop(writer).close()
            writer.close()
            self._serving.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction until either side ends; the end is passed on."""
        loop = asyncio.get_running_loop()
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE)

        async def take() -> None:
            with contextlib.suppress(OSError):
                while chunk := await reader.read(CHUNK):
                    await held.put((loop.time() + self.delay, chunk))
            await held.put((loop.time() + self.delay, b""))

        async def give() -> None:
            while True:
                due, chunk = await held.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._flowing.wait()
                if not chunk:
                    return
                if self.rate:
                    await asyncio.sleep(len(chunk) / self.rate)
                    await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()

        taking = asyncio.create_task(take())
        try:
            with contextlib.suppress(OSError):
                await give()
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            writer.close()
