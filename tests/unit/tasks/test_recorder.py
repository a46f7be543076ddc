"""From an event to a signed record in its lane's chain, offered and stored."""

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.delivery.item import DeviceState, Item
from gateway.event import UNPROVEN, Event, Lane, Position
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.signing.message import Head
from gateway.signing.record import Clock, Record
from gateway.tasks.recorder import Recorder
from tests.support.memory import NOW_US, Store, read

EPOCH = bytes.fromhex("0000000201020304")
BEFORE = Head(bytes.fromhex("00000001ffffffff"), 7, b"\x07" * 32)
SITE = Position(81_570_000, -776_900_000, 500)
DEVICE = DeviceState("0c500042", 9, b"tag45678", 0, True, 3)
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")


def _recorder(store: Store, offered: Callable[[Item], None] = lambda _item: None) -> Recorder:
    recorder = Recorder(
        {lane: Chain("gw-1", EPOCH, lane, BEFORE if lane is Lane.ALARM else None, SIGNER) for lane in Lane},
        2,
        store,
        lambda age_ms, _at_ns: (NOW_US - age_ms * 1000, Clock(2, 5, 60_000 - age_ms)),
        SITE,
    )
    recorder.offer = offered
    return recorder


def test_an_event_becomes_a_signed_record_that_is_offered_and_stored() -> None:
    store = Store()
    offered: list[Item] = []
    recorder = _recorder(store, offered.append)
    event = Event("panic.pressed", "0c500042", 1500, 3, None, {"age_ms": 1500}, UNPROVEN)
    signed = recorder.record(event, DEVICE)
    assert signed is not None
    assert read(signed.wire) == Record(
        gateway="gw-1", epoch=EPOCH, lane=Lane.ALARM, sequence=1, previous=BEFORE.digest, link=(BEFORE.epoch, 7),
        occurred_us=NOW_US - 1_500_000, clock=Clock(2, 5, 58_500), type="panic.pressed", source="0c500042",
        event_number=3, position=SITE, data={"age_ms": 1500}, flags=UNPROVEN,
    )  # fmt: skip
    (entry,) = store.entries
    assert offered == [entry.item] == [Item(Lane.ALARM, 2, 1, signed.wire)]
    assert (entry.device, entry.event_number, entry.digest) == (DEVICE, 3, hashlib.sha256(signed.wire).digest())


def test_each_lane_is_a_chain_of_its_own() -> None:
    store = Store()
    recorder = _recorder(store)
    for type_ in ("panic.pressed", "power.lost", "panic.silent", "measurement", "power.restored"):
        recorder.record(Event(type_, "0c500042"))
    records = [read(entry.item.wire) for entry in store.entries]
    assert [(record.lane, record.sequence) for record in records] == [(0, 1), (1, 1), (0, 2), (2, 1), (1, 2)]
    digests = [hashlib.sha256(entry.item.wire).digest() for entry in store.entries]
    zeros = bytes(32)
    assert [record.previous for record in records] == [BEFORE.digest, zeros, digests[0], zeros, digests[1]]
    assert [record.link for record in records] == [(BEFORE.epoch, 7), None, None, None, None]
    assert recorder.heads == {
        Lane.ALARM: Head(EPOCH, 2, digests[2]),
        Lane.STATUS: Head(EPOCH, 2, digests[4]),
        Lane.TELEMETRY: Head(EPOCH, 1, digests[3]),
    }


def test_before_its_first_record_a_lane_s_head_is_the_earlier_epoch_s() -> None:
    recorder = _recorder(Store())
    assert recorder.heads == {Lane.ALARM: BEFORE}
    assert recorder.sequence(Lane.ALARM) == 0


def test_an_alarm_is_offered_before_it_is_handed_to_the_store() -> None:
    store = Store()
    stored_when_offered: list[int] = []
    recorder = _recorder(store, lambda _item: stored_when_offered.append(len(store.entries)))
    recorder.record(Event("panic.pressed", "0c500042"))
    assert (stored_when_offered, len(store.entries)) == ([0], 1)


def test_a_device_s_own_position_goes_before_the_gateway_s() -> None:
    store = Store()
    own = Position(1, 2)
    _recorder(store).record(Event("panic.pressed", "0c500042", position=own))
    assert read(store.entries[0].item.wire).position == own


def test_when_there_is_no_room_nothing_has_happened() -> None:
    store = Store(full=True)
    offered: list[Item] = []
    recorder = _recorder(store, offered.append)
    assert recorder.record(Event("panic.pressed", "0c500042")) is None
    assert (store.entries, offered, recorder.sequence(Lane.ALARM), recorder.refused) == ([], [], 0, 1)
    store.full = False
    signed = recorder.record(Event("panic.pressed", "0c500042"))
    assert signed is not None
    assert signed.record.sequence == 1, "no hole"


def test_a_mistake_on_the_way_out_leaves_no_hole_in_what_is_stored() -> None:
    def broken(_item: Item) -> None:
        raise KeyError

    store = Store()
    recorder = _recorder(store, broken)
    with pytest.raises(KeyError):
        recorder.record(Event("panic.pressed", "0c500042"))
    assert [entry.item.sequence for entry in store.entries] == [1]


def test_an_alarm_says_what_to_look_at_and_no_other_record_does() -> None:
    store = Store()
    recorder = _recorder(store)
    recorder.video = {"0c500042": ({"camera": "mast", "preset": "gate"}, {"camera": "quay"})}
    recorder.record(Event("panic.pressed", "0c500042", data={"age_ms": 5}))
    recorder.record(Event("tamper.opened", "0c500042"))
    recorder.record(Event("panic.pressed", "0c500043", data={"age_ms": 5}))
    recorder.record(Event("power.lost", "0c500042"))
    video = [{"camera": "mast", "preset": "gate"}, {"camera": "quay"}]
    assert [read(entry.item.wire).data for entry in store.entries] == [
        {"age_ms": 5, "video": video},
        {"video": video},
        {"age_ms": 5},
        None,
    ]
