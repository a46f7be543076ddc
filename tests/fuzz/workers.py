"""Targets side by side, each in its own process: one that dies, or hangs where no signal reaches it, is a finding."""

import logging
import multiprocessing
import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Final, NamedTuple

from tests.fuzz.engine import Finding, Report, fuzz
from tests.fuzz.targets import TARGETS

NICE: Final = 5
LATE: Final = 60.0  # seconds of the clock beyond its share, after which a target hangs
ADDRESS_SPACE: Final = 4 << 30  # bytes: what asks for more gets a MemoryError instead of the machine's last page
_CONTEXT: Final = multiprocessing.get_context("spawn")
_ROOM: Final = 16_384  # bytes of the input that is being run, for the case that nothing else is left


class Job(NamedTuple):
    """A target's share."""

    target: str
    seconds: float
    seed: int
    corpus: Sequence[bytes]


@dataclass
class _Worker:
    job: Job
    report: Connection
    process: Any
    running: Any = field(repr=False)
    until: float = 0.0


def work(jobs: Sequence[Job], cores: int) -> Iterator[Report]:
    """Yield the reports as they come."""
    waiting, busy = list(jobs), list[_Worker]()
    while waiting or busy:
        while waiting and len(busy) < cores:
            busy.append(_begun(waiting.pop(0)))
        wait([worker.report for worker in busy], timeout=1.0)
        for worker in busy.copy():
            if worker.report.poll() or time.monotonic() > worker.until:
                busy.remove(worker)
                yield _ended(worker)


def _begun(job: Job) -> _Worker:
    here, there = _CONTEXT.Pipe(duplex=False)
    running = _CONTEXT.RawArray("c", _ROOM)
    process = _CONTEXT.Process(target=_fuzz, args=(job, there, running), daemon=True)
    process.start()
    there.close()  # or its end would not be seen here
    return _Worker(job, here, process, running, time.monotonic() + job.seconds + LATE)


def _ended(worker: _Worker) -> Report:
    try:
        report: Report | None = worker.report.recv() if worker.report.poll() else None
    except EOFError:
        report = None
    if report is None:
        worker.process.join(1.0)
        how = "it hangs" if worker.process.exitcode is None else f"its process died ({worker.process.exitcode})"
        worker.process.kill()
        data = worker.running.raw
        size = int.from_bytes(data[:4], "big")
        finding = Finding(worker.job.target, data[4 : 4 + size], how, how + "\n")
        report = Report(worker.job.target, findings=[finding])
    worker.process.join()
    worker.process.close()
    return report


def _fuzz(job: Job, report: Connection, running: Any) -> None:
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    logging.getLogger().addHandler(logging.NullHandler())  # what a target says of its input is no news

    def note(data: bytes) -> None:
        running.raw = (len(data).to_bytes(4, "big") + data)[:_ROOM]

    report.send(fuzz(TARGETS[job.target], job.corpus, job.seconds, job.seed, note=note))
