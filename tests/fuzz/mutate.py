"""New inputs from old ones: bytes changed anywhere, CBOR items in their places, words and lines of a text.

Whatever comes out is an input; nothing here has to be valid. Everything follows from the generator that is handed in.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from tests.fuzz.target import CUT, Target, parts

_ODD_BYTES: Final = (
    0x00,
    0x01,
    0x17,
    0x18,
    0x1F,
    0x20,
    0x7F,
    0x80,
    0x9F,
    0xBF,
    0xD2,
    0xF4,
    0xF6,
    0xF7,
    0xF9,
    0xFB,
    0xFF,
)
_ODD_NUMBERS: Final = (
    0, 1, 2, 16, 17, 23, 24, 63, 64, 65, 255, 256, 4096, 65_535, 65_536, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53,
    2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_ODD_ITEMS: Final = (
    b"\xf4",
    b"\xf5",
    b"\xf6",
    b"\xf7",
    b"\x40",
    b"\x60",
    b"\x80",
    b"\xa0",
    b"\xff",
    b"\x9f\xff",
    b"\xbf\xff",
    b"\x5f\xff",
    b"\xf9\x7e\x00",
    b"\xf9\x3c\x00",
    b"\xf9\x00\x00",
    b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\xf9\x80\x00",
    b"\xe0",
    b"\xf8\x20",
    b"\xc2\x41\x01",
    b"\xd8\x1c\x80",
    b"\xd8\x1d\x00",
    b"\xc1\x00",
    b"\x62\xc3\x28",
    b"\x61\x00",
    b"\x81\x81\x81\x80",
    b"\xa1\x01\x01",
    b"\xa1\x61a\x01",
    b"\xa1\xf5\x01",
    b"\xa1\x80\x01",
    b"\xd9\xd9\xf7\x00",
)
_MAJORS_WITH_LENGTH: Final = (2, 3)
_DEPTH_MAX: Final = 40


def mutated(target: Target, data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Return another input made of this one, and perhaps of a second one."""
    pieces = parts(data)
    for _ in range(1 << random.randrange(4)):
        at = random.randrange(len(pieces))
        choice = random.random()
        if choice < 0.12:
            other = random.choice(parts(random.choice(others)))
            pieces.insert(at, other if random.random() < 0.5 else pieces[random.randrange(len(pieces))])
        elif choice < 0.18 and len(pieces) > 1:
            del pieces[at]
        elif choice < 0.22 and len(pieces) > 1:
            to = random.randrange(len(pieces))
            pieces[at], pieces[to] = pieces[to], pieces[at]
        else:
            pieces[at] = _piece(target, pieces[at], others, random)
    return CUT.join(pieces)[: target.most]


def _piece(target: Target, piece: bytes, others: Sequence[bytes], random: Random) -> bytes:
    if target.shape == "cbor" and random.random() < 0.7:
        head = random.randrange(target.head + 1) if random.random() < 0.1 else target.head
        spans = items(piece, head)
        if spans:
            return _items(piece, spans, others, random)
    if target.shape == "text" and random.random() < 0.5:
        return _lines(piece, others, random, target.words)
    return _bytes(piece, others, random, target.words)


def _bytes(piece: bytes, others: Sequence[bytes], random: Random, words: Sequence[bytes]) -> bytes:
    data = bytearray(piece)
    at = random.randrange(len(data) + 1)
    to = min(len(data), at + random.choice((1, 1, 2, 4, 8, random.randrange(1, 65))))
    match random.randrange(9):
        case 0 if at < len(data):
            data[at] ^= 1 << random.randrange(8)
        case 1 if at < len(data):
            data[at] = random.choice(_ODD_BYTES)
        case 2:
            del data[at:to]
        case 3:
            data[at:at] = data[at:to] * random.choice((1, 1, 2, 16))
        case 4:
            data[at:at] = random.randbytes(random.choice((1, 2, 4, 8, 32)))
        case 5 if words:
            data[at : random.choice((at, to))] = random.choice(words)
        case 6:
            other = random.choice(others)
            begin = random.randrange(len(other) + 1)
            data[at : random.choice((at, to))] = other[begin : begin + random.randrange(1, 65)]
        case 7:
            width = random.choice((1, 2, 4, 8))
            odd = (random.choice(_ODD_NUMBERS) + random.randrange(-1, 2)) % (1 << 8 * width)
            data[at : at + width] = odd.to_bytes(width, "big")
        case _ if at < len(data):
            data[at] = (data[at] + random.randrange(-4, 5)) % 256
    return bytes(data)


def _lines(piece: bytes, others: Sequence[bytes], random: Random, words: Sequence[bytes]) -> bytes:
    lines = piece.split(b"\n")
    at = random.randrange(len(lines))
    match random.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, random.choice(random.choice(others).split(b"\n")))
        case 2:
            to = random.randrange(len(lines))
            lines[at], lines[to] = lines[to], lines[at]
        case 3:
            lines.insert(at, lines[random.randrange(len(lines))])
        case 4 if words:
            key, equals, _value = lines[at].partition(b"=")
            lines[at] = key + equals + random.choice(words) if equals else random.choice(words)
        case _:
            deep = random.choice((3, 30, 300, 3000))
            opening, closing = random.choice(
                ((b"[", b"]"), (b"{a=", b"}"), (b"a.", b""), (b'"', b'"'), (b"(", b")"), (b'{"a":', b"}"))
            )
            key, equals, value = lines[at].partition(b"=")
            lines[at] = key + equals + opening * deep + value + closing * deep
    return b"\n".join(lines)


def items(data: bytes, at: int) -> list[tuple[int, int]]:
    """Return where each CBOR item from `at` on begins and ends, as far as they are well-formed."""
    spans: list[tuple[int, int]] = []
    while at < len(data) and (end := _walk(data, at, spans, 0)) is not None:
        at = end
    return spans


def _walk(data: bytes, at: int, spans: list[tuple[int, int]], depth: int) -> int | None:
    if at >= len(data) or depth > _DEPTH_MAX:
        return None
    begin, major, count = at, data[at] >> 5, data[at] & 31
    at += 1
    if 24 <= count < 28:
        width = 1 << count - 24
        count = int.from_bytes(data[at : at + width], "big")
        at += width
    elif count >= 28:
        return None
    place = len(spans)
    spans.append((begin, begin))
    if major in _MAJORS_WITH_LENGTH:
        at += count
    elif 4 <= major <= 6:
        for _ in range((count, 2 * count, 1)[major - 4]):
            end = _walk(data, at, spans, depth + 1)
            if end is None:
                return None
            at = end
    if at > len(data):
        return None
    spans[place] = (begin, at)
    return at


def _items(piece: bytes, spans: list[tuple[int, int]], others: Sequence[bytes], random: Random) -> bytes:
    begin, end = random.choice(spans)
    item = piece[begin:end]
    match random.randrange(9):
        case 0:
            new = random.choice(_ODD_ITEMS)
        case 1:
            new = _head(random.randrange(2), random.choice(_ODD_NUMBERS))
        case 2:  # another item of this input, or of another
            source = piece if random.random() < 0.5 else random.choice(parts(random.choice(others)))
            found = items(source, random.randrange(2)) or spans
            first, last = random.choice(found)
            new = (source if found is not spans else piece)[first:last]
        case 3:  # its head in another length
            head = _head(item[0] >> 5, item[0] & 31) if item and item[0] & 31 < 24 else b""
            wide = (item[0] & 0xE0 | 24, item[0] & 31) if head else ()
            new = bytes(wide) + item[1:] if wide else item
        case 4 if item and item[0] >> 5 in _MAJORS_WITH_LENGTH:  # a string of another length
            size = random.choice((0, 1, 7, 8, 9, 16, 23, 24, 31, 32, 63, 64, 65, 255, 256))
            body = (item[-min(len(item), 32) :] * 9)[:size]
            new = _head(item[0] >> 5, len(body)) + body
        case 5 if item and item[0] >> 5 in (4, 5):  # one more, or one less, than it says
            new = bytes((item[0] + random.choice((-1, 1)) & 0xFF,)) + item[1:]
        case 6:  # deeper
            deep = random.choice((1, 3, 30, 400))
            new = b"\x81" * deep + item
        case 7 if item and item[0] >> 5 in (4, 5) and item[0] & 31 < 22:  # grown by what it holds, or by odd items
            one = (
                random.choice(_ODD_ITEMS[:14])
                if item[0] >> 5 == 4
                else _head(0, random.randrange(30)) + random.choice(_ODD_ITEMS)
            )
            new = bytes((item[0] + 1,)) + item[1:] + one
        case _:  # taken out, or twice
            new = item * random.choice((0, 2))
    return piece[:begin] + new + piece[end:]


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * width:
            return bytes((major << 5 | info,)) + argument.to_bytes(width, "big")
    raise AssertionError(argument)
