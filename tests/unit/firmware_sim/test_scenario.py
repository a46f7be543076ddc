"""Scenarios: played, and refused."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from firmware_sim.cli import app
from firmware_sim.labels import kept_label
from firmware_sim.play import Run
from firmware_sim.scenario import Scenario, find, load, shipped

MADE = (
    "labels were made: enrol each that is named above, start the gateway with these ports, "
    "and run this again with --folder"
)


def a_scenario(**parts: object) -> Scenario:
    whole = {"line": [{"name": "desk"}], "board": [{"device": "0c500001", "line": "desk"}], "settle_s": 0} | parts
    return Scenario.model_validate(whole)


@pytest.mark.parametrize("name", ["lobby", "patrol", "storm", "tower"])
def test_a_scenario_that_comes_with_the_package_goes_by_its_name(name: str) -> None:
    assert name in shipped()
    assert load(find(name)).step


def test_a_scenario_presses_when_it_says_and_knows_that_nobody_heard(tmp_path: Path) -> None:
    steps = [
        {"at": 0.02, "do": "power-cut", "device": "0c500001"},
        {"at": 0.03, "do": "press", "device": "0c500001"},
        {"at": 0.04, "do": "power-on", "device": "0c500001"},
        {"at": 0.05, "do": "unplug", "line": "desk"},
        {"at": 0.06, "do": "replug", "line": "desk"},
        {"at": 0, "do": "press", "device": "0c500001", "kind": 2, "count": 2, "every": 0.01},
        {"at": 0.07, "do": "battery", "device": "0c500001", "millivolts": 2000},
        {"at": 0.08, "do": "measure", "device": "0c500001"},
    ]

    async def play() -> tuple[bool, list[tuple[int, int]]]:
        async with Run(a_scenario(step=steps), tmp_path) as run:
            told = await run.play()
            return told, [(press.event, press.kind) for press in run.ledger.presses]

    assert asyncio.run(play()) == (False, [(1, 2), (2, 2), (3, 18)])


class Plug:
    """A gateway's power, and when it went and came."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    def kill(self) -> None:
        self.happened.append("cut")

    async def start(self) -> None:
        self.happened.append("on")


def events(run: Run) -> list[tuple[str, int]]:
    return [(press.device, press.kind) for press in run.ledger.presses]


def played(folder: Path, scenario: Scenario, **how: Any) -> Run:
    async def play() -> Run:
        async with asyncio.timeout(10), Run(scenario, folder, **how) as run:
            await run.play()
            return run

    return asyncio.run(play())


def test_each_happening_is_the_event_that_a_board_says_then(tmp_path: Path) -> None:
    does = ["open", "close", "mains-lost", "mains-restored", "test", "release", "press"]
    steps = [{"at": at / 100, "do": do, "device": "0c500001"} for at, do in enumerate(does)]
    steps.append({"at": 0.1, "do": "hold", "device": "0c500001", "seconds": 0.05})
    run = played(tmp_path, a_scenario(step=steps))
    assert [kind for _, kind in events(run)] == [6, 17, 20, 21, 24, 16, 1, 1, 16]


def test_so_many_boards_stand_in_one_table_and_any_of_them_is_pressed_by_the_seed(tmp_path: Path) -> None:
    scenario = a_scenario(
        seed=3,
        board=[{"device": "0c50000e", "count": 3, "line": "desk"}],
        step=[{"at": 0, "do": "press", "device": "*", "count": 12, "every": 0.5}],
    )
    run = played(tmp_path, scenario, speed=1000.0)
    assert set(run.boards) == {"0c50000e", "0c50000f", "0c500010"}
    assert {device for device, _ in events(run)} == set(run.boards)
    again = tmp_path / "again"
    again.mkdir()
    assert events(played(again, scenario, speed=1000.0)) == events(run)


def test_a_cut_of_the_gateways_power_is_done_by_whoever_holds_the_plug_or_said(tmp_path: Path) -> None:
    scenario = a_scenario(step=[{"at": 0, "do": "gateway-cut"}, {"at": 0.02, "do": "gateway-on"}])
    plug, said = Plug(), list[str]()
    played(tmp_path, scenario, gateway=plug)
    played(tmp_path, scenario, say=said.append)
    assert plug.happened == ["cut", "on"]
    assert said == ["the gateway's power goes", "the gateway's power is back"]


def test_a_step_that_failed_while_others_still_ran_fails_the_scenario(tmp_path: Path) -> None:
    class Gone(Plug):
        def kill(self) -> None:
            raise RuntimeError("it was gone already")

    scenario = a_scenario(step=[{"at": 0, "do": "gateway-cut"}, {"at": 0.1, "do": "gateway-on"}])
    with pytest.raises(RuntimeError, match="gone already"):
        played(tmp_path, scenario, gateway=Gone())


def test_contacts_are_touched_bumped_stuck_and_freed(tmp_path: Path) -> None:
    moves = [
        {"at": 0, "do": "bounce", "contact": "bar", "edges": 3},
        {"at": 0.1, "do": "touch", "contact": "bar", "edges": 3, "seconds": 0.05},
        {"at": 0.3, "do": "stick", "contact": "bar", "edges": 1},
        {"at": 0.4, "do": "free", "contact": "bar", "edges": 1},
    ]
    levels: list[int | None] = []

    async def play() -> bool:
        contacts = [{"name": "bar", "line": 17, "closes_to": 1}]
        async with Run(a_scenario(contact=contacts, step=moves), tmp_path) as run:
            (chip,) = run.chips.values()
            drive = chip.drive

            def noted(line: int, level: int | None) -> None:
                levels.append(level)
                drive(line, level)

            chip.drive = noted  # type: ignore[method-assign]  # an eye on the line
            await run.play()
            return run.contacts["bar"].closed

    assert asyncio.run(play()) is False
    assert levels == [*(1, None, 1, None), *(1, None, 1), *(None, 1, None), 1, None]


@pytest.mark.parametrize("do", ["withhold", "repeat", "jam"])
def test_what_is_done_to_a_line_ends_with_its_time_and_a_press_goes_on_beside_it(tmp_path: Path, do: str) -> None:
    steps = [
        {"at": 0, "do": do, "line": "desk", "seconds": 0.2},
        {"at": 0.1, "do": "press", "device": "0c500001"},
    ]
    assert events(played(tmp_path, a_scenario(step=steps))) == [("0c500001", 1)]


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"board": [{"device": "0c500001", "line": "roof"}]}, "there is no line roof"),
        ({"board": [{"device": "0C50", "line": "desk"}]}, "board.0.device"),
        ({"step": [{"at": 0, "do": "press", "device": "0c500009"}]}, "there is no device 0c500009"),
        ({"step": [{"at": 0, "do": "unplug"}]}, "names the one thing that it is done to: line, device"),
        ({"step": [{"at": 0, "do": "explode", "device": "0c500001"}]}, "step.0.device.do"),
        ({"lines": []}, "lines"),
        ({"step": [{"at": 0, "do": "press", "device": "*", "edges": 3}]}, "step.0.device.edges"),
        ({"step": [{"at": 0, "do": "move", "receiver": "gnss"}]}, "move, and nothing else, has a latitude"),
        ({"receiver": [{"name": "gnss", "line": "roof", "latitude": 8, "longitude": -77}]}, "there is no line roof"),
        ({"step": [{"at": 0, "do": "touch", "contact": "bar"}]}, "there is no contact bar"),
        ({"step": [{"at": 0, "do": "jam", "device": "0c500001"}]}, "step.0.device.do"),
        ({"board": 2 * [{"device": "0c500001", "line": "desk"}]}, "device 0c500001 is there twice"),
        ({"contact": [{"name": "bar", "line": 32}]}, "contact.0.line"),
        ({"contact": [{"name": "bar", "line": 1, "chip": "../gpiochip0"}]}, "contact.0.chip"),
        ({"line": [{"name": "desk", "up": {"noise": 2}}]}, "line.0.up.noise"),
    ],
)
def test_a_scenario_that_makes_no_sense_names_what_is_wrong(parts: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        a_scenario(**parts)


def test_a_label_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "label"
    made = kept_label(path, "0c500001", "PB-1")
    assert kept_label(path, "0c500001", "PB-1") == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="not the label of 0c500002"):
        kept_label(path, "0c500002", "PB-1")


def test_the_command_line_plays_a_scenario_and_says_what_was_told(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text(
        'settle_s = 0\n[[line]]\nname = "desk"\n[[board]]\ndevice = "0c500001"\nline = "desk"\n'
        '[[step]]\nat = 0\ndo = "press"\ndevice = "0c500001"\n'
    )
    done = CliRunner().invoke(app, ["run", str(path), "--folder", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        f"port {tmp_path}/run/desk",
        f"label {tmp_path}/run/0c500001.label",
        f"{MADE} {tmp_path}/run",
        "0c500001 event 1: kind 1, stage 0",
    ]


def test_the_command_line_says_where_contacts_are_and_how_the_gateway_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('[[contact]]\nname = "bar"\nline = 17\n')
    done = CliRunner().invoke(app, ["run", str(path), "--folder", str(tmp_path / "run"), "--speed", "10"])
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        f"chip {tmp_path}/run/gpiochip0",
        f"the gateway sees it when started with LD_PRELOAD={tmp_path}/run/gpiochip.so",
    ]


def test_contacts_without_a_compiler_are_refused_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    path = tmp_path / "one.toml"
    path.write_text('[[contact]]\nname = "bar"\nline = 17\n')
    refused = CliRunner().invoke(app, ["run", str(path), "--folder", str(tmp_path / "run")])
    assert (refused.exit_code, "apt-get install gcc" in refused.output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "/nowhere.toml"], "/nowhere.toml"),
        (["run", "loby"], "lobby, patrol, storm"),
        (["device", "C5D1:nonsense", "--port", "/dev/null"], "not a device label"),
    ],
)
def test_the_command_line_refuses_with_a_hint(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert said in refused.output


def test_a_unit_is_on_a_line_and_a_step_names_one() -> None:
    unit = {"name": "door", "line": "desk", "address": 3}
    for parts, wrong in (
        ({"unit": [unit | {"line": "bus"}]}, "unit door: there is no line bus"),
        ({"unit": [unit], "step": [{"at": 0, "do": "mute", "unit": "meter"}]}, "there is no unit meter"),
    ):
        with pytest.raises(ValueError, match=wrong):
            a_scenario(**parts)
