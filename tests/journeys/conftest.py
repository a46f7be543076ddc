"""One certificate authority for all journeys; what each journey counted, and its seed, are printed at the end.

`C5_SEED=n` repeats a run as far as chance goes.
"""

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.world import Counted, make_authority

_COUNTED = "counted"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder with a short name: in it sockets are made, whose paths the kernel wants below 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="c5-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Counted:
    """Return what a journey tells its counts to."""
    return lambda what: record_property(_COUNTED, what)


@pytest.fixture
def seed(counted: Counted) -> int:
    chosen = int(os.environ.get("C5_SEED") or random.SystemRandom().randrange(2**32))
    counted(f"C5_SEED={chosen}")
    return chosen


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        (report.nodeid.partition("::")[2], value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == _COUNTED
    ]
    if told:
        terminalreporter.section("what the journeys counted")
    before = ""
    for journey, value in told:
        if journey != before:
            terminalreporter.line(journey)
        before = journey
        terminalreporter.line(f"    {value}")
