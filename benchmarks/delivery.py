"""The table in docs/explain/delivery.md: each promise of delivery, what was measured, and the command to repeat it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "explain" / "delivery.md"
HEADING: Final = "## Measured\n"
SHOWN: Final = ("simulation", "kills", "power", "flood", "drain", "latency", "blackhole", "disk")
TESTED: Final = ("simulation", "kills", "power", "disk")  # what has no limit there is a count


def write(benchmarks: Mapping[str, Mapping[str, Any]], number: Any) -> None:
    """Write the table anew from the figures of the latest runs."""
    lines = [
        HEADING,
        "| | measured | naive | bridge | limit | kept | repeat with | run on |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in SHOWN:
        for figure in benchmarks.get(name, {}).get("figures", ()):
            limit = figure["now"] if figure["goal"] is None else figure["goal"]
            if limit is None and name not in TESTED:
                continue
            reached = figure["reached_now"] if figure["goal"] is None else figure["reached_goal"]
            unit = "× naive" if figure["limits_are_ratios"] else figure["unit"]
            ours = figure["ratio"] if figure["limits_are_ratios"] else figure["ours"]
            cells = (
                figure["name"],
                f"{number(ours)} {unit}",
                number(figure["naive"]),
                number(figure["bridge"]),
                "" if limit is None else f"{'≥' if figure.get('better') == 'more' else '≤'} {number(limit)} {unit}",
                {True: "yes", False: "**no**", None: ""}[reached],
                f"`make bench ARGS={name}`",
                f"{benchmarks[name]['at'][:10]}, {benchmarks[name]['commit']}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    PAGE.write_text(PAGE.read_text().partition(HEADING)[0] + "\n".join(lines) + "\n")
