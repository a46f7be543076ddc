"""What a unit's profile may measure, by the names that `measurement` records carry.

The first eleven are wire.md's; the others are what meters and weather stations measure besides. A unit that has
several of a kind numbers them: `temperature_c_1`, `temperature_c_2`.
"""

import re
from typing import Final

QUANTITIES: Final = frozenset(
    {
        *("temperature_c", "supply_v", "battery_v", "current_a", "tilt_deg", "wind_m_s", "humidity_pct", "door_open"),
        *("illuminance_lx", "vibration_m_s2", "charge_pct"),
        *("power_w", "energy_kwh", "frequency_hz", "power_factor", "wind_direction_deg", "pressure_hpa", "rain_mm"),
    }
)
_INDEX: Final = re.compile("_[0-9]{1,2}$")


def is_quantity(name: str) -> bool:
    """Whether a measurement may have this name."""
    return name in QUANTITIES or _INDEX.sub("", name) in QUANTITIES
