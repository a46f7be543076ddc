"""OSDP peripherals as `status`, `check` and `peripheral install` show them."""

from pathlib import Path
from typing import Any

import pytest

from gateway.cli import peripherals
from gateway.drivers.osdp_keys import KeyFiles
from gateway.errors import C5Error
from gateway.sensing.osdp import Keys
from tests.unit.test_config import WHOLE, _load
from tests.unit.test_peripherals import GATE, INPUT, LINE

KEY = bytes(range(16))
ONE: dict[str, Any] = {
    "name": "gate", "port": "gates", "address": 1, "live": True, "installing": False, "installation": None,
    "tampered": False, "unpowered": True, "trouble": None,
    "inputs": [
        {"name": "panic", "active": True, "on": "panic.pressed"}, {"name": "door", "active": None, "on": "door.opened"},
    ],
    "outputs": [{"name": "siren", "on": False}],
}  # fmt: skip


def test_status_shows_each_with_its_inputs_and_outputs() -> None:
    lost = ONE | {
        "name": "west", "live": False, "trouble": "it answers, but not with its key", "outputs": [],
        "inputs": [{"name": "west-panic", "active": False, "on": "panic.pressed"}],
    }  # fmt: skip
    found = {"osdp": [{"name": "gates", "trouble": None}], "peripherals": [ONE, lost]}
    assert list(peripherals.shown(found)) == [
        "gates      OSDP, open",
        "gate       connected by its own key, its supply is gone",
        "  panic      active, panic.pressed",
        "  door       –, door.opened",
        "  siren      off",
        "west       it answers, but not with its key",
        "  west-panic –, panic.pressed",
    ]
    assert list(peripherals.beside(found)) == [
        ("port gates", None, "open"),
        ("peripheral gate", None, "connected by its own key, its supply is gone"),
        ("peripheral west", "it answers, but not with its key", "not connected yet, its supply is gone"),
    ]
    assert peripherals.told(lost) == "peripheral west (address 1 on gates): it answers, but not with its key"


def test_install_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ONE | {"live": False, "installing": False, "installation": ""}  # it has its key, and never connects by it
    monkeypatch.setattr(peripherals, "ask", lambda _state_dir, _request: {"peripherals": [own]})
    monkeypatch.setattr(peripherals, "EVERY", 0.01)
    monkeypatch.setattr(peripherals, "WAIT_S", 0.03)
    _load(tmp_path, WHOLE + LINE + GATE)
    with pytest.raises(C5Error, match="nothing is known of the installation of gate yet"):
        peripherals.install(next(one for one in tmp_path.iterdir() if one.suffix == ".toml"), "gate")
    assert "its default key is accepted" in capsys.readouterr().out


def test_check_without_the_service_opens_the_line_and_looks_for_keys(tmp_path: Path) -> None:
    line = LINE.replace("/dev/ttyUSB0", f"{tmp_path}/none")
    settings = _load(tmp_path, WHOLE + line + GATE + INPUT)
    state_dir = tmp_path / "state"
    settings = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"state_dir": state_dir})})
    port, gate = peripherals.looked(settings)
    assert port == ("port gates", f"{tmp_path}/none is not there: is the adapter plugged in?", "opened")
    assert gate[1] == "it has no key yet and is not heard: c5-gateway peripheral install gate"
    (state_dir / "osdp-keys").mkdir(parents=True)
    (state_dir / "osdp-keys" / "gate").write_text("damaged")
    assert "the key of gate can't be read: it is damaged" in (list(peripherals.looked(settings))[1][1] or "")
    KeyFiles(state_dir).write("gate", Keys(KEY))
    assert list(peripherals.looked(settings))[1] == ("peripheral gate", None, "it has its key")


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([ONE | {"live": False, "installing": True}, ONE], None),
        ([ONE | {"live": False, "installing": True}, ONE | {"live": False, "installation": "it has not answered"}],
         "gate was not installed: it has not answered"),
        ([], "the service isn't running"),
    ],
)  # fmt: skip
def test_install_waits_for_what_becomes_of_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    states: list[Any],
    said: str | None,
) -> None:
    answers = iter([{}, *({"peripherals": [state]} for state in states)] if states else [None])
    asked: list[dict[str, Any]] = []

    def ask(_state_dir: Path, request: dict[str, Any]) -> Any:
        asked.append(request)
        return next(answers)

    monkeypatch.setattr(peripherals, "ask", ask)
    monkeypatch.setattr(peripherals, "EVERY", 0.0)
    _load(tmp_path, WHOLE + LINE + GATE)
    path = next(one for one in tmp_path.iterdir() if one.suffix == ".toml")
    if said is None:
        assert peripherals.install(path, "gate")
        assert "gate has a key of its own and is connected by it" in capsys.readouterr().out
    else:
        with pytest.raises(C5Error) as refused:
            peripherals.install(path, "gate")
        assert refused.value.what == said
    assert asked[0] == {"do": "install", "peripheral": "gate"}
