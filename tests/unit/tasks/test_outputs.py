"""The gateway's own outputs, as C5 sets them by their names."""

from gateway.control.feedback import Pattern
from gateway.tasks.outputs import Outputs


class Line:
    """An output line that is there."""

    def __init__(self, max_on_s: float | None) -> None:
        self.max_on_s = max_on_s
        self.trouble: str | None = None
        self.shown: list[tuple[Pattern, float | None]] = []

    def show(self, pattern: Pattern, seconds: float | None = None) -> bool:
        self.shown.append((pattern, seconds))
        return self.trouble is None


def test_an_output_says_for_how_long_it_is_on() -> None:
    siren, led = Line(300), Line(None)
    outputs = Outputs({"siren": siren, "led": led}, {})  # type: ignore[dict-item]  # as much of a line as is used
    assert [outputs.set("siren", on=True, seconds=seconds) for seconds in (None, 30, 3600)] == [300, 30, 300]
    assert [outputs.set("led", on=True, seconds=seconds) for seconds in (None, 30)] == [None, 30]
    assert outputs.set("siren", on=False, seconds=30) is None
    assert siren.shown[-1] == (Pattern.OFF, 30)
    siren.trouble = "no such line"
    assert outputs.set("siren", on=True, seconds=None) == "no such line"
    assert outputs.set("strobe", on=True, seconds=None) == "this gateway has no output strobe"


def test_what_shows_what_became_of_presses_is_nobody_else_s_to_set() -> None:
    led = Line(None)
    outputs = Outputs({"lamp": led}, {"lamp": "desk"})  # type: ignore[dict-item]  # as much of a line as is used
    assert outputs.set("lamp", on=True, seconds=None) == (
        "lamp shows what became of presses of desk, and nothing else may"
    )
    assert led.shown == []
