"""An export: what a gateway still holds, in a file that a person carries to C5 (docs/reference/export.md).

A CBOR sequence (RFC 8742) of

    header = ["c5-export", 1, gateway, agency, site, certificates]    a bstr: the `certificates` message (wire.md)
    lane   = 0..2                                                     of the records that follow
    record                                                            as it was signed
    end    = ["c5-export-end", count]                                 how many records came since the last end

The header stands for the topic, the lane for its channel: neither is believed, a record proves itself. Where there are
more chains than one message holds, there are several headers. Files written one after the other are a file.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import deterministic
from gateway.signing.chains import CHAINS_MAX, Chain, encode_chains
from gateway.signing.cose import MESSAGE_MAX, end_of_item, end_of_sign1
from gateway.signing.record import is_uint
from gateway.topics import Route, is_part

ITEM_MAX: Final = 65_536  # bytes of one item; longer ones are no export's
CHAINS_BYTES: Final = 48_000  # of the chains in one header
READ: Final = 262_144  # bytes read at once
_BEGIN: Final = "c5-export"
_END: Final = "c5-export-end"
_VERSION: Final = 1
_SIGN1: Final = b"\xd2"  # the tag that every record begins with, and nothing else here
# What a record, a header and an end begin with: where an item may begin after bytes that are none.
_BEGINNING: Final = re.compile(rb"\xd2\x84|\x86\x69c5-export\x01|\x82\x6dc5-export-end")
_BEGINNING_MAX: Final = 14  # bytes of the longest, but for one


@dataclass(frozen=True, slots=True)
class Header:
    """Whose records follow, and the `certificates` message under which they are signed."""

    route: Route
    certificates: bytes


@dataclass(frozen=True, slots=True)
class End:
    """How many records came since the last end: fewer in the file, and it was cut."""

    count: int


@dataclass(frozen=True, slots=True)
class Scrap:
    """Bytes that are no item (the first of them); `cut` where they may be one that the file's end cuts short."""

    data: bytes
    cut: bool


Part = Header | Lane | End


def headers(route: Route, chains: Iterable[Chain]) -> Iterator[bytes]:
    """Yield the headers that carry these chains: one as a rule."""
    held: list[Chain] = []
    size = 0
    for chain in chains:
        weight = sum(map(len, chain))
        if held and (len(held) == CHAINS_MAX or size + weight > CHAINS_BYTES):
            yield _header(route, held)
            held, size = [], 0
        held.append(chain)
        size += weight
    yield _header(route, held)


def _header(route: Route, chains: Sequence[Chain]) -> bytes:
    fields = [_BEGIN, _VERSION, route.gateway, route.agency, route.site, encode_chains(chains)]
    return deterministic.encode(fields)


def lane(lane: Lane) -> bytes:
    """Return what stands before a lane's records."""
    return deterministic.encode(int(lane))


def end(count: int) -> bytes:
    """Return what stands after all records."""
    return deterministic.encode([_END, count])


def items(read: Callable[[int], bytes]) -> Iterator[bytes | Scrap]:
    """Cut a file into its items, in bounded memory; what can't be cut goes up to where the next one may begin."""
    rest = scrap = b""
    lost = ended = False
    while rest or not ended:
        at = 0
        while at < len(rest):
            if lost:
                found = _BEGINNING.search(rest, at)
                end = found.start() if found else len(rest) if ended else max(at, len(rest) - _BEGINNING_MAX)
                scrap += rest[at : min(end, at + ITEM_MAX + 1 - len(scrap))]
                at, lost = end, found is None
                if lost:
                    break
            elif (end_ := _end(rest, at)) is not None:
                if scrap:
                    yield Scrap(scrap, cut=False)
                    scrap = b""
                yield rest[at:end_]
                at = end_
            elif not ended and len(rest) - at <= ITEM_MAX:
                break  # it may go on
            else:
                scrap += rest[at : at + (len(scrap) <= ITEM_MAX)]
                at, lost = at + 1, True
        rest = rest[at:]
        if not ended:
            piece = read(READ)
            rest, ended = rest + piece, not piece
    if scrap:
        yield Scrap(scrap, cut=len(scrap) <= ITEM_MAX)


def _end(data: bytes, at: int) -> int | None:
    """Return where the record or part that begins at `at` ends; None if none does."""
    if data.startswith(_SIGN1, at):
        end = end_of_sign1(data, at)
        return end if end is not None and end - at <= MESSAGE_MAX else None
    end = end_of_item(data, at, deepest=1)  # a part is a number, or an array of what is none
    return end if end is not None and not isinstance(part(data[at:end]), Refused) else None


def is_record(item: bytes) -> bool:
    """Whether this item is a record, to be judged as one; what else it may be, `part` says."""
    return item.startswith(_SIGN1)


def part(item: bytes) -> Part | Refused:
    """Read an item that is no record. Nothing of it is proven."""
    value = deterministic.decode(item) if len(item) <= ITEM_MAX else Refused("an item too long")
    match value:
        case Refused():
            return value
        case int() if type(value) is int and 0 <= value <= 2:
            return Lane(value)
        case [str(name), count] if name == _END and is_uint(count):
            return End(count)
        case [str(name), int(version), *_rest] if name == _BEGIN and version != _VERSION:
            return Refused("an export of another version")
        case [str(name), _version, str(gateway), str(agency), str(site), bytes(chains)] if name == _BEGIN:
            if all(map(is_part, (gateway, agency, site))):
                return Header(Route(agency, site, gateway), chains)
    return Refused("not a part of an export")
