"""What is signed: CBOR, envelopes, records, runs, messages, chains of certificates, receipts, exports, topics."""

import warnings
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway import topics
from gateway.c5.importing import Reading
from gateway.c5.signers import Signer
from gateway.c5.verifier import Verified, verify, verify_run
from gateway.delivery.coverage import Claim, Coverage, judge
from gateway.delivery.item import Run
from gateway.errors import CertificateError, Refused
from gateway.event import Lane, Position
from gateway.ranges import RangeSet
from gateway.signing import certificate, cose, deterministic, export, message, record
from gateway.signing.certificate import Anchors, Identity, Revocations, Revoked
from gateway.signing.chains import decode_chain, decode_chains, encode_chain, encode_chains
from gateway.signing.message import Centre, Command, Head, Receipt, Reply, State
from gateway.signing.record import ZEROS, Clock, Record
from tests.fuzz.people import GATEWAY, NOW, NOW_US, anchors, person, revocations
from tests.fuzz.target import CUT, Target, number, parts
from tests.fuzz.vectors import vectors, wires

EPOCH = bytes.fromhex("0000000201020304")
OLD = bytes.fromhex("00000001ffffffff")
ROUTE = topics.Route("senafront", "yaviza", GATEWAY)
KNOWN_KEYS = {
    "record": frozenset({*range(1, 15)}),
    "state": frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}),
    "receipt": frozenset({1, 2, 3, 4}),
    "command": frozenset({1, 2, 3, 4, 5, 6, 8}),
    "reply": frozenset({1, 2, 3, 4, 5, 6}),
    "centre": frozenset({1, 2}),
}
MESSAGES: Sequence[message.Message] = (
    State(
        GATEWAY,
        EPOCH,
        True,
        NOW_US,
        {Lane.ALARM: Head(EPOCH, 7, bytes(range(32)))},
        "0.1.0",
        30,
        2,
        5,
        1,
        "senafront",
        "yaviza",
    ),
    State(
        GATEWAY,
        EPOCH,
        False,
        NOW_US,
        None,
        "0.1.0",
        30,
        2,
        0,
        1,
        "senafront",
        "yaviza",
        {"devices": {"0c500042": [1, 2.5]}},
    ),
    Receipt(
        GATEWAY, NOW_US, {Lane.ALARM: [(EPOCH, 7), (OLD, 3)], Lane.STATUS: [(EPOCH, 2)]}, {Lane.ALARM: [(EPOCH, 2, 3)]}
    ),
    Command(GATEWAY, b"sixteen bytes id", NOW_US, NOW_US + 30_000_000, "ping", EPOCH),
    Command(
        GATEWAY,
        b"sixteen bytes ic",
        NOW_US,
        NOW_US + 30_000_000,
        "records.resend",
        EPOCH,
        {"lane": 0, "epoch": OLD, "from": 1, "to": 3},
    ),
    Reply(GATEWAY, b"sixteen bytes id", NOW_US, "failed", "no such device", {"queued": 3}),
    Centre("c5-a", NOW_US),
)


def a_record(sequence: int, previous: bytes = ZEROS, **given: Any) -> Record:
    """Return a record of the telemetry lane."""
    fields: dict[str, Any] = {
        "gateway": GATEWAY,
        "epoch": EPOCH,
        "lane": Lane.TELEMETRY,
        "sequence": sequence,
        "previous": previous,
        "link": None,
        "occurred_us": NOW_US + sequence,
        "clock": Clock(2, 5, 1000 * sequence),
        "type": "measurement",
        "source": "0c500042",
        "data": {"temperature_c": 21.5, "battery_v": 2.9, "door_open": 1.0},
    }
    return Record(**{**fields, **given})


RECORDS = (
    a_record(2, bytes([1] * 32)),
    a_record(1),
    a_record(1, bytes([1] * 32), link=(OLD, 9)),
    a_record(300, bytes([2] * 32), position=Position(88_000_000, -796_000_000, 500), flags=1),
    a_record(
        3,
        bytes([1] * 32),
        lane=Lane.ALARM,
        type="panic.pressed",
        event_number=7,
        data={"age_ms": 250, "payload": b"\xa1\x01\x07"},
    ),
    a_record(
        4,
        bytes([1] * 32),
        lane=Lane.STATUS,
        type="records.unavailable",
        data={"lane": 0, "ranges": [[OLD, 1, 3]], "count": 3, "reason": "lost"},
        flags=2,
    ),
)


def cbor(data: bytes) -> None:
    """One item: taken only in its one form, and whoever cuts a sequence ends it at the same place."""
    value = deterministic.decode(data)
    assert deterministic.is_deterministic(data) is not isinstance(value, Refused)
    if not isinstance(value, Refused):
        assert deterministic.encode(value) == data
        assert not isinstance(deterministic.read(data), Refused)
        assert deterministic.is_plain(data)
    if not isinstance(deterministic.read(data), Refused):
        assert cose.end_of_item(data, 0) == len(data)


def record_(data: bytes) -> None:
    """A record's payload: what is taken means the same bytes, and lenient reading finds the same."""
    read, lenient = record.decode(data), record.decode(data, strict=False)
    if isinstance(read, Refused):
        if isinstance(lenient, Record):
            assert not deterministic.is_deterministic(data)
        return
    assert isinstance(lenient, Record)
    assert record.encode(lenient) == record.encode(read)
    kept: Any = deterministic.decode(data)
    if kept.keys() <= KNOWN_KEYS["record"] and kept.get(14) != 0:
        assert record.encode(read) == data
    assert read.identity.count("/") == 3


def message_(data: bytes) -> None:
    """The payload of another signed message: the same."""
    kind = cose.KINDS[1 + number(data, 0, len(cose.KINDS) - 1)]
    read = message.decode(kind, data[1:])
    if isinstance(read, Refused):
        return
    assert message.KIND_OF[type(read)] == kind
    kept: Any = deterministic.decode(data[1:])
    assert all(type(key) is int for key in kept)
    if kept.keys() <= KNOWN_KEYS[kind] and _whole(kept):
        assert message.encode(read) == data[1:]


def _whole(kept: dict[int, Any]) -> bool:
    """Whether a map holds nothing that is left out when it is written: empty lists of a receipt, and what is null."""
    entries = [kept.get(key) for key in (3, 4) if type(kept.get(key)) is dict]
    return (
        all(each != {} or key == 3 for key, each in zip((3, 4), entries, strict=False))
        and not any([] in each.values() for each in entries if each)
        and None not in kept.values()
        and kept.get(4) != {}
    )


def envelope(data: bytes) -> None:
    """An envelope: fixed to the byte by what is read of it; a sequence is cut without losing one."""
    for kind in cose.KINDS:
        read = cose.parse(data, kind)
        if isinstance(read, Refused):
            continue
        assert (read.wire, cose.end_of_sign1(data, 0)) == (data, len(data))
        protected = deterministic.encode(
            {1: read.algorithm, 3: f"application/vnd.c5.{kind}+cbor", 34: [-15, read.thumbprint]}
        )
        assert cbor2.dumps(cbor2.CBORTag(18, [protected, {}, read.payload, data[-64:]]), canonical=True) == data
        person("gateway", GATEWAY).key.verify(read)
    items = cose.split_sequence(data)
    assert b"".join(items) == data
    assert b"" not in items
    for item in items[:-1]:
        assert cose.split_sequence(item) == [item]


class _Anyone:
    """A key that says yes: whose signature it is isn't the question here."""

    def verify(self, _envelope: object) -> bool:
        return True


def run(data: bytes) -> None:
    """A run, read in one pass, and record by record: never more is believed, and nothing else."""
    sign = person("gateway", GATEWAY).signer
    head = sign.sign("record", b"x" * 30)[: -64 - 2 - 30 - 2]
    wired: list[bytes] = []
    for part in parts(data)[:16]:
        payload = part[:3000]
        at = payload.find(b"\x05\x58\x20")
        if wired and at >= 0 and len(payload) >= at + 35:
            payload = payload[: at + 3] + sha256(wired[-1]).digest() + payload[at + 35 :]
        wired.append(head + cose._byte_string_head(len(payload)) + payload + b"\x58\x40" + bytes([7]) * 64)
    together = b"".join(wired)
    signer = Signer(GATEWAY, sign.thumbprint, _Anyone(), 0, 2 * NOW_US, None, (), NOW_US)  # type: ignore[arg-type]  # it says yes
    for sequences in ([together], wired):
        fast = verify_run(sequences, GATEWAY, Lane.TELEMETRY, lambda _thumbprint: signer, NOW_US)
        if fast is not None:
            items = [item for sequence in sequences for item in cose.split_sequence(sequence)]
            assert [_said(each) for each in fast] == [
                _said(each) for each in verify(items, GATEWAY, Lane.TELEMETRY, lambda _thumbprint: signer, NOW_US)
            ]


def _said(verdict: Any) -> Any:
    """Return a verdict so that it can be compared: NaN is not equal to itself."""
    return (record.encode(verdict.record), *verdict[1:]) if isinstance(verdict, Verified) else verdict


def chains(data: bytes) -> None:
    """Chains: taken only in their one form."""
    one, several = decode_chain(data), decode_chains(data)
    assert isinstance(one, Refused) or encode_chain(one) == data
    assert isinstance(several, Refused) or encode_chains(several) == data


def _issued() -> set[bytes]:
    return {person(*who).chain[0] for who in PEOPLE} | {person("gateway", "gw-old", days=30).chain[0]}


PEOPLE = (("gateway", GATEWAY), ("receiver", "c5-a"), ("commander", "boss"))
_SINCE = NOW - timedelta(days=1)
_OF_GATEWAY = x509.load_der_x509_certificate(person("gateway", GATEWAY).chain[0]).serial_number


def certificate_(data: bytes) -> None:
    """A chain of DER certificates: whoever is believed holds a certificate that was issued, to the byte."""
    chain = parts(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for revoked in (None, REVOKED):
            found = certificate.judge(chain, anchors(), NOW, revoked)
            if isinstance(found, Identity):
                assert chain[0] in _issued()
                assert found.thumbprint == certificate.thumbprint(chain[0])
            if isinstance(found, Revoked):
                assert chain[0] == person("gateway", GATEWAY).chain[0]


REVOKED = Revocations.load(revocations(_OF_GATEWAY, _SINCE))


def pem(data: bytes) -> None:
    """Files that an administrator puts there: anchors and revocation lists, refused as what they are."""
    for load in (Anchors.load, Revocations.load):
        try:
            read = load(data)
        except CertificateError:
            continue
        if isinstance(read, Revocations):
            read.stale(NOW)
            certificate.judge(person("gateway", GATEWAY).chain, anchors(), NOW, read)
        else:
            certificate.judge(person("gateway", GATEWAY).chain, read, NOW)


def receipt(data: bytes) -> None:
    """A receipt's ranges: nothing counts that it doesn't say, or that was never signed; what C5 has only grows."""
    coverage = Coverage()
    for part in parts(data)[:4]:
        said = message.decode("receipt", part)
        if not isinstance(said, Receipt):
            continue
        signed = {Lane.ALARM: 9, Lane.STATUS: 0, Lane.TELEMETRY: 2**40}
        claim = judge(said.up_to, said.missing, present=EPOCH, signed=signed, ordinals={EPOCH: 2, OLD: 1})
        if not isinstance(claim, Claim):
            assert any(
                epoch == EPOCH and last > signed[lane] for lane, all_ in said.up_to.items() for epoch, last in all_
            )
            continue
        for each in claim.covered:
            epoch = {2: EPOCH, 1: OLD}[each.ordinal]
            assert 1 <= each.first <= each.last <= max(last for other, last in said.up_to[each.lane] if other == epoch)
            holes = [entry for entry in said.missing.get(each.lane, ()) if entry[0] == epoch]
            assert not any(first <= each.last and each.first <= last for _epoch, first, last in holes)
        before = {key: RangeSet(had) for key, had in coverage._has.items()}
        new = coverage.add(claim.covered)
        assert coverage.add(claim.covered) == []
        assert all(
            not RangeSet(had).missing(*span) for key, had in coverage._has.items() for span in before.get(key, ())
        )
        assert not new or all(
            coverage.left_of(Run(each.lane, each.ordinal, each.first, each.last)) == [] for each in new
        )


def topic(data: bytes) -> None:
    """A topic: what is taken is what would be written."""
    text = data.decode("utf-8", "surrogateescape")
    read = topics.parse(text)
    if read is not None:
        assert read.route.topic(read.channel) == text
        assert read.lane is None or read.route.event(read.lane) == text


def export_(data: bytes) -> None:
    """A file of records: every byte is in an item or a scrap, however the file is read; and it becomes messages."""
    found = list(export.items(_reader(data, 1 << 20)))
    small = list(export.items(_reader(data, 64 + number(data, 5, 97))))
    assert small == found
    joined = b"".join(each if isinstance(each, bytes) else each.data for each in found)
    assert joined == data
    reading = Reading(found)
    for to, payload in reading.messages():
        arrival = topics.parse(to)
        assert arrival is not None
        assert len(payload) <= (export.ITEM_MAX if arrival.channel == "certificates" else cose.MESSAGE_MAX)
    assert reading.records == sum(isinstance(each, bytes) and export.is_record(each) for each in found)


def _reader(data: bytes, at_once: int) -> Any:
    place = 0

    def read(size: int) -> bytes:
        nonlocal place
        piece = data[place : place + min(size, at_once)]
        place += len(piece)
        return piece

    return read


def _export_seeds() -> list[bytes]:
    signer = person("gateway", GATEWAY).signer
    records = [signer.sign("record", record.encode(each)) for each in RECORDS[:3]]
    header = next(iter(export.headers(ROUTE, [person("gateway", GATEWAY).chain])))
    whole = header + export.lane(Lane.TELEMETRY) + b"".join(records) + export.end(3)
    return [whole, whole[:-3], whole + whole, export.end(0), header[:40], b"noise" + whole, records[0]]


def _record_seeds() -> list[bytes]:
    return [*map(record.encode, RECORDS), *wires("record", "chain", key="payload")]


def _wire_seeds() -> list[bytes]:
    own = person("gateway", GATEWAY).signer
    mine = [
        own.sign("record", record.encode(RECORDS[0])),
        *(own.sign(message.KIND_OF[type(m)], message.encode(m)) for m in MESSAGES),
    ]
    theirs = wires("record", "chain", "p256_records", "rejected", "held", key="cose") + wires(
        "message", "messages", "rejected", key="cose"
    )
    return [*mine, *theirs, mine[0] + mine[1], bytes.fromhex(vectors("message")["sequence"]["wire"])[:4000]]


def _run_seeds() -> list[bytes]:
    usual = [record.encode(a_record(number_, bytes([1] * 32))) for number_ in range(2, 6)]
    return [usual[0], CUT.join(usual), CUT.join([_record_seeds()[3], *usual[:2]]), CUT.join(_record_seeds()[:6])]


def _kind_seeds() -> list[bytes]:
    own = [bytes([cose.KINDS.index(message.KIND_OF[type(m)]) - 1]) + message.encode(m) for m in MESSAGES]
    theirs = [
        bytes([cose.KINDS.index(entry["kind"]) - 1]) + bytes.fromhex(entry["payload"])
        for entry in vectors("message")["messages"]
    ]
    return own + theirs


_SIGNING = "gateway.signing."
_URNS = (
    b"urn:c5:gateway:gw-1",
    b"urn:c5:commander:boss",
    b"\x30\x82",
    b"\x06\x03\x55\x1d\x11",
    b"\x01\x01\xff",
    b"\x05\x00",
    b"\x30\x80",
)
TARGETS = (
    Target("cbor", cbor, _record_seeds, (_SIGNING + "deterministic", _SIGNING + "cose"), "cbor"),
    Target(
        "record", record_, _record_seeds, (_SIGNING + "record", _SIGNING + "deterministic", "gateway.topics"), "cbor"
    ),
    Target("message", message_, _kind_seeds, (_SIGNING + "message", _SIGNING + "deterministic"), "cbor", head=1),
    Target("envelope", envelope, _wire_seeds, (_SIGNING + "cose",), "cbor", words=(b"\xd2\x84", b"\xa0", b"\x58\x40")),
    Target("run", run, _run_seeds, (_SIGNING + "run", "gateway.c5.verifier", _SIGNING + "record"), "cbor", most=8192),
    Target(
        "chains",
        chains,
        lambda: [encode_chain(person(*PEOPLE[0]).chain), encode_chains([person(*who).chain for who in PEOPLE])],
        (_SIGNING + "chains",),
        "cbor",
        most=6000,
    ),
    Target(
        "certificate",
        certificate_,
        lambda: (
            [CUT.join(person(*who).chain) for who in PEOPLE]
            + [CUT.join(person("gateway", "gw-old", days=30).chain), person(*PEOPLE[0]).chain[0]]
        ),
        (_SIGNING + "certificate",),
        words=_URNS,
    ),
    Target(
        "pem",
        pem,
        lambda: [
            revocations(_OF_GATEWAY, _SINCE),
            b"".join(
                x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in person(*PEOPLE[0]).chain
            ),
        ],
        (_SIGNING + "certificate",),
        "text",
        words=(b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----", b"-----BEGIN CERTIFICATE-----"),
    ),
    Target(
        "receipt",
        receipt,
        lambda: [message.encode(MESSAGES[2]), CUT.join([message.encode(MESSAGES[2])] * 2)],
        ("gateway.delivery.coverage", "gateway.ranges", _SIGNING + "message"),
        "cbor",
    ),
    Target(
        "topic",
        topic,
        lambda: [ROUTE.topic(channel).encode() for channel in ("event/alarm", "state", "command")],
        ("gateway.topics",),
        words=(b"/", b"event/", b"c5/v1", b"certificates", b"-", b"+", b"#"),
        most=300,
    ),
    Target(
        "export",
        export_,
        _export_seeds,
        (_SIGNING + "export", "gateway.c5.importing", _SIGNING + "cose"),
        "cbor",
        most=3000,
        words=(b"\xd2\x84", b"\x86\x69c5-export\x01", b"\x82\x6dc5-export-end", b"\x00", b"\x01", b"\x02"),
    ),
)
