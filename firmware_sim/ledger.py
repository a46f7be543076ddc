"""The truth of a run: what was pressed, and what each device was told. Tests compare it with what C5 received."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Press:
    """One event that a board took. `left_ns` is when the last byte of its first frame left, None before that."""

    device: str
    event: int
    kind: int
    pressed_at: float  # monotonic
    left_at: float | None = None  # monotonic
    left_ns: int | None = None  # wall clock, for comparing with another process
    told: dict[int, float] = field(default_factory=dict)  # each stage heard, and when (monotonic)

    @property
    def stage(self) -> int:
        """The highest stage that the device heard, or 0."""
        return max(self.told, default=0)


class Ledger:
    """All presses of a run, of one board or of several."""

    def __init__(self) -> None:
        self._presses: dict[tuple[str, int], Press] = {}

    def pressed(self, press: Press) -> None:
        """Note an event that a board took."""
        self._presses[press.device, press.event] = press

    def left(self, device: str, event: int, at: float, wall_ns: int) -> None:
        """Note that the last byte of an event's frame left; the first time counts."""
        press = self._presses.get((device, event))
        if press is not None and press.left_ns is None:
            press.left_at, press.left_ns = at, wall_ns

    def told(self, device: str, event: int, stage: int, at: float) -> None:
        """Note that a device heard a stage; the first time counts."""
        press = self._presses.get((device, event))
        if press is not None:
            press.told.setdefault(stage, at)

    def press(self, device: str, event: int) -> Press:
        """Return one press."""
        return self._presses[device, event]

    @property
    def presses(self) -> list[Press]:
        """Every press, in the order of pressing."""
        return list(self._presses.values())

    def reached(self, stage: int) -> list[Press]:
        """Return the presses whose device heard at least this stage."""
        return [press for press in self._presses.values() if press.stage >= stage]
