"""What `check` finds of keys, and of brokers without them, beside a running service or none."""

import json
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from certs.authority import Issued
from gateway.cli import check

TABLES = "ports inputs outputs buses units osdp peripherals gnss local_inputs sources maintenance brokers troubles"
STATUS: dict[str, Any] = {
    **{table: [] for table in TABLES.split()},
    "gateway": {"id": "gw-1", "agency": "senafront", "site": "yaviza", "profile_s": 90},
    "lanes": {},
    "clock": {"source": 2, "uncertainty_ms": 5, "machine": "2026-11-22T04:00:00Z"},
}
LOCAL = """[local_input]
address = "127.0.0.1"
port = {port}
certificate = "{tls}.pem"
key = "{tls}.key"
[[source]]
name = "analytics"
types = ["intrusion.detected"]
token_file = "analytics.token"
"""
MODBUS = """[[port]]
name = "cabinet"
driver = "modbus"
device = "{device}"
[[unit]]
name = "sun"
port = "cabinet"
address = 1
profile = "nobody-has-it"
"""


def found(settings: Path, capsys: pytest.CaptureFixture[str]) -> tuple[bool, list[dict[str, str]]]:
    right = check.run(settings, as_json=True)
    return right, json.loads(capsys.readouterr().out)["findings"]


@pytest.mark.parametrize("name", ["tls.key", "signing.key"])
@pytest.mark.parametrize("running", [True, False])
def test_a_key_that_others_can_read_is_told_once_whether_the_service_runs_or_not(
    settings: Path, name: str, *, running: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "ask", lambda _folder, _request: STATUS if running else None)
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

    assert told("buttons") == [("warning", "no port for buttons and no input: no button can be heard", False)]
    assert told("service") == [("warning", "not running", True)]
    bare = settings.read_text()
    settings.write_text(bare + '[[port]]\nname = "gps"\ndriver = "nmea"\ndevice = "/dev/nothing"\n')
    assert len(told("buttons")) == 1, "a receiver of satellites hears no button"
    settings.write_text(bare)
    missing = settings.parent / "missing"
    settings.write_text(settings.read_text() + f'[[port]]\nname = "desk"\ndevice = "{missing}"\n')
    assert told("buttons") == []
    assert told("port desk") == [("failed", f"{missing} is not there: is the adapter plugged in?", True)]


def beside(
    settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, **status: Any
) -> list[tuple[str, str, str]]:
    """Return what is found beside a running service, but for its brokers, which it has not."""
    with monkeypatch.context() as patched:
        patched.setattr(check, "ask", lambda _folder, _request: STATUS | status)
        findings = found(settings, capsys)[1]
    return [(each["what"], each["result"], each["text"]) for each in findings]


def test_beside_a_running_service_the_files_by_which_it_would_start_are_read_all_the_same(
    settings: Path, issued: Issued, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = issued.tls_key.parent / "tls"
    whole = settings.read_text().replace('state_dir = "state"', 'state_dir = "state"\nsite_file = "site.toml"')
    settings.write_text(whole + LOCAL.format(port=8443, tls=tls) + MODBUS.format(device="/dev/nothing"))
    token = settings.parent / "analytics.token"
    token.write_text("5f2d7a1c9b3e4f608172a3b4c5d6e7f8")
    token.chmod(0o644)
    failed = {what: text for what, result, text in beside(settings, capsys, monkeypatch) if result == "failed"}
    assert sorted(failed) == ["profiles", "site file", "source analytics"]
    assert failed["source analytics"].startswith(f"{token} is a token and others can reach it (mode 0644). run: chmod")


def test_what_the_running_service_does_not_have_of_the_settings_is_named(
    settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [broker["port"] for broker in tomllib.loads(settings.read_text())["broker"]]
    rows = [{"broker": f"127.0.0.1:{port}", "connected": False} for port in ports]
    running: dict[str, Any] = {
        "brokers": rows,
        "buses": [{"name": "cabinet", "device": "/dev/nothing", "trouble": None}],
    }
    running["units"] = [
        {"name": name, "port": "cabinet", "address": 1, "trouble": None, "values": {}} for name in ("sun", "mains")
    ]

    def told() -> list[str]:
        found = beside(settings, capsys, monkeypatch, **running)
        return [text for what, result, text in found if (what, result) == ("service", "warning")]

    settings.write_text(
        settings.read_text() + MODBUS.format(device="/dev/nothing").replace("nobody-has-it", "epever-tracer")
    )
    assert told() == ["it runs by other settings than this file: unit mains"]
    running["units"].pop()
    assert told() == []
    settings.write_text(settings.read_text().replace("/dev/nothing", "/dev/other").replace('"gw-1"', '"gw-2"'))
    assert told() == ["it runs by other settings than this file: gateway id, port cabinet"]


def test_a_clock_by_satellites_is_in_order_as_in_status(
    settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"source": 3, "uncertainty_ms": 210, "machine": "1970-01-01T00:01:00Z"}
    said = "by satellites within 210 ms; the machine's own shows 1970-01-01T00:01:00Z"
    assert ("clock", "ok", said) in beside(settings, capsys, monkeypatch, clock=clock)


def test_a_port_for_local_input_that_can_t_be_had_is_found_before_the_service_starts(
    settings: Path, issued: Issued, capsys: pytest.CaptureFixture[str]
) -> None:
    bare, tls = settings.read_text(), issued.tls_key.parent / "tls"

    def told() -> tuple[str, str]:
        (one,) = [each for each in found(settings, capsys)[1] if each["what"] == "local input local-input"]
        return one["result"], one["text"]

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings.write_text(bare + LOCAL.format(port=port, tls=tls))
        used = f"port {port} is used by another program: sudo ss -ltnp 'sport = :{port}' says by which"
        assert told() == ("failed", used)
    assert told() == ("ok", f"127.0.0.1, {port}")
    settings.write_text(bare + LOCAL.format(port=port, tls=tls).replace("127.0.0.1", "192.0.2.1"))
    assert told()[0] == "failed"
    assert "this machine has no address 192.0.2.1 now" in told()[1]


def test_a_line_that_is_missing_says_what_to_do_and_nothing_is_said_on_stderr(
    settings: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gps = '[[port]]\nname = "gps"\ndriver = "nmea"\ndevice = "/dev/nothing-too"\n'
    line = MODBUS.format(device="/dev/nothing").replace("nobody-has-it", "epever-tracer")
    settings.write_text(settings.read_text() + line + gps)
    source = "import sys, pathlib; from gateway.cli import check; check.run(pathlib.Path(sys.argv[1]), as_json=True)"
    subprocess.run([sys.executable, "-c", source, str(settings)], check=True, timeout=30)
    out, err = capfd.readouterr()
    assert err == ""
    hints = {each["what"]: each["hint"] for each in json.loads(out)["findings"]}
    advice = (
        "Nothing on it is heard until it is back. Plug the adapter in, or correct port.device: sudo c5-gateway ports"
    )
    assert (hints["port cabinet"], hints["receiver gps"]) == (advice, advice)
