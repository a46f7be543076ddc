"""What a receipt's ranges mean to the gateway that they speak of."""

from gateway.delivery.coverage import Claim, Coverage, Missing, UpTo, judge
from gateway.delivery.item import Declared, Run
from gateway.errors import Refused
from gateway.event import Lane

NOW = bytes.fromhex("0000000200000002")
OLD = bytes.fromhex("0000000100000001")
STRANGE = bytes.fromhex("00000009ffffffff")
SIGNED = {Lane.ALARM: 5, Lane.STATUS: 9, Lane.TELEMETRY: 0}


def _judge(up_to: UpTo, missing: Missing | None = None) -> Claim | Refused:
    return judge(up_to, missing or {}, present=NOW, signed=SIGNED, ordinals={OLD: 1, NOW: 2})


def test_up_to_covers_from_the_first_record_on() -> None:
    assert _judge({Lane.ALARM: [(NOW, 5)]}) == Claim((Run(Lane.ALARM, 2, 1, 5),), ())


def test_what_is_listed_as_missing_is_not_covered_and_is_lacking() -> None:
    assert _judge({Lane.STATUS: [(NOW, 9)]}, {Lane.STATUS: [(NOW, 3, 4), (NOW, 9, 9)]}) == Claim(
        (Run(Lane.STATUS, 2, 1, 2), Run(Lane.STATUS, 2, 5, 8)),
        (Run(Lane.STATUS, 2, 3, 4), Run(Lane.STATUS, 2, 9, 9)),
    )


def test_missing_ranges_that_overlap_count_once() -> None:
    assert _judge({Lane.ALARM: [(NOW, 5)]}, {Lane.ALARM: [(NOW, 1, 3), (NOW, 2, 4)]}) == Claim(
        (Run(Lane.ALARM, 2, 5, 5),), (Run(Lane.ALARM, 2, 1, 3), Run(Lane.ALARM, 2, 2, 4))
    )


def test_what_was_declared_lost_and_is_found_is_covered_again_only_once_a_broker_has_had_it() -> None:
    coverage = Coverage()
    coverage.forgo([Run(Lane.ALARM, 1, 3, 6)], (2, 1), lost=True)
    coverage.forgo([Run(Lane.ALARM, 1, 7, 7)], (2, 2))  # dropped: that stands
    coverage.found(Run(Lane.ALARM, 1, 4, 7))
    assert coverage.left_of(Run(Lane.ALARM, 1, 1, 7)) == [Run(Lane.ALARM, 1, 1, 2), Run(Lane.ALARM, 1, 4, 6)]
    assert coverage.parted(Run(Lane.ALARM, 1, 3, 4)) == ([Run(Lane.ALARM, 1, 4, 4)], [Run(Lane.ALARM, 1, 3, 3)])
    everything = Run(Lane.ALARM, 1, 1, 7)  # as a receipt says of an epoch of which 3 to 6 were declared
    assert coverage.add([everything]) == [Run(Lane.ALARM, 1, 1, 2)]
    coverage.taken(Run(Lane.ALARM, 1, 4, 5))
    assert coverage.add([everything]) == [Run(Lane.ALARM, 1, 4, 5)]
    coverage.taken(Run(Lane.ALARM, 1, 6, 6))
    assert coverage.add([everything]) == [Run(Lane.ALARM, 1, 6, 6)]


def test_what_was_found_before_a_restart_is_not_covered_after_it_until_a_broker_has_had_it() -> None:
    everything = Run(Lane.ALARM, 1, 1, 9)
    declared = [Declared(Run(Lane.ALARM, 1, 7, 7), (2, 1))]
    coverage = Coverage([Run(Lane.ALARM, 1, 1, 3)], declared, lost=[Run(Lane.ALARM, 1, 3, 7)])  # 3 C5 was told of
    assert coverage.left_of(everything) == [Run(Lane.ALARM, 1, 4, 6), Run(Lane.ALARM, 1, 8, 9)]
    assert coverage.parted(everything)[1] == [Run(Lane.ALARM, 1, 3, 3), Run(Lane.ALARM, 1, 7, 7)]
    assert coverage.add([everything]) == [Run(Lane.ALARM, 1, 8, 9)]
    coverage.taken(Run(Lane.ALARM, 1, 4, 6))
    assert coverage.add([everything]) == [Run(Lane.ALARM, 1, 4, 6)]


def test_nothing_received_covers_nothing() -> None:
    assert _judge({Lane.ALARM: [(NOW, 0)]}) == Claim((), ())


def test_an_entry_says_nothing_of_other_epochs_and_lanes() -> None:
    up_to = {Lane.ALARM: [(OLD, 7), (NOW, 2)]}
    missing = {Lane.ALARM: [(OLD, 2, 2)], Lane.STATUS: [(NOW, 1, 1)]}
    assert _judge(up_to, missing) == Claim(
        (Run(Lane.ALARM, 1, 1, 1), Run(Lane.ALARM, 1, 3, 7), Run(Lane.ALARM, 2, 1, 2)),
        (Run(Lane.ALARM, 1, 2, 2), Run(Lane.STATUS, 2, 1, 1)),
    )


def test_a_receipt_for_more_than_was_signed_is_refused_whole() -> None:
    refused = Refused("a receipt for more than was signed")
    assert _judge({Lane.ALARM: [(NOW, 5)], Lane.STATUS: [(NOW, 10)]}) == refused
    assert _judge({Lane.TELEMETRY: [(NOW, 1)]}) == refused


def test_an_earlier_epoch_counts_for_whatever_it_says_and_an_unknown_one_for_nothing() -> None:
    assert _judge({Lane.ALARM: [(OLD, 2**63 - 1), (STRANGE, 4)]}) == Claim((Run(Lane.ALARM, 1, 1, 2**63 - 1),), ())


def test_missing_records_that_were_never_signed_are_not_lacking() -> None:
    assert _judge({}, {Lane.ALARM: [(NOW, 4, 2**63 - 1), (NOW, 6, 8), (STRANGE, 1, 1)]}) == Claim(
        (), (Run(Lane.ALARM, 2, 4, 5),), ((Lane.ALARM, (STRANGE, 1, 1)),)
    )


def test_what_was_dropped_is_neither_sent_nor_news_when_a_receipt_covers_it() -> None:
    coverage = Coverage([Run(Lane.STATUS, 1, 1, 4)])
    coverage.forgo([Run(Lane.STATUS, 1, 5, 9)], by=(1, 10))
    assert coverage.left_of(Run(Lane.STATUS, 1, 1, 12)) == [Run(Lane.STATUS, 1, 10, 12)]
    assert coverage.add([Run(Lane.STATUS, 1, 1, 9)]) == [], "no device is told that C5 has it"


def test_what_a_declaration_tells_c5_is_not_told_twice_until_c5_has_the_declaration() -> None:
    dropped = Run(Lane.TELEMETRY, 1, 1, 9)
    coverage = Coverage(declared=[Declared(dropped, (1, 10))])
    assert coverage.untold(Run(Lane.TELEMETRY, 1, 3, 12)) == [Run(Lane.TELEMETRY, 1, 10, 12)]
    assert coverage.untold(Run(Lane.TELEMETRY, 2, 1, 9)) == [Run(Lane.TELEMETRY, 2, 1, 9)], "another epoch"
    coverage.add([Run(Lane.STATUS, 1, 1, 10)])
    assert coverage.untold(dropped) == [dropped], "should it ask all the same, it is told once more"


def test_declarations_that_c5_has_are_not_kept() -> None:
    coverage = Coverage()
    for number in range(1, 100):
        coverage.forgo([Run(Lane.TELEMETRY, 1, number, number)], by=(1, number))
        coverage.add([Run(Lane.STATUS, 1, number, number)])
    assert len(coverage._told) == 1


def test_a_declaration_that_a_newer_one_replaces_leaves_nothing_untold() -> None:
    coverage = Coverage()
    coverage.forgo([Run(Lane.TELEMETRY, 1, 1, 9)], by=(1, 10))
    coverage.forgo([Run(Lane.TELEMETRY, 1, 1, 19)], by=(1, 11))
    coverage.forgo([Run(Lane.STATUS, 1, 10, 10)], by=(1, 12))
    assert coverage.untold(Run(Lane.TELEMETRY, 1, 1, 19)) == []
    assert coverage.untold(Run(Lane.STATUS, 1, 10, 10)) == []


def test_of_what_is_lost_it_is_known_that_it_was_whoever_has_been_told() -> None:
    coverage = Coverage([Run(Lane.ALARM, 1, 1, 9)], lost=[Run(Lane.ALARM, 1, 2, 2)])
    coverage.forgo([Run(Lane.ALARM, 1, 5, 6)], by=(1, 10), lost=True)
    coverage.forgo([Run(Lane.ALARM, 1, 8, 8)], by=(1, 11))
    coverage.add([Run(Lane.STATUS, 1, 1, 11)])
    assert coverage.parted(Run(Lane.ALARM, 1, 1, 9)) == (
        [Run(Lane.ALARM, 1, 1, 1), Run(Lane.ALARM, 1, 3, 4), Run(Lane.ALARM, 1, 7, 9)],
        [Run(Lane.ALARM, 1, 2, 2), Run(Lane.ALARM, 1, 5, 6)],
    )
    assert coverage.parted(Run(Lane.ALARM, 2, 2, 2)) == ([Run(Lane.ALARM, 2, 2, 2)], [])
