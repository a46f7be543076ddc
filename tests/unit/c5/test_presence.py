from gateway.c5.presence import Presence
from gateway.signing.message import State

EPOCH = bytes.fromhex("00000029f70fee95")
NEXT = bytes.fromhex("0000002affc614a9")


def state(number: int, connection: int = 1, *, epoch: bytes = EPOCH, online: bool = True) -> State:
    return State("pa-dar-0017", epoch, online, 0, None, "0.1.0", 30, 41, number, connection, "senafront", "tower")


def will(connection: int) -> State:
    return state(0, connection, online=False)


def test_a_gateway_is_online_from_its_first_state() -> None:
    presence = Presence()
    assert not presence.online
    assert presence.state(state(1), 0.0)
    assert presence.online


def test_three_intervals_of_silence_end_a_connection_until_its_next_state() -> None:
    presence = Presence()
    presence.state(state(1), 0.0)
    presence.tick(89.9)
    assert presence.online
    presence.tick(90.0)
    assert not presence.online
    assert not presence.state(state(1), 91.0)  # repeated by the broker: no sign of life
    presence.tick(91.0)
    assert not presence.online
    assert presence.state(state(2), 92.0)
    assert presence.online


def test_a_will_ends_its_own_connection_for_good() -> None:
    presence = Presence()
    presence.state(state(1, connection=1), 0.0)
    presence.state(state(2, connection=2), 1.0)
    presence.state(will(1), 2.0)
    assert presence.online
    presence.state(will(2), 3.0)
    assert not presence.online
    assert not presence.state(state(3, connection=2), 4.0)
    assert not presence.online
    assert presence.state(state(4, connection=3), 5.0)
    assert presence.online


def test_a_will_that_overtakes_its_own_connection_still_ends_it() -> None:
    presence = Presence()
    presence.state(will(1), 0.0)
    assert not presence.state(state(1, connection=1), 1.0)
    assert not presence.online


def test_states_are_ordered_by_number_over_all_connections() -> None:
    presence = Presence()
    assert presence.state(state(5, connection=1), 0.0)
    assert not presence.state(state(4, connection=2), 1.0)  # a sign of life, but not the newest word
    presence.state(will(1), 2.0)
    assert presence.online
    assert presence.number == 5


def test_a_new_epoch_ends_the_connections_of_the_one_before() -> None:
    presence = Presence()
    presence.state(state(9, connection=4), 0.0)
    assert presence.state(state(1, connection=1, epoch=NEXT), 1.0)
    presence.state(state(0, connection=1, epoch=NEXT, online=False), 2.0)
    assert not presence.online


def test_a_retained_state_counts_once_more_after_a_restart_of_c5() -> None:
    presence = Presence(EPOCH, 9)
    assert not presence.state(state(8), 0.0)
    assert presence.state(state(9), 0.0)
    assert presence.online


def test_a_gateway_that_was_online_before_a_restart_of_c5_is_so_for_three_intervals() -> None:
    presence = Presence(EPOCH, 9)
    presence.restore(state(9, connection=4), 1000.0)
    assert presence.online
    presence.tick(1089.9)
    assert presence.online
    presence.tick(1090.0)
    assert not presence.online


def test_a_restored_connection_is_ended_by_its_will_and_kept_by_its_next_state() -> None:
    presence = Presence(EPOCH, 9)
    presence.restore(state(9, connection=4), 1000.0)
    assert presence.state(state(9, connection=4), 1001.0)  # the broker's retained copy
    assert not presence.state(state(9, connection=4), 1002.0)
    assert presence.state(state(10, connection=4), 1060.0)
    presence.tick(1149.9)
    assert presence.online
    presence.state(will(4), 1149.9)
    assert not presence.online


def test_nothing_is_restored_of_another_epoch_or_of_a_will() -> None:
    for old in (None, will(1), state(9, epoch=NEXT)):
        presence = Presence(EPOCH, 9)
        presence.restore(old, 0.0)
        assert not presence.online


def test_only_so_many_connections_are_remembered() -> None:
    presence = Presence()
    for connection in range(1000):
        presence.state(state(connection + 1, connection), 0.0)
    assert not presence.state(state(2000, connection=10), 1.0)
    assert presence.state(state(2001, connection=990), 1.0)
