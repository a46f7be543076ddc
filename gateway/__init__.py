"""c5-gateway: what stands in the field between a panic button and C5."""

__version__ = "0.1.0"
RELEASED = "2026-11-21"  # no clock that shows an earlier day is right
