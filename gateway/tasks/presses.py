"""The last press of each device, and when each of its stages became true here: what a walk test looks at."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.event import ALARMS

if TYPE_CHECKING:
    from gateway.clock import Timekeeper

TEST_PRESSED: Final = "test.pressed"


@dataclass(frozen=True, slots=True)
class _Press:
    number: int
    type: str
    at: float  # monotonic
    stages: dict[int, float] = field(default_factory=dict)


class Presses:
    """Remembers one press a device; a release or a trouble is none."""

    def __init__(self, clock: "Timekeeper") -> None:
        self._clock = clock
        self._last: dict[str, _Press] = {}

    def happened(self, device: str, number: int, type_: str) -> None:
        """Take a new event."""
        if type_ in ALARMS or type_ == TEST_PRESSED:
            self._last[device] = _Press(number, type_, self._clock.monotonic())

    def stage(self, device: str, number: int, stage: int) -> None:
        """Note that a stage of an event has become true."""
        press = self._last.get(device)
        if press is not None and press.number == number:
            press.stages.setdefault(stage, self._clock.monotonic())

    def glance(self, device: str) -> dict[str, Any]:
        """Return what `status` shows of it; `stages_ms` are from the press's arrival here."""
        press = self._last.get(device)
        if press is None:
            return {"last_press": None}
        stages = {str(stage): round((at - press.at) * 1000) for stage, at in sorted(press.stages.items())}
        ago = round(self._clock.monotonic() - press.at, 1)
        return {"last_press": {"number": press.number, "type": press.type, "ago_s": ago, "stages_ms": stages}}
