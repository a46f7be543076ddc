"""What holds for every test of the tree: none is skipped unnoticed, none hangs, and its folder's time is told.

Under `C5_STRICT=1` (CI) a skipped or expected-to-fail test is a failure: a machine where something can't be tested
must say so. A test that runs for longer than its limit ends the whole run with every thread's traceback:
`TIMEOUT` seconds, or `@pytest.mark.timeout(seconds)`.
"""

import faulthandler
import json
import os
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import pytest

os.environ["LANGUAGE"] = "C"  # what tests compare is the text as written, whoever runs them

STRICT: Final = os.environ.get("C5_STRICT") == "1"
TIMEOUT: Final = 120.0  # seconds; the longest journey takes a third of it on two busy cores

# What a test measured: name, unit, value, the limit that it must keep ("to reach now" in the tables of benchmarks/).
Measured = Callable[[str, str, float, float | None], None]
_MEASURED: Final = "measured"
_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "timeout(seconds): how long this test may run, instead of two minutes")
    config.stash[_stderr] = os.dup(2)  # capturing is off at this moment: a traceback must reach the terminal


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    marker = item.get_closest_marker("timeout")
    limit = TIMEOUT if marker is None else float(marker.args[0])
    faulthandler.dump_traceback_later(limit, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if STRICT and (report.skipped or hasattr(report, "wasxfail")):
        report.longrepr = f"C5_STRICT=1 and this test was not judged: {_reason(report)}"
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if STRICT and report.skipped:
        report.longrepr = f"C5_STRICT=1 and this file was skipped: {_reason(report)}"
        report.outcome = "failed"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return expected or "expected to fail"
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Return what a test tells its figures to: printed at the end, and written where C5_MEASURED names a file."""
    return lambda name, unit, value, limit: record_property(
        _MEASURED, {"name": name, "unit": unit, "ours": value, "now": limit}
    )


def _told(terminalreporter: pytest.TerminalReporter) -> list[dict[str, Any]]:
    return [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == _MEASURED and isinstance(value, dict)
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if told := _told(terminalreporter):
        terminalreporter.section("measured")
        for figure in told:
            limit = "" if figure["now"] is None else f" (at most {figure['now']:g})"
            terminalreporter.line(f"    {figure['name']}: {figure['ours']:g} {figure['unit']}{limit}")
        if path := os.environ.get("C5_MEASURED"):
            Path(path).write_text("".join(f"{json.dumps(figure)}\n" for figure in told), encoding="utf-8")
    seconds: defaultdict[Path, float] = defaultdict(float)
    tests: defaultdict[Path, set[str]] = defaultdict(set)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folder = Path(report.nodeid.partition("::")[0]).parent
                seconds[folder] += report.duration
                tests[folder].add(report.nodeid)
    if len(seconds) < 2:
        return
    terminalreporter.section("time by folder")
    for folder in sorted(seconds):
        terminalreporter.line(f"{seconds[folder]:7.1f} s  {len(tests[folder]):5} tests  {folder}")
