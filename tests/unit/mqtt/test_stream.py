import socket
import time

from gateway.mqtt.stream import Door


def test_what_a_link_does_not_take_waits_with_us_and_not_in_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with far:
        stream = Door(None, 10, lambda: None).wrap_socket(near, "broker", do_handshake_on_connect=False)
        stream.setblocking(flag=False)
        stream.send(bytes(1_000_000))
        for _ in range(20):
            assert not stream.flush()
            time.sleep(0.005)
        stream.drop()
        taken = 0
        while piece := far.recv(65_536):
            taken += len(piece)
    assert taken <= 65_536, "what stands in the kernel is before every alarm"
