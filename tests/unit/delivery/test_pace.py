"""The window against a link with a queue: what is let out, how long the queue gets, how much of the link is used."""

import heapq
from dataclasses import dataclass, field

import pytest

from gateway.delivery.pace import FLOOR, OVERHEAD, SEQUENCE_MAX, START, WINDOW_MAX, Pace, Sent

RECORD = 272  # bytes: 400 with what a publish costs
MESSAGE = RECORD + OVERHEAD


@dataclass
class Link:
    """A link with a queue before it, and a pace that always has something to send over it."""

    rate: float  # bytes a second
    delay: float  # seconds, each way
    stalled_until: float = 0.0
    pace: Pace = field(default_factory=Pace)
    now: float = 0.0
    free_at: float = 0.0
    queues: list[tuple[float, float]] = field(default_factory=list)  # when a message came, and how long it waited
    carried: int = 0
    flight: list[tuple[float, int, Sent]] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        return sum(sent.size for _, _, sent in self.flight)

    def send(self, size: int) -> None:
        sent = self.pace.sent(size, self.now)
        begins = max(self.now, self.free_at)
        self.free_at = begins + sent.size / self.rate
        self.queues.append((self.now, begins - self.now))
        self.sequences.append(size)
        self.carried += sent.size
        back_at = max(self.free_at + 2 * self.delay, self.stalled_until)
        heapq.heappush(self.flight, (back_at, len(self.queues), sent))

    def run(self, until: float) -> None:
        """Send whatever is admitted, and bring the answers."""
        while self.now < until:
            while True:
                size = max(RECORD, self.pace.sequence_max // RECORD * RECORD)
                if not self.pace.admits(size, self.now):
                    break
                self.send(size)
            self.now, _, sent = heapq.heappop(self.flight)
            self.pace.answered(sent, self.now)

    def longest_queue(self, since: float) -> float:
        return max(waited for at, waited in self.queues if at >= since)

    def used(self, since: float) -> float:
        """Return the share of the link in use since then."""
        sizes = [size + OVERHEAD for size, (at, _) in zip(self.sequences, self.queues, strict=True) if at >= since]
        return sum(sizes) / self.rate / (self.now - since)


def _burst(pace: Pace, now: float) -> list[Sent]:
    """Send as many records as are admitted at once."""
    sent = []
    while pace.admits(RECORD, now):
        sent.append(pace.sent(RECORD, now))
    return sent


def test_a_connection_begins_with_one_kibibyte_on_its_way_or_one_message() -> None:
    pace = Pace()
    assert pace.admits(SEQUENCE_MAX, 0.0), "one may always go"
    pace.sent(RECORD, 0.0)
    assert pace.admits(1024 - MESSAGE - OVERHEAD, 0.0)
    assert not pace.admits(1024 - MESSAGE - OVERHEAD + 1, 0.0)


def test_the_window_doubles_with_each_round_trip_that_shows_no_queue() -> None:
    pace, counts = Pace(), []
    for trip in range(8):
        sent = _burst(pace, trip / 128)
        counts.append(len(sent))
        for message in sent:
            pace.answered(message, (trip + 1) / 128)
    assert counts == [2, 5, 10, 20, 40, 81, 163, 327]


def test_a_fast_link_is_wide_open_within_ten_round_trips_and_never_wider_than_half_a_mebibyte() -> None:
    link = Link(rate=100e6, delay=0.0005)
    link.run(0.012)
    assert link.in_flight > WINDOW_MAX * SEQUENCE_MAX // 2
    assert link.sequences[-1] > SEQUENCE_MAX - RECORD
    link.run(1.0)
    assert link.in_flight <= WINDOW_MAX * (SEQUENCE_MAX + OVERHEAD)
    assert link.used(since=0.1) >= 0.95


@pytest.mark.parametrize(
    ("rate", "delay"),
    [(1200, 0.3), (2000, 0.1), (2000, 0.2), (8000, 0.2), (125_000, 0.02), (125_000, 0.3), (1_250_000, 0.025)],
    ids=["9.6k", "16k", "16k far", "64k", "1M", "1M by satellite", "10M"],
)
def test_the_queue_stays_a_fraction_of_a_second_and_the_link_is_used(rate: float, delay: float) -> None:
    link = Link(rate, delay)
    link.run(300.0)
    one = (max(link.sequences) + OVERHEAD) / rate
    assert link.longest_queue(since=0.0) <= max(0.5, 3.01 * one), "while it learns, too; or three single messages"
    assert link.used(since=10.0) >= 0.9


def test_a_sequence_is_at_most_what_the_link_carries_in_a_quarter_of_a_second() -> None:
    slow, fast = Link(8000, 0.2), Link(1_250_000, 0.025)
    for link in (slow, fast):
        link.run(60.0)
    assert 272 < slow.sequences[-1] <= 2000
    assert fast.sequences[-1] > SEQUENCE_MAX - RECORD


def test_a_link_that_becomes_ten_times_slower_is_choked_only_by_what_was_on_it() -> None:
    link = Link(31_250, 0.1)
    link.run(20.0)
    link.rate, link.delay = 2000, 0.2
    on_it = link.in_flight
    link.run(22.0 + on_it / 2000)
    settled = link.now
    link.run(180.0)
    assert link.longest_queue(since=settled) <= 0.5
    assert link.used(since=90.0) >= 0.8


def test_a_link_that_becomes_faster_is_used() -> None:
    link = Link(2000, 0.2)
    link.run(20.0)
    link.rate = 125_000
    link.run(40.0)
    assert link.used(since=30.0) >= 0.9


def test_a_longer_way_is_taken_for_a_queue_for_half_a_minute_at_most() -> None:
    link = Link(2000, 0.1)
    link.run(40.0)
    link.delay = 0.5
    link.run(200.0)
    assert link.used(since=80.0) >= 0.9


def test_a_broker_that_stalls_narrows_the_window_for_a_few_round_trips() -> None:
    link = Link(2000, 0.2)
    link.run(20.0)
    link.stalled_until = 28.0
    link.run(30.0)
    link.run(60.0)
    assert link.used(since=32.0) >= 0.9
    assert link.longest_queue(since=30.0) <= 0.25 + 2 * MESSAGE / 2000


def test_a_message_a_second_late_narrows_the_window_at_once() -> None:
    pace = Pace(start=100_000)
    first, *others = _burst(pace, 0.0)
    assert len(others) == 249
    pace.answered(first, 0.1)
    for message in others[:5]:
        pace.answered(message, 1.2)
    assert not pace.admits(RECORD, 1.2)
    for message in others[5:]:
        pace.answered(message, 1.3)
    # 100 000 bytes in 1.3 s, and room for 0.1 s and 250 ms of them
    assert len(_burst(pace, 1.3)) * MESSAGE == pytest.approx(100_000 / 1.3 * 0.35, abs=MESSAGE)


def test_using_little_of_the_window_does_not_narrow_it() -> None:
    pace = Pace()
    for trip in range(6):
        for message in _burst(pace, trip / 128):
            pace.answered(message, (trip + 1) / 128)
    for trip in range(6, 20):
        pace.answered(pace.sent(RECORD, trip / 128), (trip + 1) / 128)
    assert len(_burst(pace, 20 / 128)) == 163


def test_after_a_pause_the_window_opens_anew() -> None:
    pace = Pace()
    for trip in range(6):
        for message in _burst(pace, trip * 0.1):
            pace.answered(message, trip * 0.1 + 0.1)
    assert len(_burst(Pace(), 0.0)) == 2
    again = _burst(pace, 0.6 + 0.24)
    assert len(again) > 50, "the next is soon"
    for message in again:
        pace.answered(message, 1.0)
    assert len(_burst(pace, 1.25)) == 2


def test_what_can_t_wait_goes_beyond_the_window_and_takes_its_room() -> None:
    pace = Pace()
    waiting = _burst(pace, 0.0)
    assert len(waiting) * MESSAGE <= START
    for _ in range(10):
        pace.sent(RECORD, 0.0)
    for message in waiting:
        pace.answered(message, 0.5)
    assert not pace.admits(RECORD, 0.5), "the ten are still on their way"


def test_sequences_are_half_as_long_after_a_disconnect_and_grow_again() -> None:
    pace = Pace(start=1_000_000)
    assert pace.sequence_max == SEQUENCE_MAX
    halves = []
    for _ in range(8):
        pace.disconnected()
        pace.connected()
        halves.append(pace.sequence_max)
    assert halves == [8192, 4096, 2048, 1024, 512, 256, FLOOR, FLOOR]
    grown = []
    for _ in range(60):
        pace.answered(pace.sent(pace.sequence_max, 0.0), 0.001)
        grown.append(pace.sequence_max)
    assert grown[0] == 256 + (256 + OVERHEAD) // 8
    assert grown[-1] == SEQUENCE_MAX
