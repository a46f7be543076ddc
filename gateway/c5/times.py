"""When something occurred, where its gateway's clock didn't know: by the best clock that was met in the same epoch.

Each record says how long after its epoch's start it was made, by a clock that no one sets. One record of a synchronised
clock therefore fixes when the epoch began, and with it the time of all others, before and after (wire.md, section 2,
"Time"). Of several, the one with the smallest uncertainty counts (`ledger.storing`).

What is shown is the corrected time. What is signed stays, and nothing is put in order by either: that is what sequences
are for. The drift of the gateway's oscillator, at most 100 ppm or 9 s a day, is not corrected.
"""

from gateway.signing.record import SYNCHRONISED, Record


def began_us(anchor: Record) -> int:
    """Return when the epoch of a record with a synchronised clock began."""
    return anchor.occurred_us - 1000 * anchor.clock.monotonic_ms


def is_sure(content: Record) -> bool:
    """Whether a record's own time is to be trusted."""
    return content.clock.source in SYNCHRONISED


def corrected(content: Record, began_us: int | None) -> int:
    """Return when a record occurred, by its epoch's beginning where its own clock knew less, and that is known."""
    if began_us is None or is_sure(content):
        return content.occurred_us
    return began_us + 1000 * content.clock.monotonic_ms
