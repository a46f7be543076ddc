"""Promises that tests judge and measure at once: the figures that a test tells its fixture `measured`.

Each benchmark here runs tests as `make test` or `make soak` does, in a process of its own, and takes up what they told
(tests/conftest.py writes it where `C5_MEASURED` says). A test that fails is no figure: the benchmark fails with it.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Figure
from benchmarks.site import Site

ROOT: Final = Path(__file__).parents[1]


def of_tests(*arguments: str) -> Callable[[Site], Coroutine[Any, Any, list[Figure]]]:
    """Return a benchmark that runs pytest with these arguments."""

    async def measure(site: Site) -> list[Figure]:
        told = site.home / "measured.jsonl"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments),
            cwd=ROOT,
            env={**os.environ, "LANGUAGE": "C", "C5_MEASURED": str(told)},
            stdout=sys.stderr,
        )
        if (status := await process.wait()) != 0:
            raise RuntimeError(f"pytest {' '.join(arguments)} ended with {status}")
        return [Figure(**json.loads(line)) for line in told.read_text().splitlines()]

    return measure
