"""SQLite's file format, read without SQLite: what is left of a store that SQLite itself refuses.

A page is one of a b-tree, or carries on what was too long for one. Nothing in it is proven by a checksum, and so:

1. A small table's page counts only if it is whole: every cell inside, and cells, free blocks and fragments together as
   many bytes as the header says. Of a page that isn't, nothing is believed; its newest whole version before is.
2. Records prove themselves by their signatures: every place that might hold one is a candidate, on whatever page.
3. Everything is bounded, whatever the bytes say: pages of a walk, the length of a row, the pages that it goes over.

Pages come from the file and from its log (`-wal`), whose last commits are often not in the file yet. The log's
checksums are not asked: what a torn log still holds is wanted too.

Source: https://sqlite.org/fileformat2.html
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from gateway.signing.cose import RECORD_MAX, end_of_sign1

PAGE: Final = 4096  # bytes: SQLite's default, with which every store is made
WALK_MAX: Final = 4096  # pages of one table at most: 16 MiB
ROW_MAX: Final = 72 * 1024  # bytes of a row: a chain of certificates is the longest
_FILE_HEADER: Final = 100  # bytes before the first page's own header
_WAL_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_FRAME: Final = _FRAME_HEADER + PAGE
_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE = 0x02, 0x05, 0x0A, 0x0D
_COSE: Final = b"\xd2\x84\x58"
_INTEGERS: Final = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}  # serial type: bytes

Value = int | bytes | str | None
Row = tuple[Value, ...]
Read = Callable[[str, int, int], bytes]  # suffix ("" or "-wal"), offset, length: fewer bytes where there are no more


class _Cell(NamedTuple):
    child: int  # 0 in a leaf
    rowid: int | None
    length: int  # of the row; 0: none here
    local: bytes  # what of it is on this page
    overflow: int  # the page where it goes on; 0: nowhere
    size: int  # bytes that the cell takes


class Pages:
    """A database's pages, each in all versions that its file and its log hold."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self._base = _length(read)  # pages in the file
        self._frames: dict[int, list[int]] = {}  # by page, the offsets of its versions in the log, the oldest first
        self._count = 0  # frames in the log
        salts = read("-wal", 16, 8)
        open_: list[tuple[int, int]] = []  # of the transaction that is not committed yet
        while len(header := read("-wal", _WAL_HEADER + self._count * _FRAME, _FRAME_HEADER)) == _FRAME_HEADER:
            if header[8:16] == salts:  # else what an earlier round of the log left there
                offset = _WAL_HEADER + self._count * _FRAME + _FRAME_HEADER
                open_.append((int.from_bytes(header[:4], "big"), offset))
                if header[4:8] != bytes(4):  # a commit
                    for number, place in open_:
                        self._frames.setdefault(number, []).append(place)
                    open_.clear()
            self._count += 1

    def versions(self, number: int) -> Iterator[bytes]:
        """Yield a page's versions, the newest first; none of them is known to be whole."""
        places = [("-wal", offset) for offset in reversed(self._frames.get(number, []))]
        for suffix, offset in [*places, ("", (number - 1) * PAGE)]:
            page = self.read(suffix, offset, PAGE) if number > 0 else b""
            if len(page) == PAGE:
                yield page

    def table(self, root: int) -> tuple[list[Row], bool]:
        """Return a table's rows as far as they can be believed, and whether that is all of them.

        A row of a table with a rowid begins with it (where the table's definition says INTEGER PRIMARY KEY, the column
        itself holds NULL).
        """
        rows: list[Row] = []
        whole = True
        waiting, seen = [root], {root}
        while waiting:
            number = waiting.pop()
            cells = next((c for page in self.versions(number) if (c := _cells(page, number)) is not None), None)
            if cells is None or len(seen) > WALK_MAX:
                whole = False
                continue
            for cell in cells:
                if cell.length:
                    row = _row(self._joined(cell))
                    whole &= row is not None
                    if row is not None:
                        rows.append(row if cell.rowid is None else (cell.rowid, *row))
                if cell.child and cell.child not in seen:
                    seen.add(cell.child)
                    waiting.append(cell.child)
        return rows, whole

    @property
    def blocks(self) -> int:
        """How many places `candidates` can be asked about: the file's pages, then the log's frames."""
        return self._base + self._count

    def candidates(self, block: int) -> Iterator[bytes]:
        """Yield everything in a block that has a record's form; none of it is proven, and it may come twice."""
        frame = _WAL_HEADER + (block - self._base) * _FRAME + _FRAME_HEADER
        page = self.read("", block * PAGE, PAGE) if block < self._base else self.read("-wal", frame, PAGE)
        at = page.find(_COSE)
        while at >= 0:
            if (end := end_of_sign1(page, at)) is not None:
                yield page[at:end]
            at = page.find(_COSE, at + 1)
        for cell in _each_cell(page, 0):
            if cell is not None and cell.overflow and cell.length <= RECORD_MAX + 64:
                row = _row(self._joined(cell))
                yield from (value for value in row or () if isinstance(value, bytes))

    def _joined(self, cell: _Cell) -> bytes:
        """Return a row's bytes, those on other pages included; fewer than its length if one of these isn't there."""
        row, number = cell.local, cell.overflow
        while len(row) < cell.length and number:
            page = next(self.versions(number), b"")
            number = int.from_bytes(page[:4], "big")
            row += page[4 : 4 + cell.length - len(row)]
            if not page:
                break
        return row if len(row) == cell.length else b""


def _length(read: Read) -> int:
    """Return how many pages the file has, by asking for their first bytes."""
    low, high = 0, 1 << 32
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if read("", middle * PAGE, 1) else (low, middle)
    return low


def _cells(page: bytes, number: int) -> list[_Cell] | None:
    """Return the cells of a b-tree's page, the rightmost child as one of them; None if the page isn't whole."""
    start = _FILE_HEADER if number == 1 else 0
    cells: list[_Cell] = []
    for cell in _each_cell(page, start):
        if cell is None:
            return None
        cells.append(cell)
    if page[start] not in (_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE):
        return None
    content = int.from_bytes(page[start + 5 : start + 7], "big") or PAGE
    used = page[start + 7] + sum(max(4, cell.size) for cell in cells)
    free, before = int.from_bytes(page[start + 1 : start + 3], "big"), 0
    while free:
        if not before < free <= PAGE - 4:
            return None
        used += int.from_bytes(page[free + 2 : free + 4], "big")
        before, free = free, int.from_bytes(page[free : free + 2], "big")
    if content + used != PAGE:
        return None
    if page[start] in (_INTERIOR_INDEX, _INTERIOR_TABLE):
        cells.append(_Cell(int.from_bytes(page[start + 8 : start + 12], "big"), None, 0, b"", 0, 0))
    return cells


def _each_cell(page: bytes, start: int) -> Iterator[_Cell | None]:
    """Yield what each of a page's pointers points to, None for what is no cell; nothing if it is no b-tree's page."""
    kind = page[start] if len(page) == PAGE else 0
    if kind not in (_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE):
        return
    pointers = start + (12 if kind in (_INTERIOR_INDEX, _INTERIOR_TABLE) else 8)
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    first = pointers + 2 * count
    if first > PAGE:
        yield None
        return
    for at in range(pointers, first, 2):
        offset = int.from_bytes(page[at : at + 2], "big")
        yield _cell(page, kind, offset) if first <= offset < PAGE else None


def _cell(page: bytes, kind: int, at: int) -> _Cell | None:
    begin, child, length, rowid = at, 0, 0, None
    if kind in (_INTERIOR_INDEX, _INTERIOR_TABLE):
        child = int.from_bytes(page[at : at + 4], "big")
        at += 4
    if kind != _INTERIOR_TABLE:
        length, at = _varint(page, at)
    if kind in (_INTERIOR_TABLE, _LEAF_TABLE):
        rowid, at = _varint(page, at)
    if kind == _INTERIOR_TABLE:
        return _Cell(child, None, 0, b"", 0, at - begin)
    most = PAGE - 35 if kind == _LEAF_TABLE else (PAGE - 12) * 64 // 255 - 23
    least = (PAGE - 12) * 32 // 255 - 23
    local = length
    if length > most:
        local = least + (length - least) % (PAGE - 4)
        local = local if local <= most else least
    end = at + local + (4 if length > most else 0)
    if not 0 < length <= ROW_MAX or end > PAGE:
        return None
    overflow = int.from_bytes(page[at + local : end], "big")
    return _Cell(child, rowid, length, page[at : at + local], overflow, end - begin)


def _row(data: bytes) -> Row | None:
    """Read a row's columns; None if the bytes are no row."""
    header, at = _varint(data, 0)
    if not 1 <= header <= len(data):
        return None
    values: list[Value] = []
    place = header
    while at < header:
        kind, at = _varint(data, at)
        size = _INTEGERS.get(kind, (kind - 12) // 2 if kind >= 12 else -1)
        if size < 0 or place + size > len(data):
            return None
        value = data[place : place + size]
        place += size
        if kind == 0:
            values.append(None)
        elif kind < 12:
            values.append(int.from_bytes(value, "big", signed=True) if size else kind - 8)
        elif kind % 2:
            values.append(value.decode("utf-8", "replace"))
        else:
            values.append(value)
    return tuple(values) if place == len(data) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a big-endian number of 1 to 9 bytes and where it ends; what isn't there counts as nothing."""
    value = 0
    for index, byte in enumerate(data[at : at + 9]):
        if index == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return -1, len(data)
