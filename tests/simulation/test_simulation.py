"""`make test`'s share of the simulation: as many seeds as fit, each planted bug found, and a seed that repeats exactly.

Seeds count up from `C5_SEED` (1): another night, another first seed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.simulation.planted import FOUND
from tests.support.measured import Measured

ROOT: Final = Path(__file__).parents[2]
FIRST: Final = os.environ.get("C5_SEED", "1")
BUDGET: Final = 20  # seconds in which seeds are begun
ENOUGH: Final = 200  # seeds within which a planted bug must be found
# Where the search for each begins: the seed that found it when this was written, so that the search ends soon.
BEGIN: Final = {
    "acknowledge-before-commit": 1,
    "receipt-believed-too-far": 3,
    "alarm-behind-telemetry": 9,
    "sequence-reused": 4,
    "in-flight-lost": 5,
}


def simulate(*arguments: str, within: float = 280) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    own = {**os.environ, "PYTHONHASHSEED": "0"}  # else it begins once more, with this
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=within, env=own)


pytestmark = pytest.mark.timeout(300)  # seeds are work: on a machine busy with other things they take their time


def test_every_promise_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    ran = simulate("--first", FIRST, "--seeds", "1000", "--budget", str(BUDGET))
    with capsys.disabled():
        sys.stdout.write(f"\n{ran.stdout}")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_every_promise_is_kept_in_a_thousand_seeds(measured: Measured) -> None:
    ran = simulate("--first", FIRST, "--seeds", "1000", "--keep-going", within=5300)
    said = re.search(r"^([\d ]+) seeds.*?([\d.]+) simulated hours", ran.stdout, re.MULTILINE)
    assert said is not None, ran.stdout + ran.stderr
    broken = len(re.findall(r"^seed \d+, at ", ran.stdout, re.MULTILINE))
    measured("seeds lived", "", float(said[1].replace(" ", "")), None)
    measured("simulated hours", "h", float(said[2]), None)
    measured("seeds that broke a promise", "", broken, 0)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


def test_a_seed_repeats_exactly() -> None:
    first, second = (simulate("--seed", FIRST, "--hours", "0.1").stdout for _ in range(2))
    assert "trace" in first
    assert first == second


@pytest.mark.parametrize("bug", sorted(FOUND))
def test_a_planted_bug_is_found(bug: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = simulate("--plant", bug, "--first", str(BEGIN[bug]), "--seeds", str(ENOUGH))
    found = re.search(r"^seed (\d+), at ([\d.]+) s: (.*)$", ran.stdout, re.MULTILINE)
    assert found is not None, ran.stdout + ran.stderr
    with capsys.disabled():
        sys.stdout.write(f"\n{bug}: found by seed {found[1]}, at {found[2]} simulated s\n")
    assert re.search(FOUND[bug], found[3])
