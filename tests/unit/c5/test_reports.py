"""What is to be reported is kept until it is written down."""

from gateway.c5.reports import Reports, Tally
from gateway.c5.values import Report


def test_what_the_disk_did_not_take_is_reported_again_and_what_was_reported_since_is_newer() -> None:
    reports = Reports()
    reports.hold("gateway.offline", "gw-1", "the gateway is offline")
    reports.add("record.refused", "gw-1", "a signature that is wrong", "signature")
    unwritten = reports.drain()
    reports.end("gateway.offline", "gw-1", "the gateway is online")
    reports.put_back(unwritten)
    assert reports.drain() == [
        Tally(Report("gateway.offline", "gw-1", "", "the gateway is online", open=False), 1),
        Tally(Report("record.refused", "gw-1", "signature", "a signature that is wrong"), 1),
    ]
    assert reports.drain() == []
