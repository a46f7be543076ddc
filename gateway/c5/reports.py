"""Troubles, each told once however often it is met, until they are written down.

A trouble is known by its type, gateway and detail. Between two writings at most `PENDING` different ones are kept: who
floods C5 with nonsense fills a counter, not the memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.c5.values import Report, ReportType

PENDING: Final = 512


@dataclass(frozen=True, slots=True)
class Tally:
    """A report, and how often it was met since the last writing."""

    report: Report
    count: int


class Reports:
    """What is to be reported since the last `drain`."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str, str], Tally] = {}
        self._open: set[tuple[str, str, str]] = set()  # states that `end` may end

    def restore(self, report: Report) -> None:
        """Take in that this was reported before this start, and hasn't ended."""
        self._open.add((report.type, report.gateway, report.detail))

    def add(self, type_: ReportType, gateway: str, text: str, detail: str = "") -> None:
        """Report a trouble. `detail` tells it from others of its type and gateway."""
        self._put(Report(type_, gateway, detail, text), 1)

    def hold(self, type_: ReportType, gateway: str, text: str, detail: str = "") -> None:
        """Report a state of things that `end` will end; while it lasts it is reported once."""
        key = (type_, gateway, detail)
        if key not in self._open:
            self._open.add(key)
            self._put(Report(type_, gateway, detail, text), 1)

    def end(self, type_: ReportType, gateway: str, text: str, detail: str = "") -> None:
        """Report that such a state has ended, if it was."""
        key = (type_, gateway, detail)
        if key in self._open:
            self._open.discard(key)
            self._put(Report(type_, gateway, detail, text, open=False), 0)

    def drain(self) -> list[Tally]:
        """Return what was reported since the last call."""
        tallies = list(self._pending.values())
        self._pending.clear()
        return tallies

    def put_back(self, tallies: Sequence[Tally]) -> None:
        """Take back what could not be written down; what was reported since is newer."""
        newer, self._pending = self._pending, {}
        for tally in (*tallies, *newer.values()):
            self._put(tally.report, tally.count)

    def _put(self, report: Report, count: int) -> None:
        key = (report.type, report.gateway, report.detail)
        before = self._pending.get(key)
        if before is None and len(self._pending) >= PENDING:
            return  # so many wait for the ledger that one more tells nobody anything
        self._pending[key] = Tally(report, count + (before.count if before else 0))
