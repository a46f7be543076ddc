from gateway.c5.chains import Chains, Receipted
from gateway.event import Lane

OLD = bytes.fromhex("00000028aaaaaaaa")
EPOCH = bytes.fromhex("00000029f70fee95")
NEXT = bytes.fromhex("0000002affc614a9")
NEXT_BUT_ONE = bytes.fromhex("0000002bcccccccc")


def test_a_receipt_covers_what_is_held_without_a_hole() -> None:
    chains = Chains()
    assert chains.receipt(0.0) is None
    chains.hold(Lane.ALARM, EPOCH, [(1, 3)])
    assert chains.receipt(0.0) == Receipted({Lane.ALARM: [(EPOCH, 3)]}, {})
    assert chains.receipt(0.0) is None


def test_a_repeated_record_makes_a_receipt_due_again() -> None:
    chains = Chains()
    chains.hold(Lane.ALARM, EPOCH, [(1, 3)])
    chains.receipt(0.0)
    chains.hold(Lane.ALARM, EPOCH, [(2, 2)])
    assert chains.receipt(1.0) == Receipted({Lane.ALARM: [(EPOCH, 3)]}, {})


def test_missing_records_are_listed_and_covered_beyond() -> None:
    chains = Chains()
    chains.hold(Lane.STATUS, EPOCH, [(3, 4), (8, 9)])
    assert chains.receipt(0.0) == Receipted({Lane.STATUS: [(EPOCH, 9)]}, {Lane.STATUS: [(EPOCH, 1, 2), (EPOCH, 5, 7)]})


def test_what_is_declared_unavailable_is_not_missing() -> None:
    chains = Chains()
    chains.hold(Lane.TELEMETRY, EPOCH, [(1, 2), (9, 9)])
    chains.forgo(Lane.TELEMETRY, EPOCH, [(3, 6)])
    assert chains.receipt(0.0) == Receipted({Lane.TELEMETRY: [(EPOCH, 9)]}, {Lane.TELEMETRY: [(EPOCH, 7, 8)]})


def test_a_declared_record_that_still_arrives_changes_nothing_but_is_held() -> None:
    chains = Chains()
    chains.forgo(Lane.TELEMETRY, EPOCH, [(1, 6)])
    chains.hold(Lane.TELEMETRY, EPOCH, [(4, 4)])
    assert list(chains[Lane.TELEMETRY, EPOCH].held) == [(4, 4)]
    assert chains.receipt(0.0) == Receipted({Lane.TELEMETRY: [(EPOCH, 6)]}, {})


def test_a_head_makes_nothing_missing_until_it_is_60_s_old() -> None:
    chains = Chains()
    chains.hold(Lane.ALARM, EPOCH, [(1, 2)])
    chains.receipt(0.0)
    chains[Lane.ALARM, EPOCH].head(5, 100.0)
    chains[Lane.ALARM, EPOCH].head(7, 130.0)
    assert chains.tick(159.9) == {}
    assert not chains.due
    assert chains.tick(160.0) == {(Lane.ALARM, EPOCH): [(3, 5)]}
    assert chains.receipt(160.0) == Receipted({Lane.ALARM: [(EPOCH, 5)]}, {Lane.ALARM: [(EPOCH, 3, 5)]})
    assert chains.tick(190.0) == {(Lane.ALARM, EPOCH): [(3, 7)]}


def test_a_chain_that_missed_nothing_for_long_is_watched_again_once_something_is_said_of_it() -> None:
    chains = Chains()
    chains.hold(Lane.ALARM, EPOCH, [(1, 2)])
    chains.hold(Lane.STATUS, EPOCH, [(1, 9)])
    assert [chains.tick(now) for now in (1.0, 2.0)] == [{}, {}]
    chains[Lane.ALARM, EPOCH].head(4, 100.0)
    assert [chains.tick(now) for now in (100.0, 159.0)] == [{}, {}]
    assert chains.tick(160.0) == {(Lane.ALARM, EPOCH): [(3, 4)]}
    chains.hold(Lane.ALARM, EPOCH, [(3, 4)])
    assert chains.tick(161.0) == {}
    chains.hold(Lane.STATUS, EPOCH, [(11, 11)])
    assert chains.tick(162.0) == {(Lane.STATUS, EPOCH): [(10, 10)]}


def test_the_newest_of_many_heads_counts_in_the_end() -> None:
    chains = Chains()
    for second in range(100):
        chains[Lane.TELEMETRY, EPOCH].head(second + 1, float(second))
    assert chains.tick(59.0) == {}
    assert chains.tick(60.0) == {(Lane.TELEMETRY, EPOCH): [(1, 1)]}
    assert chains.tick(160.0) == {(Lane.TELEMETRY, EPOCH): [(1, 100)]}


def test_what_is_still_missing_is_asked_for_every_minute() -> None:
    chains = Chains()
    chains.hold(Lane.ALARM, EPOCH, [(2, 2)])
    assert chains.receipt(0.0) is not None
    chains.tick(59.0)
    assert not chains.due
    chains.tick(60.0)
    assert chains.receipt(60.0) == Receipted({Lane.ALARM: [(EPOCH, 2)]}, {Lane.ALARM: [(EPOCH, 1, 1)]})


def test_nothing_beyond_the_last_durable_record_of_an_ended_epoch_is_asked_for() -> None:
    chains = Chains()
    chains.hold(Lane.ALARM, EPOCH, [(1, 3), (6, 7)])
    assert chains.end(Lane.ALARM, (EPOCH, 3), NEXT, 0.0) == 2
    assert chains.tick(100.0) == {}
    assert chains.receipt(100.0) == Receipted({Lane.ALARM: [(EPOCH, 3)]}, {})


def test_the_last_durable_record_of_an_ended_epoch_is_missing_after_60_s() -> None:
    chains = Chains()
    assert chains.end(Lane.ALARM, (EPOCH, 3), NEXT, 0.0) == 0
    assert chains.tick(59.9) == {}
    assert chains.tick(60.0) == {(Lane.ALARM, EPOCH): [(1, 3)]}


def test_an_epoch_that_a_newer_one_passed_over_left_nothing_durable() -> None:
    chains = Chains()
    chains.hold(Lane.ALARM, NEXT, [(2, 2)])
    chains.hold(Lane.STATUS, NEXT, [(2, 2)])
    assert chains.end(Lane.ALARM, (EPOCH, 3), NEXT_BUT_ONE, 0.0) == 1
    assert chains.tick(0.0) == {(Lane.STATUS, NEXT): [(1, 1)]}


def test_up_to_stops_before_the_first_missing_range_that_is_not_listed() -> None:
    chains = Chains()
    chains.hold(Lane.TELEMETRY, EPOCH, [(even, even) for even in range(2, 202, 2)])
    receipt = chains.receipt(0.0)
    assert receipt is not None
    assert receipt.up_to == {Lane.TELEMETRY: [(EPOCH, 128)]}
    assert receipt.missing == {Lane.TELEMETRY: [(EPOCH, odd, odd) for odd in range(1, 129, 2)]}


def test_alarms_take_the_entries_first_and_the_rest_stays_due() -> None:
    chains = Chains()
    chains.hold(Lane.TELEMETRY, EPOCH, [(2, 2)])
    chains.hold(Lane.ALARM, EPOCH, [(even, even) for even in range(2, 130, 2)])
    first = chains.receipt(0.0)
    assert first is not None
    assert first.up_to == {Lane.ALARM: [(EPOCH, 128)]}
    assert len(first.missing[Lane.ALARM]) == 64
    assert chains.receipt(1.0) == Receipted({Lane.TELEMETRY: [(EPOCH, 2)]}, {Lane.TELEMETRY: [(EPOCH, 1, 1)]})


def test_no_more_than_64_chains_are_in_one_receipt() -> None:
    chains = Chains()
    for number in range(70):
        chains.hold(Lane.STATUS, number.to_bytes(8, "big"), [(1, 1)])
    first, second = chains.receipt(0.0), chains.receipt(0.0)
    assert first is not None
    assert second is not None
    assert [len(first.up_to[Lane.STATUS]), len(second.up_to[Lane.STATUS])] == [64, 6]
