"""Whose records are held until their signer's certificate comes, so that the report of it ends when it has come.

One report stands for each gateway that has proven itself, and one for all others together: anybody can invent their
names. What is held no longer than a day (`ledger`) is told no longer. At most `SIGNERS` are known at once; beyond that
the oldest is no longer spoken of.
"""

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final

from gateway.c5.reports import Reports
from gateway.c5.values import Report

SIGNERS: Final = 1024
HELD_FOR: Final = 86_400.0  # seconds
DETAIL: Final = "records held until their signer's certificate comes"


class Holding:
    """The signers that are waited for. `now` is monotonic seconds."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._waiting: dict[tuple[str, bytes], tuple[str, float]] = {}  # who the report names, and when it was met last

    def restore(self, reports: Collection[Report], held: Iterable[tuple[str, bytes]], now: float) -> None:
        """Take in the reports that were open before this start, and the signers of what is held."""
        named = {report.gateway for report in reports}
        for gateway, thumbprint in islice(held, SIGNERS):
            self._waiting[gateway, thumbprint] = (gateway if gateway in named else "", now)
        for report in reports:
            self._reports.restore(report)
            self._end(report.gateway)

    def hold(self, gateway: str, thumbprint: bytes, named: str, now: float) -> None:
        """Records of this signer are held. `named` is the gateway if it has proven itself, else nothing."""
        before = self._waiting.get((gateway, thumbprint))
        if before is not None:
            named = before[0]
        self._waiting[gateway, thumbprint] = (named, now)
        self._reports.hold("record.held", named, f"{DETAIL} (topic of {gateway})", DETAIL)
        if len(self._waiting) > SIGNERS:
            self._drop(next(iter(self._waiting)))

    def come(self, gateway: str, thumbprint: bytes) -> None:
        """Its certificate has come."""
        if (gateway, thumbprint) in self._waiting:
            self._drop((gateway, thumbprint))

    def tick(self, now: float) -> None:
        """Time passed."""
        for signer in [signer for signer, (_named, since) in self._waiting.items() if now >= since + HELD_FOR]:
            self._drop(signer)

    def _drop(self, signer: tuple[str, bytes]) -> None:
        self._end(self._waiting.pop(signer)[0])

    def _end(self, named: str) -> None:
        """End the report where none of those that it speaks of is left."""
        if all(other != named for other, _since in self._waiting.values()):
            self._reports.end("record.held", named, "the certificates have come, or nothing is held any more", DETAIL)
