"""What is believed in one pass is what is believed record by record, to the last field; and never more."""

import asyncio
import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.c5.ledger import LEDGER, Ledger
from gateway.c5.signers import Signer
from gateway.c5.values import Batch, Outcome, Store
from gateway.c5.verifier import Unproven, Verdict, Verified, VerifiedRun, verify, verify_run
from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import cose
from gateway.signing.cose import split_sequence
from gateway.signing.deterministic import encode
from tests.unit.c5.kit import EPOCH, NOON_US, Gateway, Site, flip, learn

NAME, THUMBPRINT = "pa-dar-0017", b"thumbpri"
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(32))
P256 = generate_private_key(SECP256R1())
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def signer_of(key: Any, **changes: Any) -> Signer:
    fields = {"not_before_us": 0, "not_after_us": 2**60, "revoked_us": None} | changes
    return Signer(NAME, THUMBPRINT, cose.VerifyingKey(key.public_key()), chain=(), judged_us=0, **fields)


def payload(sequence: int, previous: bytes, **changes: Any) -> bytes:
    fields: dict[int, Any] = {
        1: NAME,
        2: EPOCH,
        3: 2,
        4: sequence,
        5: previous,
        7: NOON_US + sequence,
        8: [2, 5, 1000 + sequence],
        9: "measurement",
        10: "0c500042",
        12: [81570000, -776900000, 500],
        13: {"temperature_c": 20.5 + sequence, "battery_mv": 2980},
    }
    fields |= {int(key.removeprefix("k")): value for key, value in changes.items()}
    return encode({key: fields[key] for key in sorted(fields) if fields[key] is not None})


def chain(payloads: Sequence[Any], key: Any = ED25519, first: int = 2) -> list[bytes]:
    """Sign these, each a function of its sequence and of the hash of the record before it."""
    signer, previous, wires = cose.Signer(key, THUMBPRINT), sha256(b"before").digest(), []
    for sequence, make in enumerate(payloads, first):
        wires.append(signer.sign("record", make(sequence, previous)))
        previous = sha256(wires[-1]).digest()
    return wires


def both(
    messages: Sequence[bytes],
    *,
    lane: Lane = Lane.TELEMETRY,
    key: Any = ED25519,
    arrived_us: int = NOON_US,
    **signer: Any,
) -> tuple[list[Verified] | None, list[Verdict]]:
    """Judge messages in one pass, and their records one by one."""
    find = {THUMBPRINT: signer_of(key, **signer)}.get
    run = verify_run(messages, NAME, lane, find, arrived_us)
    items = [item for message in messages for item in split_sequence(message)]
    return None if run is None else list(run), verify(items, NAME, lane, find, arrived_us)


@pytest.mark.parametrize("key", [ED25519, P256], ids=["ed25519", "p256"])
def test_a_run_of_several_messages_is_believed_at_once(key: Any) -> None:
    wires = chain([payload] * 90, key)
    at_once, one_by_one = both([b"".join(wires[:40]), b"".join(wires[40:41]), b"".join(wires[41:])], key=key)
    assert at_once == one_by_one
    assert [type(verdict) for verdict in one_by_one] == [Verified] * 90


USUAL = {
    "no position": {"k12": None},
    "a position without accuracy": {"k12": [-1, 2**32 - 1]},
    "no data": {"k13": None},
    "nested data": {"k13": {"values": {"temperature_c": -0.5, "n": -300, "ok": True, "none": None}, "text": "a b~"}},
    "empty data": {"k13": {}},
    "flags": {"k14": 3},
    "an unsynchronised clock": {"k8": [0, 2**32 - 1, -70000]},
    "the last wide sequence": {},
}
UNUSUAL = {
    "a further key": {"k15": 1},
    "an event number": {"k11": 7},
    "a link": {"k6": [EPOCH, 1]},
    "text beyond ASCII": {"k13": {"operator": "señal"}},
    "bytes": {"k13": {"payload": b"\1"}},
    "deep data": {"k13": {"a": {"b": {"c": 1}}}},
    "a time before 1970": {"k7": -1},
    "a huge time": {"k7": 2**53},
    "a clock of another source": {"k8": [4, 0, 0]},
    "no type": {"k9": None},
    "a source in capitals": {"k10": "A"},
    "another lane": {"k3": 1},
    "another gateway": {"k1": "pa-dar-0018"},
    "another epoch": {"k2": bytes(8)},
    "zeros": {"k5": bytes(32)},
    "another sequence": {"k4": 999},
    "a sequence beyond all bounds": {"k4": 2**53},
}


@pytest.mark.parametrize("changes", USUAL.values(), ids=USUAL)
@pytest.mark.parametrize("first", [2, 23, 254, 65_534])
def test_what_is_usual_takes_one_pass(changes: dict[str, Any], first: int) -> None:
    wires = chain([payload, lambda *place: payload(*place, **changes), payload], first=first)
    at_once, one_by_one = both([b"".join(wires)])
    assert at_once is not None
    assert at_once == one_by_one


@pytest.mark.parametrize("changes", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_is_unusual_is_for_the_strict_way(changes: dict[str, Any], at: int) -> None:
    made: list[Any] = [payload, payload, payload]
    made[at] = lambda *place: payload(*place, **changes)
    at_once, one_by_one = both([b"".join(chain(made))])
    assert at_once is None
    assert len(one_by_one) == 3


def test_a_single_wrong_byte_anywhere_is_for_the_strict_way() -> None:
    wires = chain([payload] * 3)
    whole, find = b"".join(wires), {THUMBPRINT: signer_of(ED25519)}.get
    for at in range(len(whole)):
        assert verify_run([flip(whole, at)], NAME, Lane.TELEMETRY, find, NOON_US) is None, at


def test_the_strict_way_judges_what_stands_in_the_wrong_place() -> None:
    wires = chain([payload] * 4)
    first, second, third, fourth = wires
    orders = [
        (second, first, third), (first, third, fourth), (first, first, second), (first, second, third, third),
        (first, b"", second[:-1]), (first, b"\xa0", second), (first, b"\0"),
    ]  # fmt: skip
    for order in orders:
        assert both([b"".join(order)])[0] is None
    assert both([first + second, fourth])[0] is None
    assert both([b"".join(wires)], lane=Lane.STATUS)[0] is None
    assert both([b"".join(wires)], lane=Lane.ALARM)[0] is None


def test_a_signer_that_is_unknown_revoked_or_not_valid_is_for_the_strict_way() -> None:
    wires = chain([payload, lambda *place: payload(*place, k7=NOON_US + 50), payload])
    message = b"".join(wires)
    nobody: dict[bytes, Signer] = {}
    assert verify_run([message], NAME, Lane.TELEMETRY, nobody.get, NOON_US) is None
    assert verify_run([message], "pa-dar-0018", Lane.TELEMETRY, {THUMBPRINT: signer_of(ED25519)}.get, NOON_US) is None
    validities: list[dict[str, Any]] = [{"not_before_us": NOON_US + 3}, {"not_after_us": NOON_US + 40}]
    for changes in validities:
        at_once, one_by_one = both([message], **changes)
        assert at_once is None
        assert Refused("a signer that wasn't valid when the record occurred") in one_by_one
    at_once, one_by_one = both([message], revoked_us=NOON_US)
    assert at_once is None
    assert [type(verdict) for verdict in one_by_one] == [Unproven] * 3
    at_once, one_by_one = both([message], arrived_us=NOON_US + 200, not_after_us=NOON_US + 100)
    assert at_once == one_by_one
    assert at_once is not None
    assert all(verdict.expired for verdict in at_once)


def test_the_second_form_of_a_p256_signature_inside_a_run_is_refused() -> None:
    signer, previous = cose.Signer(P256, THUMBPRINT), sha256(b"before").digest()
    wires: list[bytes] = []
    for sequence in range(2, 5):
        wire = signer.sign("record", payload(sequence, previous))
        if sequence == 3:
            wire = wire[:-32] + (P256_ORDER - int.from_bytes(wire[-32:], "big")).to_bytes(32, "big")
        wires.append(wire)
        previous = sha256(wire).digest()
    at_once, one_by_one = both([b"".join(wires)], key=P256)
    assert at_once is None
    assert one_by_one[1] == Refused("an ESP256 signature with s above n/2")


PLAIN = st.one_of(
    st.integers(-(2**40), 2**40), st.floats(), st.booleans(), st.none(), st.text(max_size=25), st.binary(max_size=4)
)
DATA = st.dictionaries(
    st.text(max_size=24),
    st.recursive(PLAIN, lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=9)),
    max_size=6,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "k7": st.integers(-5, 2**54),
        "k8": st.lists(st.integers(-3, 2**33), min_size=2, max_size=4),
        "k9": st.text(max_size=66),
        "k10": st.text("abz09-", max_size=66),
        "k11": st.integers(0, 99),
        "k12": st.lists(st.integers(-(2**33), 2**33), max_size=4),
        "k13": DATA,
        "k14": st.integers(-1, 2**34),
        "k15": PLAIN,
    },
)


@settings(max_examples=40, deadline=None)
@given(fields=st.lists(FIELDS, min_size=1, max_size=4))
def test_whatever_a_gateway_signs_both_ways_say_the_same(fields: list[dict[str, Any]]) -> None:
    def maker(changes: dict[str, Any]) -> Any:
        return lambda *place: payload(*place, **changes)

    at_once, one_by_one = both([b"".join(chain([maker(changes) for changes in fields]))])
    assert at_once is None or repr(at_once) == repr(one_by_one)  # NaN is not itself


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_done_to_the_bytes_that_are_signed_both_ways_say_the_same(data: st.DataObject) -> None:
    """The gateway itself signs what is no record: the hardest case, since hashes and signatures are right."""

    def mutated(*place: Any) -> bytes:
        content = bytearray(payload(*place))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(content) - 1))
            how = data.draw(st.integers(0, 3))
            if how == 0:
                content[at] = data.draw(st.integers(0, 255))
            elif how == 1:
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            elif how == 2:
                content.insert(at, data.draw(st.sampled_from(b"\x00\x01\x18\x41\x60\x61\x81\xa0\xa1\xf6\xff")))
            else:
                del content[at]
        return bytes(content)

    made = [mutated if data.draw(st.booleans()) else payload for _ in range(3)]
    at_once, one_by_one = both([b"".join(chain(made))])
    assert at_once is None or repr(at_once) == repr(one_by_one)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_map_that_counts_its_keys_wrong_is_for_the_strict_way(by: int) -> None:
    def wrong(*place: Any) -> bytes:
        whole = payload(*place, k12=None)
        return bytes((whole[0] + by,)) + whole[1:]

    at_once, one_by_one = both([b"".join(chain([payload, wrong, payload]))])
    assert at_once is None
    assert isinstance(one_by_one[1], Refused)


def test_the_ledger_holds_the_same_by_columns_as_record_by_record(site: Site, tmp_path: Path) -> None:
    gateway = Gateway(site.own("gateway", NAME))
    records = gateway.measurements(12)
    centre = site.centre()
    learn(centre, gateway)
    topic = gateway.event_topic(Lane.TELEMETRY)

    async def stored(folder: Path, *, by_columns: bool) -> tuple[list[Any], list[Outcome]]:
        ledger = await Ledger.open(folder)
        outcomes: list[Outcome] = []
        for part in (records[:2], records[2:8], records[5:12]):
            actions = centre.receive_together(topic, [b"".join(part)], NOON_US, 0.0)
            actions = actions or centre.receive(topic, b"".join(part), NOON_US, 0.0)
            (batch,) = [action.batch for action in actions if isinstance(action, Store)]
            if not by_columns:
                batch = Batch(batch.gateway, batch.lane, batch.verified_us, list(batch.records))
            assert isinstance(batch.records, VerifiedRun) == (by_columns and part is not records[:2] and len(part) > 2)
            outcomes.append(await ledger.store(batch))
        await ledger.close()
        with sqlite3.connect(folder / LEDGER) as connection:
            tables = [connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("records", "spans")]
        connection.close()
        return tables, outcomes

    for name in ("columns", "records"):
        (tmp_path / name).mkdir()
    tables, outcomes = asyncio.run(stored(tmp_path / "columns", by_columns=True))
    assert (tables, outcomes) == asyncio.run(stored(tmp_path / "records", by_columns=False))
    assert [len(outcome.known) for outcome in outcomes] == [0, 0, 3]
    assert len(tables[0]) == 12
    assert {bytes(row[-1]) for row in tables[0]} == set(records)
    assert cbor2.loads(cbor2.loads(records[3]).value[2])[4] == 4
