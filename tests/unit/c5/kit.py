"""The other side of C5's tests: a gateway that signs real records, and a centre to give them to."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority
from gateway.c5.centre import Centre
from gateway.c5.signers import Signers
from gateway.c5.values import Action, Batch, Keep, Learn, Outcome, Remember, Store
from gateway.event import LANE_NAMES, Lane
from gateway.identity.keystore import Own, load_anchors, load_identity
from gateway.signing import cose, message
from gateway.signing.certificate import Revocations
from gateway.signing.chains import encode_chains
from gateway.signing.message import Head, Receipt, State
from gateway.signing.record import ZEROS, Clock, Record, encode

NOON_US = 1_790_000_000_000_000  # a moment within the certificates' validity (September 2026)
NTP = Clock(2, 5, 1000)
UNSYNCHRONISED = Clock(0, 2**32 - 1, 1000)
EPOCH = bytes.fromhex("00000029f70fee95")
NEXT_EPOCH = bytes.fromhex("0000002affc614a9")
ISSUED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class Site:
    """A certificate authority with whoever a test needs."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.create(folder, at=ISSUED_AT)
        self.anchors = load_anchors(self.authority.trust_anchors)
        self._own: dict[tuple[str, str], Own] = {}

    def own(self, role: Any, name: str, *, days: int = 731, folder: str | None = None) -> Own:
        key = (role, folder or name)
        if key not in self._own:
            authority = self.authority
            if folder:  # another certificate of the same name
                authority = Authority(authority.directory / folder, authority.issuer)
                authority.directory.mkdir(exist_ok=True)
                (authority.directory / role).mkdir(exist_ok=True)
            issued = authority.issue(role, name, days=days, at=ISSUED_AT)
            assert issued.signing_certificate
            assert issued.signing_key
            self._own[key] = load_identity(
                issued.signing_certificate, issued.signing_key, role=role, anchors=self.anchors, at=ISSUED_AT
            )
        return self._own[key]

    def revocations(self, *owns: Own, at: datetime) -> Revocations:
        """The issuing authority's list, with these on it since then."""
        issuer = self.authority.issuer
        builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, at, at + timedelta(days=7))
        for own in owns:
            serial = own.identity.certificate.serial_number
            entry = x509.RevokedCertificateBuilder(serial, at).build()
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(issuer.key, hashes.SHA256())
        return Revocations.load(signed.public_bytes(Encoding.PEM))

    def centre(self, revocations: Revocations | None = None) -> Centre:
        own = self.own("receiver", "c5-a")
        signer = cose.Signer(own.key, own.identity.thumbprint)
        return Centre("c5-a", signer, Signers(self.anchors, revocations))


class Gateway:
    """One start of a gateway, as far as C5 sees it: chains, states, certificates."""

    def __init__(self, own: Own, epoch: bytes = EPOCH, *, before: "Gateway | None" = None) -> None:
        self.own = own
        self.name = own.identity.name
        self.epoch = epoch
        self.signer = cose.Signer(own.key, own.identity.thumbprint)
        self.heads: dict[Lane, Head] = dict(before.heads) if before else {}
        self.number = 0

    def record(
        self,
        lane: Lane = Lane.ALARM,
        type_: str = "panic.pressed",
        *,
        clock: Clock = NTP,
        occurred_us: int = NOON_US,
        event_number: int | None = None,
        source: str = "0c500042",
        data: Mapping[str, Any] | None = None,
    ) -> bytes:
        head = self.heads.get(lane)
        same = head is not None and head.epoch == self.epoch
        sequence = head.sequence + 1 if head and same else 1
        wire = self.signer.sign(
            "record",
            encode(
                Record(
                    self.name,
                    self.epoch,
                    lane,
                    sequence,
                    head.digest if head else ZEROS,
                    (head.epoch, head.sequence) if head and not same else None,
                    occurred_us,
                    clock,
                    type_,
                    source,
                    event_number,
                    data=data,
                )
            ),
        )
        self.heads[lane] = Head(self.epoch, sequence, sha256(wire).digest())
        return wire

    def started(self, *, unstored: bool = False) -> bytes:
        data = {"version": "0.1.0", "start_count": 1} | ({"unstored": True} if unstored else {})
        return self.record(Lane.STATUS, "gateway.started", data=data)

    def measurements(self, count: int) -> list[bytes]:
        return [self.record(Lane.TELEMETRY, "measurement", data={"temperature_c": 20.5}) for _ in range(count)]

    def state(
        self,
        *,
        online: bool = True,
        connection: int = 1,
        number: int | None = None,
        time_us: int = NOON_US,
        interval: int = 30,
        site: str = "yaviza-tower-3",
        health: Mapping[str, Any] | None = None,
    ) -> bytes:
        self.number += 1 if online else 0
        state = State(
            self.name,
            self.epoch,
            online,
            time_us,
            self.heads or None,
            "0.1.0",
            interval,
            int.from_bytes(self.epoch[:4], "big"),
            (self.number if online else 0) if number is None else number,
            connection,
            "senafront",
            site,
            health,
        )
        return self.signer.sign("state", message.encode(state))

    @property
    def certificates(self) -> bytes:
        return encode_chains([self.own.chain])

    def topic(self, channel: str) -> str:
        return f"c5/v1/senafront/yaviza-tower-3/{self.name}/{channel}"

    def event_topic(self, lane: Lane) -> str:
        return self.topic(f"event/{LANE_NAMES[lane]}")


def flip(wire: bytes, at: int = -1) -> bytes:
    """Return these bytes with one bit of one of them turned."""
    changed = bytearray(wire)
    changed[at] ^= 1
    return bytes(changed)


def learn(centre: Centre, gateway: Gateway, now: float = 0.0) -> None:
    """Let a centre know a gateway's certificate."""
    actions = centre.receive(gateway.topic("certificates"), gateway.certificates, NOON_US, now)
    assert [type(action) for action in actions] == [Learn]


def give(
    centre: Centre, gateway: Gateway, lane: Lane, records: Sequence[bytes], now: float = 0.0
) -> tuple[Batch | None, list[Action]]:
    """Give records to a centre and let its ledger commit them; return the batch, and what else was to be done."""
    actions = centre.receive(gateway.event_topic(lane), b"".join(records), NOON_US, now)
    batch = None
    others: list[Action] = []
    for action in actions:
        match action:
            case Store(found):
                assert batch is None
                batch = found
                centre.stored(batch, Outcome(), now)
            case Keep() | Learn() | Remember():
                others.append(action)
    return batch, others


def tell(centre: Centre, gateway: Gateway, state: bytes, now: float, seen_us: int = NOON_US) -> list[Action]:
    """Give a state to a centre."""
    return centre.receive(gateway.topic("state"), state, seen_us, now)


def receipts(centre: Centre, now: float) -> list[Receipt]:
    """Return the receipts that are due, read back."""
    found: list[Receipt] = []
    for _topic, wire in centre.receipts(now, NOON_US):
        envelope = cose.parse(wire, "receipt")
        assert isinstance(envelope, cose.Envelope)
        receipt = message.decode("receipt", envelope.payload)
        assert isinstance(receipt, Receipt)
        found.append(receipt)
    return found


def reported(centre: Centre) -> dict[str, list[str]]:
    """Return what has been reported since the last call: details by type."""
    by_type: dict[str, list[str]] = {}
    for tally in centre.reports.drain():
        by_type.setdefault(tally.report.type, []).append(tally.report.detail)
    return by_type
