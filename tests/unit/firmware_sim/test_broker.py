import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firmware_sim.broker import PORTS, BrokerFailedError, Embedded, Mosquitto, access_list, find_mosquitto
from tests.support.brokers import FETCH, need_mosquitto


@pytest.fixture(scope="module", autouse=True)
def mosquitto() -> None:
    need_mosquitto()


def test_the_access_list_lets_a_gateway_speak_under_its_own_name_alone() -> None:
    assert access_list(gateways=["gw-1"], receivers=["c5-a"]) == (
        "user gw-1\n"
        "topic write c5/v1/+/+/gw-1/event/#\n"
        "topic write c5/v1/+/+/gw-1/state\n"
        "topic write c5/v1/+/+/gw-1/certificates\n"
        "topic write c5/v1/+/+/gw-1/reply\n"
        "topic read c5/v1/+/+/gw-1/receipt\n"
        "topic read c5/v1/+/+/gw-1/command\n"
        "topic read c5/v1/centre\n"
        "topic read c5/v1/certificates/#\n"
        "user c5-a\n"
        "topic read c5/v1/#\n"
        "topic write c5/v1/+/+/+/receipt\n"
        "topic write c5/v1/+/+/+/command\n"
        "topic write c5/v1/centre\n"
        "topic write c5/v1/certificates/#\n"
    )


@pytest.mark.parametrize("kind", [Mosquitto, Embedded])
def test_a_broker_stops_freezes_and_comes_back_on_its_port(kind: type[Mosquitto | Embedded]) -> None:
    async def listens(port: int) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    async def main() -> None:
        async with kind() as broker:
            port = broker.port
            assert port in PORTS
            await broker.stop()
            assert (broker.running, await listens(port)) == (False, False)
            await broker.start()
            broker.kill()
            await broker.start()
            broker.pause()
            await broker.restart()
            assert (broker.port, broker.running, await listens(port)) == (port, True, True)
        assert (broker.running, broker.home.exists()) == (False, False)

    asyncio.run(main())


def test_a_mosquitto_that_can_not_start_says_why() -> None:
    async def main() -> None:
        broker = Mosquitto(settings=["no_such_setting true"])
        with pytest.raises(BrokerFailedError, match="Unknown configuration variable"):
            async with broker:
                pass
        assert not broker.running

    asyncio.run(main())


def test_a_broker_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = """
import asyncio, os, pathlib, signal, sys
from firmware_sim.broker import Mosquitto
async def main():
    async with Mosquitto(home=pathlib.Path(sys.argv[1])) as broker:
        print(broker._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, check=False, timeout=30
    )
    status = Path(f"/proc/{int(ended.stdout)}/status")
    for _ in range(500):
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.01)
    pytest.fail("the broker is still there")


def test_fetching_mosquitto_where_it_is_does_nothing() -> None:
    before = find_mosquitto()
    assert before
    modified = before.stat().st_mtime_ns
    assert subprocess.run([str(FETCH)], capture_output=True, check=True).stdout == b""
    assert (find_mosquitto(), before.stat().st_mtime_ns) == (before, modified)
