"""What the outbox costs a card: an hour of a site's traffic through the real store, and how many bytes it wrote.

An hour is lived in a minute or two: the event loop's clock runs as fast as the store commits, so that every wait of the
outbox (the second in which telemetry gathers, the counters' 15 s) is as long as in life, and between two commits nobody
sleeps. What is written is asked of the kernel (/proc/self/io, write_bytes: what went to the block layer), and, where
the folder is in memory, of the log's frames. Receipts come as a receiver's do: at most one a second, half a second
after the record.

    python -m benchmarks.wear [FOLDER] [--hours N]
"""

import asyncio
import hashlib
import json
import os
import selectors
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.delivery.item import DeviceState, Entry, Item, Run
from gateway.event import Lane
from gateway.outbox.inspect import FILE
from gateway.outbox.store import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICES: Final = 10
RECORD: Final = 330  # bytes of a measurement with two values, signed
MEASURED: Final = 10.0  # seconds between two measurements of a device
HEARTBEAT: Final = 60.0
REMEMBER: Final = 10.0  # seconds between two times that intake hands over counters
RECEIPT: Final = 0.5  # seconds from a record to its receipt


class Hurried(selectors.DefaultSelector):
    """A selector that doesn't sleep while nothing is under way: it moves the loop's clock on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0
        self.busy: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; if nothing is, and nothing is being written, let the time pass at once."""
        if not timeout or self.busy():
            return super().select(0.0005 if timeout is None else min(timeout, 0.0005))
        self.skipped += timeout
        return super().select(0)


class HurriedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the selector's."""

    def __init__(self) -> None:
        self.hurried = Hurried()
        super().__init__(self.hurried)

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self.hurried.skipped


def written() -> int:
    """Return how many bytes this process has sent to a disk."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


async def live(folder: Path, hours: float, *, measuring: bool, linked: bool) -> dict[str, float]:
    """Live so many hours of a site; return what it cost a day."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HurriedLoop)
    box = await Outbox.open(folder, os.urandom(4), b"chain")
    database = box._database  # noqa: SLF001  # to count its commits
    assert database is not None
    under_way = 0
    commits = 0
    submit = database.submit

    def counted(work: Any) -> Any:
        nonlocal under_way, commits
        future = submit(work)
        under_way += 1
        commits += 1

        def done(_future: Any) -> None:
            nonlocal under_way
            under_way -= 1

        future.add_done_callback(done)
        return future

    database.submit = counted  # type: ignore[method-assign]  # to count
    loop.hurried.busy = lambda: under_way > 0
    await asyncio.sleep(5)
    before, commits, sequence, receipted = written(), 0, 0, 0
    counters = [0] * DEVICES
    end = loop.time() + hours * 3600

    def state(device: int) -> DeviceState:
        counters[device] += 1
        return DeviceState(f"0c5000{device:02x}", counters[device], b"tag45678", 2**16 - 1, True, 0, b"key45678")

    second = 0
    while loop.time() < end:
        second += 1
        if measuring:
            for device in range(DEVICES):
                if (second + device) % MEASURED == 0:
                    sequence += 1
                    wire = sequence.to_bytes(8, "big") + os.urandom(RECORD - 8)
                    item = Item(Lane.TELEMETRY, box.start.ordinal, sequence, wire)
                    box.append(Entry(item, hashlib.sha256(wire).digest(), state(device)))
        if second % REMEMBER == 0:
            heard = [device for device in range(DEVICES) if (second // REMEMBER + device) % (HEARTBEAT / REMEMBER) == 0]
            box.remember([state(device) for device in heard])
        await asyncio.sleep(RECEIPT)
        if linked and sequence > receipted:
            box.receipted([Run(Lane.TELEMETRY, box.start.ordinal, receipted + 1, sequence)])
            receipted = sequence
        await asyncio.sleep(1 - RECEIPT)
    took, made = written() - before, commits
    await box.close()
    size = sum(path.stat().st_size for path in folder.glob(f"{FILE}*"))  # noqa: ASYNC240  # the measuring is over
    day = 24 / hours
    return {
        "written, MB a day": round(took * day / 1e6, 1),
        "commits a day": round(made * day),
        "records a day": round(sequence * day),
        "signed, MB a day": round(sequence * RECORD * day / 1e6, 1),
        "store, MB": round(size / 1e6, 1),
    }


def main(folder: Path, hours: float) -> None:
    """Print what each kind of site costs."""
    for name, measuring, linked in (
        ("heartbeats alone", False, True),
        ("and a measurement of each every 10 s", True, True),
        ("the same without a link", True, False),
    ):
        with (
            tempfile.TemporaryDirectory(dir=folder) as inside,
            asyncio.Runner(loop_factory=HurriedLoop) as runner,
        ):
            found = runner.run(live(Path(inside), hours, measuring=measuring, linked=linked))
        print(f"{DEVICES} devices, {name}: {json.dumps(found)}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    lasts = float(arguments.pop(arguments.index("--hours") + 1)) if "--hours" in arguments else 1.0
    places = [argument for argument in arguments if not argument.startswith("--")]
    main(Path(places[0]) if places else Path(tempfile.gettempdir()), lasts)
