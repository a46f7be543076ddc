"""A lane's chain, whatever is signed."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.event import Event, Lane
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.signing.message import Head
from gateway.signing.record import ZEROS, Clock

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
CLOCK = Clock(2, 5, 0)


def test_each_record_points_to_the_whole_one_before_it() -> None:
    chain = Chain("gw-1", b"epoch--1", Lane.STATUS, None, SIGNER)
    assert (chain.sequence, chain.head) == (0, None)
    signed = [chain.sign(Event("power.lost", "0c500042"), 5, CLOCK, None) for _ in range(4)]
    assert [s.record.sequence for s in signed] == [1, 2, 3, 4]
    assert [s.record.previous for s in signed] == [ZEROS, *(hashlib.sha256(s.wire).digest() for s in signed[:3])]
    assert {s.record.link for s in signed} == {None}
    assert chain.head == Head(b"epoch--1", 4, signed[-1].digest)


def test_an_epoch_s_first_record_names_the_last_durable_one_and_the_second_does_not() -> None:
    before = Head(b"epoch--0", 41, b"\x05" * 32)
    chain = Chain("gw-1", b"epoch--1", Lane.ALARM, before, SIGNER)
    assert chain.head == before
    first, second = (chain.sign(Event("panic.pressed", "0c500042"), 5, CLOCK, None).record for _ in range(2))
    assert (first.previous, first.link) == (before.digest, (b"epoch--0", 41))
    assert second.link is None


def test_a_signature_that_fails_takes_no_sequence() -> None:
    class Broken(Signer):
        fails = True

        def sign(self, kind: str, payload: bytes) -> bytes:
            if self.fails:
                raise OSError
            return super().sign(kind, payload)

    signer = Broken(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
    chain = Chain("gw-1", b"epoch--1", Lane.ALARM, None, signer)
    try:
        chain.sign(Event("panic.pressed", "0c500042"), 5, CLOCK, None)
    except OSError:
        signer.fails = False
    assert chain.sign(Event("panic.pressed", "0c500042"), 5, CLOCK, None).record.sequence == 1
