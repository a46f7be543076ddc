"""The vectors that an independent implementation made, as seeds."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).parents[1] / "vectors"


@cache
def vectors(name: str) -> dict[str, Any]:
    """Return a file of vectors."""
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def wires(name: str, *lists: str, key: str = "wire") -> list[bytes]:
    """Return the bytes under a key of each entry of these lists."""
    return [bytes.fromhex(entry[key]) for each in lists for entry in vectors(name)[each]]
