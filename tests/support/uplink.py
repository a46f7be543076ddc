"""One gateway's uplink between a recorder, an outbox, brokers and a C5: the real parts but for the wire."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from gateway.control.authorise import Speakers
from gateway.delivery.coverage import Coverage
from gateway.event import Event, Lane
from gateway.signing.certificate import Anchors
from gateway.signing.chain import Chain
from gateway.signing.chains import encode_chains
from gateway.signing.record import Clock as Quality
from gateway.tasks.recorder import Recorder
from gateway.tasks.said import Self
from gateway.tasks.uplink import Uplink
from gateway.topics import Route
from tests.support.memory import C5, NOW_US, Broker, Clock, Holder, Store, settle

T = TypeVar("T")
EPOCH = bytes.fromhex("0000000201020304")
OLD = bytes.fromhex("00000001ffffffff")
ROUTE = Route("senafront", "yaviza", "gw-1")
RECEIPT = ROUTE.topic("receipt")
Holders = tuple[bytes, dict[str, Holder]]


class Life:
    """One gateway's uplink and everything it touches."""

    def __init__(self, holders: Holders, broker: Broker, **options: Any) -> None:
        anchors, people = holders
        self.clock = Clock()
        self.broker = broker
        self.store = Store()
        self.c5 = C5(people["c5-a"], "gw-1", self.clock)
        self.people = people
        own = people["gw-1"]
        self.recorder = Recorder(
            {lane: Chain("gw-1", EPOCH, lane, None, own.signer) for lane in Lane},
            2,
            self.store,
            lambda age_ms, _at_ns: (NOW_US - age_ms * 1000, Quality(2, 5, 0)),
            None,
        )
        receivers = options.pop("receivers", ["*"])
        self.uplink = Uplink(
            own=Self(ROUTE, EPOCH, 2, 2, own.signer, encode_chains([own.chain]), datetime(2026, 1, 1, tzinfo=UTC), 30),
            brokers=options.pop("brokers", ["a"]),
            dial=broker.dial,
            coverage=Coverage(),
            recorder=self.recorder,
            store=self.store,
            speakers=Speakers("gw-1", Anchors.load(anchors), receivers),
            profile=options.pop("profile", 90),
            ordinals={OLD: 1},
            clock=self.clock,
            random=options.pop("random", lambda: 0.0),
            **options,
        )
        self.recorder.offer = self.uplink.offer

    async def passes(self, seconds: float) -> None:
        """Let time pass a second at a time."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now = min(until, self.clock.now + 1.0)
            self.look()
            await settle()

    @property
    def said(self) -> str:
        return " ".join(self.uplink.troubles)

    def look(self) -> None:
        """Have everybody look at the clock."""
        self.uplink._wake.set()
        for path in self.uplink.paths:
            path.wake()

    def press(self) -> None:
        self.recorder.record(Event("panic.pressed", "0c500042"))

    def trouble(self, count: int = 1) -> None:
        for _ in range(count):
            self.recorder.record(Event("power.lost", "0c500042"))

    def receipt(self, **more: Any) -> None:
        """C5 has everything that was signed."""
        up_to = {lane: [(EPOCH, self.recorder.sequence(lane))] for lane in Lane if self.recorder.sequence(lane)}
        self.c5.receipt(self.broker.connection, RECEIPT, **{"up_to": up_to, **more})


def live(
    holders: Holders,
    story: Callable[[Life], Coroutine[Any, Any, T]],
    broker: Broker | None = None,
    *,
    introduced: bool = True,
    **options: Any,
) -> T:
    async def life() -> T:
        living = Life(holders, broker or Broker(), **options)
        task = asyncio.create_task(living.uplink.run())
        await settle()
        if introduced and living.broker.connections:
            living.c5.introduce(living.broker.connection)
        try:
            return await story(living)
        finally:
            task.cancel()
            async with asyncio.timeout(5):
                await asyncio.wait([task])
            assert task.cancelled(), task

    return asyncio.run(life())
