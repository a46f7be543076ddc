"""An export's form: golden bytes, its parts back and forth, any cut of the file, any rubbish."""

import random
from collections.abc import Callable, Sequence
from io import BytesIO

import pytest

from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import export
from gateway.signing.chains import CHAINS_MAX, decode_chains, encode_chains
from gateway.signing.export import End, Header, Scrap
from gateway.topics import Route

ROUTE = Route("senafront", "yaviza", "gw-1")
CHAIN = (b"certificate", b"issuer")


def parts(*chains: Sequence[bytes]) -> list[bytes]:
    return list(export.headers(ROUTE, [tuple(chain) for chain in chains]))


def test_golden_bytes() -> None:
    header = bytes.fromhex("86 69") + b"c5-export" + bytes.fromhex("01 64") + b"gw-1"
    header += bytes.fromhex("69") + b"senafront" + bytes.fromhex("66") + b"yaviza"
    header += bytes.fromhex("55 81 82 4b") + b"certificate" + bytes.fromhex("46") + b"issuer"
    assert parts(CHAIN) == [header]
    assert [export.lane(lane).hex() for lane in Lane] == ["00", "01", "02"]
    assert export.end(300) == bytes.fromhex("82 6d") + b"c5-export-end" + bytes.fromhex("19 01 2c")


def test_each_part_is_read_as_it_was_written() -> None:
    (header,) = parts(CHAIN)
    assert export.part(header) == Header(ROUTE, encode_chains([CHAIN]))
    assert [export.part(export.lane(lane)) for lane in Lane] == list(Lane)
    assert export.part(export.end(0)) == End(0)
    assert not any(map(export.is_record, (header, export.lane(Lane.ALARM), export.end(1))))


def test_more_chains_than_one_message_holds_are_carried_by_several_headers() -> None:
    chains = [(bytes([number]) * 6000, b"issuer") for number in range(40)]
    carried: list[tuple[bytes, ...]] = []
    for item in parts(*chains):
        assert len(item) <= export.ITEM_MAX
        header = export.part(item)
        assert isinstance(header, Header)
        found = decode_chains(header.certificates)
        assert not isinstance(found, Refused)
        assert len(found) <= CHAINS_MAX
        carried += found
    assert carried == chains


@pytest.mark.parametrize(
    "item",
    [b"", b"\x03", b"\x20", b"\xf5", b"\x80", b"\x18\x01", export.end(1)[:-1], export.end(1) + b"\x00", b"\xd2\x80"],
    ids=repr,
)
def test_what_is_no_part_is_refused(item: bytes) -> None:
    assert isinstance(export.part(item), Refused)


def test_a_header_of_another_version_or_of_names_that_no_topic_holds_is_refused() -> None:
    (header,) = parts(CHAIN)
    assert export.part(header.replace(b"\x01\x64gw-1", b"\x02\x64gw-1")) == Refused("an export of another version")
    assert isinstance(export.part(header.replace(b"gw-1", b"gw/1")), Refused)


def _in_pieces(data: bytes, size: int) -> Callable[[int], bytes]:
    stream = BytesIO(data)
    return lambda _most: stream.read(size)


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_a_file_is_cut_into_the_same_items_however_it_is_read(size: int) -> None:
    record = bytes.fromhex("d284 41a0 a0 4161 5840") + bytes(64)
    items = [*parts(CHAIN), export.lane(Lane.ALARM), record, record, export.end(2)]
    assert list(export.items(_in_pieces(b"".join(items), size))) == items


@pytest.mark.parametrize("rubbish", [b"\x9f", b"\xd2", b"\x5b\xff", b"\xd2\x84", b"\x86\x69c5-export"])
def test_rubbish_takes_bounded_memory_and_the_items_behind_it_are_found(rubbish: bytes) -> None:
    record = bytes.fromhex("d284 41a0 a0 4161 5840") + bytes(64)
    data = record + rubbish * 80_000 + record + export.end(2)
    before, scrap, *behind = export.items(BytesIO(data).read)
    assert (before, behind) == (record, [record, export.end(2)])
    assert isinstance(scrap, Scrap)
    assert (len(scrap.data), scrap.cut) == (export.ITEM_MAX + 1, False)


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_what_is_damaged_costs_itself_alone_however_the_file_is_read(size: int) -> None:
    record = bytes.fromhex("d284 41a0 a0 4161 5840") + bytes(64)
    damaged = record.replace(b"\x58\x40", b"\x58\x41")
    header, lane, end = *parts(CHAIN), export.lane(Lane.STATUS), export.end(3)
    data = b"".join([header, record, damaged, record, lane, damaged, end, header, lane, record[:-1]])
    assert list(export.items(_in_pieces(data, size))) == [
        header, record, Scrap(damaged, cut=False), record, lane, Scrap(damaged, cut=False), end, header, lane,
        Scrap(record[:-1], cut=True),
    ]  # fmt: skip


def test_any_bytes_are_items_that_are_refused_or_read() -> None:
    chance = random.Random(7)
    for _ in range(300):
        data = chance.randbytes(chance.randrange(200))
        found = list(export.items(BytesIO(data).read))
        assert b"".join(item.data if isinstance(item, Scrap) else item for item in found) == data
        assert not any(isinstance(export.part(item), Refused) for item in found if isinstance(item, bytes))
