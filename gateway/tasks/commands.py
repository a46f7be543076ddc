"""What a commander at C5 asks of this gateway: judged, obeyed once, answered, recorded.

    broker ──▶ Speakers.command ──▶ Rules.refusal ──▶ its handler ──▶ … ──▶ `command.executed`, reply
                    └▶ counted             └▶ `command.rejected`, reply "rejected"

Whose word it is, and whether it is to be obeyed, `control.authorise` says; whether it was before, `control.replies`;
what each does, `tasks.orders`. A device answers in its time: until then a repeated command gets nothing, and is obeyed
no more than once. What isn't validly signed gets no answer: it is counted, and nothing else happens. Neither does what
comes while too many are under way: rejected, it could come again later, and be obeyed.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.control.authorise import Rules, Speakers, Spoken
from gateway.control.replies import Key, Replies
from gateway.errors import C5Error, Refused
from gateway.event import Event
from gateway.sensing.limit import Limiter
from gateway.signing import message
from gateway.signing.message import Command, Reply
from gateway.tasks import said
from gateway.tasks.orders.order import Answer, Done, Handler, Order, Slow, failed

if TYPE_CHECKING:
    from gateway.clock import Judge
    from gateway.tasks.recorder import Recorder

log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REJECTED: Final = "command"
RESTART: Final = "gateway.restart"  # what was forgotten was obeyed in an epoch that this ends: it may always be given
AT_ONCE: Final = frozenset({RESTART, "ping", "alarm.acknowledge"})  # over when they are begun: they need no room
_MISTAKE: Final = "a mistake in the gateway's program: see its log"


class Commands:
    """Obeys commanders: `handlers` at once, or when a device has answered; `slow` ones, one after the other, in `run`.

    `say` gets each reply, signed.
    """

    def __init__(
        self,
        *,
        own: said.Self,
        speakers: Speakers,
        commanders: Collection[str],
        recorder: "Recorder",
        clock: "Judge",
        handlers: Mapping[str, Handler],
        slow: Mapping[str, Slow],
    ) -> None:
        self._own = own
        self._speakers = speakers
        self._rules = Rules(own.route.gateway, own.epoch, frozenset(commanders))
        self._recorder = recorder
        self._clock = clock
        self._handlers: Mapping[str, Handler] = {"ping": _pong, **handlers}
        self._slow = slow
        self._waiting: asyncio.Queue[tuple[Slow, Command, Order, Answer]] = asyncio.Queue()  # `Replies` bounds it
        self._replies = Replies()
        self._rejected: Limiter[str] = Limiter()
        self._worst: tuple[Spoken, str] | None = None  # of those rejected and not recorded: the newest of a stranger's
        self._synchronised = False  # the clock was, at some time in this epoch
        self.say: Callable[[bytes], None] = lambda _wire: None
        # `unsigned` are those that nobody whose chain counts has signed, `repeated` those whose id came before,
        # `unheard` those for which there was no room.
        self.counts = dict.fromkeys(("executed", "rejected", "repeated", "unsigned", "unheard"), 0)

    @property
    def topic(self) -> str:
        """What to subscribe to."""
        return self._own.route.topic("command")

    def tick(self, now: float) -> None:
        """Time passed."""
        self._now_us()
        for _key, count in self._rejected.tick(now):
            self._report_rejected(count)

    async def run(self) -> None:
        """Carry out what waits for a disk, one after the other; ends only when cancelled."""
        while True:
            act, command, order, answer = await self._waiting.get()
            now_us = self._now_us()
            try:
                late = now_us is not None and now_us > command.expires_us
                done = failed("expired while it waited for the disk") if late else await act(order)
            except C5Error as error:
                done = _explained(error)
            except Exception:  # a command's failure is its commander's to know, and ends nothing
                log.exception("the command %s failed", order.name)
                done = failed(_MISTAKE)
            answer(done)

    def arrived(self, wire: bytes) -> None:
        """Take what came in the topic of commands; foreign bytes never raise."""
        spoken = self._speakers.command(wire, self._at())
        if isinstance(spoken, Refused):
            self.counts["unsigned"] += 1
            log.debug("a command was not heard: %s", spoken.reason)
            return
        command, now_us = spoken.command, self._now_us()
        key = (spoken.by.thumbprint, command.id)
        if key in self._replies:
            self.counts["repeated"] += 1
            if (had := self._replies.had(key)) is not None:
                self.say(had)
            return
        refusal = self._rules.refusal(spoken, now_us)
        if refusal is None and command.name not in self._handlers and command.name not in self._slow:
            refusal = "this version doesn't know this command"
        if refusal is None and command.name != RESTART and self._replies.forgotten(command.expires_us):
            refusal = "expires before others that this gateway has forgotten: it may have been obeyed"
        if refusal is not None:
            self._reject(spoken, refusal)
            reply = self._signed(command.id, "rejected", refusal, None)
            self._replies.rejected(key, reply)
            self.say(reply)
        elif self._replies.has_room or command.name in AT_ONCE:
            self._replies.begin(key, command.expires_us)
            self._obey(spoken, key)
        else:
            self.counts["unheard"] += 1
            log.warning("a command was not heard: too many are under way")

    def _at(self) -> datetime:
        return max(_EPOCH + timedelta(microseconds=self._clock.firm()[0]), self._own.not_before)

    def _now_us(self) -> int | None:
        """Return the time by which expiry is judged; None until the clock was first synchronised in this epoch."""
        now_us, synchronised = self._clock.firm()
        self._synchronised = self._synchronised or synchronised
        return now_us if self._synchronised else None

    def _obey(self, spoken: Spoken, key: Key) -> None:
        command = spoken.command
        order = Order(command.name, command.arguments or {}, spoken.by.name)
        answer = partial(self._answered, order, key)
        if (act := self._slow.get(command.name)) is not None:
            self._waiting.put_nowait((act, command, order, answer))
            return
        try:
            self._handlers[command.name](order, answer)
        except C5Error as error:
            answer(_explained(error))
        except Exception:  # as in `run`
            log.exception("the command %s failed", order.name)
            answer(failed(_MISTAKE))

    def _answered(self, order: Order, key: Key, done: Done) -> None:
        """Record what became of a command and reply, once."""
        if self._replies.had(key) is not None:
            return  # a handler that failed after its answer
        self.counts["executed"] += 1
        log.info("the command %s of %s: %s", order.name, order.by, done.outcome)
        data = {"command": key[1], "name": order.name, "commander": order.by, "outcome": done.outcome, **done.noted}
        self._record("command.executed", data if done.text is None else {**data, "reason": done.text})
        reply = self._signed(key[1], done.outcome, done.text, done.result)
        self._replies.answered(key, reply)
        self.say(reply)
        done.then()

    def _signed(self, id_: bytes, outcome: str, text: str | None, result: Mapping[str, Any] | None) -> bytes:
        reply = Reply(self._own.route.gateway, id_, self._clock.now_us(), outcome, text, result)
        return self._own.signer.sign("reply", message.encode(reply))

    def _reject(self, spoken: Spoken, reason: str) -> None:
        self.counts["rejected"] += 1
        if self._worst is None or self._rules.entitled(self._worst[0].by) or not self._rules.entitled(spoken.by):
            self._worst = spoken, reason
        if (count := self._rejected.happened(_REJECTED, self._clock.monotonic())) is not None:
            self._report_rejected(count)

    def _report_rejected(self, count: int) -> None:
        assert self._worst is not None
        (spoken, reason), self._worst = self._worst, None
        log.warning("a command was rejected: %s (%d)", reason, count)
        data = {"command": spoken.command.id, "name": spoken.command.name, "signer": spoken.by.name, "reason": reason}
        self._record("command.rejected", {**data, "count": count})

    def _record(self, type_: str, data: Mapping[str, Any]) -> None:
        self._recorder.record(Event(type_, self._own.route.gateway, data=data))


def _pong(_order: Order, answer: Answer) -> None:
    answer(Done("done"))


def _explained(error: C5Error) -> Done:
    """Return what the commander is told of it."""
    return failed(f"{error.what}. {error.hint}" if error.hint else error.what)
