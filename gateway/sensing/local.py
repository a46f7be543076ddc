"""Who may raise which event over HTTPS, and what makes two requests the same: the rules of local input.

1. A source is known by a token, of which only the SHA-256 is held, or by a certificate that TLS has verified. What
   names nobody is nobody's; what names two sources is nobody's either.
2. A source raises the types that the settings give it, as often as they say. Each type has a bucket of its own: a flood
   of one leaves the others through.
3. A request is its idempotency key: the same one again makes no second record. The record's event number comes from
   source and key, so that C5 too sees one happening where the gateway died between the alarm's leaving and its commit
   (wire.md, section 1 "Events").

Sources: draft-ietf-httpapi-idempotency-key-header; RFC 6750 (bearer tokens); RFC 8941 (an item that is a string).
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import Refused
from gateway.event import Position
from gateway.sensing.contact import MEANINGS

TYPES: Final = (*MEANINGS, *dict.fromkeys(end for end in MEANINGS.values() if end is not None))
KEY_MIN: Final = 16  # characters: a key that counts from 1 begins again after a restart, and would hide a new alarm
KEY_MAX: Final = 64
NUMBER_BITS: Final = 53  # what a record's reader keeps exactly (signing.record.INT_MAX)
TOKEN_MAX: Final = 512  # characters
_KEY: Final = re.compile(r'"?([A-Za-z0-9._~:/+=-]{%d,%d})"?' % (KEY_MIN, KEY_MAX))  # noqa: UP031  # braces in it
TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,%d}" % TOKEN_MAX)  # noqa: UP031  # same
_BEARER: Final = re.compile(r"(?i:bearer) +(%s)" % TOKEN.pattern)  # noqa: UP031  # same


@dataclass(frozen=True, slots=True)
class Source:
    """Whom we hear: `token` is the SHA-256 of its token, `certificate` a name in its certificate."""

    name: str
    types: frozenset[str]
    token: bytes | None = None
    certificate: str | None = None
    position: Position | None = None
    per_minute: float = 60.0
    burst: int = 20


@dataclass(frozen=True, slots=True)
class Happening:
    """What a request says, once it is readable."""

    type: str
    age_ms: int = 0
    data: Mapping[str, Any] | None = None

    @property
    def digest(self) -> bytes:
        """What makes it the same request again; how long ago it happened grows with each try."""
        said = json.dumps([self.type, self.data or {}], sort_keys=True)
        return hashlib.sha256(said.encode()).digest()[:16]


def token_digest(token: bytes) -> bytes:
    """Return what is held of a token."""
    return hashlib.sha256(token).digest()


def identify(sources: Iterable[Source], authorization: str | None, names: Iterable[str]) -> Source | Refused:
    """Return who asks: by a bearer token, else by the names in a verified certificate."""
    if authorization is not None:
        match = _BEARER.fullmatch(authorization.strip())
        if match is None:
            return Refused("Authorization must be: Bearer TOKEN")
        given = token_digest(match[1].encode())
        # All are compared: how long that takes tells nothing of which was nearly right.
        found = [one for one in sources if hmac.compare_digest(one.token or b"", given)]
        return found[0] if len(found) == 1 else Refused("no source has this token")
    presented = set(names)
    if not presented:
        return Refused("a token (Authorization: Bearer TOKEN) or a client certificate is required")
    found = [one for one in sources if one.certificate in presented]
    return found[0] if len(found) == 1 else Refused("no source has this certificate")


def names_in(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the names in a certificate that TLS has verified, as `ssl` tells them: the common name counts alone.

    A certificate that has alternative names is known by those (RFC 6125, 6.4.4).
    """
    if not certificate:
        return ()
    others = tuple(str(value) for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "URI"})
    subject = (pair for part in certificate.get("subject", ()) for pair in part)
    return others or tuple(str(value) for kind, value in subject if kind == "commonName")


def read_key(header: str | None) -> str | Refused:
    """Return the idempotency key of a request; quotes around it, as the draft has it, may be left out."""
    if header is None:
        return Refused("the header Idempotency-Key is required: a random text for each event, the same when repeated")
    match = _KEY.fullmatch(header.strip())
    if match is None:
        return Refused(
            f"Idempotency-Key must have {KEY_MIN} to {KEY_MAX} of A-Z a-z 0-9 . _ ~ : / + = - ; take a random UUID"
        )
    return match[1]


def number_of(source: str, key: str) -> int:
    """Return the event number of the record that a request makes; never 0."""
    digest = hashlib.sha256(f"{source}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - NUMBER_BITS) or 1
