"""An OSDP line on which somebody answers who shouldn't, or as nobody should: what he can do, and what he can't."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import osdp_sys
import pytest

from gateway.drivers.osdp import Panel
from gateway.errors import C5Error
from gateway.sensing.osdp import AskLocal, Frame, Frames, InputsReport, Keys, Lamp, SetOutput, Show
from tests.unit.sensing.test_osdp import reply
from tests.wired.test_osdp_line import KEY, Bench, on_a_bus

Rule = Callable[[Frame], bytes | None]  # what is answered in the peripheral's place, empty: nothing; None: as it is

BUSY, NAK = 0x79, 0x41
POLL, IDENTITY, CAPABILITIES, LOCAL, OUTPUT, CRYPTOGRAM = 0x60, 0x61, 0x62, 0x64, 0x68, 0x77
LIVE, SETTLED, LOST = ("gate", "live"), ("gate", "settled"), ("gate", "silent")


def tap(bench: Bench, rule: Rule) -> None:
    """Stand between the line and the peripheral."""
    gate = bench.peripherals["gate"]
    hears, frames = gate._hear, Frames()

    def heard(chunk: bytes) -> None:
        for frame in frames.feed(chunk):
            answer = rule(frame) if frame.address == gate.address and not frame.reply else None
            if answer is None:
                hears(frame.raw)
            elif answer:
                bench.terminal.write(answer)

    bench.terminal.detach(hears)
    bench.terminal.attach(heard)


def once(code: int, answer: Callable[[Frame], bytes]) -> Rule:
    """Answer the first question of a kind."""
    done: list[bool] = []

    def rule(frame: Frame) -> bytes | None:
        if frame.code != code or done:
            return None
        done.append(True)
        return answer(frame)

    return rule


def sequence(frame: Frame) -> int:
    return frame.raw[4] & 3


async def settled(bench: Bench) -> None:
    bench.known("gate", Keys(KEY), KEY)
    await bench.until(lambda: SETTLED in bench.heard.said)


def test_busy_before_the_handshake_ends_neither_the_line_nor_the_peripheral(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        bench.known("gate", Keys(KEY), KEY)
        tap(bench, once(IDENTITY, lambda _frame: reply(BUSY)))
        await bench.until(lambda: SETTLED in bench.heard.said)

    on_a_bus(tmp_path, check, "gate")


def test_one_that_is_busy_for_ever_is_lost_and_its_order_not_done(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await settled(bench)
        said = list[str | None]()
        tap(bench, lambda _frame: reply(BUSY))
        assert bench.bus.order("gate", SetOutput(0, on=True), said.append)
        await bench.until(lambda: LOST in bench.heard.said)
        assert said == ["no answer: is it powered, are its address and baud rate right, are A and B swapped?"]
        assert not bench.bus.links["gate"].live

    on_a_bus(tmp_path, check, "gate")


def test_an_order_that_was_answered_with_a_wrong_mac_is_not_done(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await settled(bench)
        said = list[str | None]()
        tap(bench, once(OUTPUT, lambda frame: reply(0x40, 0x16, bytes(4), sequence(frame))))
        assert bench.bus.order("gate", SetOutput(0, on=True), said.append)
        await bench.until(lambda: said)
        assert (said, bench.peripherals["gate"].outputs) == (["its connection broke before that was done"], [False])

    on_a_bus(tmp_path, check, "gate")


def test_a_nak_in_clear_is_no_refusal_and_a_siren_is_switched_off_all_the_same(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await settled(bench)
        said, gate = list[str | None](), bench.peripherals["gate"]
        assert bench.bus.order("gate", SetOutput(0, on=True), said.append)
        await bench.until(lambda: gate.outputs == [True])
        tap(bench, once(OUTPUT, lambda frame: reply(NAK, None, b"\x05", sequence(frame))))
        assert bench.bus.order("gate", SetOutput(0, on=False), said.append)
        await bench.until(lambda: bench.heard.said.count(SETTLED) == 2)
        assert bench.bus.order("gate", SetOutput(0, on=False), said.append)
        await bench.until(lambda: len(said) == 3)
        assert (said, gate.outputs) == ([None, "its connection broke before that was done", None], [False])

    on_a_bus(tmp_path, check, "gate")


def test_what_was_refused_is_not_ordered_again_but_to_be_off_is(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        said, gate = list[str | None](), bench.peripherals["gate"]
        await settled(bench)
        gate.refuses.add(osdp_sys.CMD_OUTPUT)
        assert bench.bus.order("gate", SetOutput(0, on=True), said.append)
        await bench.until(lambda: bench.heard.said.count(SETTLED) == 2)
        assert bench.bus.order("gate", SetOutput(0, on=True), said.append)
        await bench.until(lambda: len(said) == 2)
        gate.refuses.clear()
        assert bench.bus.order("gate", SetOutput(0, on=False), said.append)
        await bench.until(lambda: len(said) == 3)
        assert said == ["it refuses that", "this peripheral has none, or not so many", None]

    on_a_bus(tmp_path, check, "gate")


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (CAPABILITIES, (0x46, bytes((9, 1, 1, 10, 1, 0)))),  # it has room for one byte
        (IDENTITY, (0x54, bytes((9, 0x80, 0x25, 0, 0)))),  # it has another address
        (IDENTITY, (NAK, b"\x01")),
        (IDENTITY, (NAK, b"\x03")),
    ],
    ids=["size", "address", "check", "refused"],
)
def test_one_forged_answer_before_the_handshake_leaves_nothing_behind(
    tmp_path: Path, code: int, answer: tuple[int, bytes]
) -> None:
    async def check(bench: Bench) -> None:
        bench.known("gate", Keys(KEY), KEY)
        tap(bench, once(code, lambda frame: reply(answer[0], None, answer[1], sequence(frame))))
        await bench.until(lambda: SETTLED in bench.heard.said)

    on_a_bus(tmp_path, check, "gate")


@pytest.mark.parametrize("sent", [b"", b"\xff\x53\x01"], ids=["nothing", "no frame"])
def test_an_end_of_ours_that_asks_nothing_is_made_anew_and_its_peripheral_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    asks, made = Panel.ask, list[Panel]()
    monkeypatch.setattr("gateway.sensing.turns.TRY", 0.1)
    monkeypatch.setattr("gateway.sensing.turns.REST", 0.1)

    def ask(panel: Panel) -> bytes:
        if panel not in made:
            made.append(panel)
        return sent if len(made) < 4 else asks(panel)

    async def check(bench: Bench) -> None:
        monkeypatch.setattr(Panel, "ask", ask)
        bench.known("gate", Keys(KEY), KEY)
        await bench.until(lambda: LOST in bench.heard.said)
        await bench.until(lambda: SETTLED in bench.heard.said)

    on_a_bus(tmp_path, check, "gate")


def test_a_forged_end_of_the_handshake_and_a_nak_make_nothing_live(tmp_path: Path) -> None:
    def rule(frame: Frame) -> bytes | None:
        if frame.code == CRYPTOGRAM:
            return reply(0x78, 0x14, bytes(16), sequence(frame))
        return None if frame.code in (IDENTITY, CAPABILITIES, 0x76) else reply(NAK, None, b"\x06", sequence(frame))

    async def check(bench: Bench) -> None:
        bench.known("gate", Keys(KEY), KEY)
        tap(bench, rule)
        await bench.until(lambda: bench.heard.said)
        assert bench.heard.said[0] == ("gate", "key")

    on_a_bus(tmp_path, check, "gate")


def test_one_whose_connection_breaks_three_times_in_a_minute_is_lost_and_not_back_at_once(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await settled(bench)
        cuts = list[bool]()
        tap(
            bench,
            lambda frame: (
                reply(NAK, None, b"\x06", sequence(frame)) if frame.code == POLL and cuts and cuts.pop() else None
            ),
        )
        for broken in (1, 2, 3):
            await bench.until(lambda: bench.bus.links["gate"].settled)
            assert ("gate", "key") not in bench.heard.said, broken
            cuts.append(True)
            await bench.until(lambda broken=broken: len(bench.bus.links["gate"].broke) == broken)  # type: ignore[misc]
        assert ("gate", "key") in bench.heard.said
        await bench.until(lambda: bench.bus.links["gate"].settled)
        heard = len(bench.heard.at)
        await asyncio.sleep(0.5)
        assert len(bench.heard.at) == heard, "it holds for now, and is believed, and not said to be back"

    on_a_bus(tmp_path, check, "gate")


def test_one_that_breaks_before_it_has_answered_all_is_lost(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        bench.heard.settled = lambda name: bench.bus.order(name, AskLocal())  # type: ignore[method-assign,assignment]
        bench.known("gate", Keys(KEY), KEY)
        tap(bench, lambda frame: reply(NAK, None, b"\x06", sequence(frame)) if frame.code == LOCAL else None)
        await bench.until(lambda: ("gate", "key") in bench.heard.said)
        assert bench.heard.at == []

    on_a_bus(tmp_path, check, "gate")


def test_what_was_given_up_is_not_told_when_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.sensing.turns.REST", 0.1)

    async def check(bench: Bench) -> None:
        await settled(bench)
        said, gate = list[str | None](), bench.peripherals["gate"]
        gate.mute()
        assert bench.bus.order("gate", SetOutput(0, on=True), said.append)
        await bench.until(lambda: said)
        gate.heal()
        await bench.until(lambda: bench.heard.said.count(SETTLED) == 2)
        await asyncio.sleep(0.2)
        assert gate.outputs == [False]

    on_a_bus(tmp_path, check, "gate")


def test_of_many_orders_about_one_thing_the_last_is_told(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await settled(bench)
        said = list[str | None]()
        for turn in range(100):
            assert bench.bus.order("gate", Show(Lamp.SLOW if turn % 2 else Lamp.STEADY), said.append)
        assert bench.bus.order("gate", Show(Lamp.FAST), said.append)
        await bench.until(lambda: len(said) == 101)
        assert said == ["another order came before it was told"] * 100 + [None]
        assert bench.peripherals["gate"].led == ("amber", 1, 1)

    on_a_bus(tmp_path, check, "gate")


def test_an_output_is_off_by_itself_when_nobody_renews_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.drivers.osdp.ON_S", 1)

    async def check(bench: Bench) -> None:
        await settled(bench)
        gate = bench.peripherals["gate"]
        assert bench.bus.order("gate", SetOutput(0, on=True))
        await bench.until(lambda: gate.outputs == [True])
        bench.bus.close()
        await bench.until(lambda: gate.outputs == [False])

    on_a_bus(tmp_path, check, "gate")


def test_two_installations_at_once_are_one(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        gate = bench.peripherals["gate"]
        gate.start()
        first, second = await asyncio.gather(
            bench.bus.install("gate"), bench.bus.install("gate"), return_exceptions=True
        )
        assert first is None
        assert isinstance(second, C5Error)
        assert second.what == "gate is being installed already"
        await bench.until(lambda: SETTLED in bench.heard.said)
        await bench.until(lambda: bench.keys.read("gate") == Keys(gate.key))
        assert gate.keys_set == 1

    on_a_bus(tmp_path, check, "gate")


def test_a_slow_disk_holds_up_nothing_on_the_line(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        disk = asyncio.Event()

        async def beside(call: Callable[..., None], /, *args: Any) -> None:
            await disk.wait()
            call(*args)

        bench.bus._beside = beside
        bench.known("gate", Keys(bytes(16), KEY), KEY)
        await bench.until(lambda: SETTLED in bench.heard.said)
        bench.peripherals["gate"].set_input(1, active=True)
        await bench.until(lambda: bench.heard.reports)
        assert bench.heard.reports[0][1] == InputsReport((False, True))
        disk.set()
        await bench.until(lambda: bench.keys.read("gate") == Keys(KEY))

    on_a_bus(tmp_path, check, "gate")


def test_a_first_installation_that_fails_is_over_by_itself_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.tasks.osdp.INSTALL_S", 0.5)

    async def check(bench: Bench) -> None:
        bench.peripherals["gate"].key = bytes(16)
        bench.peripherals["gate"].start()
        now = asyncio.get_running_loop().time
        await bench.bus.install("gate")
        link = bench.bus.links["gate"]
        assert (link.installing(now()), link.installation(now())) == (True, None)
        await asyncio.sleep(2)
        assert "it answers, but not with its key" in (link.installation(now()) or "")
        assert bench.heard.said == []
        bench.terminal.unplug()
        await bench.until(lambda: bench.lost)
        await bench.bus.install("gate")
        await asyncio.sleep(0.6)
        assert (link.installing(now()), link.installation(now())) == (False, "it has not answered")

    on_a_bus(tmp_path, check, "gate")


def test_a_key_that_can_not_be_read_is_a_lost_peripheral_and_put_aside_by_an_installation(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        (tmp_path / "osdp-keys").mkdir()
        (tmp_path / "osdp-keys" / "gate").write_text("damaged")
        bench.bus.links = bench.made().links
        bench.peripherals["gate"].start()
        await bench.until(lambda: bench.heard.said)
        assert bench.heard.said[0] == ("gate", "key")
        assert "the key of gate can't be read: it is damaged" in (bench.bus.links["gate"].unreadable or "")
        await bench.bus.install("gate")
        await bench.until(lambda: SETTLED in bench.heard.said)
        assert bench.bus.links["gate"].unreadable is None
        assert (tmp_path / "osdp-keys" / "gate.unreadable").read_text() == "damaged"

    on_a_bus(tmp_path, check, "gate")
