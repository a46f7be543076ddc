"""Commands as a gateway obeys them: once, answered, recorded; and whatever else comes in their topic moves nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_der_x509_certificate

from certs.authority import Authority
from gateway.control.authorise import Speakers
from gateway.control.replies import KEPT_MAX, UNDER_WAY_MAX
from gateway.errors import StoreError
from gateway.event import Lane
from gateway.signing import message
from gateway.signing.certificate import Anchors
from gateway.signing.chain import Chain
from gateway.signing.chains import encode_chain, encode_chains
from gateway.signing.cose import Envelope, VerifyingKey, parse
from gateway.signing.message import Command, Reply
from gateway.signing.record import Clock as Quality
from gateway.tasks.commands import Commands
from gateway.tasks.orders.order import Answer, Done, Order, at_once, failed
from gateway.tasks.orders.records import RESEND_MAX, Records
from gateway.tasks.recorder import Recorder
from gateway.tasks.said import Self
from gateway.topics import Route
from tests.support.memory import NOW_US, Clock, Holder, Store, read, settle

EPOCH = bytes.fromhex("0000000201020304")
OLD = bytes.fromhex("00000001ffffffff")
ID = b"sixteen bytes id"
TEN_YEARS_US = 315_360_000_000_000
PING = Command("gw-1", ID, NOW_US, NOW_US + 30_000_000, "ping", EPOCH)


class People:
    def __init__(self, folder: Path) -> None:
        authority = Authority.create(folder)
        self.anchors = Anchors.load(authority.trust_anchors.read_bytes())
        self.gateway = Holder.of(authority, "gateway", "gw-1")
        self.boss = Holder.of(authority, "commander", "boss")
        self.mate = Holder.of(authority, "commander", "mate")
        self.receiver = Holder.of(authority, "receiver", "c5-a")
        self.stranger = Holder.of(Authority.create(folder / "elsewhere"), "commander", "boss")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("authority"))


class Life:
    """A gateway's commands, and all that they move."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.clock = Clock()
        self.store = Store()
        own = people.gateway
        self.recorder = Recorder(
            {lane: Chain("gw-1", EPOCH, lane, None, own.signer) for lane in Lane},
            2,
            self.store,
            lambda age_ms, _at_ns: (self.clock.now_us() - age_ms * 1000, Quality(2, 5, 0)),
            None,
        )
        speakers = Speakers("gw-1", people.anchors, ["*"])
        for holder in (people.boss, people.mate, people.receiver, people.stranger):
            speakers.introduce(holder.name, encode_chain(holder.chain), datetime.now(UTC))
        self.asked: list[tuple[Lane, bytes, int, int]] = []
        self.said: list[bytes] = []
        route = Route("senafront", "yaviza", "gw-1")
        not_before = datetime(2026, 1, 1, tzinfo=UTC)
        self.waiting: list[Answer] = []  # of devices that haven't answered
        self.commands = Commands(
            own=Self(route, EPOCH, 2, 2, own.signer, encode_chains([own.chain]), not_before, 30),
            speakers=speakers,
            commanders=("boss",),
            recorder=self.recorder,
            clock=self.clock,
            handlers={
                "records.resend": at_once(Records(EPOCH, self.recorder, self.resend).resend),
                "output.set": lambda _order, answer: self.waiting.append(answer),
                "device.identify": self.mistake,
                "gateway.restart": lambda _order, answer: answer(Done("done", then=lambda: self.said.append(b"then"))),
            },
            slow={"device.revoke": self.revoke, "config.apply": self.mistake_later},
        )
        self.commands.say = self.said.append

    @staticmethod
    def mistake(order: Order, _answer: Answer) -> None:
        raise KeyError(order.name)

    @staticmethod
    async def mistake_later(order: Order) -> Done:
        if "toml" in order.arguments:
            raise StoreError("the disk is full", "Make room.")
        raise KeyError(order.name)

    @staticmethod
    async def revoke(order: Order) -> Done:
        await asyncio.sleep(0)
        return Done("done", noted={"device": order.arguments["device"]})

    def resend(self, lane: Lane, epoch: bytes, first: int, last: int) -> tuple[int, int] | None:
        if epoch not in {OLD, EPOCH}:
            return None
        self.asked.append((lane, epoch, first, last))
        return 2, last - first - 1

    def give(self, command: Command = PING, who: str = "boss") -> None:
        holder: Holder = getattr(self.people, who)
        self.commands.arrived(holder.signer.sign("command", message.encode(command)))

    def ask(self, **arguments: Any) -> Reply:
        """Ask for records, under a new id."""
        id_ = (len(self.said) + 1).to_bytes(16, "big")
        self.give(replace(PING, name="records.resend", id=id_, arguments=arguments))
        reply = self.replies[-1]
        assert reply.id == id_
        return reply

    @property
    def replies(self) -> list[Reply]:
        """What was said, each proven to be this gateway's."""
        own = load_der_x509_certificate(self.people.gateway.chain[0])
        return [opened(wire, VerifyingKey(own.public_key())) for wire in self.said]

    @property
    def recorded(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(said.type, said.data or {}) for entry in self.store.entries for said in (read(entry.item.wire),)]

    @property
    def moved(self) -> tuple[Any, ...]:
        """Everything that a command could move."""
        return len(self.said), self.recorded, self.asked


def opened(wire: bytes, key: VerifyingKey) -> Reply:
    envelope = parse(wire, "reply")
    assert isinstance(envelope, Envelope)
    assert key.verify(envelope)
    reply = message.decode("reply", envelope.payload)
    assert isinstance(reply, Reply)
    return reply


def executed(name: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "command.executed", {"command": ID, "name": name, "commander": "boss", "outcome": "done", **more}


def rejected(reason: str, name: str = "ping", signer: str = "boss", id_: bytes = ID) -> tuple[str, dict[str, Any]]:
    return "command.rejected", {"command": id_, "name": name, "signer": signer, "reason": reason, "count": 1}


def test_a_ping_is_answered_and_recorded(people: People) -> None:
    life = Life(people)
    life.give()
    assert life.replies == [Reply("gw-1", ID, NOW_US, "done")]
    assert life.recorded == [executed("ping")]
    assert life.commands.topic == "c5/v1/senafront/yaviza/gw-1/command"


def test_a_repeated_id_gets_the_reply_it_had_to_the_byte_and_is_not_obeyed_again(people: People) -> None:
    life = Life(people)
    again = replace(PING, name="records.resend", arguments={"lane": 0, "epoch": OLD, "from": 1, "to": 3})
    life.give(again)
    life.clock.now += 7
    life.give(again)
    life.give(replace(again, arguments={"lane": 1, "epoch": OLD, "from": 1, "to": 3}))  # the same id, another wish
    assert life.said == [life.said[0]] * 3
    assert life.asked == [(Lane.ALARM, OLD, 1, 3)]
    assert life.recorded == [executed("records.resend")]


def test_nobody_takes_another_s_id_from_him(people: People) -> None:
    life = Life(people)
    life.give(who="mate")
    life.give()
    assert [reply.outcome for reply in life.replies] == ["rejected", "done"]


@pytest.mark.parametrize(
    ("who", "command", "reason"),
    [
        ("mate", PING, "signed by mate, which the settings don't name (delivery.commanders)"),
        ("receiver", PING, "signed by the receiver c5-a, which is no commander"),
        ("boss", replace(PING, gateway="gw-2"), "for another gateway"),
        ("boss", replace(PING, epoch=OLD), "of another epoch than the present one"),
        ("boss", replace(PING, expires_us=NOW_US - 1), "expired"),
        ("boss", replace(PING, name="self.destruct"), "this version doesn't know this command"),
    ],
    ids=["unnamed", "wrong role", "another gateway", "another epoch", "expired", "unknown name"],
)
def test_what_is_validly_signed_and_not_to_be_obeyed_is_rejected(
    people: People, who: str, command: Command, reason: str
) -> None:
    life = Life(people)
    command = replace(command, arguments={"lane": 0, "epoch": EPOCH, "from": 1, "to": 1})
    life.give(command, who)
    assert life.replies == [Reply("gw-1", ID, NOW_US, "rejected", reason)]
    signer = {"receiver": "c5-a"}.get(who, who)
    assert life.recorded == [rejected(reason, command.name, signer)]
    assert life.asked == []
    life.give(command, who)
    assert life.said[1] == life.said[0], "a repeated id gets the reply it had"
    assert life.recorded == [rejected(reason, command.name, signer)]


def test_a_command_that_a_device_answers_later_is_replied_to_then_and_obeyed_once(people: People) -> None:
    life = Life(people)
    wanted = replace(PING, name="output.set")
    life.give(wanted)
    life.give(wanted)
    life.give(wanted)
    assert (life.moved, len(life.waiting)) == ((0, [], []), 1), "nothing is said until it is known"
    life.clock.now += 15.0
    (answer,) = life.waiting
    answer(failed("the device didn't answer"))
    reply = Reply("gw-1", ID, NOW_US + 15_000_000, "failed", "the device didn't answer")
    assert life.replies == [reply]
    assert life.recorded == [executed("output.set", outcome="failed", reason="the device didn't answer")]
    life.give(wanted)
    assert life.said == [life.said[0]] * 2
    answer(Done("done"))
    assert (len(life.said), len(life.recorded), len(life.waiting)) == (2, 1, 1), "one answer, and that was it"


def test_what_waits_for_a_disk_is_done_one_after_the_other_beside_what_does_not(people: People) -> None:
    async def story(life: Life) -> None:
        running = asyncio.create_task(life.commands.run())
        life.give(replace(PING, name="device.revoke", arguments={"device": "0c500042"}))
        life.give(replace(PING, name="config.apply", id=b"a second, 16 byt", arguments={"toml": ""}))
        life.give(replace(PING, name="config.apply", id=b"a third one, 16b"))
        life.give(replace(PING, id=b"not held up by i"))
        await settle()
        running.cancel()

    life = Life(people)
    asyncio.run(story(life))
    assert [(reply.id, reply.outcome, reply.text) for reply in life.replies] == [
        (b"not held up by i", "done", None),
        (ID, "done", None),
        (b"a second, 16 byt", "failed", "the disk is full. Make room."),
        (b"a third one, 16b", "failed", "a mistake in the gateway's program: see its log"),
    ]
    assert life.recorded[1] == executed("device.revoke", device="0c500042")


def test_a_mistake_of_ours_is_the_commander_s_to_know_and_ends_nothing(people: People) -> None:
    life = Life(people)
    life.give(replace(PING, name="device.identify"))
    assert [reply.text for reply in life.replies] == ["a mistake in the gateway's program: see its log"]
    life.give(replace(PING, id=b"and on it goes.."))
    assert life.replies[-1].outcome == "done"


def test_the_reply_is_on_its_way_before_what_ends_the_gateway(people: People) -> None:
    life = Life(people)
    life.give(replace(PING, name="gateway.restart"))
    assert len(life.said) == 2
    assert life.said[1] == b"then"


def test_what_is_not_validly_signed_is_counted_and_moves_nothing(people: People) -> None:
    life = Life(people)
    wire = people.boss.signer.sign("command", message.encode(PING))
    life.give(who="stranger")
    life.give(who="gateway")
    flipped = [wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :] for at in range(len(wire))]
    for forged in (*flipped, wire[:-1], wire + b"\x00", b"", b"\x80"):
        life.commands.arrived(forged)
    assert life.commands.counts["unsigned"] == 2 + len(wire) + 4
    assert life.moved == (0, [], [])
    life.commands.arrived(wire)
    assert [reply.outcome for reply in life.replies] == ["done"], "the same one unforged is obeyed"


def test_expiry_is_judged_once_the_clock_was_synchronised_in_this_epoch(people: People) -> None:
    life = Life(people)
    life.clock.source = 0
    late = replace(PING, expires_us=NOW_US - 1)
    life.give(late)
    life.clock.source = 2
    life.commands.tick(life.clock.now)
    life.clock.source = 0  # lost again: it was synchronised, and that counts
    life.give(replace(late, id=b"another id's 16."))
    assert [reply.outcome for reply in life.replies] == ["done", "rejected"]


def test_a_receiver_of_satellites_that_is_deceived_keeps_no_commander_from_being_obeyed(people: People) -> None:
    life = Life(people)
    life.clock.source, life.clock.deceived_us = 3, TEN_YEARS_US
    life.give(PING)
    assert [reply.outcome for reply in life.replies] == ["done"]


def test_rejections_are_recorded_at_most_once_a_minute_and_none_uncounted(people: People) -> None:
    life = Life(people)
    for number in range(50):
        life.give(replace(PING, id=number.to_bytes(16, "big"), epoch=OLD))
    assert len(life.said) == 50, "each is answered"
    assert [data["count"] for _type, data in life.recorded] == [1]
    life.clock.now += 59.9
    life.commands.tick(life.clock.now)
    assert len(life.recorded) == 1
    life.clock.now += 0.1
    life.commands.tick(life.clock.now)
    assert [data["count"] for _type, data in life.recorded] == [1, 49]


def test_who_is_obeyed_by_nobody_is_named_whatever_else_is_rejected_in_the_same_minute(people: People) -> None:
    life = Life(people)
    mine, theirs = b"a commander's id", b"a receiver's id!"
    life.give(replace(PING, epoch=OLD))
    life.give(replace(PING, id=mine, epoch=OLD))
    life.give(replace(PING, id=theirs), "receiver")
    for number in range(5):
        life.give(replace(PING, id=number.to_bytes(16, "big"), epoch=OLD))
    life.clock.now += 60.0
    life.commands.tick(life.clock.now)
    type_, data = rejected("signed by the receiver c5-a, which is no commander", "ping", "c5-a", theirs)
    assert life.recorded[1] == (type_, {**data, "count": 7})
    life.give(replace(PING, id=b"the next minute.", epoch=OLD))
    life.clock.now += 60.0
    life.commands.tick(life.clock.now)
    assert life.recorded[2][1]["signer"] == "boss", "what was told is not told again"


def numbered(number: int, **more: Any) -> Command:
    return replace(PING, id=number.to_bytes(16, "big"), expires_us=PING.expires_us + number, **more)


def test_no_command_is_obeyed_twice_whatever_our_clock_is_made_to_show(people: People) -> None:
    life = Life(people)
    resend = replace(PING, name="records.resend", arguments={"lane": 0, "epoch": OLD, "from": 1, "to": 3})
    life.give(resend)
    life.clock.now += 3600.0  # whoever is between us and the time server
    for number in range(KEPT_MAX):
        life.give(replace(PING, id=number.to_bytes(16, "big"), expires_us=NOW_US + 3_630_000_000))
    life.clock.now -= 3600.0
    life.give(resend)
    assert len(life.asked) == 1
    reason = "expires before others that this gateway has forgotten: it may have been obeyed"
    assert (life.replies[-1].outcome, life.replies[-1].text) == ("rejected", reason)
    life.give(replace(resend, id=b"a new one, later", expires_us=NOW_US + 30_000_001))
    assert len(life.asked) == 2


def test_no_number_of_rejected_commands_makes_one_that_was_obeyed_forgotten(people: People) -> None:
    life = Life(people)
    wanted = replace(PING, name="records.resend", arguments={"lane": 0, "epoch": OLD, "from": 1, "to": 3})
    life.give(wanted)
    for number in range(2 * KEPT_MAX):
        life.give(replace(PING, id=number.to_bytes(16, "big"), epoch=OLD))
    life.give(wanted)
    assert (len(life.asked), life.said[-1]) == (1, life.said[0])


def test_without_a_clock_a_gateway_goes_on_obeying_however_many_commands_it_has_had(people: People) -> None:
    life = Life(people)
    life.clock.source = 0
    for number in range(3 * KEPT_MAX):
        life.give(numbered(number))
    assert {reply.outcome for reply in life.replies} == {"done"}


def test_while_too_many_are_under_way_the_rest_is_not_heard_but_what_is_over_at_once(people: People) -> None:
    life = Life(people)
    for number in range(UNDER_WAY_MAX):
        life.give(numbered(number, name="output.set"))
    late = numbered(999, name="records.resend", arguments={"lane": 0, "epoch": OLD, "from": 1, "to": 3})
    life.give(late)
    assert (life.said, life.recorded, life.commands.counts["unheard"]) == ([], [], 1), "no word that may prove untrue"
    life.give(numbered(1000))
    assert [reply.outcome for reply in life.replies] == ["done"]
    life.waiting[0](Done("done"))
    life.give(late)
    assert len(life.asked) == 1
    life.give(replace(PING, name="gateway.restart", id=b"the first to go!", expires_us=NOW_US))
    assert life.said[-1] == b"then"


def test_a_restart_is_taken_though_what_expires_so_early_was_forgotten(people: People) -> None:
    life = Life(people)
    for number in range(KEPT_MAX + 2):
        life.give(numbered(number))
    life.give(replace(PING, id=b"as early as them"))
    assert life.replies[-1].outcome == "rejected"
    life.give(replace(PING, name="gateway.restart", id=b"the first to go!"))
    assert life.said[-1] == b"then"


def test_what_expired_while_it_waited_for_a_disk_is_not_done(people: People) -> None:
    async def story(life: Life) -> None:
        life.give(replace(PING, name="device.revoke", arguments={"device": "0c500042"}))
        life.clock.now += 31
        running = asyncio.create_task(life.commands.run())
        await settle()
        running.cancel()

    life = Life(people)
    asyncio.run(story(life))
    assert [(reply.outcome, reply.text) for reply in life.replies] == [
        ("failed", "expired while it waited for the disk")
    ]


def test_records_are_asked_for_by_lane_epoch_and_range_and_the_reply_says_what_became_of_it(people: People) -> None:
    life = Life(people)
    reply = life.ask(lane=2, epoch=OLD, **{"from": 5, "to": 9}, comment="unknown keys are ignored")
    assert (reply.outcome, reply.text, reply.result) == ("done", None, {"queued": 2, "gone": 3})
    assert life.asked == [(Lane.TELEMETRY, OLD, 5, 9)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lane": "alarm"}, {"lane": 3}, {"lane": -1}, {"lane": True}, {"lane": None}, {"epoch": OLD.hex()},
        {"epoch": OLD[:7]}, {"from": 0}, {"from": "1"}, {"from": 4}, {"to": 2**53}, {"to": None}, {"to": True},
        {"from": 1, "to": RESEND_MAX + 1}, {"epoch": EPOCH}, {"epoch": b"unknown."},
    ],
)  # fmt: skip
def test_arguments_that_are_none_fail_and_move_nothing(people: People, wrong: dict[str, Any]) -> None:
    life = Life(people)
    reply = life.ask(**({"lane": 0, "epoch": OLD, "from": 1, "to": 3} | wrong))
    assert reply.outcome == "failed"
    assert reply.text
    assert life.asked == []
    assert [type_ for type_, _data in life.recorded] == ["command.executed"]
    assert life.recorded[0][1]["reason"] == reply.text


def test_the_largest_range_is_taken(people: People) -> None:
    life = Life(people)
    assert life.ask(lane=0, epoch=OLD, **{"from": 1, "to": RESEND_MAX}).outcome == "done"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (None, "lane must be a lane's number (c5-receiver command: its name)"),
        ({"lane": 0}, "epoch must be the 8 bytes of an epoch (c5-receiver command: 16 hex digits)"),
        ({"lane": 0, "epoch": OLD}, "from and to must be sequences, from 1 on and in this order"),
        ({"lane": 0, "epoch": b"unknown.", "from": 1, "to": 1}, "this gateway knows no such epoch"),
    ],
)
def test_who_leaves_out_an_argument_is_told_which(people: People, arguments: Any, reason: str) -> None:
    life = Life(people)
    life.give(replace(PING, name="records.resend", arguments=arguments))
    assert life.replies == [Reply("gw-1", ID, NOW_US, "failed", reason)]
    assert life.asked == []
