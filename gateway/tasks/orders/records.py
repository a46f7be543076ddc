"""`records.resend`: records that C5 asks for again, though it once receipted them or never knew of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.event import Lane
from gateway.signing.record import is_bytes, is_uint
from gateway.tasks.orders.order import Done, failed

if TYPE_CHECKING:
    from gateway.tasks.recorder import Recorder

RESEND_MAX: Final = 100_000  # records asked for by one command; a day of 256 sensors' minutes is four of these


class Resend(Protocol):
    """Has records sent again, as far as they are here."""

    def __call__(self, lane: Lane, epoch: bytes, first: int, last: int) -> tuple[int, int] | None:
        """Return how many go out (or are on their way), and how many are here no more; that is declared.

        None: no such epoch is known here.
        """


class Records:
    """Sends records again."""

    def __init__(self, epoch: bytes, recorder: "Recorder", resend: Resend) -> None:
        self._epoch = epoch
        self._recorder = recorder
        self._resend = resend

    def resend(self, arguments: Mapping[str, Any]) -> Done:
        """Have a range sent again; the result says how many records go out."""
        lane, epoch = arguments.get("lane"), arguments.get("epoch")
        first, last = arguments.get("from"), arguments.get("to")
        if type(lane) is not int or not 0 <= lane <= 2:
            return failed("lane must be a lane's number (c5-receiver command: its name)")
        if type(epoch) is not bytes or not is_bytes(epoch, 8):
            return failed("epoch must be the 8 bytes of an epoch (c5-receiver command: 16 hex digits)")
        if type(first) is not int or type(last) is not int or not is_uint(last) or not 1 <= first <= last:
            return failed("from and to must be sequences, from 1 on and in this order")
        if last - first >= RESEND_MAX:
            return failed(f"more than {RESEND_MAX} records: ask for a part")
        if epoch == self._epoch and last > (signed := self._recorder.sequence(Lane(lane))):
            return failed(f"only {signed} records of this lane were signed in this epoch")
        counts = self._resend(Lane(lane), epoch, first, last)
        if counts is None:
            return failed("this gateway knows no such epoch")
        queued, gone = counts
        return Done("done", result={"queued": queued, "gone": gone})
