"""Where believed records go from here: JSON lines, one for each new record, after its commit.

The ledger is the truth, a sink is a copy: a sink that stands still or fails (a full disk, a reader that has gone) never
delays a receipt. Lines wait for it within `WAITING`, in memory; what comes beyond is left out, counted and reported,
and is still in the ledger. Each message's lines are tried once. Data that JSON can't hold becomes null.
"""

import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.c5.times import corrected, is_sure
from gateway.c5.values import Committed, Outcome
from gateway.c5.verifier import Verified
from gateway.event import CONTACT_ID, LANE_NAMES, TEST, UNPROVEN, Position
from gateway.signing.record import Record

log = logging.getLogger(__name__)

WAITING: Final = 2048  # messages, of at most 16 KiB
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(us: int) -> str | None:
    """Return RFC 3339 with microseconds; None where no calendar holds it."""
    try:
        at = _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return None
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z" if at.year >= 1000 else None


def describe(content: Record) -> dict[str, Any]:
    """Return what a record says, in the words of docs/operate/receiver.md."""
    return {
        "identity": content.identity,
        "gateway": content.gateway,
        "epoch": content.epoch.hex(),
        "lane": LANE_NAMES[content.lane],
        "sequence": content.sequence,
        "occurred": moment(content.occurred_us),
        "clock": {"source": content.clock.source, "uncertainty_ms": content.clock.uncertainty_ms},
        "type": content.type,
        "device": content.source,
        "event_number": content.event_number,
        "position": _position(content.position),
        "data": _plain(content.data or {}),
        "flags": [name for bit, name in ((TEST, "test"), (UNPROVEN, "unproven")) if content.flags & bit],
        "contact_id": CONTACT_ID.get(content.type),
    }


def lines(committed: Committed, nulled: Callable[[Record], None]) -> Iterable[bytes]:
    """Yield a line for each record of a batch that is new. `nulled` is told of one whose data JSON can't hold."""
    batch, outcome = committed.batch, committed.outcome
    verified, done = moment(batch.verified_us), moment(committed.committed_us)
    for index, entry in enumerate(batch.records):
        if index in outcome.known:
            continue
        remarks = {"received": verified, "sha256": entry.digest.hex(), "verified": verified, "committed": done}
        remarks |= _remarks(index, entry, outcome) | _corrected(entry.record, outcome)
        try:
            yield _line(describe(entry.record) | remarks)
        except (ValueError, TypeError, RecursionError):  # say, a number of more digits than Python writes
            nulled(entry.record)
            yield _line(describe(entry.record._replace(data=None)) | remarks | {"data": None})


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _remarks(index: int, entry: Verified, outcome: Outcome) -> dict[str, Any]:
    return {
        "signer_expired": entry.expired,
        "repeat_of": outcome.repeats.get(index),
        "contradicts": index in outcome.contradicting,
    }


def _corrected(content: Record, outcome: Outcome) -> dict[str, Any]:
    """Return the corrected time of a record whose clock knew less than another of its epoch."""
    if is_sure(content) or content.epoch not in outcome.began_us:
        return {}
    return {"corrected": moment(corrected(content, outcome.began_us[content.epoch]))}


def _position(position: Position | None) -> dict[str, Any] | None:
    if position is None:
        return None
    accuracy = None if position.accuracy_cm is None else position.accuracy_cm / 100
    return {"latitude": position.latitude / 1e7, "longitude": position.longitude / 1e7, "accuracy_m": accuracy}


def _plain(value: Any) -> Any:
    """Return a CBOR value as JSON can have it: bytes as hexadecimal text, what it has no word for as text."""
    match value:
        case bool() | str() | int() | None:
            return value
        case float():
            return value if value - value == 0 else str(value)  # JSON has neither infinities nor NaN
        case bytes():
            return value.hex()
        case dict():
            return {key if isinstance(key, str) else str(_plain(key)): _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_plain(entry) for entry in value]
        case _:
            return str(value)


class JsonLines:
    """Writes lines to a file, or to standard output for "-", on a thread of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._waiting: queue.Queue[Committed | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._torn = False  # a line was begun and not ended
        self.left_out = 0  # records
        self.nulled = 0  # records without their data
        self.trouble: str | None = None  # why the last lines could not be written
        self._thread.start()

    def put(self, committed: Committed) -> None:
        """Hand over a committed batch; returns at once."""
        try:
            self._waiting.put_nowait(committed)
        except queue.Full:
            self.left_out += len(committed.batch.records)

    def close(self, seconds: float) -> None:
        """Write what waits, for at most so long. Blocks."""
        try:
            self._waiting.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        file: int | None = None
        while (committed := self._waiting.get()) is not None:
            try:
                if file is None:
                    file = self._open()
                self._write(file, b"".join(lines(committed, self._nulled)))
            except Exception as error:  # noqa: BLE001  # whatever it is, the lines after these are to be written
                self.left_out += len(committed.batch.records)
                self.trouble = error.strerror if isinstance(error, OSError) else type(error).__name__
            else:
                self.trouble = None

    def _nulled(self, content: Record) -> None:
        level = logging.DEBUG if self.nulled else logging.WARNING  # once: whoever sends such data may send much of it
        self.nulled += 1
        log.log(level, "The data of %s can't be JSON, its line says null for it", content.identity)

    def _open(self) -> int:
        if self._path == "-":
            return sys.stdout.fileno()
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _write(self, file: int, data: bytes) -> None:
        """Write whole lines; after a failure that left half of one, the next begins on a line of its own."""
        rest = b"\n" + data if self._torn else data
        while rest:
            written = os.write(file, rest)
            self._torn = rest[:written][-1:] != b"\n"
            rest = rest[written:]
