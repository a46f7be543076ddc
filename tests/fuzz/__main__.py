"""`make fuzz`: every target for its share of the time, on every core, and what was found in full.

make fuzz SECONDS=120            all targets, for two minutes in all
make fuzz SECONDS=60 TARGET=run  this one alone; SEED=n for other luck
make fuzz REPEAT=file            the input in this file, in the target that its folder is named after
make fuzz SECONDS=600 KEEP=1     and what took new steps goes into tests/fuzz/corpus
"""

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.fuzz.engine import Report, attempt, minimised, name_of, stored
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.workers import Job, work

CORPUS: Final = Path(__file__).parent / "corpus"
LOCAL: Final = Path(__file__).parents[2] / ".cache" / "fuzz"  # what was found on this machine


def say(text: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Fuzz, and return 1 if anything was found."""
    parser = argparse.ArgumentParser(
        prog="make fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="in all")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=Path)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())  # what a target says of its input is no news
    if given.repeat is not None:
        return _repeat(given.repeat)
    cores = os.cpu_count() or 1
    chosen = [TARGETS[name] for name in given.target or TARGETS]
    rounds = max(1, cores // len(chosen))  # one target alone is fuzzed on each core, with luck of its own
    share = given.seconds * cores / (len(chosen) * rounds)
    jobs = [
        Job(target.name, share, given.seed + 1000 * each, [*stored(CORPUS / target.name), *stored(LOCAL / target.name)])
        for target in chosen
        for each in range(rounds)
    ]
    say(f"seed {given.seed}, {share:.0f} s for each target on one of {cores} cores")
    reports = []
    for report in work(jobs, cores):
        reports.append(report)
        say(_line(report))
    runs, seconds = sum(report.runs for report in reports), sum(report.seconds for report in reports)
    lines, of_lines = sum(report.lines for report in reports), sum(report.of_lines for report in reports)
    say(f"{'in all':12} {runs:9} runs {runs / max(seconds, 0.001):7.0f}/s {lines:14} of {of_lines} lines")
    for report in reports:
        _keep(TARGETS[report.target], report, into_corpus=given.keep)
    return _tell(reports)


def _line(report: Report) -> str:
    rate = report.runs / max(report.seconds, 0.001)
    found = f"  {len(report.findings)} FOUND" if report.findings else ""
    return (
        f"{report.target:12} {report.runs:9} runs {rate:7.0f}/s {report.steps:6} steps {report.lines:4} of "
        f"{report.of_lines:4} lines {len(report.kept):5} inputs{found}"
    )


def _keep(target: Target, report: Report, *, into_corpus: bool) -> None:
    """Store what takes steps, and nothing that takes none: here, and if asked for where it is part of the project."""
    for folder in (LOCAL / target.name, *([CORPUS / target.name] if into_corpus else [])):
        inputs = minimised(target, [*stored(folder), *report.kept])
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for data in inputs:
            (folder / name_of(data)).write_bytes(data)


def _tell(reports: list[Report]) -> int:
    """Print each finding with how to repeat it."""
    findings = {(found.target, found.where): found for report in reports for found in report.findings}
    for found in findings.values():
        file = LOCAL / "found" / found.target / name_of(found.data)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(found.data)
        say(f"\n{found.target}: {found.where}\n{found.trace}{found.data[:200]!r}")
        say(f"again: make fuzz REPEAT={file.relative_to(LOCAL.parents[1])}")
    return 1 if findings else 0


def _repeat(file: Path) -> int:
    found = attempt(TARGETS[file.absolute().parent.name], file.read_bytes())
    say(found.trace if found else "nothing: it has been mended")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
