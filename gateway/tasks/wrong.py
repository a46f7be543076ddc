"""What is wrong with a device: as facts, and in the words of whoever reads them.

The service and the session of a technician may speak two languages: what the session shows it puts into words itself.
"""

from collections.abc import Mapping
from typing import Any

from gateway.text import _

Wrong = Mapping[str, Any]  # `what`, and a number where the words have one


def words(wrong: Wrong) -> str:
    """Say it; of what newer software finds, its name."""
    match wrong["what"]:
        case "lost":
            silent = _span(wrong["silent_s"])
            return _("lost, nothing heard for {silent}: a press would not be heard").format(silent=silent)
        case "tamper":
            return _("its case is open")
        case "stuck":
            return _("its button is held down: it can't call again")
        case "battery":
            return _("battery low")
        case "chattering":
            return _("sends too much, {count} events in a minute").format(count=wrong["count"])
        case other:
            return str(other)


def _span(seconds: float) -> str:
    if seconds < 120:
        return _("{s} s").format(s=round(seconds))
    if seconds < 7200:
        return _("{min} min").format(min=round(seconds / 60))
    return _("{h} h").format(h=round(seconds / 3600))
