"""Profiles: read whole, refused whole with the line; their registers in few questions, and what the answers mean."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import buses
from gateway.errors import SettingsError
from gateway.sensing.profile import Limit, Output, Point, Profile, parse
from gateway.sensing.registers import Read, decode, reads

GOOD = """\
title = "A charger"
source = "its manual"
word_order = "little"
poll_s = 5

[[point]]
quantity = "battery_v"
function = 4
register = 0x3104
type = "u16"
scale = 0.01

[[point.threshold]]
below = 11.5
hysteresis = 0.5
on = "battery.low"
off = "battery.restored"

[[point]]
name = "door"
function = 2
register = 3
inverted = true
on = "door.opened"
off = "door.closed"

[[output]]
name = "load"
function = 5
register = 2
"""


def test_a_profile_is_what_its_file_says() -> None:
    assert parse(GOOD, "charger", "charger.toml") == Profile(
        "charger", "A charger", "its manual",
        (
            Point("battery_v", 4, 0x3104, "u16", little=True, scale=0.01, quantity="battery_v", poll_s=5,
                  limits=(Limit("below", 11.5, 0.5, 60, "battery.low", "battery.restored"),)),
            Point("door", 2, 3, "bit", little=True, poll_s=5, on="door.opened", off="door.closed", inverted=True),
        ),
        (Output("load", 5, 2),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ('type = "u16"', 'type = "u17"', "line 10: point.type: one of u16, s16, u32, s32, f32, bit"),
        ("register = 0x3104", "register = 40001.5", "line 9: point.register: a whole number from 0 to 65535"),
        ("register = 0x3104\n", "", "line 6: point.register: is required"),
        ("scale = 0.01", "scale = 0", "line 11: point.scale: anything but 0"),
        ("below = 11.5", "under = 11.5", "line 14: point.threshold.under: no such setting; allowed here: above, "),
        ('quantity = "battery_v"', 'quantity = "volts"', "line 7: point.quantity: one of battery_v, "),
        ('off = "door.closed"', 'off = "door.opened"', "line 25: point.off: one of door.closed"),
        ('on = "door.opened"', 'on = "siren.on"', "line 24: point.on: one of panic.pressed, "),
        ("function = 5", "function = 16", "line 29: output.function: one of 5, 6"),
        ("register = 2", "register = 2\non = 3", "line 31: output.on: only with function 6"),
        ('name = "load"', 'name = "The load"', "line 28: output.name: lower-case letters, digits and . _ -"),
        ('title = "A charger"\n', "", "line 1: title: is required"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(good: str, bad: str, told: str) -> None:
    assert GOOD.count(good) == 1 or good == "register = 2"
    with pytest.raises(SettingsError) as error:
        parse(GOOD.replace(good, bad), "charger", "charger.toml")
    assert any(line.startswith(f"charger.toml, {told}") for line in error.value.what.splitlines()), error.value.what


def test_several_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    with pytest.raises(SettingsError) as error:
        parse(GOOD.replace('"u16"', '"u17"').replace("scale = 0.01", "scale = true"), "charger", "charger.toml")
    assert error.value.what.splitlines() == [
        "charger.toml, line 10: point.type: one of u16, s16, u32, s32, f32, bit",
        "charger.toml, line 11: point.scale: a number from -1e+06 to 1e+06",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "point = 3",
        "[point]\nfunction = 3",
        "[[point]]\nthreshold = [1]",
        "x",
        "",
        "title=3",
        "x = " + "[" * 9999,
        "gap = " + "9" * 5000,
    ],
)
def test_whatever_is_no_profile_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(SettingsError):
        parse(text, "x", "x.toml")


@given(st.text(alphabet='[]="\n.pointhesd_ 0123456789x', max_size=300))
def test_no_text_does_anything_but_be_refused_or_read(text: str) -> None:
    with contextlib.suppress(SettingsError):
        parse(GOOD + text, "x", "x.toml")


def test_adjacent_registers_are_one_question_and_others_are_not() -> None:
    def point(register: int, type_: str = "u16", function: int = 4, poll_s: float = 10) -> Point:
        return Point(f"p{register}", function, register, type_, quantity="current_a", poll_s=poll_s)

    a, b, c, d, e = point(0), point(1, "f32"), point(5), point(8, function=3), point(2, poll_s=1)
    near = Profile("x", "x", "x", (c, a, b, d, e))
    assert reads(near) == (
        Read(3, 8, 1, 10, (d,)), Read(4, 2, 1, 1, (e,)), Read(4, 0, 3, 10, (a, b)), Read(4, 5, 1, 10, (c,)),
    )  # fmt: skip
    assert reads(Profile("x", "x", "x", (c, a, b), gap=2)) == (Read(4, 0, 6, 10, (a, b, c)),)
    far = [point(n) for n in range(200)]
    assert [read.count for read in reads(Profile("x", "x", "x", tuple(far)))] == [125, 75]


@pytest.mark.parametrize(
    ("point", "words", "value"),
    [
        (Point("x", 4, 10, "u16", scale=0.1), [2155], 215.5),
        (Point("x", 4, 10, "u16", scale=0.01), [1233], 12.33),
        (Point("x", 4, 10, "s16", scale=0.1), [0xFF33], -20.5),
        (Point("x", 4, 10, "s16", offset=-40), [65535], -41.0),
        (Point("x", 4, 10, "u32"), [0x0001, 0x0002], 65538.0),
        (Point("x", 4, 10, "u32", little=True), [0x0001, 0x0002], 131073.0),
        (Point("x", 4, 10, "s32", scale=0.001), [0xFFFF, 0xFFFF], -0.001),
        (Point("x", 4, 10, "f32"), [0x4366, 0x3333], 230.2),
        (Point("x", 4, 10, "f32", little=True), [0x3333, 0x4366], 230.2),
        (Point("x", 4, 10, "f32"), [0x7FC0, 0x0000], None),
        (Point("x", 4, 10, "f32"), [0x7F80, 0x0000], None),
        (Point("x", 3, 10, "bit", bit=3), [0b1000], True),
        (Point("x", 3, 10, "bit", bit=4), [0b1000], False),
        (Point("x", 3, 10, "bit", bit=3, inverted=True), [0b1000], False),
        (Point("x", 2, 10, "bit"), [1], True),
    ],
)
def test_a_value_is_the_decimal_that_the_unit_means(point: Point, words: list[int], value: float | None) -> None:
    assert decode(Read(point.function, 9, 1 + len(words), 10, (point,)), [77, *words]) == {"x": value}


@pytest.mark.parametrize("name", buses.shipped())
def test_every_profile_that_comes_with_the_package_names_its_source_and_reads(name: str) -> None:
    profile = buses._profile(name, None)
    assert len(profile.source) > 20
    assert reads(profile)


def test_a_charger_and_a_weather_station_are_read_with_few_questions() -> None:
    assert [(one.register, one.count) for one in reads(buses._profile("epever-tracer", None))] == [
        (0x3100, 5), (0x310D, 5), (0x311A, 1),
    ]  # fmt: skip
    assert [(one.register, one.count) for one in reads(buses._profile("sensecap-one", None))] == [(0, 20)]
