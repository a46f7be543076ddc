"""One gateway, as C5 knows it: what it sent, what it misses, its epochs, whether it is there.

Records are judged before they come here (`verifier`) and count as held only when the ledger has stored them. The rules
of wire.md that meet here:

1. A later record under a valid certificate vouches by its hash for those of a revoked one before it ("Certificates").
2. What `records.unavailable` declares isn't missing. From a reported clone `lost` is not believed ("Epochs"), nor
   `receipted`: what C5 asks for it hasn't got.
3. Record 1 names the last durable record of the epoch before it; what is held beyond that stands, and its number is
   reported ("Epochs").
4. Agency and site of a topic are routing; a difference from the newest state is reported once ("Bindings").
5. A gateway's newest state names the brokers to which it has no link (key 8): each is a trouble until one doesn't.
   So is an alarm that it says to have had no receipt for.
6. Receipts: at once for alarms, at most one a second otherwise ("receipt"). What came in a file is receipted again
   when the gateway is heard: nobody was there the first time.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gateway.c5.chains import Chains, Key, Receipted
from gateway.c5.epochs import Cloned, Epoch, Epochs, Finding
from gateway.c5.lasting import Lasting
from gateway.c5.presence import Presence
from gateway.c5.reports import Reports
from gateway.c5.values import Batch, Declared, Outcome, Remember, Report, Seen
from gateway.c5.verifier import Unproven, Verified, VerifiedRun
from gateway.event import LANE_NAMES, Lane
from gateway.signing.message import State
from gateway.signing.record import Record, is_bytes, is_uint
from gateway.topics import Route

RECEIPT_INTERVAL: Final = 1.0  # seconds between receipts that no alarm calls for (rule 6)
GAP_REPORTED_AFTER: Final = 5.0  # seconds; what is only on its way has come by then
UNPROVEN: Final = 1000  # records of a revoked signer kept in memory; the gateway still has what doesn't fit
UNAVAILABLE: Final = "records.unavailable"
LINKS: Final = 16  # brokers of one gateway that are reported, and characters of what it says of each
LINK_TEXT: Final = 300


class Account:
    """All that C5 knows of one gateway."""

    def __init__(self, name: str, reports: Reports) -> None:
        self.name = name
        self.chains = Chains()
        self.epochs = Epochs()
        self.presence = Presence()
        self.unproven: dict[bytes, Unproven] = {}  # by digest, until something vouches for them
        self.clones: set[str] = set()  # open reports of them, by the epochs that they name
        self.owed: set[Key] = set()  # chains of which a receipt goes out with the gateway's next state (rule 6)
        self.route: Route | None = None
        self.seen: Seen | None = None
        self._reports = reports
        self._alarmed = False
        self._receipted_at = float("-inf")
        self._missing_since: dict[str, float] = {}
        self._lasting = Lasting(name, reports, lambda: self.epochs.present)
        self._unlinked: set[str] = set()  # brokers to which the gateway has no link (rule 5)

    def restore(self, report: Report, now: float) -> None:
        """Take in a report of this gateway that was open before this start."""
        self._reports.restore(report)
        if report.type == "gateway.cloned":
            self.clones.add(report.detail)
        if report.type == "records.missing":
            self._missing_since[report.detail] = now
        if report.type == "link.failed":
            self._unlinked.add(report.detail)
        self._lasting.restore(report.type, report.detail)

    def take(self, lane: Lane, records: Sequence[Verified], route: Route, verified_us: int, now: float) -> Batch:
        """Make one batch of the believed records of a message, those that they vouch for first."""
        self._reached(route)
        everything = records
        if self.unproven:
            everything = [each for record in records for each in (*self._vouched(record), record)]
        declared: list[Declared] = []
        if (
            lane is Lane.TELEMETRY
            and isinstance(everything, VerifiedRun)
            and not everything.expired
            and everything.columns.epoch in self.epochs.known
        ):
            # Nothing that `epochs` or a report has to know.
            return Batch(self.name, lane, verified_us, everything, declared, self._changed())
        for verified in everything:
            record_ = verified.record
            self._found(self.epochs.record(record_, now))
            if record_.type == UNAVAILABLE and lane == Lane.STATUS:
                declared += self._declared(record_)
        for thumbprint in {verified.envelope.thumbprint.hex() for verified in records if verified.expired}:
            text = f"records under a certificate that has expired since (thumbprint {thumbprint})"
            self._reports.add("signer.expired", self.name, text, thumbprint)
        return Batch(self.name, lane, verified_us, everything, declared, self._changed())

    def stored(self, batch: Batch, outcome: Outcome, now: float) -> None:
        """Take in that a batch has been committed: a receipt is due, for what came again too."""
        if isinstance(batch.records, VerifiedRun):
            run = batch.records.columns
            self.chains.hold(batch.lane, run.epoch, [(run.sequences[0], run.sequences[-1])])
        else:
            self._hold(batch)
        for declared in batch.declared:
            self.chains.forgo(declared.lane, declared.epoch, [(declared.first, declared.last)])
        for verified in () if isinstance(batch.records, VerifiedRun) else batch.records:  # a run has no first record
            self.linked(verified.record, now)
        if batch.lane is Lane.STATUS:
            for index, verified in enumerate(batch.records):
                if index not in outcome.known:
                    self._lasting.heard(verified.record)
        self._alarmed = self._alarmed or batch.lane == Lane.ALARM
        for index in outcome.contradicting:
            identity = batch.records[index].record.identity
            self._reports.add("record.tampered", self.name, f"two different records are both {identity}", identity)
        for identity in outcome.broken:
            self._reports.add("chain.broken", self.name, f"{identity} doesn't follow the record before it", identity)

    def linked(self, record: Record, now: float) -> None:
        """Take in what a held first record says of the epoch before it (rule 3)."""
        if record.sequence != 1 or record.link is None:
            return
        beyond = self.chains.end(record.lane, record.link, record.epoch, now)
        if beyond:
            text = f"{beyond} records are held of what the gateway lost when its power went"
            detail = f"{LANE_NAMES[record.lane]}/{record.link[0].hex()}"
            self._reports.add("records.undurable", self.name, text, detail)

    def state(self, state: State, wire: bytes, route: Route, seen_us: int, now: float) -> Remember | None:
        """Take in a verified state; return what the ledger must remember of it, if anything."""
        self._reached(route)
        self._found(self.epochs.state(state, now, seen_us))
        if state.epoch != self.epochs.present:
            return None
        newest = self.presence.state(state, now)
        if newest:
            self._placed(state, route)
            self._links(state)
            self._answers(state)
            for lane, head in (state.heads or {}).items():
                if head.sequence:
                    self.chains[lane, head.epoch].head(head.sequence, now)
            self.chains.owe(self.owed)
            self.owed.clear()
        elif self.seen is not None and self.seen.online == self.presence.online:
            return None
        self.seen = Seen(
            self.route or route,
            state.epoch,
            self.presence.number,
            self.presence.online,
            seen_us,
            wire if newest or self.seen is None else self.seen.state,
        )
        self._present()
        heads = [(lane, head.epoch, head.sequence, head.digest) for lane, head in (state.heads or {}).items()]
        return Remember(self.seen, self._changed(), heads if newest else ())

    def tick(self, now: float) -> Remember | None:
        """Time passed: silence, gaps, and suspects whose judgement is due."""
        self._found(self.epochs.tick(now))
        self._gaps(now)
        self.presence.tick(now)
        changed = self._changed()
        if self.seen is None or (self.seen.online == self.presence.online and not changed):
            return None
        self.seen = replace(self.seen, online=self.presence.online)
        self._present()
        return Remember(self.seen, changed)

    def receipt(self, now: float) -> Receipted | None:
        """Return the receipt that is due now, if one is (rule 6)."""
        if not self.chains.due or not (self._alarmed or now >= self._receipted_at + RECEIPT_INTERVAL):
            return None
        self._alarmed = False
        self._receipted_at = now
        return self.chains.receipt(now)

    def keep(self, records: Sequence[Unproven]) -> list[Unproven]:
        """Keep records of a revoked signer aside; return those that are new here, as far as there is room."""
        new = [record for record in records if record.digest not in self.unproven][: UNPROVEN - len(self.unproven)]
        self.unproven.update((record.digest, record) for record in new)
        text = "records under a revoked certificate, unproven until a later record vouches for them"
        self._reports.add("signer.revoked", self.name, text, records[0].envelope.thumbprint.hex())
        return new

    def _hold(self, batch: Batch) -> None:
        by_epoch: dict[bytes, list[tuple[int, int]]] = {}
        for verified in batch.records:
            record = verified.record
            ranges = by_epoch.setdefault(record.epoch, [])
            if ranges and ranges[-1][1] + 1 == record.sequence:
                ranges[-1] = (ranges[-1][0], record.sequence)
            else:
                ranges.append((record.sequence, record.sequence))
        for epoch, ranges in by_epoch.items():
            self.chains.hold(batch.lane, epoch, ranges)

    def _vouched(self, record: Verified) -> list[Verified]:
        """Return the kept records that this one vouches for, in their order (rule 1)."""
        found: list[Verified] = []
        previous = record.record.previous
        while (kept := self.unproven.pop(previous, None)) is not None:
            found.append(Verified(kept.record, kept.envelope, kept.digest))
            previous = kept.record.previous
        return found[::-1]

    def _declared(self, record: Record) -> list[Declared]:
        """Read a declaration (rule 2)."""
        data = record.data or {}
        number, ranges, reason = data.get("lane"), data.get("ranges"), data.get("reason")
        lane = Lane(number) if type(number) is int and 0 <= number <= 2 else None
        if lane is None or not isinstance(ranges, list) or not all(map(_is_range, ranges)):
            self._reports.add("records.unavailable", self.name, "a declaration that can't be read", "unreadable")
            return []
        if self.clones and reason != "dropped":
            text = "records declared lost or receipted by a gateway that is reported as cloned: not believed"
            self._reports.add("records.unavailable", self.name, text, "cloned")
            return []
        if reason in ("dropped", "lost"):  # whatever it is, which may be no text
            text = f"the gateway {reason} records of its {LANE_NAMES[lane]} lane before C5 had them"
            self._reports.add("records.unavailable", self.name, text, f"{LANE_NAMES[lane]}/{reason}")
        return [Declared(lane, epoch, first, last) for epoch, first, last in ranges]

    def _found(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            detail = f"{finding.epoch.hex()}/{finding.other.hex()}"
            if isinstance(finding, Cloned):
                text = "two gateways with one identity, or one that went back to an older image of itself"
                report = self._reports.add if detail in self.clones else self._reports.hold  # while it lasts it counts
                report("gateway.cloned", self.name, f"{text} (epochs {detail})", detail)
                self.clones.add(detail)
            else:
                text = "the gateway lost its store: what C5 hadn't got of the epochs before is gone"
                self._reports.add("store.lost", self.name, f"{text} (epochs {detail})", detail)
                self._lasting.gone()  # with the store went what it knew to be wrong: it is told anew

    def settle(self, text: str) -> int:
        """End what was reported of clones: somebody has found the other one. Return how many reports that were."""
        for detail in self.clones:
            self._reports.end("gateway.cloned", self.name, text, detail)
        ended, self.clones = len(self.clones), set()
        return ended

    def _gaps(self, now: float) -> None:
        found = self.chains.tick(now)
        if not found and not self._missing_since:
            return
        missing = {f"{LANE_NAMES[lane]}/{epoch.hex()}": gaps for (lane, epoch), gaps in found.items()}
        for detail in set(self._missing_since) - set(missing):
            del self._missing_since[detail]
            self._reports.end("records.missing", self.name, "everything has come or was declared", detail)
        for detail, gaps in missing.items():
            if now >= self._missing_since.setdefault(detail, now) + GAP_REPORTED_AFTER:
                count = sum(last - first + 1 for first, last in gaps)
                text = f"{count} records missing from {gaps[0][0]} on; the gateway was asked for them"
                self._reports.hold("records.missing", self.name, text, detail)

    def _present(self) -> None:
        if self.presence.online:
            self._reports.end("gateway.offline", self.name, "the gateway is online")
        else:
            self._reports.hold("gateway.offline", self.name, "the gateway is offline")

    def _reached(self, route: Route) -> None:
        if self.route is None:
            self.route = route
        elif self.seen is not None and route != self.route:
            self._reports.add("route.differs", self.name, "messages in a topic of another agency or site than its own")

    def _placed(self, state: State, route: Route) -> None:
        """Follow the gateway to where its newest state says it is (rule 4)."""
        self.route = Route(state.agency, state.site, self.name)
        if route != self.route:
            self._reports.add("route.differs", self.name, "messages in a topic of another agency or site than its own")

    def _links(self, state: State) -> None:
        """Report what the gateway's newest state says of its links, if it says anything (rule 5)."""
        links = (state.health or {}).get("links")
        if not isinstance(links, dict):
            return
        failed = {
            plain(broker): plain(reason)
            for broker, reason in list(links.items())[:LINKS]
            if isinstance(broker, str) and isinstance(reason, str)
        }
        for broker in self._unlinked - failed.keys():
            self._reports.end("link.failed", self.name, f"the gateway has its link to {broker} again", broker)
        for broker, reason in failed.items():
            self._reports.hold("link.failed", self.name, f"the gateway has no link to {broker}: {reason}", broker)
        self._unlinked = set(failed)

    def _answers(self, state: State) -> None:
        """Report that the gateway hears none of our receipts, if its newest state says so (rule 5)."""
        if state.health is None:
            return
        if is_uint(state.health.get("unreceipted_s")):
            text = "the gateway has had no receipt for an alarm: the broker's access list must let it read …/receipt"
            self._reports.hold("receipts.unread", self.name, text)
        else:
            self._reports.end("receipts.unread", self.name, "the gateway has our receipts again")

    def _changed(self) -> list[Epoch]:
        """Return copies of what changed of the epochs; the ledger's thread reads them."""
        changed = [replace(self.epochs.known[name]) for name in self.epochs.changed]
        self.epochs.changed.clear()
        return changed


def plain(text: str) -> str:
    """Return what a gateway says, without what could steer a terminal, and no longer than a line or two."""
    return "".join(character if character.isprintable() else "?" for character in text[:LINK_TEXT])


def _is_range(value: object) -> bool:
    return (
        type(value) is list
        and len(value) == 3
        and is_bytes(value[0], 8)
        and is_uint(value[1])
        and is_uint(value[2])
        and 1 <= value[1] <= value[2]
    )
