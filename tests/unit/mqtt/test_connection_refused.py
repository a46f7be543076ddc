"""A connection that can't be made: each reason in words, with what to do."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from firmware_sim.broker import Mosquitto
from gateway.errors import LinkError
from gateway.mqtt import Broker
from tests.support.brokers import Site
from tests.support.proxy import Proxy
from tests.unit.mqtt.kit import (
    End,
    as_gateway,
    connect,
    refusal,
    with_mosquitto,
)


def test_a_broker_that_is_down_is_named_with_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = refusal(Broker("127.0.0.1", port))
    assert error.what == f"127.0.0.1:{port}: nothing listens there"
    assert error.hint == "Check that the broker is running, and its port."


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example"])
def test_a_host_name_that_does_not_resolve_is_named(host: str) -> None:
    error = refusal(Broker(host, 8883), deadline=10.0)
    assert error.what == f"{host}:8883: its name can't be resolved"


def test_a_broker_that_never_answers_costs_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = refusal(Broker("127.0.0.1", port), deadline=0.2)
    assert error.what == f"127.0.0.1:{port}: no answer in time"


def test_a_broker_from_another_authority_is_not_trusted(site: Site, tmp_path: Path) -> None:
    strangers = Site(tmp_path / "strangers")

    async def check(broker: Mosquitto) -> None:
        with pytest.raises(LinkError) as raised:
            await connect(Broker("127.0.0.1", broker.port, tls=strangers.client("gateway", "gw-1")), End())
        assert raised.value.what == (
            f"127.0.0.1:{broker.port}: its certificate is not to be trusted: unable to get local issuer certificate"
        )
        assert "identity.trust_anchors" in raised.value.hint

    with_mosquitto(site, check)


def test_a_broker_at_an_address_that_its_certificate_does_not_carry_is_not_trusted(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto(tls=site.broker()) as broker, Proxy(broker.port, host="127.0.0.2") as elsewhere:
            with pytest.raises(LinkError, match="IP address mismatch"):
                await connect(Broker("127.0.0.2", elsewhere.port, tls=site.client("gateway", "gw-1")), End())

    asyncio.run(main())


def test_a_client_that_the_broker_does_not_know_reads_so(site: Site, tmp_path: Path) -> None:
    stranger = Site(tmp_path / "strangers").client("gateway", "gw-1")
    stranger.load_verify_locations(site.authority.trust_anchors)
    nobody = ssl.create_default_context(cafile=site.authority.trust_anchors)

    async def check(broker: Mosquitto) -> None:
        with pytest.raises(LinkError, match=r"it refused this machine's certificate \(unknown ca\)"):
            await connect(Broker("127.0.0.1", broker.port, tls=stranger), End())
        with pytest.raises(LinkError, match=r"it refused this machine's certificate \(certificate required\)"):
            await connect(Broker("127.0.0.1", broker.port, tls=nobody), End())

    with_mosquitto(site, check)


def test_tls_to_a_plain_port_and_plain_to_a_tls_port_are_told_apart(site: Site) -> None:
    async def main() -> None:
        async with Mosquitto() as plain, Mosquitto(tls=site.broker()) as secured:
            with pytest.raises(LinkError, match="it cut the connection in the TLS handshake"):
                await connect(as_gateway(site, plain.port), End())
            with pytest.raises(LinkError, match="the connection was cut"):
                await connect(Broker("127.0.0.1", secured.port), End())

    asyncio.run(main())
