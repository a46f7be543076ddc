"""The receiver as it is installed: a process, a real mosquitto with mutual TLS, and a gateway that speaks MQTT."""

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from certs.authority import Authority
from firmware_sim.broker import Credentials, Mosquitto, access_list
from gateway.c5.cli import main
from gateway.event import Lane
from gateway.identity.keystore import load_anchors, load_identity
from gateway.mqtt import Broker, Connection, Message
from gateway.signing import cose, message
from gateway.signing.chains import decode_chain
from gateway.signing.message import Centre, Receipt
from gateway.tls import client_context
from tests.support.brokers import need_mosquitto
from tests.unit.c5.kit import EPOCH, NTP, Gateway, flip

NAME = "pa-dar-0017"
WITHIN = 20.0


class Field:
    """A gateway's end of MQTT, in the test's own hands."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.connection: Connection | None = None
        self.heard: list[tuple[str, bytes]] = []
        self.changed = asyncio.Event()

    def on_message(self, arrived: Message) -> None:
        self.heard.append((arrived.topic, arrived.payload))
        self.changed.set()

    def say(self, channel: str, payload: bytes, *, retain: bool = False) -> None:
        assert self.connection
        self.connection.publish(self.gateway.topic(channel), payload, retain=retain, on_ack=None)

    async def until(self, found: Callable[[], Any]) -> Any:
        async with asyncio.timeout(WITHIN):
            while not (result := found()):
                self.changed.clear()
                await self.changed.wait()
        return result

    def receipts(self) -> list[Receipt]:
        found: list[Receipt] = []
        for topic, payload in self.heard:
            if topic == self.gateway.topic("receipt"):
                envelope = cose.parse(payload, "receipt")
                assert isinstance(envelope, cose.Envelope)
                receipt = message.decode("receipt", envelope.payload)
                assert isinstance(receipt, Receipt)
                found.append(receipt)
        return found

    async def receipted(self, lane: Lane, up_to: int) -> Receipt:
        def found() -> Receipt | None:
            covering = [r for r in self.receipts() if any(upper >= up_to for _, upper in r.up_to.get(lane, []))]
            return covering[-1] if covering else None

        receipt = await self.until(found)
        assert isinstance(receipt, Receipt)
        return receipt


class Site:
    """Certificates, a broker's credentials and a receiver's settings in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = Authority.create(folder / "certs")
        self.broker_files = authority.issue("broker", "broker-a", hosts=("127.0.0.1",))
        self.receiver = authority.issue("receiver", "c5-a")
        self.gateway = authority.issue("gateway", NAME)
        assert self.gateway.signing_certificate
        assert self.gateway.signing_key
        self.own = load_identity(
            self.gateway.signing_certificate,
            self.gateway.signing_key,
            role="gateway",
            anchors=load_anchors(authority.trust_anchors),
            at=datetime.now(UTC),
        )
        self.config = folder / "receiver.toml"
        self.lines = folder / "records.jsonl"

    def credentials(self) -> Credentials:
        files = self.broker_files
        return Credentials(files.trust_anchors, files.tls_certificate, files.tls_key)

    def configure(self, port: int) -> None:
        files = self.receiver
        self.config.write_text(f"""
            [receiver]
            name = "c5-a"
            state_dir = "state"
            [identity]
            trust_anchors = "{files.trust_anchors}"
            tls_certificate = "{files.tls_certificate}"
            tls_key = "{files.tls_key}"
            signing_certificate = "{files.signing_certificate}"
            signing_key = "{files.signing_key}"
            [[broker]]
            host = "127.0.0.1"
            port = {port}
            [[sink]]
            type = "jsonl"
            path = "{self.lines}"
        """)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gateway.c5.cli", *arguments, "--config", str(self.config)]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in this process: its interpreter would take ten times as long to start."""
        return call(*self.command(*arguments)[2:])

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            return subprocess.Popen(self.command("run", "--output", "jsonl"), stdout=out, stderr=err)

    @asynccontextmanager
    async def receiving(self, *, killed: bool = False) -> AsyncIterator[None]:
        process = self.start()
        try:
            yield
            process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
            status = await asyncio.to_thread(process.wait, WITHIN)
            assert status == (-signal.SIGKILL if killed else 0), (self.folder / "stderr").read_text()
        finally:
            process.kill()
            process.wait()

    @asynccontextmanager
    async def field(self, port: int) -> AsyncIterator[Field]:
        gateway = Gateway(self.own)
        field = Field(gateway)
        files = self.gateway
        context = client_context(files.trust_anchors, files.tls_certificate, files.tls_key)
        closed: list[str] = []
        field.connection = await Connection.open(
            Broker("127.0.0.1", port, "5", context),
            NAME,
            keepalive=10,
            will=None,
            session_expiry=0,
            receive_maximum=100,
            on_message=field.on_message,
            on_closed=closed.append,
            deadline=10,
        )
        try:
            await field.connection.subscribe([gateway.topic("receipt"), "c5/v1/centre", "c5/v1/certificates/+"])
            yield field
            assert closed == []
        finally:
            await field.connection.close()

    def jsonl(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.read_text().splitlines()] if self.lines.exists() else []


def call(*command: str) -> subprocess.CompletedProcess[str]:
    out, err = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "argv", list(command)),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert isinstance(end.value.code, int)
    return subprocess.CompletedProcess(command, end.value.code, out.getvalue(), err.getvalue())


def journey(folder: Path, work: Callable[[Site, Mosquitto], Awaitable[None]]) -> None:
    need_mosquitto()
    site = Site(folder)

    async def run() -> None:
        async with Mosquitto(tls=site.credentials(), access=access_list([NAME], ["c5-a"])) as broker:
            site.configure(broker.port)
            await work(site, broker)

    asyncio.run(run())


def now_us() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000_000)


def test_records_are_held_verified_committed_and_receipted(tmp_path: Path) -> None:
    async def work(site: Site, broker: Mosquitto) -> None:
        async with site.field(broker.port) as field, site.receiving():
            gateway = field.gateway
            chain = await field.until(
                lambda: next((p for topic, p in field.heard if topic == "c5/v1/certificates/c5-a"), None)
            )
            assert isinstance(decode_chain(chain), tuple)
            heartbeat = await field.until(
                lambda: next((p for topic, p in field.heard if topic == "c5/v1/centre"), None)
            )
            envelope = cose.parse(heartbeat, "centre")
            assert isinstance(envelope, cose.Envelope)
            assert isinstance(message.decode("centre", envelope.payload), Centre)

            # An alarm before its certificate is held, and receipted once the certificate has come.
            alarm = gateway.record(occurred_us=now_us(), event_number=1)
            field.say("event/alarm", alarm)
            field.say("certificates", gateway.certificates, retain=True)
            receipt = await field.receipted(Lane.ALARM, 1)
            assert receipt.up_to[Lane.ALARM] == [(EPOCH, 1)]

            # A repeated alarm is receipted again and not printed again.
            before = len(field.receipts())
            field.say("event/alarm", alarm)
            await field.until(lambda: len(field.receipts()) > before)

            # What somebody altered is refused, and is told.
            field.say("event/alarm", flip(gateway.record(occurred_us=now_us())))
            field.say("state", gateway.state(time_us=now_us()), retain=True)

            # A gap is asked for; when it is filled everything is covered.
            telemetry = [
                gateway.record(Lane.TELEMETRY, "measurement", occurred_us=now_us(), data={"temperature_c": 20.5})
                for _ in range(40)
            ]
            field.say("event/telemetry", b"".join(telemetry[:20] + telemetry[21:]))
            receipt = await field.receipted(Lane.TELEMETRY, 40)
            assert receipt.missing == {Lane.TELEMETRY: [(EPOCH, 21, 21)]}
            field.say("event/telemetry", telemetry[20])
            await field.until(
                lambda: field.receipts()[-1].missing == {} and Lane.TELEMETRY in field.receipts()[-1].up_to
            )

            document: dict[str, Any] = {}
            while not any(report["type"] == "record.refused" for report in document.get("reports", [])):
                await asyncio.sleep(0.01)
                status = site.call("status", "--json")
                document = json.loads(status.stdout)
            assert status.returncode == 1, status.stderr
            assert [(entry["gateway"], entry["online"], entry["records"]) for entry in document["gateways"]] == [
                (NAME, True, 41)
            ]
            assert [report["type"] for report in document["reports"] if report["gateway"]] == ["record.refused"]
        lines = site.jsonl()
        assert [line["identity"] for line in lines] == [
            f"{NAME}/{EPOCH.hex()}/alarm/1",
            *(f"{NAME}/{EPOCH.hex()}/telemetry/{number}" for number in [*range(1, 21), *range(22, 41), 21]),
        ]
        assert (site.folder / "stdout").read_text() == site.lines.read_text()
        assert lines[0]["device"] == "0c500042"
        assert lines[0]["contact_id"] == "E120"
        assert lines[0]["clock"] == {"source": NTP.source, "uncertainty_ms": NTP.uncertainty_ms}
        assert lines[0]["occurred"] <= lines[0]["verified"] <= lines[0]["committed"]

        # The same records, proven again from a file with the certificates that the ledger has.
        export = site.folder / "export.cbor"
        export.write_bytes(b"".join([alarm, *telemetry]))
        proven = site.call("verify", str(export))
        assert (proven.returncode, proven.stdout) == (
            0,
            f"{export}: 41 records proven, 0 wrong; 0 not in the file, 0 signers expired\n",
        )
        export.write_bytes(flip(alarm) + telemetry[0])
        proven = site.call("verify", str(export))
        assert proven.returncode == 1
        assert "item 1: a signature that is wrong" in proven.stdout

    journey(tmp_path, work)


def test_a_receiver_that_was_killed_and_a_broker_that_went_away_lose_nothing(tmp_path: Path) -> None:
    async def work(site: Site, broker: Mosquitto) -> None:
        async with site.field(broker.port) as field:
            gateway = field.gateway
            async with site.receiving(killed=True):
                await field.until(lambda: field.heard)
                field.say("certificates", gateway.certificates, retain=True)
                field.say("event/alarm", gateway.record(occurred_us=now_us()))
                await field.receipted(Lane.ALARM, 1)
            field.say("event/alarm", gateway.record(occurred_us=now_us()))
            async with site.receiving():  # the broker kept its session
                await field.receipted(Lane.ALARM, 2)
        async with site.receiving():
            await broker.restart()
            async with site.field(broker.port) as field:
                field.gateway.heads = gateway.heads
                await field.until(lambda: field.heard)
                field.say("event/alarm", field.gateway.record(occurred_us=now_us()))
                receipt = await field.receipted(Lane.ALARM, 3)
                assert receipt.up_to == {Lane.ALARM: [(EPOCH, 3)]}
        status = json.loads(site.call("status", "--json").stdout)
        assert [(entry["records"], entry["missing"]) for entry in status["gateways"]] == [(3, [])]
        assert [line["sequence"] for line in site.jsonl()][-2:] == [2, 3]  # the kill may have cost a line, no record

    journey(tmp_path, work)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('name = "c5-a"', "receiver.nmae: no such setting; allowed here: name, state_dir"),
        ("port = ", "broker[0].prot: no such setting; allowed here: host, port, protocol, tls"),
        ("trust_anchors = ", "identity.trust_anchors: is required"),
    ],
)
def test_wrong_settings_are_refused_with_the_keys_full_name(tmp_path: Path, change: str, told: str) -> None:
    site = Site(tmp_path)
    site.configure(1883)
    misspelt = {'name = "c5-a"': 'nmae = "c5-a"', "port = ": "prot = ", "trust_anchors = ": "tls_key_ = "}[change]
    site.config.write_text(site.config.read_text().replace(change, misspelt))
    run = site.call("run")
    assert run.returncode == 2
    assert told in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "state").exists()


def test_a_gateways_certificate_is_no_receivers(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.receiver = site.gateway
    site.configure(1883)
    run = subprocess.run(site.command("run"), capture_output=True, check=False, timeout=WITHIN)
    assert run.returncode == 1
    assert b"is the certificate of the gateway pa-dar-0017, and a receiver is needed" in run.stderr
    assert b"Traceback" not in run.stderr


def test_settings_that_are_not_there_are_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C5_RECEIVER_CONFIG", str(tmp_path / "none.toml"))
    run = call("c5-receiver", "status")
    assert run.returncode == 2
    assert f"the settings file {tmp_path / 'none.toml'} can't be read" in run.stderr
