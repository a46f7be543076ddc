"""COSE_Sign1 (RFC 9052) in the one form that wire.md allows.

    18([ protected: {1: alg, 3: "application/vnd.c5.<kind>+cbor", 34: [-15, thumbprint]}, {}, payload, signature ])

Everything but the payload, the thumbprint and the signature is fixed by the kind and the algorithm, so reading is a
comparison with a template: what differs in a single byte is refused. Keys and algorithms are cwt's work; what they sign
(RFC 9052, section 4.4) is cut from those same bytes, which are deterministic already (docs/decisions/0014).

Not checked here: whether the thumbprint's certificate is known, valid and of the right role (`certificate`), and what
the payload says (`record`, `message`).
"""

import hashlib
from typing import Final, NamedTuple

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cwt import COSEKey, VerifyError

from gateway.errors import Refused

ED25519: Final = -19  # RFC 9864, fully specified
ESP256: Final = -9  # RFC 9864: ECDSA on P-256 with SHA-256
RECORD_MAX: Final = 4096  # bytes of a whole record
MESSAGE_MAX: Final = 16_384  # bytes of any other signed message, and of a sequence

KINDS: Final = ("record", "state", "receipt", "command", "reply", "centre")
SIGNATURE_SIZE: Final = 64
THUMBPRINT_SIZE: Final = 8
_TAG_AND_ARRAY: Final = b"\xd2\x84"
_NO_UNPROTECTED: Final = b"\xa0"
_BREAK: Final = b"\xff"
_NO_AAD: Final = b"\x40"
_SIGNATURE1: Final = b"\x84\x6aSignature1"  # how a Sig_structure of COSE_Sign1 begins
SIGNATURE_HEAD: Final = b"\x58\x40"
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HIGHEST_S: Final = (_P256_ORDER // 2).to_bytes(32, "big")

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey


def _content_type(kind: str) -> str:
    return f"application/vnd.c5.{kind}+cbor"


def _header(kind: str, algorithm: int, thumbprint: bytes) -> dict[int, object]:
    return {1: algorithm, 3: _content_type(kind), 34: [-15, thumbprint]}


def _template(kind: str, algorithm: int) -> bytes:
    """Return what such a message begins with, up to its thumbprint (the last thing in the protected header)."""
    protected = cbor2.dumps(_header(kind, algorithm, bytes(THUMBPRINT_SIZE)), canonical=True)
    return (_TAG_AND_ARRAY + cbor2.dumps(protected))[:-THUMBPRINT_SIZE]


_TEMPLATES: Final = {kind: tuple((alg, _template(kind, alg)) for alg in (ED25519, ESP256)) for kind in KINDS}


class Envelope(NamedTuple):
    """A COSE_Sign1 of the right form, whose signature nobody has checked yet."""

    kind: str
    algorithm: int
    thumbprint: bytes
    payload: bytes
    wire: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the whole COSE_Sign1: what the next record of its lane points back to."""
        return hashlib.sha256(self.wire).digest()


def _byte_string(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the byte string whose head is at `at` begins and ends; None if its head isn't the shortest."""
    head = data[at : at + 3]
    if len(head) < 1:
        return None
    if 0x40 <= head[0] < 0x58:
        begin, length = at + 1, head[0] - 0x40
    elif head[0] == 0x58 and len(head) >= 2 and head[1] >= 24:
        begin, length = at + 2, head[1]
    elif head[0] == 0x59 and len(head) == 3 and head[1] != 0:
        begin, length = at + 3, head[1] << 8 | head[2]
    else:
        return None
    return (begin, begin + length) if begin + length <= len(data) else None


def _byte_string_head(length: int) -> bytes:
    """Return the shortest head of a byte string of so many bytes, at most 64 KiB."""
    if length < 24:
        return bytes((0x40 + length,))
    return bytes((0x58, length)) if length < 256 else b"\x59" + length.to_bytes(2, "big")


def parse(wire: bytes, kind: str) -> Envelope | Refused:
    """Read one COSE_Sign1 of this kind, refusing any other form of it. The signature is not checked."""
    if len(wire) > (RECORD_MAX if kind == "record" else MESSAGE_MAX):
        return Refused(f"a {kind} too long")
    for algorithm, template in _TEMPLATES[kind]:  # noqa: B007  # used below
        if wire.startswith(template):
            break
    else:
        return Refused(f"not the header of a {kind}")
    after = len(template) + THUMBPRINT_SIZE
    if wire[after : after + 1] != _NO_UNPROTECTED:
        return Refused("something in the unprotected header")
    payload = _byte_string(wire, after + 1)
    if payload is None:
        return Refused("a payload that is no byte string")
    begin, end = payload
    if len(wire) != end + 2 + SIGNATURE_SIZE or wire[end : end + 2] != SIGNATURE_HEAD:
        return Refused("a signature of another length, or bytes after it")
    if algorithm == ESP256 and not has_low_s(wire):
        return Refused("an ESP256 signature with s above n/2")
    return Envelope(kind, algorithm, wire[len(template) : after], wire[begin:end], wire)


def has_low_s(wire: bytes) -> bool:
    """Whether the ESP256 signature at the end of this is the one of its two forms that is allowed."""
    return wire[-32:] <= _HIGHEST_S


def read_header(data: bytes, kind: str) -> tuple[int, bytes, int] | None:
    """Return algorithm and thumbprint of what `data` begins with, and where its payload's head is; else None."""
    for algorithm, template in _TEMPLATES[kind]:
        after = len(template) + THUMBPRINT_SIZE
        if data.startswith(template) and data.startswith(_NO_UNPROTECTED, after):
            return algorithm, data[len(template) : after], after + 1
    return None


def split_sequence(data: bytes) -> list[bytes]:
    """Cut a CBOR sequence (RFC 8742) into its items; what can't be cut comes out whole, as the last, to be refused.

    The items are not checked: `parse` does that. The caller bounds the length of `data`.
    """
    items: list[bytes] = []
    at = 0
    while at < len(data):
        end = end_of_sign1(data, at) or end_of_item(data, at) or len(data)
        items.append(data[at:end])
        at = end
    return items


def end_of_sign1(data: bytes, at: int) -> int | None:
    """Return where the COSE_Sign1 that begins at `at` ends; None if none does. Only what tells its length is read."""
    if not data.startswith(_TAG_AND_ARRAY, at):
        return None
    protected = _byte_string(data, at + 2)
    if protected is None or data[protected[1] : protected[1] + 1] != _NO_UNPROTECTED:
        return None
    payload = _byte_string(data, protected[1] + 1)
    if payload is None or not data.startswith(SIGNATURE_HEAD, payload[1]):
        return None
    end = payload[1] + 2 + SIGNATURE_SIZE
    return end if end <= len(data) else None


def end_of_item(data: bytes, at: int, deepest: int | None = None) -> int | None:
    """Find the end of an item of another form, so that one bad record doesn't take the rest with it.

    Nothing is interpreted: an item that is well-formed ends somewhere, whatever its tags promise and don't keep. One
    that goes deeper than `deepest` is given up there: who begins at many places must not walk to the end from each.
    """
    unfinished = [1]  # items still to come at each depth; -1: until a break
    while unfinished:
        if deepest is not None and len(unfinished) > deepest + 1:
            return None
        if unfinished[-1] == 0 or (unfinished[-1] < 0 and data[at : at + 1] == _BREAK):
            at += unfinished.pop() < 0
            continue
        if at >= len(data):
            return None
        major, count = data[at] >> 5, data[at] & 31
        at += 1
        unfinished[-1] -= unfinished[-1] > 0
        if count == 31 and 2 <= major <= 5:
            unfinished.append(-1)
            continue
        if count > 27:
            return None
        if count >= 24:
            size = 1 << count - 24
            count = int.from_bytes(data[at : at + size], "big")
            at += size
        if major in (2, 3):
            at += count
        elif 4 <= major <= 6:
            unfinished.append((count, 2 * count, 1)[major - 4])
    return at if at <= len(data) else None


class VerifyingKey:
    """A signer's public key, for one algorithm: Ed25519 or P-256, as `certificate.judge` let it through."""

    def __init__(self, public: object) -> None:
        match public:
            case Ed25519PublicKey():
                self.algorithm = ED25519
                raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
                self._key = COSEKey.new({1: 1, 3: ED25519, -1: 6, -2: raw, 4: [2]})
            case EllipticCurvePublicKey(curve=SECP256R1()):
                self.algorithm = ESP256
                self._key = COSEKey.new({1: 2, 3: ESP256, -1: 1, **_point(public), 4: [2]})
            case _:
                raise AssertionError(public)

    def verify(self, envelope: Envelope) -> bool:
        """Whether this key made the envelope's signature, by this key's algorithm."""
        if envelope.algorithm != self.algorithm:
            return False
        wire = envelope.wire
        end = 4 + wire[3]  # of the protected header's byte string
        to_be_signed = _SIGNATURE1 + wire[2:end] + _NO_AAD + wire[end + 1 : -2 - SIGNATURE_SIZE]
        try:
            self._key.verify(to_be_signed, wire[-SIGNATURE_SIZE:])
        except VerifyError:
            return False
        return True


class Signer:
    """A private key and the thumbprint of the certificate that vouches for it. Never printed, never logged."""

    def __init__(self, private: PrivateKey, thumbprint: bytes) -> None:
        assert len(thumbprint) == THUMBPRINT_SIZE
        self.thumbprint = thumbprint
        match private:
            case Ed25519PrivateKey():
                self.algorithm = ED25519
                secret = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
                public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
                self._key = COSEKey.new({1: 1, 3: ED25519, -1: 6, -2: public, -4: secret, 4: [1]})
            case EllipticCurvePrivateKey(curve=SECP256R1()):
                self.algorithm = ESP256
                scalar = private.private_numbers().private_value.to_bytes(32, "big")
                point = _point(private.public_key())
                self._key = COSEKey.new({1: 2, 3: ESP256, -1: 1, **point, -4: scalar, 4: [1]})
            case _:
                raise AssertionError(type(private))
        headers = {kind: cbor2.dumps(_header(kind, self.algorithm, thumbprint), canonical=True) for kind in KINDS}
        self._protected = {kind: cbor2.dumps(header) for kind, header in headers.items()}

    def sign(self, kind: str, payload: bytes) -> bytes:
        """Return the whole COSE_Sign1 of this payload, at most 4 KiB for a record and 16 KiB for a message."""
        protected, content = self._protected[kind], _byte_string_head(len(payload)) + payload
        signature: bytes = self._key.sign(_SIGNATURE1 + protected + _NO_AAD + content)
        if self.algorithm == ESP256:
            s = int.from_bytes(signature[32:], "big")
            signature = signature[:32] + min(s, _P256_ORDER - s).to_bytes(32, "big")
        wire = _TAG_AND_ARRAY + protected + _NO_UNPROTECTED + content + SIGNATURE_HEAD + signature
        assert len(wire) <= (RECORD_MAX if kind == "record" else MESSAGE_MAX), len(wire)
        return wire


def _point(public: EllipticCurvePublicKey) -> dict[int, bytes]:
    numbers = public.public_numbers()
    return {-2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
