"""c5-gateway: what stands in the field between a panic button and C5."""

__version__ = "0.1.0"
