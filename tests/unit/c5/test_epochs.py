import pytest

from gateway.c5.epochs import Cloned, Epoch, Epochs, Finding, StoreLost
from gateway.event import Lane
from gateway.signing.message import State
from gateway.signing.record import ZEROS, Clock, Record

FIRST = bytes.fromhex("00000007aaaaaaaa")
SECOND = bytes.fromhex("00000008bbbbbbbb")
TWIN = bytes.fromhex("00000008cccccccc")
BEGUN_ANEW = bytes.fromhex("00000001dddddddd")
NOON_US = 1_790_000_000_000_000


def first_record(epoch: bytes, after: bytes | None, *, lane: Lane = Lane.STATUS, unstored: bool = False) -> Record:
    """The first record of a lane: `gateway.started` on the status lane."""
    type_ = "gateway.started" if lane == Lane.STATUS else "panic.pressed"
    previous, link = (b"\x11" * 32, (after, 9)) if after else (ZEROS, None)
    data = {"unstored": True} if unstored else None
    return Record(
        "pa-dar-0017", epoch, lane, 1, previous, link, NOON_US, Clock(2, 5, 0), type_, "pa-dar-0017", data=data
    )


def tell(epochs: Epochs, said: State, now: float) -> list[Finding]:
    """C5's clock and the gateway's agree."""
    return epochs.state(said, now, said.time_us)


def state(epoch: bytes, second: int = 0, *, number: int = 1, online: bool = True) -> State:
    count = int.from_bytes(epoch[:4], "big")
    time_us = NOON_US + second * 1_000_000
    return State("pa-dar-0017", epoch, online, time_us, None, "0.1.0", 30, count, number, 1, "senafront", "tower")


def running(epoch: bytes = FIRST, *, unstored: bool = False) -> Epochs:
    """A gateway that has run in this epoch for a while."""
    epochs = Epochs()
    assert tell(epochs, state(epoch), 0.0) == []
    assert epochs.record(first_record(epoch, None, unstored=unstored), 0.0) == []
    return epochs


def epochs_of(before: Epochs) -> Epochs:
    """What C5 knows after a restart."""
    known = [Epoch(**{name: getattr(e, name) for name in Epoch.__slots__}) for e in before.known.values()]
    return Epochs(known, before.present, 0.0)


def test_a_restart_is_no_trouble() -> None:
    epochs = running()
    assert tell(epochs, state(SECOND, 60), 60.0) == []
    assert epochs.record(first_record(SECOND, FIRST), 60.0) == []
    assert epochs.tick(1000.0) == []
    assert epochs.present == SECOND


def test_an_old_epochs_record_that_arrives_late_is_no_trouble() -> None:
    epochs = running(SECOND)
    assert epochs.record(first_record(FIRST, None), 60.0) == []
    assert epochs.tick(1000.0) == []
    assert epochs.present == SECOND


def test_chains_that_begin_with_zeros_and_a_low_count_are_a_lost_store() -> None:
    epochs = running()
    assert tell(epochs, state(BEGUN_ANEW, 60), 60.0) == []
    assert epochs.present == BEGUN_ANEW
    assert epochs.record(first_record(BEGUN_ANEW, None), 61.0) == [StoreLost(BEGUN_ANEW, FIRST)]
    assert epochs.tick(1000.0) == []


def test_counts_begin_again_after_a_lost_store_without_another_report() -> None:
    again = bytes.fromhex("00000007eeeeeeee")
    epochs = running()
    tell(epochs, state(BEGUN_ANEW, 60), 60.0)
    epochs.record(first_record(BEGUN_ANEW, None), 61.0)
    assert tell(epochs, state(again, 120), 120.0) == []
    assert epochs.record(first_record(again, BEGUN_ANEW), 121.0) == []
    assert epochs.tick(1000.0) == []


def test_a_start_count_met_in_another_epoch_is_a_restored_image_or_a_clone() -> None:
    epochs = running()
    tell(epochs, state(SECOND, 60), 60.0)
    epochs.record(first_record(SECOND, FIRST), 61.0)
    assert tell(epochs, state(TWIN, 70), 70.0) == []
    assert epochs.record(first_record(TWIN, FIRST), 71.0) == [Cloned(TWIN, SECOND)]


def test_a_twin_is_found_by_its_records_alone() -> None:
    epochs = running()
    tell(epochs, state(SECOND, 60), 60.0)
    epochs.record(first_record(SECOND, FIRST), 61.0)
    assert epochs.record(first_record(TWIN, FIRST), 71.0) == [Cloned(TWIN, SECOND)]


def test_a_low_count_that_goes_on_from_an_older_record_is_a_restored_image() -> None:
    older = bytes.fromhex("00000006ffffffff")
    epochs = running()
    tell(epochs, state(older, 60), 60.0)
    assert epochs.record(first_record(older, BEGUN_ANEW), 61.0) == [Cloned(older, FIRST)]


@pytest.mark.parametrize("unstored", [FIRST, TWIN])
def test_a_count_that_could_not_be_stored_is_no_trouble(unstored: bytes) -> None:
    twin = bytes.fromhex("00000007cccccccc")
    epochs = running(unstored=unstored == FIRST)
    tell(epochs, state(twin, 60), 60.0)
    assert epochs.record(first_record(twin, FIRST, unstored=unstored == TWIN), 61.0) == []
    assert epochs.tick(1000.0) == []


def test_a_count_that_could_not_be_stored_is_no_trouble_where_its_first_record_never_came() -> None:
    unstored = bytes.fromhex("00000008eeeeeeee")
    epochs = running()
    assert tell(epochs, state(unstored, 60), 60.0) == []
    assert epochs.record(first_record(unstored, FIRST, lane=Lane.ALARM), 61.0) == []
    assert tell(epochs, state(SECOND, 90), 90.0) == []
    assert epochs.record(first_record(SECOND, FIRST), 91.0) == []
    assert epochs.tick(1000.0) == []
    assert epochs.record(first_record(unstored, FIRST), 1001.0) == [Cloned(SECOND, unstored)]


def test_a_short_epochs_first_state_that_a_broker_kept_is_no_clone() -> None:
    third = bytes.fromhex("00000009dddddddd")
    epochs = running()
    assert epochs.state(state(third, 180), 188.0, NOON_US + 188_000_000) == []
    assert epochs.state(state(SECOND, 163, number=5), 188.0, NOON_US + 188_000_003) == []  # C5 was cut off
    assert epochs.record(first_record(SECOND, FIRST), 188.0) == []
    assert epochs.state(state(SECOND, 150, number=4), 188.0, NOON_US + 188_000_005) == []
    assert epochs.tick(1000.0) == []
    assert epochs.state(state(third, 210, number=2), 210.0, NOON_US + 210_000_000) == []
    assert epochs.present == third
    assert epochs.state(state(SECOND, 170, number=6), 211.0, NOON_US + 211_000_000) == []
    assert epochs.present == third
    assert tell(epochs, state(SECOND, 212, number=7), 212.0) == [Cloned(SECOND, third)]


def test_one_that_went_back_with_its_clock_behind_is_found_once_its_states_keep_pace() -> None:
    epochs = running(SECOND)
    epochs.record(first_record(FIRST, BEGUN_ANEW), 60.0)
    assert epochs.state(state(FIRST, -3600), 60.0, NOON_US + 60_000_000) == []
    kept = state(FIRST, -3599, number=2)  # made a second after it, and come after 25
    assert epochs.state(kept, 85.0, NOON_US + 85_000_000) == []
    assert epochs.state(state(FIRST, -3570, number=3), 90.0, NOON_US + 90_000_000) == [Cloned(FIRST, SECOND)]
    assert epochs.present == FIRST


def test_a_lost_store_with_its_clock_behind_is_found_while_the_newer_epoch_is_present() -> None:
    epochs = running()
    assert epochs.state(state(BEGUN_ANEW, -3600), 60.0, NOON_US + 60_000_000) == []
    assert tell(epochs, state(FIRST, 61, number=2), 61.0) == []
    assert epochs.present == FIRST
    assert epochs.record(first_record(BEGUN_ANEW, None), 61.0) == []
    assert epochs.state(state(BEGUN_ANEW, -3570, number=2), 90.0, NOON_US + 90_000_000) == []
    assert epochs.state(state(BEGUN_ANEW, -3540, number=3), 120.0, NOON_US + 120_000_000) == [
        StoreLost(BEGUN_ANEW, FIRST)
    ]
    assert epochs.present == BEGUN_ANEW


def test_that_a_state_came_late_survives_a_restart_of_c5() -> None:
    before = running(SECOND)
    assert epochs_of(before).present == SECOND
    assert before.state(state(FIRST, -5), 1.0, NOON_US + 1_000_000) == []
    epochs = epochs_of(before)
    assert tell(epochs, state(SECOND, 30, number=2), 0.0) == []
    assert epochs.present == SECOND


def test_a_suspect_is_judged_by_what_is_known_after_60_s() -> None:
    epochs = running()
    tell(epochs, state(BEGUN_ANEW, 60), 60.0)
    assert epochs.record(first_record(BEGUN_ANEW, None, lane=Lane.ALARM), 61.0) == []
    assert epochs.tick(119.9) == []
    assert epochs.tick(120.0) == [StoreLost(BEGUN_ANEW, FIRST)]


def test_a_suspect_of_which_nothing_is_known_waits() -> None:
    epochs = running()
    tell(epochs, state(BEGUN_ANEW, 60), 60.0)
    assert epochs.tick(1000.0) == []
    assert epochs.record(first_record(BEGUN_ANEW, FIRST), 1001.0) == [Cloned(BEGUN_ANEW, FIRST)]


def test_an_older_epochs_state_made_after_the_newer_ones_first_is_a_clone() -> None:
    epochs = running()
    tell(epochs, state(SECOND, 60), 60.0)
    assert tell(epochs, state(FIRST, 59, number=2), 70.0) == []  # late
    assert tell(epochs, state(FIRST, 60, number=3), 71.0) == []
    assert tell(epochs, state(FIRST, 61, number=4), 72.0) == [Cloned(FIRST, SECOND)]
    assert epochs.present == SECOND


def test_after_a_power_cut_whose_clock_began_too_early_the_last_states_from_before_it_are_no_clones() -> None:
    epochs = running()
    epochs.state(state(SECOND, -3600), 60.0, NOON_US + 60_000_000)  # by the floor of an hour ago
    last = state(FIRST, 30, number=2)  # from a second broker, which kept it
    assert epochs.state(last, 70.0, NOON_US + 70_000_000) == []
    assert epochs.state(state(FIRST, 61, number=3), 72.0, NOON_US + 72_000_000) == [Cloned(FIRST, SECOND)]


def test_a_state_from_before_a_restart_made_while_the_clock_was_set_an_hour_ahead_is_no_clone() -> None:
    epochs = running()
    epochs.state(state(SECOND, 60), 60.0, NOON_US + 60_000_000)
    ahead = state(FIRST, 3630, number=2)  # from a second broker, which kept it
    assert epochs.state(ahead, 70.0, NOON_US + 70_000_000) == []
    assert epochs.state(state(FIRST, 73, number=3), 72.0, NOON_US + 72_000_000) == [Cloned(FIRST, SECOND)]


def test_an_older_epochs_will_is_no_clone() -> None:
    epochs = running()
    tell(epochs, state(SECOND, 60), 60.0)
    assert tell(epochs, state(FIRST, 61, number=0, online=False), 72.0) == []
    assert epochs.present == SECOND


def test_a_will_alone_makes_no_epoch_the_present_one() -> None:
    epochs = running()
    assert tell(epochs, state(SECOND, 60, number=0, online=False), 60.0) == []
    assert epochs.present == FIRST


def test_a_state_of_an_epoch_that_a_newer_one_names_is_old() -> None:
    epochs = Epochs()
    tell(epochs, state(SECOND, 60), 60.0)
    epochs.record(first_record(FIRST, None), 60.0)
    epochs.record(first_record(SECOND, FIRST), 61.0)
    assert tell(epochs, state(FIRST), 62.0) == []
    assert epochs.present == SECOND


def test_what_is_known_survives_a_restart_of_c5() -> None:
    before = running()
    tell(before, state(BEGUN_ANEW, 60), 60.0)
    epochs = epochs_of(before)
    found: list[Finding] = epochs.record(first_record(BEGUN_ANEW, None), 1.0)
    assert found == [StoreLost(BEGUN_ANEW, FIRST)]
