"""What a commander at C5 asks of this gateway: judged, obeyed once, answered, recorded.

    broker ──▶ Speakers.command ──▶ Rules.refusal ──▶ obeyed ──▶ `command.executed`, reply
                    └▶ counted             └▶ `command.rejected`, reply "rejected"

Whose word it is, and whether it is to be obeyed, `control.authorise` says; whether it was before, `control.replies`.
What isn't validly signed gets no answer: it is counted, and nothing else happens.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.control.authorise import Rules, Speakers, Spoken
from gateway.control.replies import Replies
from gateway.errors import Refused
from gateway.event import Event, Lane
from gateway.sensing.limit import Limiter
from gateway.signing import message
from gateway.signing.message import Reply
from gateway.signing.record import SYNCHRONISED, is_bytes, is_uint
from gateway.tasks import said

if TYPE_CHECKING:
    from gateway.clock import Timekeeper
    from gateway.tasks.recorder import Recorder

log = logging.getLogger(__name__)

RESEND_MAX: Final = 100_000  # records asked for by one command; a day of 256 sensors' minutes is four of these
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REJECTED: Final = "command"

Done = tuple[str, str | None, Mapping[str, int] | None]  # outcome, text, result


class Resend(Protocol):
    """Has records sent again, as far as they are here."""

    def __call__(self, lane: Lane, epoch: bytes, first: int, last: int) -> tuple[int, int]:
        """Return how many go out (or are on their way), and how many are here no more; that is declared."""


class Commands:
    """Obeys commanders. `say` gets each reply, signed."""

    def __init__(
        self,
        *,
        own: said.Self,
        speakers: Speakers,
        commanders: Collection[str],
        recorder: "Recorder",
        clock: "Timekeeper",
        resend: Resend,
    ) -> None:
        self._own = own
        self._speakers = speakers
        self._rules = Rules(own.route.gateway, own.epoch, frozenset(commanders))
        self._recorder = recorder
        self._clock = clock
        self._resend = resend
        self._replies = Replies()
        self._rejected: Limiter[str] = Limiter()
        self._last: tuple[bytes, str, str] = (b"", "", "")  # id, name and reason of the last one rejected
        self._synchronised = False  # the clock was, at some time in this epoch
        self._obeyed: Mapping[str, Callable[[Mapping[str, Any]], Done]] = {
            "ping": lambda _arguments: ("done", None, None),
            "records.resend": self._records_resend,
        }
        self.say: Callable[[bytes], None] = lambda _wire: None
        self.unsigned = 0  # commands that nobody whose chain counts has signed

    @property
    def topic(self) -> str:
        """What to subscribe to."""
        return self._own.route.topic("command")

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._rejected.deadline

    def tick(self, now: float) -> None:
        """Time passed."""
        self._now_us()
        for _key, count in self._rejected.tick(now):
            self._report_rejected(count)

    def arrived(self, wire: bytes) -> None:
        """Take what came in the topic of commands; foreign bytes never raise."""
        spoken = self._speakers.command(wire, self._at())
        if isinstance(spoken, Refused):
            self.unsigned += 1
            log.debug("a command was not heard: %s", spoken.reason)
            return
        command, now_us = spoken.command, self._now_us()
        key = (spoken.by.thumbprint, command.id)
        if (had := self._replies.had(key)) is not None:
            self.say(had)
            return
        refusal = self._rules.refusal(spoken, now_us)
        if refusal is None and command.name not in self._obeyed:
            refusal = "this version doesn't know this command"
        if refusal is None and not self._replies.has_room(now_us):
            refusal = "too many commands that have not expired yet"
        if refusal is not None:
            outcome: Done = ("rejected", refusal, None)
            self._reject(spoken, refusal)
        else:
            outcome = self._obey(spoken)
        reply = self._signed(command.id, outcome)
        self._replies.keep(key, reply, command.expires_us if refusal is None else None, now_us)
        self.say(reply)

    def _at(self) -> datetime:
        return max(_EPOCH + timedelta(microseconds=self._clock.now_us()), self._own.not_before)

    def _now_us(self) -> int | None:
        """Return the time by which expiry is judged; None until the clock was first synchronised in this epoch."""
        self._synchronised = self._synchronised or self._clock.quality()[0] in SYNCHRONISED
        return self._clock.now_us() if self._synchronised else None

    def _obey(self, spoken: Spoken) -> Done:
        command = spoken.command
        done = self._obeyed[command.name](command.arguments or {})
        outcome, text, _result = done
        log.info("the command %s of %s: %s", command.name, spoken.by.name, outcome)
        data = {"command": command.id, "name": command.name, "commander": spoken.by.name}
        self._record("command.executed", data if text is None else {**data, "reason": text})
        return done

    def _records_resend(self, arguments: Mapping[str, Any]) -> Done:
        lane, epoch = arguments.get("lane"), arguments.get("epoch")
        first, last = arguments.get("from"), arguments.get("to")
        if type(lane) is not int or not 0 <= lane <= 2 or type(epoch) is not bytes or not is_bytes(epoch, 8):
            return "failed", "lane must be a lane's number, epoch its 8 bytes", None
        if type(first) is not int or type(last) is not int or not is_uint(last) or not 1 <= first <= last:
            return "failed", "from and to must be sequences, from 1 on and in this order", None
        if last - first >= RESEND_MAX:
            return "failed", f"more than {RESEND_MAX} records: ask for a part", None
        if epoch == self._own.epoch and last > (signed := self._recorder.sequence(Lane(lane))):
            return "failed", f"only {signed} records of this lane were signed in this epoch", None
        queued, gone = self._resend(Lane(lane), epoch, first, last)
        return "done", None, {"queued": queued, "gone": gone}

    def _signed(self, id_: bytes, done: Done) -> bytes:
        outcome, text, result = done
        reply = Reply(self._own.route.gateway, id_, self._clock.now_us(), outcome, text, result)
        return self._own.signer.sign("reply", message.encode(reply))

    def _reject(self, spoken: Spoken, reason: str) -> None:
        self._last = (spoken.command.id, spoken.command.name, reason)
        if (count := self._rejected.happened(_REJECTED, self._clock.monotonic())) is not None:
            self._report_rejected(count)

    def _report_rejected(self, count: int) -> None:
        id_, name, reason = self._last
        log.warning("a command was rejected: %s (%d)", reason, count)
        self._record("command.rejected", {"command": id_, "name": name, "reason": reason, "count": count})

    def _record(self, type_: str, data: Mapping[str, Any]) -> None:
        self._recorder.record(Event(type_, self._own.route.gateway, data=data))
