"""The centre as the naive script's user would have it: subscribed to `events/#`, it prints when each event came.

usage: subscriber.py HOST PORT CAFILE CERTFILE KEYFILE   (a line an event: nanoseconds since 1970, its number)
"""

import json
import sys
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def main() -> None:
    host, port, trust_anchors, certificate, key = sys.argv[1:]
    client = paho.Client(CallbackAPIVersion.VERSION2, "bench-subscriber")
    client.tls_set(trust_anchors, certificate, key)

    def connected(client: paho.Client, *_: Any) -> None:
        client.subscribe("events/#", 1)

    def subscribed(*_: Any) -> None:
        print("subscribed", flush=True)

    def arrived(_client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        at = time.time_ns()
        sys.stdout.write(f"{at} {json.loads(message.payload)['n']}\n")

    client.on_connect = connected
    client.on_subscribe = subscribed
    client.on_message = arrived
    client.connect(host, int(port))
    while client.loop() == paho.MQTT_ERR_SUCCESS:
        sys.stdout.flush()


if __name__ == "__main__":
    main()
