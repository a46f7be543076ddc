"""What is wrong in the simulated world, and since when: a promise with a bound counts only where a path existed."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Health:
    """Impairments by name: how many last now, and when the last one ended."""

    time: Callable[[], float]
    lasting: dict[str, int] = field(default_factory=dict)
    ended_at: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def impaired(self, *names: str) -> Iterator[None]:
        """Something is wrong with these while inside."""
        for name in names:
            self.begin(name)
        try:
            yield
        finally:
            for name in names:
                self.end(name)

    def begin(self, name: str) -> None:
        """Something is wrong with this from now on."""
        self.lasting[name] = self.lasting.get(name, 0) + 1

    def end(self, name: str) -> None:
        """One thing less is wrong with this."""
        self.lasting[name] -= 1
        self.ended_at[name] = self.time()

    def well_since(self, name: str) -> float:
        """Return since when nothing is wrong with this; infinity while something is."""
        if self.lasting.get(name):
            return float("inf")
        return self.ended_at.get(name, 0.0)

    def well(self, since: float, *names: str) -> bool:
        """Whether nothing has been wrong with any of these since then."""
        return all(self.well_since(name) <= since for name in names)
