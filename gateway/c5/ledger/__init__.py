"""The receiver's store: every believed record as it came, and what C5 knows of each gateway."""

from gateway.c5.ledger.store import LEDGER, Ledger

__all__ = ["LEDGER", "Ledger"]
