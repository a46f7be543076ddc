"""Kinds of things that need more than a line: what they keep in the run's folder, and what is done to them."""

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_sim.play import Run
from firmware_sim.scenario import Scenario

STAIRS = {"name": "stairs", "port": 1}  # where nobody listens


def keypad(*steps: dict[str, object]) -> Scenario:
    told = [{"at": 0, "peripheral": "keypad", **step} for step in steps]
    table = {"name": "keypad", "line": "gate", "address": 1}
    return Scenario.model_validate({"line": [{"name": "gate"}], "peripheral": [table], "step": told})


def played(scenario: Scenario, folder: Path, said: list[str] | None = None) -> tuple[bool, Run]:
    async def play() -> tuple[bool, Run]:
        async with Run(scenario, folder, say=(said if said is not None else []).append) as run:
            return await run.play(), run

    return asyncio.run(play())


def test_a_peripheral_is_pressed_opened_unplugged_and_muted(tmp_path: Path) -> None:
    steps: list[dict[str, object]] = [
        {"do": do} for do in ("press", "open", "mains-lost", "mute", "power-cut", "power-on", "power-on")
    ]
    _told, run = played(keypad(*steps, {"do": "press", "number": 1}, {"do": "release"}), tmp_path)
    one = run.peripherals["keypad"]
    assert (one.inputs, one.tampered, one.unpowered, one.muted) == ([False, True], True, True, True)
    again: list[dict[str, object]] = [{"do": do} for do in ("heal", "close", "mains-restored")]
    _told, run = played(keypad(*again), tmp_path)
    one = run.peripherals["keypad"]
    assert (one.tampered, one.unpowered, one.muted) == (False, False, False)


def test_the_key_that_a_peripheral_was_given_stays_in_it_and_is_its_owners_alone(tmp_path: Path) -> None:
    async def installed() -> None:
        async with Run(keypad(), tmp_path) as run:
            assert run.peripherals["keypad"].key is None
            run.peripherals["keypad"].key = bytes(range(16))

    asyncio.run(installed())
    assert stat.S_IMODE((tmp_path / "keypad.osdp-key").stat().st_mode) == 0o600
    assert Run(keypad(), tmp_path).peripherals["keypad"].key == bytes(range(16))


def test_a_help_point_says_what_it_needs(tmp_path: Path) -> None:
    scenario = Scenario.model_validate({"help_point": [STAIRS | {"by": "certificate"}]})
    with pytest.raises(ValueError, match=r"stairs needs .*trust-anchors\.pem, .*stairs\.pem, .*stairs\.key: c5-certs"):
        Run(scenario, tmp_path)


def test_a_token_is_made_once_and_a_call_that_nobody_took_was_not_told(tmp_path: Path, authority: Path) -> None:
    (tmp_path / "trust-anchors.pem").write_bytes((authority / "trust-anchors.pem").read_bytes())
    steps = [
        {"at": 0, "do": "help", "help_point": "stairs"},
        {"at": 0, "do": "flood", "help_point": "stairs", "requests": 3},
    ]
    scenario = Scenario.model_validate({"settle_s": 0.1, "help_point": [STAIRS], "step": steps})
    said: list[str] = []
    told, _run = played(scenario, tmp_path, said)
    token = tmp_path / "stairs.token"
    assert (told, said, stat.S_IMODE(token.stat().st_mode)) == (False, ["stairs, flood: 3 × no answer"], 0o600)
    before = token.read_text()
    Run(scenario, tmp_path)
    assert (token.read_text(), len(before.strip())) == (before, 64)


def test_with_wait_nothing_happens_before_return_is_pressed(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text(
        'settle_s = 0\n[[line]]\nname = "desk"\n[[board]]\ndevice = "0c500001"\nline = "desk"\n'
        '[[step]]\nat = 0\ndo = "press"\ndevice = "0c500001"\n'
    )
    command = [sys.executable, "-m", "firmware_sim.cli", "run", str(path), "--folder", str(tmp_path / "run"), "--wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(3)]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        rest, _errors = process.communicate("\n", timeout=10)
    assert said[-1] == (
        "everything is plugged in: enrol what is named above, start the gateway, and press return to begin"
    )
    assert (process.returncode, rest.splitlines()) == (
        1, ["all of it has happened: return unplugs everything", "0c500001 event 1: kind 1, stage 0"]
    )  # fmt: skip
