"""Is a button held down? It can't call for help again until somebody lets it go.

Field Link says only what happened: pressed (kind 1) and released (kind 16). A device that has told of a release tells
of every one, so that a press without it, for long enough, is a button that is stuck or latched. Of a device that never
tells of releases nothing is known. Told once for a press; the release is its end, and a record of its own.
"""


class Button:
    """One device's. `releases`: it tells of releases."""

    def __init__(self, after: float, *, releases: bool = False) -> None:
        self._after = after
        self.releases = releases
        self.stuck = False
        self._pressed = 0  # the newest event number of each
        self._released = 0
        self._since = 0.0
        self.presses = 0  # without a release between them

    def pressed(self, number: int, now: float) -> None:
        """It was pressed."""
        if number <= self._released:
            return
        if not self.held:
            self._since, self.presses, self.stuck = now, 0, False
        self.presses += 1
        self._pressed = max(self._pressed, number)

    def released(self, number: int) -> None:
        """It was let go; events may come out of order."""
        self.releases = True
        self._released = max(self._released, number)
        if not self.held:
            self.stuck = False

    @property
    def held(self) -> bool:
        """Whether the newest that is known of it is a press."""
        return self._pressed > self._released

    @property
    def deadline(self) -> float | None:
        """When it is stuck; None once `stuck` is set."""
        return self._since + self._after if self.held and self.releases and not self.stuck else None
