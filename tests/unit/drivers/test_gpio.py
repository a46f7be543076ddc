"""GPIO lines on simulated chips, on a virtual clock: taken again for ever, moved for no longer than they may be."""

import asyncio
import errno
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest

from firmware_sim.gpio import Chip, Chips, HeldInput, HeldOutput
from gateway.control.feedback import Pattern
from gateway.drivers import gpiochip
from gateway.drivers.gpio import CHECKED_EVERY, InputLine, explained
from gateway.drivers.gpiochip import Edge, Gpiod
from gateway.drivers.output import OutputLine
from gateway.drivers.pace import Pace
from gateway.tasks.drivers import HANG
from tests.simulation.loop import VirtualLoop

PATH = "/dev/gpiochip0"


class Bench:
    """A chip with a button on line 3 and a siren on line 5, and what their drivers told."""

    def __init__(self, loop: VirtualLoop, **features: bool) -> None:
        self.loop = loop
        self.pace = Pace(loop.time)
        self.chips = Chips(loop.time)
        self.chip: Chip = self.chips.add(PATH, **features)
        self.chip.lines[3].name = "BUTTON"
        self.told: list[object] = []
        self.beats = 0
        self.shown: Pattern | None = None  # what whoever uses the siren shows as often as it is taken
        self.button = self.input(3)
        self.siren = self.output()

    def input(self, line: int | str) -> InputLine:
        return InputLine(
            self.chips,
            PATH,
            line,
            active_low=True,
            bias="pull-up",
            debounce_ms=20,
            taken=lambda: self.told.append("taken"),
            edges=self._edges,
            level=self.told.append,
            lost=lambda reason: self.told.append(f"lost: {reason}"),
            restored=lambda: self.told.append("restored"),
            pace=self.pace,
            random=lambda: 1.0,
        )

    def output(self, *, rhythm: bool = True, active_low: bool = False, max_on_s: float | None = 60.0) -> OutputLine:
        return OutputLine(
            self.chips,
            PATH,
            5,
            active_low=active_low,
            rhythm=rhythm,
            max_on_s=max_on_s,
            taken=self._taken,
            lost=lambda reason: self.told.append(f"lost: {reason}"),
            restored=lambda: self.told.append("restored"),
            pace=self.pace,
            random=lambda: 1.0,
        )

    def _taken(self) -> None:
        if self.shown is not None:
            self.siren.show(self.shown)

    def _edges(self, edges: Sequence[Edge]) -> bool:
        self.told.append(list(edges))
        return edges[0][2] > 1 + self._seen(edges)

    def _seen(self, edges: Sequence[Edge]) -> int:
        before = [edge for told in self.told if isinstance(told, list) and told != list(edges) for edge in told]
        return before[-1][2] if before else 0

    def beat(self) -> None:
        self.beats += 1

    @property
    def edges(self) -> list[Edge]:
        return [edge for told in self.told if isinstance(told, list) for edge in told]

    @property
    def words(self) -> list[object]:
        return [told for told in self.told if isinstance(told, str)]

    def state(self) -> tuple[bool | None, str | None]:
        return self.button.active, self.button.trouble

    def shows(self, pattern: Pattern) -> bool:
        return self.siren.pattern is pattern

    @property
    def changes(self) -> list[tuple[float, bool]]:
        return [(round(at, 2), high) for at, high in self.chip.lines[5].changes]


def _live(story: Callable[[Bench], Coroutine[Any, Any, None]], **features: bool) -> None:
    loop = VirtualLoop(Random("gpio"))

    async def life() -> None:
        bench = Bench(loop, **features)
        await story(bench)

    try:
        loop.run_until_complete(life())
    finally:
        loop.end()


class Running:
    """A driver that runs while inside."""

    def __init__(self, run: Callable[[Callable[[], None]], Coroutine[Any, Any, None]], bench: Bench) -> None:
        self._run = run
        self._bench = bench

    async def __aenter__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(self._bench.beat))
        await asyncio.sleep(0.01)

    async def __aexit__(self, *_: object) -> None:
        assert not self._task.done()
        self._task.cancel()
        await asyncio.wait([self._task])


# Inputs.


def test_a_press_arrives_with_the_kernel_s_time_and_number_debounced() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.button.run, bench):
            assert bench.told == ["taken", False]
            pressed_at = bench.loop.time()
            for _ in range(5):
                bench.chip.close(3)
                await asyncio.sleep(0.002)
                bench.chip.open(3)
                await asyncio.sleep(0.002)
            bench.chip.close(3)
            await asyncio.sleep(0.1)
            ((at_ns, active, number),) = bench.edges
            assert (active, number) == (True, 1)
            assert pressed_at + 0.04 <= at_ns / 1e9 <= pressed_at + 0.041, "20 ms after the last of eleven edges"
            assert bench.button.active

    _live(story)


def test_a_line_is_found_by_its_name() -> None:
    async def story(bench: Bench) -> None:
        bench.button = bench.input("BUTTON")
        async with Running(bench.button.run, bench):
            bench.chip.close(3)
            await asyncio.sleep(0.1)
            assert [edge[1:] for edge in bench.edges] == [(True, 1)]

    _live(story)


def test_edges_that_the_kernel_dropped_show_in_the_numbers_and_the_level_is_read_again() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.button.run, bench):
            bench.told.clear()
            bench.chip.bounce(3, 41, [bench.loop.time() + n / 1000 for n in range(41)])
            await asyncio.sleep(0.01)
            first, *others = bench.told
            assert isinstance(first, list)
            assert [edge[2] for edge in first] == list(range(26, 42))
            assert others == [True]

    _live(story, debounces=False)


def test_the_level_is_read_every_two_seconds_and_each_time_is_a_beat() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.button.run, bench):
            await asyncio.sleep(6.5)
            assert bench.told == ["taken", False, False, False, False]
            assert bench.beats == 4

    _live(story)


@pytest.mark.parametrize("notices", [True, False])
def test_a_chip_that_is_pulled_out_is_lost_once_and_restored_once(notices: bool) -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.button.run, bench):
            bench.chip.remove()
            await asyncio.sleep(30)
            assert bench.words == ["taken", f"lost: {PATH} does not answer: was it removed, is it a GPIO chip at all?"]
            assert bench.state() == (None, f"{PATH} is not there: gpiodetect lists the GPIO chips of this machine")
            bench.chip.insert()
            bench.chip.close(3)
            await asyncio.sleep(10)
            assert bench.words[2:] == ["taken", "restored"]
            assert bench.state() == (True, None)
            bench.chip.open(3)
            await asyncio.sleep(0.1)
            assert bench.edges[-1][1:] == (False, 1), "numbered anew"

    _live(story, notices=notices)


def test_a_line_that_is_had_and_fails_at_once_is_lost_once_and_not_back() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.button.run, bench), Running(bench.siren.run, bench):
            for _ in range(30):
                bench.chip.remove()
                await asyncio.sleep(2)
                bench.chip.insert()
                await asyncio.sleep(2)
            told = [str(told).partition(":")[0] for told in bench.words if told != "taken"]
            assert told == ["lost", "lost"], "once for each of the two"

    _live(story)


def test_a_line_that_somebody_holds_is_told_with_who_and_taken_when_it_is_free() -> None:
    async def story(bench: Bench) -> None:
        bench.chip.lines[3].holder = "gpio-keys"
        async with Running(bench.button.run, bench):
            await asyncio.sleep(60)
            held = f"line 3 of {PATH} is held by gpio-keys: stop that, or take another line"
            assert (bench.told, bench.button.trouble) == ([f"lost: {held}"], held)
            assert bench.beats > 10
            bench.chip.lines[3].holder = None
            await asyncio.sleep(10)
            assert bench.words[1:] == ["taken", "restored"]

    _live(story)


def test_a_run_that_was_told_to_let_go_leaves_the_line_to_the_next() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.button.run, bench):
            bench.button.close()
            assert bench.chip.lines[3].holder is None
            bench.button.close()

    _live(story)


def _no_permission(bench: Bench) -> None:
    bench.chip.permitted = False


def _no_line(bench: Bench) -> None:
    bench.button = bench.input("NOWHERE")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (_no_permission, f"{PATH} may not be opened: the service's user must be in the group gpio"),
        (_no_line, f"{PATH} has no line NOWHERE: gpioinfo lists its lines and their names"),
    ],
)
def test_what_is_wrong_is_told_to_the_technician(wrong: Callable[[Bench], None], text: str) -> None:
    async def story(bench: Bench) -> None:
        wrong(bench)
        async with Running(bench.button.run, bench):
            assert bench.button.trouble == text

    _live(story)


@pytest.mark.parametrize(
    ("number", "begins"),
    [
        (errno.EPERM, f"{PATH} may not be opened"),
        (errno.ENXIO, f"line 3 of {PATH} can't notice edges"),
        (errno.EINVAL, f"line 3 of {PATH} can't be had like this"),
        (errno.EMFILE, f"{PATH}, 3: Too many open files"),
    ],
)
def test_other_errors_are_explained_too(number: int, begins: str) -> None:
    assert explained(PATH, 3, OSError(number, "")).startswith(begins)


def test_a_holder_without_a_name_is_held_all_the_same() -> None:
    assert explained(PATH, 3, OSError(errno.EBUSY, "")) == (
        f"line 3 of {PATH} is held by another program or driver: gpioinfo shows it"
    )


@pytest.mark.parametrize(("path", "number"), [("/dev/null", errno.ENODEV), ("/nowhere", errno.ENOENT)])
def test_this_machine_s_own_chips_fail_in_the_same_way(path: str, number: int) -> None:
    with pytest.raises(OSError, match=r"[Nn]o such") as raised:
        Gpiod().output(path, 3, active_low=False)
    assert raised.value.errno == number


# Outputs.


def test_an_output_is_off_from_the_moment_that_it_is_taken() -> None:
    async def story(bench: Bench) -> None:
        bench.chip.lines[5].driven = True  # as a gateway left it that was killed
        bench.siren.begin()
        assert bench.changes == [(0.0, False)]
        bench.siren.close()

    _live(story)


def test_an_output_that_is_active_low_is_off_when_its_line_is_high() -> None:
    async def story(bench: Bench) -> None:
        bench.siren = bench.output(active_low=True)
        bench.siren.begin()
        assert bench.changes == [(0.0, True)]
        bench.siren.close()

    _live(story)


def test_nothing_is_on_for_longer_than_it_may() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.siren.run, bench):
            assert bench.siren.show(Pattern.STEADY, 3600)
            assert bench.shows(Pattern.STEADY)
            await asyncio.sleep(100)
            assert bench.changes == [(0.0, False), (0.01, True), (60.01, False)]
            assert bench.shows(Pattern.OFF)

    _live(story)


def test_an_output_is_on_for_as_long_as_was_asked_and_the_last_word_counts() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.siren.run, bench):
            bench.siren.show(Pattern.STEADY, 5)
            await asyncio.sleep(4)
            bench.siren.show(Pattern.STEADY, 10)
            await asyncio.sleep(20)
            assert bench.changes == [(0.0, False), (0.01, True), (14.01, False)]
            bench.siren.show(Pattern.STEADY)
            bench.siren.show(Pattern.OFF)
            await asyncio.sleep(100)
            assert len(bench.changes) == 5

    _live(story)


def test_a_light_blinks_and_is_off_in_the_end() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.siren.run, bench):
            bench.siren.show(Pattern.SLOW, 1.75)
            await asyncio.sleep(5)
            assert bench.changes[1:] == [(0.01, True), (0.51, False), (1.01, True), (1.51, False)]
            bench.siren.show(Pattern.FAST, 0.25)
            await asyncio.sleep(5)
            assert bench.changes[5:] == [(5.01, True), (5.11, False), (5.21, True), (5.26, False)]

    _live(story)


def test_a_light_without_a_limit_stays_on_and_comes_back_with_what_it_is_to_show() -> None:
    async def story(bench: Bench) -> None:
        bench.siren = bench.output(max_on_s=None)
        async with Running(bench.siren.run, bench):
            bench.shown = Pattern.STEADY
            bench.siren.show(Pattern.STEADY)
            await asyncio.sleep(3600)
            assert bench.changes == [(0.0, False), (0.01, True)]
            bench.chip.remove()
            await asyncio.sleep(10)
            bench.chip.insert()
            await asyncio.sleep(6)
            assert bench.shows(Pattern.STEADY)
            assert [high for _, high in bench.changes[2:]] == [False, True]
            bench.siren.show(Pattern.STEADY, 5)
            await asyncio.sleep(6)
            assert bench.shows(Pattern.OFF), "as long as was asked"

    _live(story)


def test_a_write_that_is_lost_without_an_error_is_made_good_within_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.siren.run, bench):
            bench.siren.show(Pattern.STEADY, 5)
            await asyncio.sleep(4.9)
            with monkeypatch.context() as bus:
                bus.setattr(HeldOutput, "put", lambda _held, _active: None)
                await asyncio.sleep(0.2)
            assert bench.chip.lines[5].driven, "nobody heard that it shall be off"
            await asyncio.sleep(CHECKED_EVERY)
            assert bench.chip.lines[5].driven is False
            with monkeypatch.context() as bus:
                bus.setattr(HeldOutput, "put", lambda _held, _active: None)
                bench.siren.show(Pattern.STEADY)
            await asyncio.sleep(CHECKED_EVERY)
            assert bench.chip.lines[5].driven

    _live(story)


class Refusing:
    """A line request of which the kernel wants to hear nothing."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_value(self, _line: int) -> None:
        raise self._error

    def set_value(self, _line: int, _value: object) -> None:
        raise self._error

    def read_edge_events(self, _most: int) -> None:
        raise self._error


@pytest.mark.parametrize("error", [ValueError(), NotImplementedError()], ids=["EINVAL", "EOPNOTSUPP"])
def test_what_the_library_makes_of_an_error_is_the_kernel_s_again(error: Exception) -> None:
    refused: Any = Refusing(error)
    output, failed = gpiochip.HeldOutput(refused, 5), list[OSError]()
    button = gpiochip.HeldInput.__new__(gpiochip.HeldInput)  # without a descriptor that an event loop could watch
    button._request, button._offset, button._failed = refused, 3, failed.append
    for ask in (partial(output.put, False), output.check, button.level):
        with pytest.raises(OSError, match="Invalid argument"):
            ask()
    button._readable()
    assert [error.errno for error in failed] == [errno.EINVAL]


class Endless:
    """A line whose edges come faster than they are read."""

    def read_edge_events(self, _most: int) -> list[Any]:
        return []


def test_a_line_that_never_falls_silent_leaves_the_loop_its_turn() -> None:
    read: list[Sequence[Edge]] = []
    button = gpiochip.HeldInput.__new__(gpiochip.HeldInput)
    button._request, button._edges = Endless(), read.append  # type: ignore[assignment]  # no line of libgpiod
    button._readable()
    assert len(read) == gpiochip.DRAINED_MAX


class Hung:
    """A chip of which each call takes a second and fails."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.calls = 0
        self.works = False

    def input(self, *args: Any, **how: Any) -> HeldInput:
        if self.works:
            return self._bench.chips.input(*args, **how)
        self.calls += 1
        self._bench.loop._now += 1.0
        raise OSError(errno.EREMOTEIO, "")


def test_lines_on_a_bus_that_hangs_take_turns_and_leave_the_event_loop_to_the_others() -> None:
    async def story(bench: Bench) -> None:
        bench.chips, lines = Hung(bench), bench.chips  # type: ignore[assignment]  # a chip's half
        hung: Any = bench.chips
        buttons = [bench.input(number) for number in range(8)]
        bench.chips = lines
        tasks = [asyncio.ensure_future(button.run(bench.beat)) for button in buttons]
        await asyncio.sleep(600)
        assert 20 <= hung.calls <= 40, "a twentieth of the time"
        assert all(button.trouble is not None for button in buttons)
        assert bench.beats > 8 * 600 / HANG, "who waits for its turn doesn't hang"
        hung.works = True
        await asyncio.sleep(30)
        assert [button.trouble for button in buttons] == [None] * 8
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    _live(story)


def test_what_has_its_own_rhythm_is_just_on() -> None:
    async def story(bench: Bench) -> None:
        bench.siren = bench.output(rhythm=False)
        async with Running(bench.siren.run, bench):
            bench.siren.show(Pattern.FAST, 5)
            await asyncio.sleep(10)
            assert bench.changes[1:] == [(0.01, True), (5.01, False)]

    _live(story)


def test_a_stop_sets_an_output_off() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.siren.run, bench):
            bench.siren.show(Pattern.SLOW)
        assert bench.changes[-1][1] is False
        assert bench.chip.lines[5].holder is None
        assert not bench.siren.show(Pattern.STEADY), "there is no line to move"

    _live(story)


def test_an_output_whose_chip_was_pulled_out_is_lost_once_and_comes_back_off() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.siren.run, bench):
            bench.siren.show(Pattern.STEADY)
            bench.chip.remove()
            await asyncio.sleep(30)
            (lost,) = bench.words
            assert isinstance(lost, str)
            assert lost.startswith(f"lost: what it drives can't be moved: {PATH} does not answer")
            assert not bench.siren.show(Pattern.STEADY)
            bench.chip.insert()
            await asyncio.sleep(10)
            assert bench.words[1:] == ["restored"]
            assert bench.changes[-1][1] is False
            assert bench.siren.show(Pattern.STEADY)

    _live(story)


def test_a_line_that_fails_under_the_hand_is_lost_at_once() -> None:
    async def story(bench: Bench) -> None:
        async with Running(bench.siren.run, bench):
            bench.chip.remove()
            assert not bench.siren.show(Pattern.STEADY)
            await asyncio.sleep(0.01)
            assert len(bench.words) == 1

    _live(story)
