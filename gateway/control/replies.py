"""The replies that were given, so that a command whose id comes again gets the reply it had and is not obeyed twice.

Anybody on the way can repeat what a commander signed, and a commander does where no reply reached him. Rules:

1. An id counts with its signer's thumbprint: nobody takes another's id from him.
2. A command is known from the moment it is obeyed; its reply follows, perhaps much later. Both are kept until it has
   expired and was answered: from then on it isn't obeyed any more.
3. The reply to one that was rejected is kept while there is room: who is rejected once is rejected again.
4. Memory is bounded. Where it is full of commands that were obeyed and can still be repeated, no other is obeyed.
"""

from dataclasses import dataclass, replace
from typing import Final

KEPT_MAX: Final = 256  # replies; commands come from people, one at a time

Key = tuple[bytes, bytes]  # the signer's thumbprint, the command's id


@dataclass(frozen=True, slots=True)
class _Kept:
    wire: bytes | None  # None: under way
    until_us: int | None  # when the command expires; None where it was not obeyed


class Replies:
    """The commands of this epoch, and the replies to them, signed."""

    def __init__(self) -> None:
        self._kept: dict[Key, _Kept] = {}

    def __contains__(self, key: Key) -> bool:
        """Whether this command was answered, or is under way."""
        return key in self._kept

    def had(self, key: Key) -> bytes | None:
        """Return the reply that this command had."""
        kept = self._kept.get(key)
        return kept.wire if kept else None

    def has_room(self, now_us: int | None) -> bool:
        """Whether a command can be obeyed now (rule 4). `now_us` is None while expiry isn't judged."""
        return len(self._kept) < KEPT_MAX or self._dispensable(now_us) is not None

    def begin(self, key: Key, until_us: int, now_us: int | None) -> None:
        """Note that a command is obeyed; `has_room` said that it can be."""
        made = self._make_room(now_us)
        assert made, "obeyed without room"
        self._kept[key] = _Kept(None, until_us)

    def answered(self, key: Key, wire: bytes) -> None:
        """Keep the reply to a command that was begun."""
        self._kept[key] = replace(self._kept[key], wire=wire)

    def keep(self, key: Key, wire: bytes, now_us: int | None) -> None:
        """Keep the reply to a command that was rejected, if there is room."""
        if self._make_room(now_us):
            self._kept[key] = _Kept(wire, None)

    def _make_room(self, now_us: int | None) -> bool:
        if len(self._kept) < KEPT_MAX:
            return True
        oldest = self._dispensable(now_us)
        if oldest is None:
            return False
        del self._kept[oldest]
        return True

    def _dispensable(self, now_us: int | None) -> Key | None:
        """Return the oldest that need not be kept (rules 2 and 3)."""
        for key, kept in self._kept.items():
            expired = kept.until_us is None or (now_us is not None and now_us > kept.until_us)
            if expired and kept.wire is not None:
                return key
        return None
