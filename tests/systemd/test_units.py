"""systemd's own judgement of our units, without systemd running: they are understood, and they are shut in.

The programs that a unit starts are not installed where tests run, so a copy that starts /bin/true is judged.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SYSTEMD: Final = ROOT / "systemd"
UNITS: Final = ["c5-gateway.service", "c5-receiver.service"]
# Exposure, in tenths of a point of 10; without any hardening it is 92. Debian 12 gives 17 and 11, and a newer systemd
# may count more. The gateway has serial ports, and reads from the kernel whether the clock is synchronised.
EXPOSURE: Final = {"c5-gateway.service": 20, "c5-receiver.service": 15}

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze, from Debian's package systemd"
)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def installed(unit: str, folder: Path, extra: str = "") -> Path:
    """Return a copy that starts a program which this machine has."""
    text = (SYSTEMD / unit).read_text(encoding="utf-8")
    copy = folder / unit
    copy.write_text(
        re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true" + extra, text, flags=re.MULTILINE), encoding="utf-8"
    )
    return copy


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_understood_to_the_last_key(unit: str, tmp_path: Path) -> None:
    outcome = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=one", installed(unit, tmp_path))
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_a_misspelt_key_would_be_seen(tmp_path: Path) -> None:
    unit = installed(UNITS[0], tmp_path, extra="\nWatchdogSecs=30s")
    outcome = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=one", unit)
    assert outcome.returncode != 0
    assert "WatchdogSecs" in outcome.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_is_shut_in(unit: str, tmp_path: Path) -> None:
    threshold = f"--threshold={EXPOSURE[unit]}"
    outcome = run("systemd-analyze", "security", "--offline=yes", threshold, installed(unit, tmp_path))
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_starts_a_command_of_ours_as_a_user_of_ours_and_is_never_given_up_on(unit: str) -> None:
    lines = (SYSTEMD / unit).read_text(encoding="utf-8").splitlines()
    name = unit.removesuffix(".service")
    settings = {"c5-gateway": "/etc/c5-gateway/gateway.toml", "c5-receiver": "/etc/c5-receiver/receiver.toml"}[name]
    assert set(lines) >= {
        f"ExecStart=/opt/c5-gateway/bin/{name} run --config {settings}",
        f"User={name}",
        f"StateDirectory={name}",
        "Type=notify",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "WatchdogSec=30s",
    }


def test_the_users_and_folders_that_the_units_name_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    users = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "sysusers.d" / "c5-gateway.conf")
    assert users.returncode == 0, users.stderr
    made = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text(encoding="utf-8").splitlines()}
    assert made == {"c5-gateway", "c5-receiver"}
    folders = (SYSTEMD / "tmpfiles.d" / "c5-gateway.conf").read_text(encoding="utf-8").splitlines()
    assert [line.split() for line in folders if line.startswith("d")] == [
        ["d", "/etc/c5-gateway", "0750", "root", "c5-gateway"],
        ["d", "/etc/c5-receiver", "0750", "root", "c5-receiver"],
    ]


def test_the_gateway_may_listen_in_the_towers_network_on_a_port_that_needs_no_privilege() -> None:
    unit = (SYSTEMD / "c5-gateway.service").read_text(encoding="utf-8")
    (families,) = re.findall(r"^RestrictAddressFamilies=(.*)$", unit, re.MULTILINE)
    assert set(families.split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}
    assert re.findall(r"^(?:SocketBindDeny|IPAddressDeny|PrivateNetwork)=", unit, re.MULTILINE) == []
    assert "SystemCallFilter=@system-service" in unit.splitlines()  # bind, listen and accept are in it


def test_the_gateway_may_ask_whether_the_clock_is_synchronised() -> None:
    unit = (SYSTEMD / "c5-gateway.service").read_text(encoding="utf-8")
    filters = re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE)
    assert filters[-1] == "adjtimex clock_adjtime"  # the last word counts; glibc's adjtimex() is either of them
    assert "ProtectClock=yes" not in unit


def test_the_gateway_is_in_the_groups_that_serial_ports_and_gpio_chips_belong_to() -> None:
    rules = (SYSTEMD / "udev" / "70-c5-gateway.rules").read_text(encoding="utf-8")
    unit = (SYSTEMD / "c5-gateway.service").read_text(encoding="utf-8")
    groups = re.findall(r'GROUP="(\w+)"', rules)
    (member_of,) = re.findall(r"^SupplementaryGroups=(.*)$", unit, re.MULTILINE)
    assert set(groups) == set(member_of.split()) == {"dialout", "gpio"}
