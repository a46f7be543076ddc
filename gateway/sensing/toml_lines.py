"""On which line of a TOML file a key stands: `tomllib` checks and reads, and forgets where.

Only what our own files use is looked at: tables, arrays of tables, and keys at the beginning of a line. A key that
isn't found there (it is missing, or inside an inline table) is on the line of the nearest table around it.
"""

import re
from typing import Final

Key = tuple[str | int, ...]  # ("point", 2, "threshold", 0, "above")

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]")
_ENTRY: Final = re.compile(r"\s*([\w-]+)\s*=")


def lines(text: str) -> dict[Key, int]:
    """Return the line, from 1, of every table and key."""
    found: dict[Key, int] = {(): 1}
    counts: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = ()
            *above, last = header[2].split(".")
            for part in above:  # of an array the last entry is meant
                table = (*table, part)
                if table in counts:
                    table = (*table, counts[table] - 1)
            table = (*table, last)
            if header[1] == "[[":
                counts[table] = counts.get(table, 0) + 1
                found.setdefault(table, number)
                table = (*table, counts[table] - 1)
            found[table] = number
        elif entry := _ENTRY.match(line):
            found.setdefault((*table, entry[1]), number)
    return found


def line_of(found: dict[Key, int], key: Key) -> int:
    """Return the line of a key, or of the nearest table around it."""
    while key not in found:
        key = key[:-1]
    return found[key]
