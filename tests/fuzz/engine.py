"""One target under the loop: an input is changed and run; what took a new step is kept, what raised is a finding.

Beyond raising, a run may not take longer than `SECONDS` of processor time, nor leave the process `MEGABYTES` larger.
Everything follows from the seed and the corpus, but for how far it comes in its time.
"""

import contextlib
import hashlib
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final

from tests.fuzz.mutate import mutated
from tests.fuzz.target import Target
from tests.fuzz.tracing import Trace, all_lines

SECONDS: Final = 2.0  # of processor time for one input; traced, a run takes some ten times as long as it would
MEGABYTES: Final = 64  # that one input may add to what the process ever held at once
FINDINGS_MAX: Final = 5  # different ones of a target; then it is left alone
SHRINK: Final = 5.0  # seconds spent on making a finding's input small


class TooSlowError(BaseException):
    """A run took longer than `SECONDS`; no parser may catch it."""


class TooLargeError(BaseException):
    """A run left the process larger than is allowed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input on which a target raised; `where` tells it from others."""

    target: str
    data: bytes
    where: str
    trace: str


@dataclass(slots=True)
class Report:
    """What became of a target. `kept` are the inputs that each took a step that none before it took."""

    target: str
    runs: int = 0
    seconds: float = 0.0
    steps: int = 0
    lines: int = 0
    of_lines: int = 0
    kept: list[bytes] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def fuzz(
    target: Target,
    corpus: Sequence[bytes],
    seconds: float,
    seed: int,
    *,
    note: Callable[[bytes], None] = lambda _data: None,
    most: int = FINDINGS_MAX,
) -> Report:
    """Run a target for so long, or to so many findings, beginning with these inputs and its seeds.

    `note` gets each input before it is run.
    """
    random = Random(f"{seed} {target.name}")
    trace = Trace(target.watched)
    report = Report(target.name)
    known: set[str] = set()
    first = sorted({*corpus, *target.seeds()}, key=len)
    with contextlib.suppress(Exception):
        target.run(first[0])  # what is made once, at the first call, is no input's doing
    began = time.monotonic()

    def attempt(data: bytes) -> None:
        report.runs += 1
        note(data)
        found = _run(target, data, trace)
        if found is not None and found.where not in known:
            known.add(found.where)
            report.findings.append(_shrunk(target, found))
        elif found is None and trace.fresh:
            report.kept.append(data)

    for data in first:
        attempt(data)
    queue = report.kept
    while queue and time.monotonic() - began < seconds and len(known) < most:
        newest = max(1, len(queue) // 4)
        data = random.choice(queue[-newest:] if random.random() < 0.4 else queue)
        attempt(mutated(target, data, queue, random))
    report.seconds = time.monotonic() - began
    report.steps, report.lines, report.of_lines = trace.steps, len(trace.lines), all_lines(trace.files)
    return report


def attempt(target: Target, data: bytes) -> Finding | None:
    """Run a target once, untraced."""
    return _run(target, data, None)


def minimised(target: Target, inputs: Sequence[bytes]) -> list[bytes]:
    """Return a few of these inputs that take all their steps, small ones rather than large ones."""
    trace = Trace(target.watched, every=True)
    ordered = sorted(set(inputs), key=lambda data: (len(data), data))
    return [data for data in ordered if _run(target, data, trace) is None and trace.fresh]


def name_of(data: bytes) -> str:
    """Return the name of an input's file."""
    return hashlib.sha256(data).hexdigest()[:16]


def stored(folder: Path) -> list[bytes]:
    """Return the inputs in a folder."""
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def _run(target: Target, data: bytes, trace: Trace | None) -> Finding | None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _limited(), trace or contextlib.nullcontext():
            target.run(data)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEGABYTES * 1024:
            raise TooLargeError  # noqa: TRY301  # told like what the run itself raises
    except (Exception, TooSlowError, TooLargeError) as error:  # noqa: BLE001  # whatever it is, it is what we look for
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/fuzz/engine" not in frame.filename]
        at = frames[-1] if frames else None
        where = (
            type(error).__name__
            if at is None or isinstance(error, TooSlowError | RecursionError)
            else f"{type(error).__name__} {at.filename}:{at.lineno}"
        )
        return Finding(target.name, data, where, "".join(traceback.format_exception(error, limit=-8)))
    return None


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _shrunk(target: Target, found: Finding) -> Finding:
    """Return the same finding on a smaller input."""
    until = time.monotonic() + SHRINK
    best = found
    size = len(best.data)
    while size and time.monotonic() < until:
        size = min(size, len(best.data))
        smaller = False
        for at in range(0, len(best.data), max(1, size)):
            less = best.data[:at] + best.data[at + size :]
            if time.monotonic() < until and (again := _run(target, less, None)) and again.where == found.where:
                best, smaller = again, True
                break
        if not smaller:
            size //= 2
    return best
