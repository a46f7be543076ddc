"""All targets, by name."""

from typing import Final

from tests.fuzz import field, files, local_input, modbus, nmea, osdp, ports, signed, spoken
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for module in (field, modbus, nmea, osdp, signed, spoken, files, local_input, ports)
    for target in module.TARGETS
}
