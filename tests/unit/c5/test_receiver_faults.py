"""What a mistake of this program's own costs a receiver: the one message that it meets, and nobody else's."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.c5.centre import Centre
from gateway.c5.ledger import Ledger, storing
from gateway.c5.receiver import Receiver
from gateway.c5.values import Action, Batch, Outcome
from gateway.event import Lane
from gateway.mqtt import Connection, Message
from gateway.signing import cose, message
from gateway.signing.message import Receipt
from tests.unit.c5.kit import EPOCH, NOON_US, Gateway, Site

WITHIN = 10.0


class Broker:
    """A broker in memory, with as many messages in flight as a test likes."""

    receive_maximum = 100

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.said: list[tuple[str, bytes]] = []
        self.changed = asyncio.Event()
        self._given = 0
        self._on_message: Callable[[Message], None] | None = None

    async def dial(self, on_message: Callable[[Message], None], on_closed: Callable[[str], None]) -> Connection:
        del on_closed
        self._on_message = on_message
        return cast("Connection", self)

    async def subscribe(self, _filters: Sequence[str]) -> None:
        self.changed.set()

    def publish(self, topic: str, payload: bytes, *, retain: bool, on_ack: Callable[[int], None]) -> None:
        del retain
        self.said.append((topic, payload))
        asyncio.get_running_loop().call_soon(on_ack, 0)
        self.changed.set()

    def ack(self, arrived: Message) -> None:
        self.acknowledged.append(arrived.mid)
        self.changed.set()

    async def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def give(self, topic: str, *records: bytes) -> None:
        assert self._on_message
        self._given += 1
        self._on_message(Message(topic, b"".join(records), self._given, 1, retain=False))

    async def until(self, found: Callable[[], Any]) -> None:
        async with asyncio.timeout(WITHIN):
            while not found():
                self.changed.clear()
                await self.changed.wait()

    def receipts(self, gateway: Gateway) -> list[Receipt]:
        found: list[Receipt] = []
        for topic, payload in self.said:
            envelope = cose.parse(payload, "receipt") if topic == gateway.topic("receipt") else None
            if isinstance(envelope, cose.Envelope):
                receipt = message.decode("receipt", envelope.payload)
                assert isinstance(receipt, Receipt)
                found.append(receipt)
        return found


@asynccontextmanager
async def receiving(folder: Path, centre: Centre) -> AsyncIterator[Broker]:
    broker = Broker()
    ledger = await Ledger.open(folder)
    receiver = Receiver(
        centre,
        ledger,
        [("memory", broker.dial)],
        agencies=["+"],
        certificates=b"",
        sinks=[],
        wall=lambda: NOON_US,
        random=lambda: 0.5,
    )
    task = asyncio.create_task(receiver.run())
    try:
        await broker.until(lambda: broker.said)
        yield broker
        assert not task.done(), "the receiver has ended"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await ledger.close()


def fail_on_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ledger fail on each batch that has a second record."""
    store = storing.store

    def failing(connection: Any, batch: Batch) -> Outcome:
        if any(verified.record.sequence == 2 for verified in batch.records):
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return store(connection, batch)

    monkeypatch.setattr("gateway.c5.ledger.store.store", failing)


def test_a_record_that_the_ledger_fails_on_fails_alone_and_is_reported(
    tmp_path: Path,
    site: Site,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail_on_the_second(monkeypatch)
    centre = site.centre()
    failed: list[str] = []
    monkeypatch.setattr(centre, "failed", failed.append)

    async def run() -> None:
        async with receiving(tmp_path, centre) as broker:
            broker.give(gateway.topic("certificates"), gateway.certificates)
            broker.give(gateway.event_topic(Lane.TELEMETRY), *gateway.measurements(3))
            await broker.until(lambda: broker.acknowledged == [1, 2] and broker.receipts(gateway))
            (receipt,) = broker.receipts(gateway)
            assert receipt.up_to == {Lane.TELEMETRY: [(EPOCH, 3)]}
            assert receipt.missing == {Lane.TELEMETRY: [(EPOCH, 2, 2)]}

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    (failure,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert failure.getMessage() == "A message was left out: this program failed on it"
    assert failure.exc_info
    assert isinstance(failure.exc_info[1], OverflowError)
    assert failed == ["pa-dar-0017"]


def test_a_gateway_whose_records_the_ledger_fails_on_does_not_hold_up_the_others(
    tmp_path: Path, site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail_on_the_second(monkeypatch)
    other = Gateway(site.own("gateway", "pa-dar-0018"))

    async def run() -> None:
        async with receiving(tmp_path, site.centre()) as broker:
            broker.give(gateway.topic("certificates"), gateway.certificates)
            broker.give(other.topic("certificates"), other.certificates)
            other.record(Lane.STATUS, "door.opened")
            poison = other.record(Lane.STATUS, "door.closed")
            for _ in range(150):
                broker.give(other.event_topic(Lane.STATUS), poison)
            broker.give(gateway.event_topic(Lane.ALARM), gateway.record())
            await broker.until(lambda: len(broker.acknowledged) == 153)
            await broker.until(lambda: broker.receipts(gateway))
            assert broker.receipts(other) == []

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert len([entry for entry in caplog.records if entry.levelno == logging.ERROR]) == 1


def test_a_message_that_the_centre_fails_on_ends_nothing(
    tmp_path: Path, site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    centre = site.centre()
    receive = centre.receive

    def failing(topic: str, payload: bytes, arrived_us: int, now: float) -> list[Action]:
        assert not topic.endswith("/state"), "a mistake of ours"
        return receive(topic, payload, arrived_us, now)

    monkeypatch.setattr(centre, "receive", failing)

    async def run() -> None:
        async with receiving(tmp_path, centre) as broker:
            broker.give(gateway.topic("certificates"), gateway.certificates)
            broker.give(gateway.topic("state"), gateway.state())
            broker.give(gateway.event_topic(Lane.ALARM), gateway.record())
            await broker.until(lambda: sorted(broker.acknowledged) == [1, 2, 3] and broker.receipts(gateway))

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    (failure,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert failure.exc_info
    assert isinstance(failure.exc_info[1], AssertionError)


def test_what_fails_after_the_commit_is_acknowledged_too(
    tmp_path: Path, site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre = site.centre()

    def failing(*_: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(centre, "stored", failing)

    async def run() -> None:
        async with receiving(tmp_path, centre) as broker:
            broker.give(gateway.topic("certificates"), gateway.certificates)
            broker.give(gateway.event_topic(Lane.ALARM), gateway.record())
            await broker.until(lambda: broker.acknowledged == [1, 2])

    asyncio.run(run())
