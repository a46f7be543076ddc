"""What stays of a run: `results/latest.json`, and the same as the last section of docs/explain/benchmarks.md."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks import delivery
from benchmarks.figures import Figure
from firmware_sim.broker import Mosquitto, find_mosquitto

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results" / "latest.json"
PAGE: Final = ROOT / "docs" / "explain" / "benchmarks.md"
HEADING: Final = "## The latest run\n"


def write(measured: str, figures: list[Figure], order: Sequence[str]) -> None:
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
    ordered = {name: kept[name] for name in order if name in kept}
    text = PAGE.read_text()
    PAGE.write_text(text.partition(HEADING)[0] + HEADING + "".join(_section(name, ordered[name]) for name in ordered))
    delivery.write(ordered, number)
    RESULTS.write_text(json.dumps({"benchmarks": ordered}, indent=1, ensure_ascii=False) + "\n")


def number(value: float | str | None) -> str:
    """Write a figure as people read it."""
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def _section(name: str, run: dict[str, Any]) -> str:
    on = run["machine"]
    where = f"{on['cores']} cores ({on['cpu']}), {on['system']}"
    with_ = f"Python {run['versions']['python']}, mosquitto {run['versions']['mosquitto']}"
    lines = [
        f"\n**{name}**, {run['at'][:10]}, commit {run['commit']}, {where}, {with_}\n",
        "| | unit | ours | naive | bridge | ours / naive |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for figure in run["figures"]:
        shown = " | ".join(number(figure[key]) for key in ("ours", "naive", "bridge", "ratio"))
        lines.append(f"| {figure['name']} | {figure['unit']} | {shown} |")
    return "\n".join(lines) + "\n"


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
    environment = Mosquitto(home=ROOT)._environment()  # noqa: SLF001  # the libraries of an unpacked one
    asked = [str(find_mosquitto()), "-h"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False, env=environment).stdout
    packages = ("c5-gateway", "cbor2", "cryptography", "cwt", "paho-mqtt", "pyserial")
    return {
        "python": platform.python_version(),
        "mosquitto": said.partition("version ")[2].split("\n")[0].strip() or "?",
        **{package: version(package) for package in packages},
    }


def commit() -> str:
    """The commit that was measured, and whether the tree had changes beside it."""
    command = ["git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
