"""Reading CBOR payloads from a wire: an item is its bytes until someone asks for it as a type.

A decoder that builds values interprets what it was not asked about: it follows tags and shared references, takes
`true` for 1 as a map's key, trips over keys that can't be hashed. Here the whole payload is walked once, without
recursion and without building anything; a value nobody reads (an EVENT's key 6, a later firmware's keys) must be
well-formed and nothing more. Read as another type than it is, an item is None.

Source: RFC 8949, section 3 and appendix C. Not checked: unique keys (the last one counts) and shortest forms.
"""

from typing import Final

NUMBER_MAX: Final = 2**32 - 1  # wire.md: the largest number in a payload
TEXT_MAX: Final = 64  # bytes of UTF-8
_BREAK: Final = 0xFF
_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INDEFINITE: Final = 31
_SIMPLE_MIN: Final = 32  # a simple value in two bytes is at least this
_UNTIL_BREAK: Final = -1
_NUMBERS_END: Final = _BYTES << 5  # first bytes below this begin a number
_NUMBER_BYTES: Final = (*[1] * 24, 2, 3, 5, 9)  # by the low five bits of the first: most of what devices say
_SMALL_END: Final = 24  # first bytes below this are a number whole: keys, kinds
_FALSE: Final = b"\xf4"
_TRUE: Final = b"\xf5"


class _MalformedError(Exception):
    """Not CBOR; never leaves this module."""


def read_map(data: bytes) -> dict[int, bytes] | None:
    """Read exactly one map; return its integer keys, each value as its bytes. None: not CBOR, no map, or more after it.

    Keys that are no integers of our range are left out, as unknown keys are.
    """
    items = _members(data, _MAP)
    if items is None:
        return None
    keyed: dict[int, bytes] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        number = key[0] if key[0] < _SMALL_END else integer(key)
        if number is not None:
            keyed[number] = value
    return keyed


def read_array(item: bytes) -> list[bytes] | None:
    """Return the members of an array, each as its bytes."""
    return _members(item, _ARRAY)


def integer(item: bytes | None) -> int | None:
    """Return a whole number whose argument has at most 32 bits."""
    if item is None:
        return None
    first = item[0]
    if first >= _BYTES << 5:
        return None
    argument = first & 31 if len(item) == 1 else int.from_bytes(item[1:], "big")
    if argument > NUMBER_MAX:
        return None
    return argument if first < _NEGATIVE << 5 else -1 - argument


def uint(item: bytes | None) -> int | None:
    """Return a number from 0 to NUMBER_MAX."""
    if item is not None and item[0] < _SMALL_END:
        return item[0]
    number = integer(item)
    return number if number is not None and number >= 0 else None


def boolean(item: bytes | None) -> bool | None:
    """Return true or false."""
    return item == _TRUE if item in (_FALSE, _TRUE) else None


def text(item: bytes | None) -> str | None:
    """Return text of at most 64 bytes of UTF-8."""
    content = _string(item, _TEXT)
    if content is None or len(content) > TEXT_MAX:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def byte_string(item: bytes | None) -> bytes | None:
    """Return a byte string."""
    return _string(item, _BYTES)


def scalar(item: bytes) -> int | bool | str | bytes | None:
    """Return a number, a truth, text or bytes; None for anything else."""
    for read in (integer, boolean, text, byte_string):
        value = read(item)
        if value is not None:
            return value
    return None


def _members(data: bytes, major: int) -> list[bytes] | None:
    """Return the direct members of the one array or map that `data` is."""
    if not data or data[0] >> 5 != major:
        return None
    try:
        _, count, at = _head(data, 0)
        if major == _MAP and count != _UNTIL_BREAK:
            count *= 2
        members: list[bytes] = []
        while len(members) != count:
            if count == _UNTIL_BREAK and data[at] == _BREAK:
                at += 1
                break
            first = data[at]
            end = at + _NUMBER_BYTES[first & 31] if first < _NUMBERS_END and first & 31 < 28 else _end(data, at)
            members.append(data[at:end])
            at = end
    except (_MalformedError, IndexError):
        return None
    whole = at == len(data) and (major != _MAP or len(members) % 2 == 0)
    return members if whole else None


def _string(item: bytes | None, major: int) -> bytes | None:
    """Return the content of a (well-formed) string, its chunks joined."""
    if item is None or item[0] >> 5 != major:
        return None
    _, length, at = _head(item, 0)
    if length != _UNTIL_BREAK:
        return item[at:]
    content = b""
    while item[at] != _BREAK:
        _, length, at = _head(item, at)
        content += item[at : at + length]
        at += length
    return content


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the major type, the argument (`_UNTIL_BREAK` for indefinite lengths) and where the head ends."""
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info < 24:
        return major, info, at
    if info < 28:
        width = 1 << (info - 24)
        end = at + width
        if end > len(data):
            raise _MalformedError
        argument = int.from_bytes(data[at:end], "big")
        if major == _SIMPLE and width == 1 and argument < _SIMPLE_MIN:
            raise _MalformedError
        return major, argument, end
    if info == _INDEFINITE and _BYTES <= major <= _MAP:
        return major, _UNTIL_BREAK, at
    raise _MalformedError


def _end(data: bytes, at: int) -> int:
    """Return where the item at `at` ends. What waits is at most one entry for each byte before it."""
    waiting: list[_Open] = []
    while True:
        if data[at] == _BREAK:
            if not waiting or not waiting.pop().may_break():
                raise _MalformedError
            at += 1
        else:
            major, argument, at = _head(data, at)
            if major in (_BYTES, _TEXT):
                at = _end_of_string(data, at, major, argument)
            elif major == _TAG:
                waiting.append(_Open(major, 1))
                continue
            elif major in (_ARRAY, _MAP) and argument != 0:
                waiting.append(_Open(major, 2 * argument if major == _MAP and argument > 0 else argument))
                continue
        while waiting and waiting[-1].took_last():
            waiting.pop()
        if not waiting:
            return at


class _Open:
    """An item whose members are being walked."""

    __slots__ = ("expected", "major", "read")

    def __init__(self, major: int, expected: int) -> None:
        self.major = major
        self.expected = expected
        self.read = 0

    def took_last(self) -> bool:
        self.read += 1
        return self.read == self.expected

    def may_break(self) -> bool:
        return self.expected == _UNTIL_BREAK and (self.major != _MAP or self.read % 2 == 0)


def _end_of_string(data: bytes, at: int, major: int, length: int) -> int:
    if length != _UNTIL_BREAK:
        at += length
    else:
        while data[at] != _BREAK:
            chunk, length, at = _head(data, at)
            if chunk != major or length == _UNTIL_BREAK:
                raise _MalformedError
            at += length
        at += 1
    if at > len(data):
        raise _MalformedError
    return at
