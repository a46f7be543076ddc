"""What `check` and `status` tell a technician of the clock."""

from datetime import UTC, datetime

from gateway import status
from gateway.cli import check, look
from gateway.cli.check import Finding
from gateway.clock import FieldClock
from tests.support.memory import NOW_US, Clock

LEAST, MOST = datetime(2026, 11, 21, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
TIMEDATECTL = "Check that time synchronisation runs: timedatectl"
UNKNOWN = 2**32 - 1


class Unset(Clock):
    def now_us(self) -> int:
        return 8_000_000


def field(machine: Clock) -> FieldClock:
    return FieldClock(machine, NOW_US, LEAST, MOST)


def test_a_clock_that_cannot_be_right_is_a_warning_that_says_what_the_gateway_goes_by() -> None:
    clock = field(Unset(source=0))
    assert check._clock(clock) == Finding(
        "clock",
        "warning",
        "it shows 1970-01-01T00:00:08Z, which can't be; the gateway goes by the latest time that it is sure of, "
        "2027-01-15T08:00:00Z. Alarms go on, and C5 corrects their times once the clock is set",
        TIMEDATECTL,
    )
    said = status.clock(clock)
    assert said == {
        "source": 1,
        "uncertainty_ms": UNKNOWN,
        "doubted": True,
        "time": "2027-01-15T08:00:00Z",
        "machine": "1970-01-01T00:00:08Z",
        "floor": "2027-01-15T08:00:00Z",
    }
    assert look._clock(said) == (
        "clock wrong: it shows 1970-01-01T00:00:08Z, the gateway goes by 2027-01-15T08:00:00Z; C5 corrects its times"
    )


def test_a_clock_that_nobody_vouches_for_is_a_warning_a_batterys_too() -> None:
    for source in (0, 1):
        clock = field(Clock(source=source))
        assert check._clock(clock) == Finding(
            "clock",
            "warning",
            "not synchronised; events carry that they can't be trusted for their time",
            TIMEDATECTL,
        )
        assert look._clock(status.clock(clock)) == "clock not synchronised"


def test_a_synchronised_clock_is_in_order() -> None:
    clock = field(Clock(source=2))
    assert check._clock(clock) == Finding("clock", "ok", "synchronised within 5 ms")
    assert look._clock(status.clock(clock)) == "clock synchronised within 5 ms"


def test_a_certificate_that_has_expired_by_a_clock_that_nobody_set_is_no_failure() -> None:
    ended = datetime(2026, 12, 1, tzinfo=UTC)
    assert check._days("certificate", -3, ended, sure=True).result == "failed"
    assert check._days("certificate", -3, ended, sure=False) == Finding(
        "certificate",
        "warning",
        "expired on 2026-12-01, if the clock is right; nobody has set it",
        "Ask the authority for a new one now: C5 refuses what is signed or connected under an expired one.",
    )
