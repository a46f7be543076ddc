"""The figures of a status as Prometheus reads them."""

from typing import Any

from gateway.metrics import exposition

LANES = {"alarm": (3, 1, 330, None), "status": (8, 0, 0, 720.5), "telemetry": (90, 40, 13_200, 12.5)}
STATUS: dict[str, Any] = {
    "troubles": ["no link"],
    "receipts": 7,
    "commands": {"unsigned": 2},
    "storage": {
        "used_bytes": 1_572_865,
        "file_bytes": 2_101_248,
        "max_bytes": 1_073_741_824,
        "free_bytes": None,
        "dropped": 5,
    },
    "lanes": {
        lane: dict(zip(("signed", "waiting", "bytes", "autonomy_h"), numbers, strict=True))
        for lane, numbers in LANES.items()
    },
    "brokers": [
        {"broker": "c5-a.example:8883", "connected": True},
        {"broker": "c5-b.example:8883", "connected": False},
    ],
    "ports": [{"name": "radio", "open": True}],
    "certificates": {"signing": {"days_left": 31}},
}


def test_a_status_becomes_figures_with_labels_and_what_has_no_end_is_left_out() -> None:
    figures = [line for line in exposition(STATUS).splitlines() if not line.startswith("#")]
    assert figures == [
        "c5_gateway_up 1.0",
        "c5_gateway_troubles 1.0",
        "c5_gateway_receipts_total 7.0",
        "c5_gateway_commands_unsigned_total 2.0",
        "c5_gateway_outbox_used_bytes 1.572865e+06",
        "c5_gateway_outbox_file_bytes 2.101248e+06",
        "c5_gateway_outbox_max_bytes 1.073741824e+09",
        "c5_gateway_records_dropped_total 5.0",
        'c5_gateway_lane_signed_records{lane="alarm"} 3.0',
        'c5_gateway_lane_signed_records{lane="status"} 8.0',
        'c5_gateway_lane_signed_records{lane="telemetry"} 90.0',
        'c5_gateway_lane_waiting_records{lane="alarm"} 1.0',
        'c5_gateway_lane_waiting_records{lane="status"} 0.0',
        'c5_gateway_lane_waiting_records{lane="telemetry"} 40.0',
        'c5_gateway_lane_waiting_bytes{lane="alarm"} 330.0',
        'c5_gateway_lane_waiting_bytes{lane="status"} 0.0',
        'c5_gateway_lane_waiting_bytes{lane="telemetry"} 13200.0',
        'c5_gateway_lane_autonomy_seconds{lane="status"} 2.5938e+06',
        'c5_gateway_lane_autonomy_seconds{lane="telemetry"} 45000.0',
        'c5_gateway_broker_connected{broker="c5-a.example:8883"} 1.0',
        'c5_gateway_broker_connected{broker="c5-b.example:8883"} 0.0',
        'c5_gateway_port_open{port="radio"} 1.0',
        'c5_gateway_certificate_days_left{certificate="signing"} 31.0',
    ]


def test_a_service_that_is_not_running_is_down_and_nothing_else() -> None:
    assert [line for line in exposition(None).splitlines() if not line.startswith("#")] == ["c5_gateway_up 0.0"]
