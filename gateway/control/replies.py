"""The replies that were given, so that a command whose id comes again gets the reply it had and is not obeyed twice.

Anybody on the way can repeat what a commander signed, and a commander does where no reply reached him. Rules:

1. An id counts with its signer's thumbprint: nobody takes another's id from him.
2. A command is known from the moment it is obeyed; its reply follows, perhaps much later. So many may be under way.
3. Of those that were answered, the ones that expire last are kept. What was forgotten can't be told from what never
   came: whatever expires no later than anything that was forgotten is not obeyed any more (`forgotten`). No clock is
   asked: whoever moves ours (an NTP server, the path to one) makes no command come true twice.
4. The replies to those that were rejected are kept besides, so many of the newest: they take no room from the others.
"""

from typing import Final

KEPT_MAX: Final = 256  # replies to commands that were obeyed; commands come from people, one at a time
UNDER_WAY_MAX: Final = 256
REJECTED_MAX: Final = 64

Key = tuple[bytes, bytes]  # the signer's thumbprint, the command's id


class Replies:
    """The commands of this epoch, and the replies to them, signed."""

    def __init__(self) -> None:
        self._under_way: dict[Key, int] = {}  # and when each expires
        self._answered: dict[Key, tuple[int, bytes]] = {}
        self._rejected: dict[Key, bytes] = {}
        self._forgotten_us = -1  # until when the last of the forgotten ones could have been obeyed

    def __contains__(self, key: Key) -> bool:
        """Whether this command was answered, or is under way."""
        return key in self._under_way or key in self._answered or key in self._rejected

    def had(self, key: Key) -> bytes | None:
        """Return the reply that this command had."""
        answered = self._answered.get(key)
        return answered[1] if answered else self._rejected.get(key)

    @property
    def has_room(self) -> bool:
        """Whether one more can be under way (rule 2)."""
        return len(self._under_way) < UNDER_WAY_MAX

    def forgotten(self, until_us: int) -> bool:
        """Whether a command that expires then may have been obeyed, and nobody remembers (rule 3)."""
        return until_us <= self._forgotten_us

    def begin(self, key: Key, until_us: int) -> None:
        """Note that a command is obeyed."""
        self._under_way[key] = until_us

    def answered(self, key: Key, wire: bytes) -> None:
        """Keep the reply to a command that was begun."""
        self._answered[key] = self._under_way.pop(key), wire
        if len(self._answered) > KEPT_MAX:
            first = min(self._answered, key=lambda kept: self._answered[kept][0])
            self._forgotten_us = max(self._forgotten_us, self._answered.pop(first)[0])

    def rejected(self, key: Key, wire: bytes) -> None:
        """Keep the reply to a command that was not obeyed (rule 4)."""
        self._rejected[key] = wire
        if len(self._rejected) > REJECTED_MAX:
            del self._rejected[next(iter(self._rejected))]
