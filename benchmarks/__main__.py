"""`python -m benchmarks [latency] [line] [drain] [start]`: measure, print a table, write `results/latest.json`.

Run alone, a benchmark changes its own figures in the file and leaves the others.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import drain, latency, line_rate, start
from benchmarks.figures import Figure
from benchmarks.site import Site
from firmware_sim.broker import find_mosquitto

RESULTS: Final = Path(__file__).parent / "results" / "latest.json"
BENCHMARKS: Final[dict[str, Callable[[Site], Coroutine[Any, Any, list[Figure]]]]] = {
    "latency": latency.measure,
    "line": line_rate.measure,
    "drain": drain.measure,
    "start": start.measure,
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
        write(name, figures)
    return 0


def table(name: str, figures: list[Figure], seconds: float) -> Table:
    shown = Table(title=f"{name} ({seconds:.0f} s)", title_justify="left")
    for heading in ("", "unit", "ours", "naive", "bridge", "ours/naive", "to reach now", "goal"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for figure in figures:
        shown.add_row(
            figure.name,
            figure.unit,
            _number(figure.ours),
            _number(figure.naive),
            _number(figure.bridge),
            _number(figure.ratio),
            _limit(figure, figure.now),
            _limit(figure, figure.goal),
        )
    return shown


def _number(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def _limit(figure: Figure, limit: float | None) -> str:
    if limit is None:
        return ""
    word = "≤" if figure.better == "less" else "≥"
    mark = "[green]✓[/]" if figure.reaches(limit) else "[red]✗[/]"
    return f"{word} {_number(limit)}{' × naive' if figure.of_naive else ''} {mark}"


def write(measured: str, figures: list[Figure]) -> None:
    """Put the figures into the file, beside those of benchmarks that were not run now."""
    before: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept = before.get("benchmarks", {})
    run = {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
    }
    kept[measured] = {**run, "figures": [figure.as_json() for figure in figures]}
    RESULTS.parent.mkdir(exist_ok=True)
    ordered = {name: kept[name] for name in BENCHMARKS if name in kept}
    RESULTS.write_text(json.dumps({"benchmarks": ordered}, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, Any]:
    """What it was measured on; no names."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu.partition(": ")[2] or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions() -> dict[str, str]:
    said = subprocess.run([str(find_mosquitto()), "-h"], capture_output=True, text=True, check=False).stdout
    packages = ("c5-gateway", "cbor2", "cryptography", "cwt", "paho-mqtt", "pyserial")
    return {
        "python": platform.python_version(),
        "mosquitto": said.partition("version ")[2].split("\n")[0].strip() or "?",
        **{package: version(package) for package in packages},
    }


def commit() -> str:
    """The commit that was measured, and whether the tree had changes beside it."""
    command = ["git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, cwd=RESULTS.parents[2], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
