"""The replies that were given, so that a command whose id comes again gets the reply it had and is not obeyed twice.

Anybody on the way can repeat what a commander signed, and a commander does where no reply reached him. Rules:

1. An id counts with its signer's thumbprint: nobody takes another's id from him.
2. The reply to a command that was obeyed is kept until the command has expired: from then on it isn't obeyed any more.
   Other replies are kept while there is room: who is rejected once is rejected again.
3. Memory is bounded. Where it is full of commands that were obeyed and can still be repeated, no other is obeyed.
"""

from dataclasses import dataclass
from typing import Final

KEPT_MAX: Final = 256  # replies; commands come from people, one at a time

Key = tuple[bytes, bytes]  # the signer's thumbprint, the command's id


@dataclass(frozen=True, slots=True)
class _Kept:
    wire: bytes
    until_us: int | None  # when the command expires; None where it was not obeyed


class Replies:
    """The replies of this epoch, signed."""

    def __init__(self) -> None:
        self._kept: dict[Key, _Kept] = {}

    def had(self, key: Key) -> bytes | None:
        """Return the reply that this command had."""
        kept = self._kept.get(key)
        return kept.wire if kept else None

    def has_room(self, now_us: int | None) -> bool:
        """Whether a command can be obeyed now (rule 3). `now_us` is None while expiry isn't judged."""
        return len(self._kept) < KEPT_MAX or self._dispensable(now_us) is not None

    def keep(self, key: Key, wire: bytes, until_us: int | None, now_us: int | None) -> None:
        """Keep a reply, `until_us` for a command that was obeyed; one that was not is kept if there is room."""
        if len(self._kept) >= KEPT_MAX:
            oldest = self._dispensable(now_us)
            if oldest is None:
                assert until_us is None, "obeyed without room"
                return
            del self._kept[oldest]
        self._kept[key] = _Kept(wire, until_us)

    def _dispensable(self, now_us: int | None) -> Key | None:
        """Return the oldest that need not be kept (rule 2)."""
        for key, kept in self._kept.items():
            if kept.until_us is None or (now_us is not None and now_us > kept.until_us):
                return key
        return None
