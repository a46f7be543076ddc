"""What C5 makes of each message, and what it answers: the whole of the centre's end but for sockets and disks.

    receive(topic, payload, …) → actions        judge a message; the caller performs each action
    examine(kept, …) → actions                  judge records again that were kept until their signer became known
    vouched(kept, …) → actions                  a record that the ledger holds already vouches for these
    stored(batch, outcome, …)                   the ledger has committed a batch: now it may be receipted
    tick(…) → actions                           time passed
    receipts(…), heartbeat(…)                   what C5 says, signed

An action that fails is forgotten: its message is not acknowledged, not receipted, and comes again. Topics are the
broker's claims; what a topic says is believed once a signature bound to it says so (wire.md, section 3, "Bindings").
Memory grows with proven gateways alone.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from gateway import topics
from gateway.c5.account import Account, plain
from gateway.c5.epochs import Epoch, Epochs
from gateway.c5.holding import Holding
from gateway.c5.presence import Presence
from gateway.c5.reports import Reports
from gateway.c5.signers import Signer, Signers
from gateway.c5.values import Action, Batch, Keep, Kept, KeptRecord, Learn, Outcome, ReportType, Snapshot, Store
from gateway.c5.verifier import (
    SignerUnknown,
    UnknownSigner,
    Unproven,
    Verdict,
    Verified,
    verify,
    verify_run,
    verify_state,
)
from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import cose, record
from gateway.signing.certificate import Revocations, thumbprint
from gateway.signing.chains import decode_chains
from gateway.signing.message import Centre as Heartbeat
from gateway.signing.message import Receipt, State, decode, encode
from gateway.signing.record import SYNCHRONISED
from gateway.topics import Arrival, Route

WAITING_STATES: Final = 1024  # newest states of gateways whose certificate hasn't come yet; the oldest gives way


class Centre:
    """The judgement of one receiver. `now` is monotonic seconds, `…_us` this machine's clock."""

    def __init__(self, name: str, signer: cose.Signer, signers: Signers) -> None:
        self.name = name
        self.reports = Reports()
        self.accounts: dict[str, Account] = {}
        self._signer = signer
        self._signers = signers
        self._holding = Holding(self.reports)
        self._waiting: dict[str, tuple[Route, bytes]] = {}
        self._due: set[str] = set()  # gateways that a receipt may be due for
        self._heartbeat_us = 0

    def restore(self, snapshot: Snapshot, now: float) -> None:
        """Take in what the ledger remembers from before this start."""
        for gateway, certificates, proven_us in snapshot.signers:
            self._signers.offer(gateway, certificates, proven_us)
        for span in snapshot.spans:
            chain = self._account(span.gateway).chains[span.lane, span.epoch]
            (chain.hold if span.held else chain.forgo)(span.first, span.last)
        for first in snapshot.firsts:
            self._account(first.gateway).linked(first, now)
        seen = {entry.route.gateway: entry for entry in snapshot.seen}
        epochs: dict[str, list[Epoch]] = {gateway: [] for gateway in seen}
        for gateway, epoch in snapshot.epochs:
            epochs.setdefault(gateway, []).append(epoch)
        for gateway, known in epochs.items():
            account = self._account(gateway)
            entry = account.seen = seen.get(gateway)
            account.epochs = Epochs(known, entry.epoch if entry else None, now)
            if entry:
                account.route = entry.route
                account.presence = Presence(entry.epoch, entry.number)
                if entry.online:
                    account.presence.restore(_read_state(entry.state), now)
        for owed in snapshot.owed:
            self.owe(*owed)
        for report in snapshot.reports:
            if report.gateway in self.accounts:
                self.accounts[report.gateway].restore(report, now)
        held = [report for report in snapshot.reports if report.type == "record.held"]
        self._holding.restore(held, snapshot.held, now)
        for kept in snapshot.unproven:
            envelope = cose.parse(kept.wire, "record")
            content = envelope if isinstance(envelope, Refused) else record.decode(envelope.payload)
            if isinstance(envelope, Refused) or isinstance(content, Refused):
                continue  # kept by older software, which allowed more
            unproven = Unproven(content, envelope, envelope.digest)
            self._account(kept.route.gateway).unproven[unproven.digest] = unproven

    def receive(self, topic: str, payload: bytes, arrived_us: int, now: float) -> list[Action]:
        """Judge one message."""
        arrival = topics.parse(topic)
        if arrival is None:
            self.reports.add("record.refused", "", "a message in a topic that is none of ours", "topic")
            return []
        if arrival.lane is not None:
            return self._records(arrival, arrival.lane, payload, arrived_us, now)
        if arrival.channel == "state":
            return self._state(arrival.route, payload, arrived_us, now)
        if arrival.channel == "certificates":
            return self._certificates(arrival.route, payload, arrived_us, now)
        return []

    def receive_together(
        self, topic: str, payloads: Sequence[bytes], arrived_us: int, now: float
    ) -> list[Action] | None:
        """Believe several messages of one topic whose records are one run, for the price of one; else None.

        None is for messages that are to be received one by one.
        """
        arrival = topics.parse(topic)
        if arrival is None or arrival.lane is None:
            return None
        gateway = arrival.route.gateway
        verified = verify_run(payloads, gateway, arrival.lane, self._finder(gateway), arrived_us)
        if verified is None:
            return None
        return [Store(self._account(gateway).take(arrival.lane, verified, arrival.route, arrived_us, now))]

    def examine(self, kept: Sequence[KeptRecord], now: float) -> list[Action]:
        """Judge records again whose signer has become known."""
        actions: list[Action] = []
        for entry in kept:
            actions += self._judge(entry.route, entry.lane, entry.wire, entry.arrived_us, now)
        return actions

    def vouched(self, kept: Kept, digests: Collection[bytes], now: float) -> list[Action]:
        """Believe records of a revoked signer, by the hash in the record after them."""
        account = self._account(kept.route.gateway)
        found = [account.unproven.pop(digest) for digest in digests if digest in account.unproven]
        records = [Verified(unproven.record, unproven.envelope, unproven.digest) for unproven in found]
        return [Store(account.take(kept.lane, records, kept.route, kept.arrived_us, now))] if records else []

    def stored(self, batch: Batch, outcome: Outcome, now: float) -> None:
        """Take in that a batch has been committed: it may be receipted."""
        self._account(batch.gateway).stored(batch, outcome, now)
        self._due.add(batch.gateway)

    def settle(self, gateway: str, text: str) -> int:
        """Take in that an operator has settled what was reported of clones; return how many reports that ends.

        Should there be another one all the same, its next state is reported anew.
        """
        return self.accounts[gateway].settle(plain(text)) if gateway in self.accounts else 0

    def owe(self, gateway: str, lane: Lane, epoch: bytes) -> None:
        """Take in that a receipt for this chain is owed to a gateway that isn't there: it goes out when it is heard."""
        self._account(gateway).owed.add((lane, epoch))

    def revoke(self, revocations: Revocations) -> None:
        """Take in a newer revocation list: it counts for what arrives from now on."""
        for signer in self._signers.revoke(revocations):
            thumbprint_ = signer.thumbprint.hex()
            text = "a certificate was revoked: what arrives under it is unproven"
            self.reports.add("signer.revoked", signer.gateway, text, thumbprint_)

    def tick(self, now: float) -> list[Action]:
        """Time passed."""
        self._holding.tick(now)
        self._due.update(self.accounts)
        return [action for account in self.accounts.values() if (action := account.tick(now)) is not None]

    def failed(self, gateway: str) -> None:
        """Report that the caller failed on a message of this gateway's topic: a mistake of ours."""
        self._refused("record.refused", gateway, "a message on which this receiver failed: its log says where")

    def receipts(self, now: float, now_us: int) -> list[tuple[str, bytes]]:
        """Return the receipts that are due, signed, each with its topic."""
        due: list[tuple[str, bytes]] = []
        for name in self._due:
            account = self.accounts[name]
            if account.route is not None and (receipted := account.receipt(now)) is not None:
                message = Receipt(name, now_us, receipted.up_to, receipted.missing)
                due.append((account.route.topic("receipt"), self._signer.sign("receipt", encode(message))))
        self._due.clear()  # who has to wait for his second is looked at with the next tick
        return due

    def heartbeat(self, now_us: int) -> tuple[str, bytes]:
        """Return the signed heartbeat and its topic; each is newer than the last, also if the clock was set back."""
        self._heartbeat_us = max(now_us, self._heartbeat_us + 1)
        return topics.CENTRE, self._signer.sign("centre", encode(Heartbeat(self.name, self._heartbeat_us)))

    def _account(self, gateway: str) -> Account:
        """Return the account of a gateway that has proven itself."""
        account = self.accounts.get(gateway)
        if account is None:
            account = self.accounts[gateway] = Account(gateway, self.reports)
        return account

    def _refused(self, type_: ReportType, gateway: str, reason: str) -> None:
        """Report a refusal, under the gateway's name if it is one that exists."""
        known = gateway if gateway in self.accounts else ""
        self.reports.add(type_, known, f"{reason} (topic of {gateway})", reason)

    def _records(self, arrival: Arrival, lane: Lane, payload: bytes, arrived_us: int, now: float) -> list[Action]:
        if len(payload) > cose.MESSAGE_MAX:
            self._refused("record.refused", arrival.route.gateway, "a sequence longer than 16 KiB")
            return []
        return self._judge(arrival.route, lane, payload, arrived_us, now)

    def _judge(self, route: Route, lane: Lane, payload: bytes, arrived_us: int, now: float) -> list[Action]:
        """Judge records, and sort them by what becomes of them."""
        gateway = route.gateway
        if lane is Lane.TELEMETRY:
            run = verify_run([payload], gateway, lane, self._finder(gateway), arrived_us)
            if run is not None:
                return [Store(self._account(gateway).take(lane, run, route, arrived_us, now))]
        verdicts, learned = self._verify(gateway, lane, cose.split_sequence(payload), arrived_us)
        verified = [verdict for verdict in verdicts if isinstance(verdict, Verified)]
        actions: list[Action] = [self._learn(signer) for signer in learned]
        if len(verified) < len(verdicts):
            unknown = [verdict for verdict in verdicts if isinstance(verdict, UnknownSigner)]
            unproven = [verdict for verdict in verdicts if isinstance(verdict, Unproven)]
            for verdict in verdicts:
                if isinstance(verdict, Refused):
                    self._refused("record.refused", gateway, verdict.reason)
            if unknown:
                named = gateway if gateway in self.accounts else ""
                for signer in {verdict.envelope.thumbprint for verdict in unknown}:
                    self._holding.hold(gateway, signer, named, now)
                actions.append(Keep(Kept(route, lane, arrived_us, unknown)))
            if unproven and (new := self._account(gateway).keep(unproven)):
                actions.append(Keep(Kept(route, lane, arrived_us, new)))
        if verified:
            actions.append(Store(self._account(gateway).take(lane, verified, route, arrived_us, now)))
        return actions

    def _verify(
        self, gateway: str, lane: Lane, items: list[bytes], arrived_us: int
    ) -> tuple[list[Verdict], list[Signer]]:
        """Verify records; where a signer is a candidate, judge it for the time of the record that names it."""
        find = self._finder(gateway)
        verdicts = verify(items, gateway, lane, find, arrived_us)
        learned: list[Signer] = []
        for verdict in verdicts:
            if isinstance(verdict, UnknownSigner):
                synchronised = verdict.record.clock.source in SYNCHRONISED
                at_us = verdict.record.occurred_us if synchronised else arrived_us
                signer = self._signers.reconsider(gateway, verdict.envelope.thumbprint, at_us)
                learned += [signer] if signer else []
        if learned:
            verdicts = verify(items, gateway, lane, find, arrived_us)
        return verdicts, learned

    def _learn(self, signer: Signer) -> Learn:
        self._holding.come(signer.gateway, signer.thumbprint)
        return Learn(signer)

    def _finder(self, gateway: str) -> Callable[[bytes], Signer | None]:
        return partial(self._signers.find, gateway)

    def _state(self, route: Route, payload: bytes, arrived_us: int, now: float) -> list[Action]:
        gateway = route.gateway
        if not payload:
            return []  # someone cleared a retained state: nothing is said
        state = verify_state(payload, gateway, self._finder(gateway), arrived_us)
        if isinstance(state, SignerUnknown):
            self._waiting.pop(gateway, None)
            self._waiting[gateway] = (route, payload)
            if len(self._waiting) > WAITING_STATES:
                del self._waiting[next(iter(self._waiting))]
            return []
        if isinstance(state, Refused):
            self._refused("state.refused", gateway, state.reason)
            return []
        remember = self._account(gateway).state(state, payload, route, arrived_us, now)
        return [remember] if remember else []

    def _certificates(self, route: Route, payload: bytes, arrived_us: int, now: float) -> list[Action]:
        gateway = route.gateway
        if not payload:
            return []  # someone cleared the retained message: nothing is said
        chains = decode_chains(payload)
        if isinstance(chains, Refused):
            self._refused("certificates.refused", gateway, chains.reason)
            return []
        actions: list[Action] = []
        for chain in chains:
            signer = self._signers.find(gateway, thumbprint(chain[0]))
            if signer is not None and signer.chain == chain:
                continue
            offered = self._signers.offer(gateway, chain, arrived_us)
            if isinstance(offered, Refused):
                self._refused("certificates.refused", gateway, offered.reason)
            else:
                actions.append(self._learn(offered))
        if gateway in self._waiting and actions:
            state_route, state = self._waiting.pop(gateway)
            actions += self._state(state_route, state, arrived_us, now)
        return actions


def _read_state(wire: bytes) -> State | None:
    """Read a state that was verified before it was stored; None if the file was damaged since."""
    envelope = cose.parse(wire, "state")
    content = None if isinstance(envelope, Refused) else decode("state", envelope.payload)
    return content if isinstance(content, State) else None
