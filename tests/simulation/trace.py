"""What happened, line by line: the last lines for a person, a hash of all of them for `repeats exactly`."""

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final

KEPT: Final = 40


class Trace:
    """Lines with their virtual time; `echo` prints each as it comes."""

    def __init__(self, time: Callable[[], float], *, echo: bool = False) -> None:
        self._time = time
        self._echo = echo
        self._hash = hashlib.blake2b(digest_size=16)
        self.last: deque[str] = deque(maxlen=KEPT)
        self.count = 0

    def __call__(self, text: str) -> None:
        """Note that something happened."""
        line = f"{self._time():11.4f}  {text}"
        self._hash.update(line.encode() + b"\n")
        self.last.append(line)
        self.count += 1
        if self._echo:
            print(line, flush=True)  # noqa: T201  # asked for

    @property
    def digest(self) -> str:
        """Return the hash of all lines so far."""
        return self._hash.hexdigest()
