"""The type of the fixture `measured` (tests/conftest.py): a figure's name, its unit, its value, and its limit."""

from collections.abc import Callable

Measured = Callable[[str, str, float, float | None], None]
