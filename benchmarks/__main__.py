"""`python -m benchmarks [latency] [line] [storm] …`: measure, print a table, write `results/latest.json`.

Run alone, a benchmark changes its own figures in the file and leaves the others.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import drain, flood, latency, line_rate, modbus, osdp, start, storm
from benchmarks.figures import Figure
from benchmarks.promises import of_tests
from benchmarks.report import number, write
from benchmarks.site import Site
from firmware_sim.broker import find_mosquitto

BENCHMARKS: Final[dict[str, Callable[[Site], Coroutine[Any, Any, list[Figure]]]]] = {
    "latency": latency.measure,
    "line": line_rate.measure,
    "drain": drain.measure,
    "flood": flood.measure,
    "storm": storm.measure,
    "many": of_tests("tests/journeys/test_many.py", "-m", "soak"),
    "modbus": modbus.measure,
    "osdp": osdp.measure,
    "start": start.measure,
    "blackhole": of_tests("tests/journeys/test_paths.py", "-m", "soak"),
    "disk": of_tests("tests/journeys/test_disk.py", "tests/journeys/test_corrupt.py"),
    "power": of_tests("tests/power"),
    "kills": of_tests("tests/journeys/test_killed.py", "-m", "soak"),
    "simulation": of_tests("tests/simulation", "-m", "soak"),
}


def main(names: list[str]) -> int:
    if unknown := set(names) - BENCHMARKS.keys():
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    if find_mosquitto() is None:
        print("mosquitto is not on this machine: run packaging/fetch_mosquitto.sh", file=sys.stderr)
        return 1
    console = Console(width=None if sys.stdout.isatty() else 140)
    for name in names or list(BENCHMARKS):
        began = datetime.now(UTC)
        with (
            tempfile.TemporaryDirectory(prefix="c5-bench-", ignore_cleanup_errors=True) as folder,
            console.status(name),
        ):
            figures = asyncio.run(BENCHMARKS[name](Site(Path(folder))))
        console.print(table(name, figures, (datetime.now(UTC) - began).total_seconds()))
        write(name, figures, list(BENCHMARKS))
    return 0


def table(name: str, figures: list[Figure], seconds: float) -> Table:
    shown = Table(title=f"{name} ({seconds:.0f} s)", title_justify="left")
    for heading in ("", "unit", "ours", "naive", "bridge", "ours/naive", "to reach now", "goal"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for figure in figures:
        shown.add_row(
            figure.name,
            figure.unit,
            number(figure.ours),
            number(figure.naive),
            number(figure.bridge),
            number(figure.ratio),
            _limit(figure, figure.now),
            _limit(figure, figure.goal),
        )
    return shown


def _limit(figure: Figure, limit: float | None) -> str:
    if limit is None:
        return ""
    word = "≤" if figure.better == "less" else "≥"
    mark = "[green]✓[/]" if figure.reaches(limit) else "[red]✗[/]"
    return f"{word} {number(limit)}{' × naive' if figure.of_naive else ''} {mark}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
