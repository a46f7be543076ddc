"""Modbus lines and units as the settings have them, and where their profiles are found."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway import buses
from gateway.errors import SettingsError
from tests.unit.test_config import WHOLE, _load, _refusal

LINE = '[[port]]\nname = "cabinet"\ndriver = "modbus"\ndevice = "/dev/ttyUSB0"\nbaud = 9600\nparity = "even"\n'
UNIT = '[[unit]]\nname = "meter"\nport = "cabinet"\naddress = 1\nprofile = "eastron-sdm120"\n'
OWN = """title = "A meter of this site"
source = "the site's papers"
[[point]]
quantity = "supply_v"
function = 3
register = 0
type = "u16"
"""


def test_a_line_and_a_unit_are_what_the_settings_say(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE + LINE + UNIT)
    (port,), (unit,) = settings.port, settings.unit
    assert (port.driver, port.baud, port.parity, port.stop_bits, port.timeout_ms) == ("modbus", 9600, "even", 1, 300)
    assert (unit.name, unit.port, unit.address, unit.profile, unit.report_s) == (
        "meter", "cabinet", 1, "eastron-sdm120", None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (UNIT, "unit[0].port: there is no Modbus port cabinet"),
        (LINE + UNIT.replace("address = 1", "address = 248"), "unit[0].address: on a serial line 1 to 247"),
        (LINE + UNIT.replace("address = 1", "address = 0"), "unit[0].address: on a serial line 1 to 247"),
        (LINE + UNIT + UNIT.replace("meter", "other"), "unit[1].address: 1 on cabinet is the address of meter too"),
        (LINE + UNIT.replace('"meter"', '"cabinet"'), "unit[0].name: cabinet is used twice"),
        (LINE + UNIT.replace('"meter"', '"0c500042"'), "unit[0].name: a name that is no device id (8 of 0-9, a-f)"),
        (LINE.replace("modbus", "field-link"), 'port[0].parity: only with driver = "modbus"'),
        (LINE.replace("/dev/ttyUSB0", "tcp:"), "port[0].device: tcp:HOST or tcp:HOST:PORT, as tcp:192.168.1.20:502"),
        (LINE.replace("/dev/ttyUSB0", "tcp:x:70000"), ("port[0].device: tcp:HOST or tcp:HOST:PORT, as"
         " tcp:192.168.1.20:502")),
        (LINE + UNIT + "polls = 3\n", ("unit[0].polls: no such setting; allowed here: name, port, address, profile, "
         "report_s, position")),
    ],
)  # fmt: skip
def test_a_line_that_can_not_be_is_refused_with_its_key(tmp_path: Path, tables: str, told: str) -> None:
    assert _refusal(tmp_path, WHOLE + tables) == told


def test_a_unit_behind_a_tcp_gateway_may_have_any_address(tmp_path: Path) -> None:
    line = LINE.replace("/dev/ttyUSB0", "tcp:192.168.1.20:502")
    assert _load(tmp_path, WHOLE + line + UNIT.replace("address = 1", "address = 255")).unit[0].address == 255


def test_the_sites_own_profile_comes_before_the_packages(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    tables = WHOLE + LINE + UNIT + '[modbus]\nprofiles_dir = "profiles"\n'
    settings = _load(tmp_path, tables)
    assert (
        buses.profiles(settings)["eastron-sdm120"].title == "Eastron SDM120-Modbus, SDM120M: single-phase power meter"
    )
    own = tmp_path / "profiles" / "eastron-sdm120.toml"
    own.write_text(OWN)
    assert buses.profiles(settings)["eastron-sdm120"].title == "A meter of this site"
    own.write_text(OWN.replace("u16", "u8"))
    with pytest.raises(SettingsError) as error:
        buses.profiles(settings)
    assert error.value.what == f"{own}, line 7: point.type: one of u16, s16, u32, s32, f32, bit"
    own.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="can't be read"):
        buses.profiles(settings)


def test_a_profile_that_is_nowhere_is_told_with_those_that_are(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE + LINE + UNIT.replace("eastron-sdm120", "sdm121"))
    with pytest.raises(SettingsError) as error:
        buses.profiles(settings)
    assert error.value.what == "there is no profile sdm121"
    assert "eastron-sdm120, eastron-sdm630, epever-tracer, sensecap-one, waveshare-io-8ch, xy-md02" in error.value.hint


def test_a_gateway_without_modbus_starts_without_pymodbus() -> None:
    code = "import sys, gateway.app, gateway.cli.main; sys.exit('pymodbus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
