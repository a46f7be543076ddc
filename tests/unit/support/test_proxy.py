import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.proxy import Proxy

Check = Callable[[Proxy], Awaitable[None]]


def with_echo(check: Check) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
            await check(proxy)

    asyncio.run(main())


def test_bytes_go_through_late_when_delayed_and_not_at_all_when_paused() -> None:
    async def check(proxy: Proxy) -> None:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        proxy.delay = 0.05
        begun = loop.time()
        writer.write(b"late")
        assert await reader.readexactly(4) == b"late"
        assert loop.time() - begun >= 0.1
        proxy.pause()
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.readexactly(4)
        proxy.resume()
        assert await reader.readexactly(4) == b"held"
        writer.close()

    with_echo(check)


def test_a_slow_link_takes_its_time() -> None:
    async def check(proxy: Proxy) -> None:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        proxy.rate = 100_000
        begun = loop.time()
        writer.write(bytes(20_000))
        assert await reader.readexactly(20_000) == bytes(20_000)
        assert loop.time() - begun >= 0.2
        writer.close()

    with_echo(check)


def test_a_cut_ends_what_is_open_and_a_refusing_proxy_what_comes() -> None:
    async def check(proxy: Proxy) -> None:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        proxy.refuse = True
        reader, refused = await asyncio.open_connection(proxy.host, proxy.port)
        assert await reader.read() == b""
        proxy.refuse = False
        reader, again = await asyncio.open_connection(proxy.host, proxy.port)
        again.write(b"y")
        assert await reader.readexactly(1) == b"y"
        proxy.cut(reset=False)
        assert await reader.read() == b""
        assert proxy.connections == 2
        for end in (writer, refused, again):
            end.close()

    with_echo(check)
