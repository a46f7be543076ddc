"""Certificate chains on the wire: arrays of DER certificates, the signer's first, the trust anchor left out.

A gateway's `certificates` topic carries an array of chains; `c5/v1/certificates/<name>` one chain. They need no
signature: `certificate.judge` lets each prove itself against the trust anchors.

Source: wire.md, section 3.
"""

from collections.abc import Sequence
from typing import Any, Final

from gateway.errors import Refused
from gateway.signing import deterministic
from gateway.signing.certificate import CERTIFICATE_MAX, CHAIN_MAX

PAYLOAD_MAX: Final = 65_536  # bytes of all chains in one message
CHAINS_MAX: Final = 16  # certificates that one gateway has anything unreceipted under, and the present one
Chain = tuple[bytes, ...]


def encode_chain(chain: Sequence[bytes]) -> bytes:
    """Return one chain as a receiver or commander publishes it."""
    return deterministic.encode(list(chain))


def decode_chain(payload: bytes) -> Chain | Refused:
    """Read one chain; nothing of it is proven."""
    return _chain(_read(payload))


def encode_chains(chains: Sequence[Sequence[bytes]]) -> bytes:
    """Return the chains as a gateway publishes them."""
    return deterministic.encode([list(chain) for chain in chains])


def decode_chains(payload: bytes) -> list[Chain] | Refused:
    """Read a gateway's chains; nothing of them is proven."""
    value = _read(payload)
    if isinstance(value, Refused):
        return value
    if type(value) is not list or not 1 <= len(value) <= CHAINS_MAX:
        return Refused("no array of chains")
    chains: list[Chain] = []
    for entry in value:
        chain = _chain(entry)
        if isinstance(chain, Refused):
            return chain
        chains.append(chain)
    return chains


def _read(payload: bytes) -> Any | Refused:
    return Refused("chains too long") if len(payload) > PAYLOAD_MAX else deterministic.decode(payload)


def _chain(value: Any) -> Chain | Refused:
    if isinstance(value, Refused):
        return value
    if type(value) is not list or not 1 <= len(value) <= CHAIN_MAX:
        return Refused("no array of certificates")
    if not all(type(der) is bytes and len(der) <= CERTIFICATE_MAX for der in value):
        return Refused("a certificate that is none")
    return tuple(value)
