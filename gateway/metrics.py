"""A running gateway's status as Prometheus reads it, for the node exporter's textfile collector.

The service neither listens on a port for this nor carries the library: who wants the figures asks for them, through the
control socket. Names and labels are an interface: add, and never rename.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX: Final = "c5_gateway"
HOUR: Final = 3600


def exposition(status: Mapping[str, Any] | None) -> str:
    """Return the figures of a status as the control socket answers it; None: the service isn't running."""
    registry = CollectorRegistry()
    registry.register(_Figures(status))
    return generate_latest(registry).decode()


class _Figures(Collector):
    def __init__(self, status: Mapping[str, Any] | None) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield _gauge("up", "Whether the service answers.", 0 if status is None else 1)
        if status is None:
            return
        storage, lanes = status["storage"], status["lanes"]
        yield _gauge("troubles", "How many troubles there are now.", len(status["troubles"]))
        yield _counter("receipts", "Receipts of C5 that counted.", status["receipts"])
        unsigned = status["commands"]["unsigned"]
        yield _counter("commands_unsigned", "Commands that nobody whose certificate counts has signed.", unsigned)
        yield _gauge("outbox_used_bytes", "What the outbox's records take.", storage["used_bytes"])
        yield _gauge("outbox_file_bytes", "What the outbox's files take.", storage["file_bytes"])
        yield _gauge("outbox_max_bytes", "What they may take.", storage["max_bytes"])
        yield _counter("records_dropped", "Records that left before C5 had them.", storage["dropped"])
        if storage["free_bytes"] is not None:
            yield _gauge("disk_free_bytes", "What the file system has left.", storage["free_bytes"])
        yield _by("lane", "lane_signed_records", "The last sequence of this epoch.", _of(lanes, "signed"))
        yield _by("lane", "lane_waiting_records", "Records that no receipt covers.", _of(lanes, "waiting"))
        yield _by("lane", "lane_waiting_bytes", "What these take.", _of(lanes, "bytes"))
        lasts = {lane: hours * HOUR for lane, hours in _of(lanes, "autonomy_h").items() if hours is not None}
        yield _by("lane", "lane_autonomy_seconds", "Until it begins to lose, should the link fail now.", lasts)
        connected = {broker["broker"]: int(broker["connected"]) for broker in status["brokers"]}
        yield _by("broker", "broker_connected", "Whether the gateway is connected to it.", connected)
        open_ports = {port["name"]: int(port["open"]) for port in status["ports"]}
        yield _by("port", "port_open", "Whether the line is open.", open_ports)
        days = {name: certificate["days_left"] for name, certificate in status["certificates"].items()}
        yield _by("certificate", "certificate_days_left", "Days until it expires.", days)


def _of(lanes: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, Any]:
    return {lane: numbers[key] for lane, numbers in lanes.items()}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _by(label: str, name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
