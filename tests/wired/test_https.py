"""The HTTPS port over loopback: a real TLS client on the other side, and those who mean no good."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.authority import Authority
from gateway.drivers import https
from gateway.drivers.https import CONNECTIONS_MAX, OF_ONE_MAX, STRANGERS_MAX, Server
from gateway.errors import CertificateError
from gateway.sensing.asked import Request, Response, answer, problem
from gateway.tls import server_context

HOST = "127.0.0.1"
GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"


class Answerer:
    """Answers with who asked for what; /no is refused, /slow waits, /bug is one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.slow = asyncio.Event()

    def knows(self, names: tuple[str, ...]) -> bool:
        return bool(names)

    def refuse(self, request: Request, _names: tuple[str, ...], _address: str) -> Response | None:
        return problem(401, "no") if request.target == "/no" else None

    async def answer(self, request: Request, names: tuple[str, ...], address: str) -> Response:
        if request.target == "/slow":
            await self.slow.wait()
        if request.target == "/bug":
            raise RuntimeError("a mistake of ours")
        return answer(200, {"path": request.target, "names": list(names), "address": address})

    def count(self, what: str) -> None:
        self.counts[what] += 1


class Site:
    """A port, its authority, and clients of it."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.create(folder / "ca", at=datetime.now(UTC) - timedelta(days=400))
        self.local = self.authority.issue("local", "tower", hosts=(HOST, "localhost"))
        self.source = self.authority.issue("source", "help")
        with socket.create_server((HOST, 0)) as free:
            self.port: int = free.getsockname()[1]
        self.answerer = Answerer()
        self.told: list[str] = []
        self.at: datetime | None = None
        self.server = Server(
            HOST, self.port, self.context, self.answerer,
            lost=self.told.append, restored=lambda: self.told.append("restored"), random=lambda: 0.0,
        )  # fmt: skip

    def context(self) -> ssl.SSLContext:
        local = self.local
        return server_context(local.tls_certificate, local.tls_key, self.authority.trust_anchors, lambda: self.at)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.server.run())
        try:
            await asyncio.sleep(0)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.01)
            assert self.server.connections == 0

    async def connect(
        self, chain: Path | None = None, key: Path | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cafile=self.authority.trust_anchors)
        if chain is not None:
            context.load_cert_chain(chain, key)
        return await asyncio.open_connection(HOST, self.port, ssl=context, server_hostname="localhost")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> tuple[int, bytes]:
    writer.write(data)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head[9:12]), await reader.readexactly(length)


def test_requests_are_answered_one_after_the_other_on_one_connection(tmp_path: Path) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        async with site.open():
            reader, writer = await site.connect(site.source.tls_certificate, site.source.tls_key)
            for path in (b"a", b"b"):
                status, body = await ask(reader, writer, GET % path)
                assert (status, json.loads(body)) == (
                    200, {"path": f"/{path.decode()}", "names": ["urn:c5:source:help"], "address": HOST},
                )  # fmt: skip
            status, _body = await ask(reader, writer, GET % b"no")
            assert status == 401
            assert await reader.read() == b"", "it ends with who isn't let in"
            writer.close()

    asyncio.run(run())


def test_who_is_refused_while_he_sends_hears_why(tmp_path: Path) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        async with site.open():
            for path, length, status in ((b"no", 16_000, 401), (b"a", 40_000, 413)):
                reader, writer = await site.connect()
                writer.write(b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path, length))
                await asyncio.sleep(0.05)
                assert (await ask(reader, writer, b"x" * length))[0] == status
                writer.close()

    asyncio.run(run())


def test_a_mistake_of_ours_ends_one_connection_and_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        async with site.open():
            good, bad = await site.connect(), await site.connect()
            bad[1].write(GET % b"bug")
            with contextlib.suppress(ConnectionError):
                assert await bad[0].read() == b""
            assert (await ask(*good, GET % b"a"))[0] == 200
            for _reader, writer in (good, bad):
                writer.close()

    asyncio.run(run())
    assert "local input failed in a connection" in caplog.text


def test_whoever_takes_his_time_is_cut_off_and_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("HANDSHAKE", 0.3), ("IDLE", 0.6), ("REQUEST", 0.3)):
        monkeypatch.setattr(https, name, seconds)

    async def run() -> None:
        site = Site(tmp_path)
        async with site.open():
            raw_reader, raw_writer = await asyncio.open_connection(HOST, site.port)  # never shakes hands
            idle, half, trickle = [await site.connect() for _ in range(3)]
            half[1].write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")

            async def slowloris() -> None:
                for byte in GET % b"a" * 9:
                    trickle[1].write(bytes([byte]))
                    await asyncio.sleep(0.05)

            dripping = asyncio.create_task(slowloris())
            began = asyncio.get_running_loop().time()
            honest = await site.connect()
            assert (await ask(*honest, GET % b"a"))[0] == 200
            assert asyncio.get_running_loop().time() - began < 0.3
            async with asyncio.timeout(3):
                assert await raw_reader.read() == b""
                assert await idle[0].read() == b""
                for reader, _writer in (half, trickle):
                    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            dripping.cancel()
            for writer in (raw_writer, idle[1], half[1], trickle[1], honest[1]):
                writer.close()
            assert site.answerer.counts == {"handshakes": 1, "too slow": 2}

    asyncio.run(run())


def test_strangers_make_way_for_who_comes_and_who_is_being_answered_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "YOUNG", 0.0)

    async def run() -> None:
        site = Site(tmp_path)
        async with site.open():
            known, waiting = await site.connect(), await site.connect()
            assert (await ask(*known, GET % b"a"))[0] == 200
            waiting[1].write(GET % b"slow")
            strangers = [await asyncio.open_connection(HOST, site.port) for _ in range(OF_ONE_MAX * 2)]
            honest = await site.connect()
            assert (await ask(*honest, GET % b"a"))[0] == 200
            assert (await ask(*known, GET % b"b"))[0] == 200, "who has proven who he is stays, though older"
            assert site.server.connections <= OF_ONE_MAX
            site.answerer.slow.set()
            assert (await waiting[0].readline()).startswith(b"HTTP/1.1 200 ")
            for _reader, writer in (known, waiting, honest, *strangers):
                writer.close()

    asyncio.run(run())


async def from_address(site: Site, address: str) -> socket.socket:
    sock = socket.socket()
    sock.bind((address, 0))
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (HOST, site.port))
    except BaseException:
        sock.close()
        raise
    return sock


def test_whoever_is_known_gets_in_slow_as_he_may_be_while_strangers_flood_from_hundreds_of_addresses(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        context = ssl.create_default_context(cafile=site.authority.trust_anchors)
        context.load_cert_chain(site.source.tls_certificate, site.source.tls_key)

        async def flood(first: int) -> None:
            held: list[socket.socket] = []
            try:
                for number in range(first, 100_000, 4):
                    with contextlib.suppress(OSError):
                        held.append(await from_address(site, f"127.0.{1 + number % 2}.{1 + number // 2 % 200}"))
                    if len(held) > 40:
                        held.pop(0).close()
                    await asyncio.sleep(0.002)
            finally:
                for sock in held:
                    sock.close()

        async with site.open():
            began = asyncio.get_running_loop().time()
            first = await site.connect(site.source.tls_certificate, site.source.tls_key)
            async with asyncio.timeout(5):
                while not site.server._known:  # noqa: ASYNC110  # by its certificate alone, which has no event
                    await asyncio.sleep(0.01)
            flooding = [asyncio.create_task(flood(one)) for one in range(4)]
            for _ in range(4):
                sock = await from_address(site, HOST)
                await asyncio.sleep(0.25)  # a small box computes
                reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname="localhost")
                assert (await ask(reader, writer, GET % b"a"))[0] == 200
                writer.close()
            assert (await ask(*first, GET % b"a"))[0] == 200, "who was there before stays"
            counts, took = site.answerer.counts, asyncio.get_running_loop().time() - began
            assert counts["connections"] > 100, "the flood was one"
            assert counts["handshakes"] + counts["made way"] <= 40 + 20 * took, "and cost no more than so many"
            for task in flooding:
                task.cancel()
            await asyncio.gather(*flooding, return_exceptions=True)
            first[1].close()

    asyncio.run(run())


def test_a_stranger_has_a_moment_to_prove_himself_before_he_makes_way_for_another(tmp_path: Path) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        context = ssl.create_default_context(cafile=site.authority.trust_anchors)
        async with site.open():
            slow = await from_address(site, HOST)
            others = [await from_address(site, f"127.0.1.{number}") for number in range(1, 38)]
            await asyncio.sleep(0.2)
            assert site.server.connections == STRANGERS_MAX
            reader, writer = await asyncio.open_connection(sock=slow, ssl=context, server_hostname="localhost")
            assert (await ask(reader, writer, GET % b"a"))[0] == 200
            writer.close()
            for sock in others:
                sock.close()

    asyncio.run(run())


def test_an_address_that_connects_too_often_is_turned_away_and_another_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "OF_A_STRANGER", (60.0, 5))

    async def run() -> None:
        site = Site(tmp_path)
        async with site.open():
            strangers = [await asyncio.open_connection(HOST, site.port) for _ in range(9)]
            await asyncio.sleep(0.05)
            assert site.answerer.counts["connections"] == 4
            other = await from_address(site, "127.0.0.2")
            context = ssl.create_default_context(cafile=site.authority.trust_anchors)
            honest = await asyncio.open_connection(sock=other, ssl=context, server_hostname="localhost")
            assert json.loads((await ask(*honest, GET % b"a"))[1])["address"] == "127.0.0.2"
            for _reader, writer in (honest, *strangers):
                writer.close()

    asyncio.run(run())


def test_connections_are_bounded_over_all_addresses(tmp_path: Path) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        async with site.open():
            known = await site.connect(site.source.tls_certificate, site.source.tls_key)
            assert (await ask(*known, GET % b"a"))[0] == 200
            socks = [await from_address(site, f"127.0.1.{number // 4 + 1}") for number in range(CONNECTIONS_MAX + 8)]
            await asyncio.sleep(0.05)
            assert site.server.connections <= CONNECTIONS_MAX
            honest = await site.connect()
            assert (await ask(*honest, GET % b"a"))[0] == 200
            honest[1].close()
            known[1].close()
            for sock in socks:
                sock.close()

    asyncio.run(run())


def test_a_certificate_of_another_authority_or_past_its_end_is_refused_also_by_a_clock_that_nobody_set(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        ended = site.authority.issue("source", "ended", days=30, at=datetime.now(UTC) - timedelta(days=60))
        later = site.authority.issue("source", "later", at=datetime.now(UTC) + timedelta(days=60))
        other = Authority.create(tmp_path / "other").issue("source", "help")
        broker = site.authority.issue("broker", "help", hosts=("help",))  # a server's, not a client's

        async def let_in(issued: object) -> bool:
            reader, writer = await site.connect(issued.tls_certificate, issued.tls_key)  # type: ignore[attr-defined]
            try:
                return (await ask(reader, writer, GET % b"a"))[0] == 200
            except (OSError, asyncio.IncompleteReadError):
                return False
            finally:
                writer.close()

        async with site.open():
            assert [await let_in(one) for one in (site.source, ended, later, other, broker)] == [
                True, False, False, False, False,
            ]  # fmt: skip
            site.at = datetime.now(UTC)  # nobody has set the clock: that one hasn't begun can't be proven
            assert [await let_in(one) for one in (site.source, ended, later, other, broker)] == [
                True, False, True, False, False,
            ]  # fmt: skip

    asyncio.run(run())


def test_no_session_of_tls_1_2_is_resumed_and_no_certificate_outlives_its_end_by_one(tmp_path: Path) -> None:
    """By memory alone: what OpenSSL keeps of a session is kept in a context."""
    site = Site(tmp_path)
    server = site.context()
    client = ssl.create_default_context(cafile=site.authority.trust_anchors)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.load_cert_chain(site.source.tls_certificate, site.source.tls_key)

    def shake(session: ssl.SSLSession | None) -> ssl.SSLObject:
        there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = server.wrap_bio(there, here, server_side=True)
        theirs = client.wrap_bio(here, there, server_hostname="localhost", session=session)
        for _ in range(4):
            for side in (theirs, ours):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        assert ours.getpeercert() is not None
        for _ in range(3):  # both say farewell: else OpenSSL resumes nothing of it
            for side in (theirs, ours):
                with contextlib.suppress(ssl.SSLError):
                    side.unwrap()
        return theirs

    session = shake(None).session
    assert shake(session).session_reused is False
    site.at = datetime.now(UTC)  # nobody has set the clock
    assert shake(shake(None).session).session_reused is False


@pytest.mark.parametrize(("version", "spoken"), [("TLSv1_3", True), ("TLSv1_2", True), ("TLSv1_1", False)])
def test_tls_is_1_3_or_for_what_is_older_1_2(tmp_path: Path, version: str, *, spoken: bool) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        async with site.open():
            context = ssl.create_default_context(cafile=site.authority.trust_anchors)
            if not spoken:
                context.set_ciphers("ALL:@SECLEVEL=0")
                with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
                with pytest.raises(OSError):  # noqa: PT011  # an alert, or cut: as the libraries have it
                    await asyncio.open_connection(HOST, site.port, ssl=context, server_hostname="localhost")
                return
            context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
            reader, writer = await asyncio.open_connection(HOST, site.port, ssl=context, server_hostname="localhost")
            assert (await ask(reader, writer, GET % b"a"))[0] == 200
            writer.close()

    asyncio.run(run())


def test_a_port_that_is_taken_is_told_once_and_had_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "RETRY_MIN", 0.05)

    async def run() -> None:
        site = Site(tmp_path)
        with socket.create_server((HOST, site.port)):
            task = asyncio.create_task(site.server.run())
            await asyncio.sleep(0.2)
            said = f"port {site.port} is used by another program: sudo ss -ltnp 'sport = :{site.port}' says by which"
            assert (site.told, site.server.trouble) == ([said], said)
        async with asyncio.timeout(3):
            while site.server.trouble is not None:  # noqa: ASYNC110  # what is shown has no event
                await asyncio.sleep(0.01)
        assert site.told == [said, "restored"]
        reader, writer = await site.connect()
        assert (await ask(reader, writer, GET % b"a"))[0] == 200
        writer.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_key_that_others_can_read_opens_no_port(tmp_path: Path) -> None:
    async def run() -> None:
        site = Site(tmp_path)
        site.local.tls_key.chmod(0o644)
        with pytest.raises(CertificateError, match="open to others"):
            site.context()
        task = asyncio.create_task(site.server.run())
        await asyncio.sleep(0.05)
        assert site.server.trouble is not None
        assert "0644" in site.server.trouble
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
