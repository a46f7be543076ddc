import asyncio
import io
import json
from pathlib import Path

from rich.console import Console

from gateway.c5.ledger import LEDGER, Ledger
from gateway.c5.overview import as_json, overview
from gateway.c5.reports import Tally
from gateway.c5.values import Remember, Report, Seen, Snapshot
from gateway.c5.watch import alarm_json, read, show, tables
from gateway.event import Lane
from tests.unit.c5.kit import EPOCH, NOON_US, Gateway, Site, give, learn, tell


def test_what_the_ledger_knows_is_shown_beside_the_running_receiver(
    tmp_path: Path, site: Site, gateway: Gateway
) -> None:
    centre = site.centre()
    learn(centre, gateway)
    first, second, third = gateway.measurements(3)
    batches = [
        give(centre, gateway, Lane.TELEMETRY, [first, third])[0],
        give(centre, gateway, Lane.ALARM, [gateway.record(type_="panic\x1b[2J", event_number=7)])[0],
    ]
    gateway.measurements(1)
    (remember,) = tell(centre, gateway, gateway.state(), 0.0)
    assert isinstance(remember, Remember)
    text = "two different records are both " + "pa-dar-0017/" * 30
    trouble = Report("record.tampered", "pa-dar-0017", "x", text)

    async def run() -> tuple[str, list[str], list[dict[str, object]], list[dict[str, object]]]:
        ledger = await Ledger.open(tmp_path)
        for batch in batches:
            assert batch is not None
            await ledger.store(batch)
        await ledger.remember(remember)
        await ledger.report([Tally(trouble, 1)], NOON_US)
        found = read(tmp_path / LEDGER, NOON_US + 61_000_000)
        await ledger.close()
        console, narrow = Console(file=io.StringIO()), Console(file=io.StringIO(), width=80)
        show(found, console)
        narrow.print(tables(found))
        assert isinstance(console.file, io.StringIO)
        assert isinstance(narrow.file, io.StringIO)
        lines = narrow.file.getvalue().splitlines()
        documents = [as_json(view) for view in found.views], [alarm_json(held) for held in found.alarms]
        return console.file.getvalue(), lines, *documents

    shown, narrow, (document,), alarms = asyncio.run(run())
    identity = f"pa-dar-0017/{EPOCH.hex()}/alarm/1"
    assert alarms == [
        {
            "identity": identity,
            "gateway": "pa-dar-0017",
            "type": "panic\x1b[2J",
            "device": "0c500042",
            "event_number": 7,
            "occurred_us": NOON_US,
            "flags": [],
        }
    ]
    (row,) = [number for number, line in enumerate(narrow) if identity in line]
    assert ("panic?[2J" in narrow[row - 1], "0c500042" in narrow[row - 1], " 7 " in narrow[row]) == (True,) * 3
    assert any("pa-dar-0017" in line and "measurement" in line for line in narrow), "neither gateway nor type is cut"
    assert "pa-dar-0017" in shown
    (told,) = [line for line in shown.splitlines() if "record.tampered" in line]
    assert text in told, "a pipe has no columns: nothing is cut"
    assert max(map(len, shown.splitlines())) < 600, "nor is it filled with spaces"
    assert "panic?[2J" in shown
    assert "\x1b" not in shown
    assert json.loads(json.dumps(document)) == {
        "gateway": "pa-dar-0017",
        "online": True,
        "agency": "senafront",
        "site": "yaviza-tower-3",
        "epoch": EPOCH.hex(),
        "version": "0.1.0",
        "seen_us": NOON_US,
        "records": 3,
        "not_believed": 0,
        "missing": [{"lane": "telemetry", "epoch": EPOCH.hex(), "ranges": [[2, 2], [4, 4]]}],
    }
    assert second


def test_nobody_knows_whether_a_gateway_is_there_when_no_receiver_has_been_running(
    site: Site, gateway: Gateway
) -> None:
    centre = site.centre()
    learn(centre, gateway)
    (remember,) = tell(centre, gateway, gateway.state(), 0.0)
    (will,) = tell(centre, gateway, gateway.state(online=False), 1.0)
    assert isinstance(remember, Remember)
    assert isinstance(will, Remember)

    def online(seen: Seen, seconds: int) -> bool | None:
        snapshot = Snapshot([], [], [], [], [seen], [], [])
        (view,) = overview(snapshot, {}, {}, NOON_US + seconds * 1_000_000)
        return view.online

    assert [online(remember.seen, 100), online(remember.seen, 101)] == [True, None]
    assert [online(will.seen, 100), online(will.seen, 101)] == [False, False]


def test_an_alarm_says_which_cameras_look_at_it_and_what_is_no_camera_is_left_out(
    tmp_path: Path, site: Site, gateway: Gateway
) -> None:
    centre = site.centre()
    learn(centre, gateway)
    cameras = [{"camera": "mast\x1b[2J", "preset": "gate"}, {"camera": 7}, "quay", {"camera": "quay"}, {"camera": "x"}]
    (batch, *_rest) = give(centre, gateway, Lane.ALARM, [gateway.record(data={"video": cameras})])

    async def run() -> str:
        ledger = await Ledger.open(tmp_path)
        assert batch is not None
        await ledger.store(batch)
        found = read(tmp_path / LEDGER, NOON_US)
        await ledger.close()
        console = Console(file=io.StringIO())
        show(found, console)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    shown = asyncio.run(run())
    assert "video: mast?[2J/gate" in shown
    assert "\x1b" not in shown
