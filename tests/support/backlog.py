"""Telemetry that waits, as after an outage: recorded by the gateway's own recorder into its own store."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.clock import EpochClock, FieldClock, SystemClock
from gateway.event import Lane
from gateway.fieldlink.message import Measurement, Reading
from gateway.identity.keystore import load_anchors, load_identity
from gateway.outbox.store import Outbox
from gateway.sensing.interpret import interpret
from gateway.signing.chain import Chain
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Signer
from gateway.tasks.recorder import Recorder


async def fill(
    authority: Path, gateway: str, state_dir: Path, count: int, passed: Callable[[int], None] = lambda _number: None
) -> None:
    """Record so many measurements and close the outbox: the gateway's next start finds them.

    `passed` is told how many have been taken, after each; the outbox takes them as fast as it stores them.
    """
    signing = authority / "gateway" / gateway
    anchors = load_anchors(authority / "trust-anchors.pem")
    at = datetime.now(UTC)
    own = load_identity(signing / "signing.pem", signing / "signing.key", role="gateway", anchors=anchors, at=at)
    signer = Signer(own.key, own.identity.thumbprint)
    outbox = await Outbox.open(state_dir, b"\1\2\3\4", encode_chain(own.chain))
    start = outbox.start
    clock = FieldClock(SystemClock(), None, datetime.fromtimestamp(0, UTC), own.identity.not_after)
    chains = {lane: Chain(gateway, start.epoch, lane, start.heads.get(lane), signer) for lane in Lane}
    recorder = Recorder(chains, start.ordinal, outbox, EpochClock(clock).occurred, None)
    for number in range(count):
        said = Measurement((Reading(1, 215, -1), Reading(7, 700 + number % 50, -1), Reading(2, 1261, -2)), age_ms=0)
        event = interpret("0c500045", said, unproven=False)
        assert event is not None
        while recorder.record(event) is None:  # noqa: ASYNC110  # memory is full: the store's thread must come round
            await asyncio.sleep(0.002)
        passed(number + 1)
    await outbox.close()
