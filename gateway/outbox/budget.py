"""How much disk the outbox may take, and for what: the arithmetic of `[outbox] max_mb` and `alarm_reserve_mb`.

Of `max_mb` a part is the write-ahead log's. The rest is the file's, and SQLite itself refuses to let it grow further.
The last `alarm_reserve_mb` of the file is for alarms alone: before status and telemetry come to it, the oldest leave.

Source: https://sqlite.org/pragma.html#pragma_max_page_count, https://sqlite.org/wal.html
"""

from dataclasses import dataclass
from typing import Final

MB: Final = 1024 * 1024
LOG_MAX: Final = 4 * MB  # of the write-ahead log: a checkpoint's worth, a transaction, and what a reader holds up
CHECKPOINT: Final = MB  # bytes in the log after which it is written back
DROP: Final = MB  # bytes of records that leave in one transaction: some milliseconds, an alarm waits for no more
HEADROOM: Final = MB  # more than one transaction writes


@dataclass(frozen=True, slots=True)
class Budget:
    """The settings, and what follows from them in bytes."""

    max_mb: int = 1024
    alarm_reserve_mb: int = 64

    @property
    def whole(self) -> int:
        """What the store and its log may take together."""
        return self.max_mb * MB

    @property
    def file(self) -> int:
        """What the store may take without its log."""
        return self.whole - LOG_MAX

    @property
    def shared(self) -> int:
        """What all lanes may fill; what is beyond is the alarms'. However large the reserve, an eighth is left."""
        return max(self.file - self.alarm_reserve_mb * MB, self.file // 8)

    @property
    def start(self) -> int:
        """Where the oldest telemetry begins to leave: so far below `shared` that a transaction fits between."""
        return self.shared - min(HEADROOM, self.shared // 4)

    @property
    def drop(self) -> int:
        """How much leaves at once."""
        return min(DROP, self.shared // 8)


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes: records and all that belongs to them, pages that are free for more, and the write-ahead log."""

    used: int = 0
    free: int = 0
    log: int = 0

    @property
    def whole(self) -> int:
        """What the files take."""
        return self.used + self.free + self.log
