"""What runs under strace: a store's life over three starts, which says on its standard output what it promises.

start <epoch>                         the epoch is durable
stored <lane> <epoch> <sequence> <SHA-256>     as the device is told
counter <device> <counter>            … with its record
receipted <lane> <epoch> <up to>      from here on these may be gone
"""

import asyncio
import os
import random
import sys
from functools import partial
from pathlib import Path

from gateway.delivery.item import Run
from gateway.event import Lane
from tests.support.storing import Life

TYPES = ("panic.pressed", "tamper.opened", "door.opened", "battery.low", "measurement")
CHECKPOINT = 24  # pages: so that a short life sees many


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


async def main(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    number = 0
    for start in range(3):
        life = Life(folder, bytes((start, 1, 2, 3)))
        await life.__aenter__()
        say(f"start {life.box.start.epoch.hex()}")
        assert life.box._database is not None
        await life.box.waiting()
        await life.box._database.submit(lambda c: c.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}").fetchall())
        for _ in range(14):
            done = [asyncio.Event() for _ in range(chance.choice((1, 1, 1, 4)))]
            for event in done:
                number += 1
                type_ = chance.choice(TYPES)
                device = None if type_ == "measurement" else f"0c50{chance.randrange(4):04x}"
                signed = life.sign(
                    type_, device or "gw-1", number if device else None, {"x": bytes(chance.randrange(900))}
                )
                # Only now is it known what to say; nothing is stored before the loop comes round.
                entry = life.box._pending.waiting[signed.record.lane, signed.record.sequence]
                told = partial(_stored, f"{signed.record.lane:d} {life.box.start.epoch.hex()} {signed.record.sequence}"
                               f" {signed.digest.hex()}", device, number, event)  # fmt: skip
                object.__setattr__(entry, "stored", told)
            for event in done:
                await event.wait()
            if chance.random() < 0.2:
                lane = chance.choice(tuple(Lane))
                if up_to := life._chains[lane].sequence:
                    say(f"receipted {lane:d} {life.box.start.epoch.hex()} {up_to}")
                    life.box.receipted([Run(lane, life.box.start.ordinal, 1, up_to)])
        if start < 2:
            await life.__aexit__()
    os._exit(0)  # the last start ends without a goodbye


def _stored(what: str, device: str | None, number: int, event: asyncio.Event) -> None:
    say(f"stored {what}")
    if device is not None:
        say(f"counter {device} {number}")
    event.set()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
