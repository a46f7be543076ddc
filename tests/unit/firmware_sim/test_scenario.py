"""Scenarios: played, and refused."""

import asyncio
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firmware_sim import scenario as scenarios
from firmware_sim.cli import app
from firmware_sim.labels import kept_label
from firmware_sim.scenario import Run, Scenario, load

LOBBY = Path(scenarios.__file__).parent / "scenarios" / "lobby.toml"


def a_scenario(**parts: object) -> Scenario:
    whole = {"line": [{"name": "desk"}], "board": [{"device": "0c500001", "line": "desk"}], "settle_s": 0} | parts
    return Scenario.model_validate(whole)


def test_the_lobby_is_a_scenario() -> None:
    lobby = load(LOBBY)
    assert [line.name for line in lobby.line] == ["desk", "radio"]
    assert [board.device for board in lobby.board] == ["0c500001", "0c500002", "0c500003"]


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


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"board": [{"device": "0c500001", "line": "roof"}]}, "there is no line roof"),
        ({"board": [{"device": "0C50", "line": "desk"}]}, "board.0.device"),
        ({"step": [{"at": 0, "do": "press", "device": "0c500009"}]}, "press needs the id of a device"),
        ({"step": [{"at": 0, "do": "unplug"}]}, "unplug needs the name of a line"),
        ({"step": [{"at": 0, "do": "explode", "device": "0c500001"}]}, "step.0.do"),
        ({"lines": []}, "lines"),
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
        "0c500001 event 1: kind 1, stage 0",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "/nowhere.toml"], "/nowhere.toml"),
        (["device", "C5D1:nonsense", "--port", "/dev/null"], "not a device label"),
    ],
)
def test_the_command_line_refuses_with_a_hint(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert said in refused.output
