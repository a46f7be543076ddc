"""OSDP lines and peripherals as the settings have them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_config import WHOLE, _load, _refusal

LINE = '[[port]]\nname = "gates"\ndriver = "osdp"\ndevice = "/dev/ttyUSB0"\n'
GATE = '[[peripheral]]\nname = "gate"\nport = "gates"\naddress = 1\n'
INPUT = '[[peripheral.input]]\nname = "panic"\nnumber = 0\non = "panic.pressed"\n'
SIREN = '[[peripheral.output]]\nname = "siren"\nnumber = 0\nkind = "siren"\n'
ON = (
    "peripheral[0].input[0].on: one of panic.pressed, panic.silent, panic.duress, medical.requested, fire.reported, "
    "tamper.opened, intrusion.detected, battery.low, power.lost, door.opened, test.pressed"
)


def test_a_line_and_a_peripheral_are_what_the_settings_say(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE + LINE + GATE + INPUT + SIREN)
    assert settings.port[0].baud == 9600
    (gate,) = settings.peripheral
    assert (gate.name, gate.port, gate.address, gate.indicator) == ("gate", "gates", 1, False)
    (given,), (siren,) = gate.input, gate.output
    assert (given.name, given.number, given.on, given.off, given.inverted) == ("panic", 0, "panic.pressed", None, False)
    assert (siren.name, siren.number, siren.kind, siren.longest_s) == ("siren", 0, "siren", 300)
    light = SIREN.replace('kind = "siren"', 'kind = "led"')
    (light_table,) = _load(tmp_path, WHOLE + LINE + GATE + light).peripheral[0].output
    assert light_table.longest_s is None
    assert settings.names >= {"gates", "gate", "panic"}


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (GATE, "peripheral[0].port: there is no OSDP port gates"),
        (LINE + "baud = 4800\n", "port[0].baud: one of 9600, 19200, 38400, 57600, 115200, 230400"),
        (LINE + GATE + GATE.replace('"gate"', '"b"'), "peripheral[1].address: 1 on gates is the address of gate too"),
        (LINE + GATE + INPUT + INPUT.replace("panic", "help", 1), "peripheral[0].input[1].number: 0 is used twice"),
        (LINE + GATE + SIREN + SIREN.replace("= 0", "= 1"), "peripheral[0].output[1].name: siren is used twice"),
        (LINE + GATE + INPUT.replace('"panic"', '"gate"'), "peripheral[0].input[0].name: gate is used twice"),
        (LINE + GATE + INPUT.replace("panic.pressed", "tea"), ON),
        (LINE + 'parity = "even"\n', 'port[0].parity: only with driver = "modbus"'),
    ],
)  # fmt: skip
def test_a_peripheral_that_can_not_be_is_refused_with_its_key(tmp_path: Path, tables: str, told: str) -> None:
    assert _refusal(tmp_path, WHOLE + tables) == told


def test_libosdp_is_loaded_where_there_is_such_a_line_and_nowhere_else() -> None:
    check = "import sys, gateway.app; sys.exit('osdp_sys' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
