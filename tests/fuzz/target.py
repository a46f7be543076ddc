"""What is fuzzed: a function of bytes that raises only where something is wrong, and what it begins with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

CUT: Final = b"\n--\n"  # between the parts of an input that is several messages, frames or operations


@dataclass(frozen=True, slots=True)
class Target:
    """`run` raises on a finding. `watched`: modules whose lines count as coverage. `head`: bytes before CBOR begins."""

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    watched: tuple[str, ...]
    shape: Literal["bytes", "cbor", "text"] = "bytes"
    words: tuple[bytes, ...] = ()
    head: int = 0
    most: int = 4096  # bytes of an input


def parts(data: bytes) -> list[bytes]:
    """Return the parts of an input."""
    return data.split(CUT)


def number(data: bytes, at: int, below: int) -> int:
    """Return a number below a bound that a byte of the input stands for; 0 where there is none."""
    return data[at] % below if at < len(data) else 0
