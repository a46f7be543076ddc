"""What `check` finds of keys, and of brokers without them, beside a running service or none."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import check


def found(settings: Path, capsys: pytest.CaptureFixture[str]) -> tuple[bool, list[dict[str, str]]]:
    right = check.run(settings, as_json=True)
    return right, json.loads(capsys.readouterr().out)["findings"]


@pytest.mark.parametrize("name", ["tls.key", "signing.key"])
@pytest.mark.parametrize("running", [True, False])
def test_a_key_that_others_can_read_is_told_once_whether_the_service_runs_or_not(
    settings: Path, name: str, *, running: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status: dict[str, Any] = {
        "lanes": {},
        "ports": [],
        "inputs": [],
        "outputs": [],
        "buses": [],
        "units": [],
        "osdp": [],
        "peripherals": [],
        "gnss": [],
        "local_inputs": [],
        "sources": [],
        "maintenance": [],
        "brokers": [],
        "troubles": [],
    }
    monkeypatch.setattr(check, "ask", lambda _folder, _request: status if running else None)
    key = settings.parent / "pki" / "gateway" / "gw-1" / name
    key.chmod(0o644)
    right, findings = found(settings, capsys)
    assert not right
    (exposed,) = [finding for finding in findings if str(key) in finding["text"]]
    assert exposed["result"] == "failed"
    assert "0644" in exposed["text"]
    assert exposed["hint"].startswith(("run: chmod 600", "Run: chmod 600"))
    brokers = [finding for finding in findings if finding["what"].startswith("broker")]
    assert [finding["result"] for finding in brokers] == ([] if running else ["warning", "warning"])
    assert [finding["what"] for finding in findings if finding["result"] == "failed"] == ["certificate"]


def test_with_its_keys_in_order_each_broker_is_tried(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, findings = found(settings, capsys)
    assert not right
    brokers = [finding for finding in findings if finding["what"].startswith("broker")]
    assert [finding["result"] for finding in brokers] == ["failed", "failed"]
    assert all("nothing listens there" in finding["text"] for finding in brokers)


def test_what_can_t_be_heard_is_told_with_what_it_means(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(what: str) -> list[tuple[str, str, bool]]:
        findings = [finding for finding in found(settings, capsys)[1] if finding["what"] == what]
        return [(each["result"], each["text"], "go on sending" in each["hint"]) for each in findings]

    assert told("buttons") == [("warning", "no port and no input: no button can be heard", False)]
    assert told("service") == [("warning", "not running", True)]
    missing = settings.parent / "missing"
    settings.write_text(settings.read_text() + f'[[port]]\nname = "desk"\ndevice = "{missing}"\n')
    assert told("buttons") == []
    assert told("port desk") == [("failed", f"{missing} is not there: is the adapter plugged in?", True)]
