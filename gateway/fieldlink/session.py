"""One device as the gateway hears it: which frames count, what the device is told, which commands are out.

Rules (wire.md, section 1), each cited where it is kept:

1. *Authentic*: the device's key made the frame.
2. *Fresh*: only a counter above the last accepted is accepted (freshness.py).
3. *Unproven*: a device enrolled without a known counter is accepted, and what it says is flagged, until it has answered
   a challenge that this session sends.
4. *Once*: an event number already recorded makes no second record and is answered with the highest stage already true,
   or not at all. The number counts as seen only once the caller says `recorded`: what it has no room for, the device
   goes on sending.
5. *Told*: stages 2 and 3 are told when they become true and again at the device's next frame.
6. *Downward* frames repeat the newest upward counter accepted since the start; before there is one, nothing is sent.
   Their number grows by one with each.
7. *Commands* are sent again with the same command number (commands.py); a HELLO ends the repeating.

`receive`, `stage`, `command` and `tick` return actions (actions.py), and the caller performs them all. Those of
`receive` are made as they are taken: an event is on its way before anything is sealed for its device. The caller keeps
`counters`, `events` and `highest_event` durable: with the record that a frame caused, and `counters` at least every
30 s otherwise.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from hmac import compare_digest
from typing import Any, Final

from gateway.errors import Refused
from gateway.fieldlink import framing, message, seal
from gateway.fieldlink.actions import (
    Action,
    CommandEnded,
    Heard,
    NewEvent,
    Proven,
    RepeatedEvent,
    Replayed,
    Send,
    Unauthenticated,
    UnreadableEvent,
)
from gateway.fieldlink.commands import Commands
from gateway.fieldlink.freshness import Counters, Freshness, judge
from gateway.fieldlink.message import Ack, Command, EventMessage, Hello, Result, Unreadable

WINDOW: Final = 64  # event numbers below the highest of which it is known whether they were recorded
STORED, RECEIVED, ACKNOWLEDGED = 1, 2, 3  # stages
ACKNOWLEDGED_AGAIN: Final = 8  # events of that stage that are told again after a start: the newest
CHALLENGE: Final = 6  # the command


class DeviceSession:
    """The gateway's side of one enrolled device, from the gateway's start.

    `counters` and `events` (event number to highest stage already true, 0 for none) are as they were stored;
    `first_number` is random below 2³¹; `challenge` returns 8 new random bytes at each call.
    """

    def __init__(
        self,
        device: str,
        key: bytes,
        *,
        counters: Counters | None,
        events: Mapping[int, int],
        highest_event: int,
        first_number: int,
        challenge: Callable[[], bytes],
    ) -> None:
        self.device = device
        self._cipher = seal.Cipher(key)
        self._counters = counters
        self._events = dict(events)
        self._highest = highest_event
        self._next_number = first_number
        self._challenge = challenge
        self._expected = b""  # the answer to the challenge that is out
        self._commands = Commands(int.from_bytes(challenge()[:4], "big"))
        self._newest: int | None = None  # upward counter accepted since the start (rule 6)
        # Event number to stage (rule 5). A power cut may have come between a stage's becoming durable and its being
        # told, and a device may have slept since: the newest event, which is the one that a device shows, is told again
        # after a start too, and so are those that an operator has seen (the newest event is often the release).
        seen = [number for number, stage in sorted(self._events.items()) if stage >= ACKNOWLEDGED]
        again = {*seen[-ACKNOWLEDGED_AGAIN:], highest_event}
        self._tell_again = {
            number: stage for number in sorted(again) if (stage := self._events.get(number, 0)) >= RECEIVED
        }

    @property
    def counters(self) -> Counters | None:
        """What to store; None until a first frame was accepted."""
        return self._counters

    @property
    def events(self) -> Mapping[int, int]:
        """The recorded event numbers of the window and the highest stage of each, to store: at most WINDOW + 1."""
        return dict(self._events)

    @property
    def highest_event(self) -> int:
        """The highest event number recorded, or 0."""
        return self._highest

    @property
    def unproven(self) -> bool:
        """Whether a recording could have caused what this device says (record flag 2)."""
        return self._counters is None or not self._counters.proven

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        return self._commands.deadline

    def receive(self, header: seal.Header, body: bytes, now: float) -> Iterable[Action]:
        """Take a frame whose header names this device."""
        if header.direction is not seal.Direction.UP:
            return []  # an echo
        plaintext = self._cipher.open(body)
        if plaintext is None:
            return [Unauthenticated()]  # rule 1
        freshness, self._counters = judge(self._counters, header.counter, body[-seal.TAG_BYTES :])
        if freshness is not Freshness.FRESH:
            return [Replayed()] if freshness is Freshness.REPLAY else []  # rule 2
        self._newest = header.counter
        return self._received(message.read_upward(header.type, plaintext), now)

    def recorded(self, event_number: int) -> None:
        """Mark an event as seen: a record was made of it (rule 4)."""
        self._highest = max(self._highest, event_number)
        self._events.setdefault(event_number, 0)
        for number in [number for number in self._events if number < self._highest - WINDOW]:
            del self._events[number]

    def stage(self, event_number: int, stage: int) -> list[Action]:
        """Tell the device that a stage of this event has become true; one that was already true is not told."""
        if event_number in self._events:
            if stage <= self._events[event_number]:
                return []
            self._events[event_number] = stage
        if stage >= RECEIVED:  # rule 5
            self._tell_again[event_number] = max(stage, self._tell_again.pop(event_number, 0))
            if len(self._tell_again) > WINDOW:
                del self._tell_again[next(iter(self._tell_again))]
        return self._send(Ack(event_number, stage))

    def command(
        self, command: int, arguments: Mapping[int, Any] | None, now: float
    ) -> tuple[int, list[Action]] | Refused:
        """Ask something of the device; a `CommandEnded` with the returned number follows in its time."""
        if self._newest is None:
            return Refused("the device has not been heard since the gateway started")  # rule 6
        if self._commands.full:
            return Refused("too many commands without an answer")
        issued = self._commands.issue(command, arguments, now)
        return issued.number, self._send(issued)

    def tick(self, now: float) -> list[Action]:
        """Send commands again and give commands up, as the time has come (rule 7)."""
        again, given_up = self._commands.tick(now)
        return [action for command in again for action in self._send(command)] + _ended(given_up)

    def _received(self, received: message.Upward, now: float) -> Iterator[Action]:
        yield from self._commands_heard(received)
        yield from self._heard(received)
        yield from self._told_again()
        if self.unproven and not self._commands.waiting(CHALLENGE):  # rule 3
            self._expected = self._challenge()
            yield from self._send(self._commands.issue(CHALLENGE, {1: self._expected}, now))

    def _commands_heard(self, received: message.Upward) -> list[Action]:
        match received:
            case Hello():
                return _ended(self._commands.forget())  # rule 7
            case Result(command_number=number):
                command = self._commands.answered(number)
                if command is None:
                    return []
                if command.command != CHALLENGE:
                    return [CommandEnded(number, received)]
                if compare_digest(received.challenge or b"", self._expected):
                    assert self._counters is not None
                    self._counters = replace(self._counters, proven=True)  # rule 3
                    return [Proven()]
        return []

    def _heard(self, received: message.Upward) -> list[Action]:
        match received:
            case EventMessage(number=number) if number in self._events:  # rule 4
                self._tell_again.pop(number, None)
                stage = self._events[number]
                return [RepeatedEvent(number), *(self._send(Ack(number, stage)) if stage else [])]
            case EventMessage(number=number):
                self._tell_again.pop(number, None)  # said of a number that wasn't there yet: not of this event
                return [NewEvent(received, self.unproven)]
            case Unreadable():
                return [UnreadableEvent(received, self.unproven)]
            case _:
                return [Heard(received, self.unproven)]

    def _told_again(self) -> list[Action]:
        pending, self._tell_again = self._tell_again, {}
        return [action for number, stage in pending.items() for action in self._send(Ack(number, stage))]

    def _send(self, said: Ack | Command) -> list[Action]:
        if self._newest is None:
            return []  # rule 6
        number = self._next_number
        self._next_number += 1
        header = seal.Header(message.type_of(said), seal.Direction.DOWN, self.device, self._newest, number)
        return [Send(b"\0" + framing.encode(self._cipher.seal(header, message.encode(said))))]


def _ended(commands: list[Command]) -> list[Action]:
    """Return the end of commands without an answer; nobody outside asked for a challenge."""
    return [CommandEnded(command.number, None) for command in commands if command.command != CHALLENGE]
