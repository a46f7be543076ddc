"""Modbus units as `status` and `check` show them."""

from typing import Any

from gateway.cli import units

UNIT: dict[str, Any] = {
    "name": "sun", "port": "cabinet", "address": 1, "heard_s": 61.2, "trouble": None,
    "values": {"battery": 12.6, "load": True, "wind": None},
    "counts": {"answers": 7, "silent": 0, "garbled": 0, "exceptions": 0},
}  # fmt: skip


def test_values_are_now_s_while_the_line_is_there_and_as_old_as_they_are_when_it_is_gone() -> None:
    def shown(trouble: str | None) -> tuple[list[str], list[str]]:
        found = {"buses": [{"name": "cabinet", "trouble": trouble}], "units": [UNIT]}
        return list(units.shown(found)), [right for _what, _wrong, right in units.beside(found)]

    values = "battery 12.6, load yes, wind –"
    assert shown(None) == (["cabinet    Modbus, open", f"sun        {values}"], ["open", values])
    old = f"heard 61.2 s ago: {values}"
    assert shown("it was unplugged") == (["cabinet    it was unplugged", f"sun        {old}"], ["open", old])
