"""The outbox's schema, version by version. A version that was released is never edited; the next one is appended."""

from importlib.resources import files
from typing import Final

MIGRATIONS: Final = (files("gateway.outbox").joinpath("schema.sql").read_text("utf-8"),)
