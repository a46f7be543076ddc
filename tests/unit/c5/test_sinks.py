import json
import logging
import os
import time
from pathlib import Path
from typing import cast

import pytest

from gateway.c5.sinks import JsonLines, moment
from gateway.c5.sinks import lines as all_lines
from gateway.c5.values import Batch, Committed, Outcome
from gateway.c5.verifier import Verified
from gateway.event import Lane
from gateway.signing import cose, record
from gateway.signing.record import Record
from tests.unit.c5.kit import EPOCH, NOON_US, UNSYNCHRONISED, Gateway


def committed(*wires: bytes, outcome: Outcome | None = None, lane: Lane = Lane.ALARM) -> Committed:
    records: list[Verified] = []
    for wire in wires:
        envelope = cose.parse(wire, "record")
        assert isinstance(envelope, cose.Envelope)
        content = record.decode(envelope.payload)
        assert isinstance(content, Record)
        records.append(Verified(content, envelope, envelope.digest))
    return Committed(Batch("pa-dar-0017", lane, NOON_US + 1, records), outcome or Outcome(), NOON_US + 2)


def lines(batch: Committed) -> list[str]:
    """Return the lines of a batch whose data JSON can hold."""

    def nulled(content: Record) -> None:
        raise AssertionError(content)

    return [line.decode() for line in all_lines(batch, nulled)]


def test_a_line_says_everything_that_the_record_says(gateway: Gateway) -> None:
    wire = gateway.record(event_number=7, data={"age_ms": 0, "battery_mv": 2700})
    batch = committed(wire)
    (line,) = lines(batch)
    assert json.loads(line) == {
        "identity": f"pa-dar-0017/{EPOCH.hex()}/alarm/1",
        "gateway": "pa-dar-0017",
        "epoch": EPOCH.hex(),
        "lane": "alarm",
        "sequence": 1,
        "occurred": "2026-09-21T14:13:20.000000Z",
        "clock": {"source": 2, "uncertainty_ms": 5},
        "type": "panic.pressed",
        "device": "0c500042",
        "event_number": 7,
        "position": None,
        "data": {"age_ms": 0, "battery_mv": 2700},
        "flags": [],
        "contact_id": "E120",
        "received": "2026-09-21T14:13:20.000001Z",
        "sha256": batch.batch.records[0].digest.hex(),
        "verified": "2026-09-21T14:13:20.000001Z",
        "committed": "2026-09-21T14:13:20.000002Z",
        "signer_expired": False,
        "repeat_of": None,
        "contradicts": False,
    }


def test_a_record_whose_clock_knew_less_than_another_of_its_epoch_has_its_corrected_time_beside_the_signed_one(
    gateway: Gateway,
) -> None:
    wires = gateway.record(clock=UNSYNCHRONISED, occurred_us=0), gateway.record()
    unknown, known = Outcome(), Outcome(began_us={EPOCH: NOON_US - 1_000_000})
    found = [[json.loads(line) for line in lines(committed(*wires, outcome=outcome))] for outcome in (unknown, known)]
    assert [(line["occurred"], line.get("corrected")) for lines_ in found for line in lines_] == [
        ("1970-01-01T00:00:00.000000Z", None),
        ("2026-09-21T14:13:20.000000Z", None),
        ("1970-01-01T00:00:00.000000Z", "2026-09-21T14:13:20.000000Z"),
        ("2026-09-21T14:13:20.000000Z", None),
    ]
    assert "corrected" not in found[0][0]


def test_repeated_records_have_no_line_and_told_happenings_name_the_first(gateway: Gateway) -> None:
    outcome = Outcome(known=frozenset({0}), contradicting=frozenset({2}), repeats={1: "elsewhere/1"})
    found = [json.loads(line) for line in lines(committed(*(gateway.record() for _ in range(3)), outcome=outcome))]
    assert [(line["sequence"], line["repeat_of"], line["contradicts"]) for line in found] == [
        (2, "elsewhere/1", False),
        (3, None, True),
    ]


def test_whatever_cbor_can_hold_is_json(gateway: Gateway) -> None:
    data = {
        "b": b"\x01\xff",
        "f": float("inf"),
        "n": float("nan"),
        "m": {1: {b"\x02": [None, True, 2**53 - 1]}},
        "s": "ñ\n",
    }
    (line,) = lines(committed(gateway.record(data=data)))
    assert json.loads(line)["data"] == {
        "b": "01ff",
        "f": "inf",
        "n": "nan",
        "m": {"1": {"02": [None, True, 2**53 - 1]}},
        "s": "ñ\n",
    }
    assert line.count("\n") == 1


def test_a_time_that_no_calendar_holds_is_none() -> None:
    assert moment(0) == "1970-01-01T00:00:00.000000Z"
    assert moment(2**62) is None
    assert moment(-(2**56)) is None


def test_lines_are_added_to_a_file(tmp_path: Path, gateway: Gateway) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("before\n")
    sink = JsonLines(str(path))
    for batch in (committed(gateway.record()), committed(gateway.record(), gateway.record())):
        sink.put(batch)
    sink.close(10.0)
    before, *added = path.read_text().splitlines()
    assert before == "before"
    assert [json.loads(line)["sequence"] for line in added] == [1, 2, 3]
    assert (sink.trouble, sink.left_out) == (None, 0)


def test_data_that_is_no_json_is_null_and_the_lines_after_it_are_written(
    tmp_path: Path, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    batch = committed(*(gateway.record(data={"age_ms": number}) for number in range(4)))
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    for index, data in ((0, {"n": 10**5000}), (1, {"n": nested}), (2, {10**5000: 1})):
        entry = batch.batch.records[index]
        odd = entry.record._replace(data=data)  # type: ignore[arg-type]  # what a decoder may let through one day
        cast("list[Verified]", batch.batch.records)[index] = entry._replace(record=odd)
    path = tmp_path / "records.jsonl"
    sink = JsonLines(str(path))
    sink.put(batch)
    sink.put(committed(gateway.record(data={"age_ms": 4})))
    sink.close(10.0)
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["sequence"], line["data"]) for line in written] == [
        (1, None),
        (2, None),
        (3, None),
        (4, {"age_ms": 3}),
        (5, {"age_ms": 4}),
    ]
    assert (sink.nulled, sink.left_out, sink.trouble) == (3, 0, None)
    (told,) = [entry for entry in caplog.records if entry.levelno == logging.WARNING]
    assert (
        told.getMessage() == f"The data of pa-dar-0017/{EPOCH.hex()}/alarm/1 can't be JSON, its line says null for it"
    )


def test_a_batch_that_makes_no_lines_ends_nothing(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = JsonLines(str(tmp_path / "records.jsonl"))
    with monkeypatch.context() as failing:
        failing.setattr("gateway.c5.sinks.describe", lambda _content: 1 / 0)
        sink.put(committed(gateway.record(), gateway.record()))
        deadline = time.monotonic() + 10.0
        while not sink.left_out and time.monotonic() < deadline:
            time.sleep(0.001)
    assert (sink.trouble, sink.left_out) == ("ZeroDivisionError", 2)
    sink.put(committed(gateway.record()))
    sink.close(10.0)
    assert [json.loads(line)["sequence"] for line in (tmp_path / "records.jsonl").read_text().splitlines()] == [3]


def test_a_sink_that_fails_says_so_and_holds_nobody_up(tmp_path: Path, gateway: Gateway) -> None:
    sink = JsonLines(str(tmp_path / "nowhere" / "records.jsonl"))
    sink.put(committed(gateway.record(), gateway.record()))
    sink.close(10.0)
    assert (sink.trouble, sink.left_out) == (os.strerror(2), 2)


def test_a_sink_that_stands_still_loses_lines_and_not_memory(tmp_path: Path, gateway: Gateway) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    sink = JsonLines(str(fifo))  # opening it waits for a reader
    batch = committed(gateway.record())
    for _ in range(5000):
        sink.put(batch)
    assert 2900 <= sink.left_out <= 5000
    reader = os.open(fifo, os.O_RDONLY)
    os.close(reader)
    sink.close(10.0)
