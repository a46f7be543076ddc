"""A figure: what was measured of ours and of theirs, and what it has to reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `naive` and `bridge` may be text where there is no number; `now` and `goal` are limits for `ours`.

    With `of_naive` the limits are multiples of the naive script's figure.
    """

    name: str
    unit: str
    ours: float
    naive: float | str | None = None
    bridge: float | str | None = None
    now: float | None = None
    goal: float | None = None
    better: Literal["less", "more"] = "less"
    of_naive: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours as a multiple of the naive script's."""
        return round(self.ours / self.naive, 2) if isinstance(self.naive, float | int) and self.naive else None

    def reaches(self, limit: float | None) -> bool | None:
        """Whether ours is within a limit; None if there is none."""
        compared = self.ratio if self.of_naive else self.ours
        if limit is None or compared is None:
            return None
        return compared <= limit if self.better == "less" else compared >= limit

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": round(self.ours, 3),
            "naive": round(self.naive, 3) if isinstance(self.naive, float) else self.naive,
            "bridge": round(self.bridge, 3) if isinstance(self.bridge, float) else self.bridge,
            "ratio": self.ratio,
            "now": self.now,
            "goal": self.goal,
            "limits_are_ratios": self.of_naive,
            "better": self.better,
            "reached_now": self.reaches(self.now),
            "reached_goal": self.reaches(self.goal),
        }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all is at most."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def spread(values: Sequence[float]) -> Mapping[str, float]:
    """Return p50, p99 and max."""
    return {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}
