"""A gateway's store with real signatures and nothing around it: what salvage and power cuts are tested on.

async with Life(folder) as life:
    await life.record("panic.pressed", "0c500042", event_number=7)     # returns when it is durable
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.database import Disk
from gateway.delivery.item import DeviceState, Entry, Item, Note, Run
from gateway.event import Event, Lane, lane_of
from gateway.outbox.salvage import Prover
from gateway.outbox.salvager import Rescue
from gateway.outbox.store import Outbox
from gateway.signing.certificate import thumbprint
from gateway.signing.chain import Chain, Signed
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Signer, VerifyingKey
from gateway.signing.record import Clock

GATEWAY = "gw-1"
NOW_US = 1_795_309_200_000_000  # 2026-11-22 01:00:00 UTC
DER = b"the certificate of gw-1"  # nobody looks into it: `key_of` knows it
CHAIN = encode_chain([DER])
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer(KEY, thumbprint(DER))
VERIFYING = VerifyingKey(KEY.public_key())


def rescue() -> Rescue:
    """What the store needs to know whose records are ours."""
    return Rescue(Prover(GATEWAY, lambda chain: VERIFYING if chain == (DER,) else None), lambda: NOW_US)


class Life:
    """One start of a gateway."""

    def __init__(self, folder: Path, random4: bytes = b"abcd", disk: Disk | None = None) -> None:
        self.folder = folder
        self.box: Outbox
        self.told: list[str | None] = []
        self.lost: list[tuple[Lane, str, int, int]] = []
        self._random4 = random4
        self._disk = disk
        self._chains: dict[Lane, Chain] = {}

    async def __aenter__(self) -> Self:
        self.box = await Outbox.open(self.folder, self._random4, CHAIN, self._disk, rescue=rescue())
        self.box.on_trouble = self.told.append
        self.box.salvager.on_lost = lambda lost: self.lost.extend(
            (run.lane, epoch.hex(), run.first, run.last) for run, epoch in lost
        )
        start = self.box.start
        self._chains = {lane: Chain(GATEWAY, start.epoch, lane, start.heads.get(lane), SIGNER) for lane in Lane}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.box.close()

    def sign(
        self,
        type_: str,
        source: str = GATEWAY,
        event_number: int | None = None,
        data: dict[str, Any] | None = None,
        stored: Callable[[], None] | None = None,
        *,
        notes: tuple[Note, ...] = (),
        drops: tuple[Run, ...] = (),
        lost: bool = False,
    ) -> Signed:
        """Sign a record and have it stored; a device's counter is its event's number."""
        lane = lane_of(type_)
        event = Event(type_, source, data=data, event_number=event_number)
        signed = self._chains[lane].sign(event, NOW_US, Clock(2, 5, 1000), None)
        item = Item(lane, self.box.start.ordinal, signed.record.sequence, signed.wire)
        device = None
        if event_number is not None:
            device = DeviceState(
                source, event_number, event_number.to_bytes(8, "big"), 0, True, event_number, b"key of it"
            )
        self.box.append(Entry(item, signed.digest, device, event_number, stored, drops, notes=notes, lost=lost))
        return signed

    async def record(self, type_: str, source: str = GATEWAY, event_number: int | None = None, **data: Any) -> Signed:
        """Sign a record; returns when it is durable."""
        done = asyncio.Event()
        signed = self.sign(type_, source, event_number, data or None, done.set)
        async with asyncio.timeout(10):
            await done.wait()
        return signed

    async def records(self, types: Sequence[str], **data: Any) -> list[Signed]:
        """Sign several; returns when all are durable."""
        done = [asyncio.Event() for _ in types]
        signed = [
            self.sign(type_, data=data or None, stored=event.set) for type_, event in zip(types, done, strict=True)
        ]
        async with asyncio.timeout(10):
            for event in done:
                await event.wait()
        return signed

    async def salvaged(self) -> None:
        """Wait until nothing is being salvaged."""
        async with asyncio.timeout(30):
            while self.box.salvager.busy or self.box.trouble is not None:  # noqa: ASYNC110  # it has no event of its own
                await asyncio.sleep(0.005)


def live(folder: Path, story: Callable[[Life], Any], random4: bytes = b"abcd") -> Any:
    """Run a story through one start."""

    async def run() -> Any:
        async with Life(folder, random4) as life:
            return await story(life)

    return asyncio.run(run())


live_on = partial(live, random4=b"efgh")
