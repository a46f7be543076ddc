import asyncio
import socket
from collections.abc import Awaitable, Callable

from tests.support.shaping import HOST, Shaped

Check = Callable[[socket.socket], Awaitable[None]]


def _shaped(check: Check, *, rate: float, delay: float, buffer: int = 4096) -> None:
    """Run a check on a connection to an echo behind a shaped link."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, HOST, 0)
        async with server, Shaped(server.sockets[0].getsockname()[1], rate=rate, delay=delay, buffer=buffer) as link:
            with socket.create_connection((HOST, link.port)) as sock:
                sock.setblocking(False)
                await check(sock)

    asyncio.run(main())


async def _read(sock: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count and (piece := await asyncio.get_running_loop().sock_recv(sock, count - len(read))):
        read += piece
    return read


def test_a_message_takes_the_distance_and_its_own_length_each_way() -> None:
    async def check(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await loop.sock_sendall(sock, bytes(2000))
        assert await _read(sock, 2000) == bytes(2000)
        took = loop.time() - begun
        # 0.1 s up and its pieces behind each other, which come back while the rest goes up, but for the last
        assert 0.2 + 0.2 <= took < 0.6

    _shaped(check, rate=10_000, delay=0.1)


def test_what_comes_later_waits_for_what_came_before() -> None:
    async def check(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await loop.sock_sendall(sock, bytes(3000))
        await loop.sock_sendall(sock, b"!")
        assert (await _read(sock, 3001))[-1:] == b"!"
        assert 0.3 <= loop.time() - begun < 0.6

    _shaped(check, rate=10_000, delay=0.0)


def test_a_full_buffer_leaves_the_rest_with_the_sender() -> None:
    async def check(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        taken = 0
        for _ in range(20):
            await asyncio.sleep(0.01)
            try:
                while True:
                    taken += sock.send(bytes(256))
            except BlockingIOError:
                pass
        assert 4096 < taken < 4096 + 3 * 8192, "the modem's buffer, and what two kernel buffers hold at least"

    _shaped(check, rate=1000, delay=0.0)


def test_two_connections_share_the_link() -> None:
    async def check(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_connection(sock.getpeername()) as other:
            other.setblocking(False)
            begun = loop.time()
            await loop.sock_sendall(sock, bytes(2000))
            await asyncio.sleep(0.02)
            await loop.sock_sendall(other, b"!")
            assert await _read(other, 1) == b"!"
            assert loop.time() - begun >= 0.2
            assert await _read(sock, 2000) == bytes(2000)

    _shaped(check, rate=10_000, delay=0.0)


def test_an_end_is_passed_on() -> None:
    async def check(sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, b"last words")
        sock.shutdown(socket.SHUT_WR)
        assert await _read(sock, 100) == b"last words"

    _shaped(check, rate=10_000, delay=0.05)
