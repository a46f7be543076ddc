"""Units written by hand: the frames of the specification, and what can be wrong with them."""

import asyncio
from pathlib import Path

from firmware_sim.modbus import Unit, crc16
from firmware_sim.play import Run
from firmware_sim.scenario import Scenario


def framed(body: str) -> bytes:
    data = bytes.fromhex(body)
    return data + crc16(data)


def test_the_check_is_the_specifications() -> None:
    assert framed("010400010001").hex(" ") == "01 04 00 01 00 01 60 0a"  # the XY-MD02's data sheet
    assert framed("010200000008").hex(" ") == "01 02 00 00 00 08 79 cc"  # Waveshare's wiki


def test_each_function_is_answered_as_the_specification_says() -> None:
    unit = Unit(1, {1: {0: 1, 1: 0, 2: 1}, 2: dict.fromkeys(range(9), 1), 3: {5: 0x1234}, 4: {1: 305, 2: 546}})
    for question, answer in (
        ("010100000003", "010101" + "05"),
        ("010200000009", "010202" + "ff01"),
        ("010300050001", "010302" + "1234"),
        ("010400010002", "010404" + "01310222"),
        ("01050001ff00", "01050001ff00"),
        ("010600050007", "010600050007"),
        ("010400020002", "018402"),
        ("010500011234", "018503"),
        ("010700000000", "018701"),
    ):
        assert unit.answer(framed(question)) == framed(answer), question
    assert (unit.registers[1][1], unit.registers[3][5]) == (1, 7)
    assert unit.written == [(5, 1, 0xFF00), (6, 5, 7)]


def test_what_is_for_another_or_damaged_is_not_answered() -> None:
    unit = Unit(1, {4: {1: 305}})
    question = framed("010400010001")
    assert unit.answer(framed("020400010001")) is None
    assert unit.answer(question[:-1] + b"\x00") is None
    unit.fault = "mute"
    assert unit.answer(question) is None
    unit.fault = "refuse"
    assert unit.answer(question) == framed("018402")
    unit.fault = "damage"
    assert unit.answer(question) == framed("0104020131")[:-1] + bytes((framed("0104020131")[-1] ^ 0xFF,))


def test_a_scenario_moves_its_units(tmp_path: Path) -> None:
    scenario = Scenario.model_validate(
        {
            "line": [{"name": "bus"}],
            "unit": [{"name": "door", "line": "bus", "address": 3, "discrete": [[0, 1]]}],
            "step": [
                {"at": 0, "do": "set", "unit": "door", "table": "discrete", "at_register": 0, "value": 0},
                {"at": 0.01, "do": "mute", "unit": "door"},
                {"at": 0.02, "do": "heal", "unit": "door"},
                {"at": 0.03, "do": "refuse", "unit": "door"},
            ],
        }
    )

    async def play() -> Unit:
        async with Run(scenario, tmp_path) as run:
            assert await run.play()
            return run.units["door"]

    unit = asyncio.run(play())
    assert (unit.address, unit.registers[2], unit.fault) == (3, {0: 0}, "refuse")
