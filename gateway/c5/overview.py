"""Every gateway at a glance, from what the ledger remembers: for `status` and `watch`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.c5.chains import HEAD_GRACE, Chains, Range
from gateway.c5.presence import SILENT_INTERVALS
from gateway.c5.values import Seen, Snapshot
from gateway.event import LANE_NAMES, Lane
from gateway.signing import cose, message

LATE: Final = 10  # seconds after which a running receiver has written down that a gateway went silent
_LONG_AGO: Final = -HEAD_GRACE


@dataclass(frozen=True, slots=True)
class Missing:
    """What was signed in one chain and isn't here."""

    lane: Lane
    epoch: bytes
    ranges: list[Range]

    @property
    def count(self) -> int:
        """How many records."""
        return sum(last - first + 1 for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class View:
    """One gateway. `seen` is None for one whose records came without a state; `kept` are records not believed.

    `online` is None where nobody knows: no state ever came, or no receiver has been running to see it go silent.
    """

    gateway: str
    seen: Seen | None
    online: bool | None
    version: str | None
    records: int
    kept: int
    missing: list[Missing]


def overview(snapshot: Snapshot, records: Mapping[str, int], kept: Mapping[str, int], now_us: int) -> list[View]:
    """Return all gateways by name."""
    chains: dict[str, Chains] = {}
    for span in snapshot.spans:
        chain = chains.setdefault(span.gateway, Chains())[span.lane, span.epoch]
        (chain.hold if span.held else chain.forgo)(span.first, span.last)
    for first in snapshot.firsts:
        if first.link is not None:
            chains[first.gateway].end(first.lane, first.link, first.epoch, _LONG_AGO)
    seen = {entry.route.gateway: entry for entry in snapshot.seen}
    states = {gateway: _state(entry) for gateway, entry in seen.items()}
    for gateway, state in states.items():
        age = (now_us - seen[gateway].seen_us) / 1_000_000
        for lane, head in ((state and state.heads) or {}).items():
            if head.sequence:
                chains.setdefault(gateway, Chains())[lane, head.epoch].head(head.sequence, -age)
    views = []
    for gateway in sorted(chains.keys() | seen.keys()):
        state = states.get(gateway)
        gaps = chains[gateway].tick(0.0) if gateway in chains else {}
        missing = [Missing(lane, epoch, ranges) for (lane, epoch), ranges in sorted(gaps.items())]
        counts = (records.get(gateway, 0), kept.get(gateway, 0))
        version = state.version if state else None
        views.append(
            View(gateway, seen.get(gateway), _online(seen.get(gateway), state, now_us), version, *counts, missing)
        )
    return views


def as_json(view: View) -> dict[str, object]:
    """Return a view as `status --json` shows it."""
    seen = view.seen
    return {
        "gateway": view.gateway,
        "online": view.online,
        "agency": seen.route.agency if seen else None,
        "site": seen.route.site if seen else None,
        "epoch": seen.epoch.hex() if seen else None,
        "version": view.version,
        "seen_us": seen.seen_us if seen else None,
        "records": view.records,
        "not_believed": view.kept,
        "missing": [
            {"lane": LANE_NAMES[gap.lane], "epoch": gap.epoch.hex(), "ranges": [list(pair) for pair in gap.ranges]}
            for gap in view.missing
        ],
    }


def _online(seen: Seen | None, state: message.State | None, now_us: int) -> bool | None:
    if seen is None or state is None:
        return None
    silent_us = (SILENT_INTERVALS * state.interval + LATE) * 1_000_000
    return None if seen.online and now_us > seen.seen_us + silent_us else seen.online


def _state(seen: Seen) -> message.State | None:
    envelope = cose.parse(seen.state, "state")
    decoded = message.decode("state", envelope.payload) if isinstance(envelope, cose.Envelope) else None
    return decoded if isinstance(decoded, message.State) else None
