"""The measurement of streams under load finds what is there to be found."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from tests.load.stream_clients import EVENTS, MESSAGES, Clients
from tests.load.streams import measure


@pytest.mark.parametrize(("which", "request_"), [("wire", EVENTS), ("plain", MESSAGES)])
def test_each_client_of_each_server_is_counted(which: str, request_: bytes) -> None:
    found = measure(which, request_, clients=20, seconds=2.5, warm=0.0)
    assert (found.lost, found.missed) == (0, 0)
    assert len(found.delays) in (20, 40, 60)
    assert all(delay >= 0 for delay in found.delays)


def test_lost_connections_and_missed_messages_are_counted() -> None:
    def message(number: int) -> bytes:
        return b'data: {"n": %d, "t": %d, "pad": ""}\n\n' % (number, time.monotonic_ns())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def serve() -> None:
            for _ in range(3):
                client, _ = listener.accept()
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200\r\n\r\n: open\n\n")
                accepted.append(client)

        thread = threading.Thread(target=serve)
        thread.start()
        clients = Clients(listener.getsockname()[1], EVENTS)
        clients.connect(3)
        thread.join()
        whole, gap, gone = accepted
        for number in range(5):
            whole.sendall(message(number))
            if number != 2:
                gap.sendall(message(number))
        gone.close()
        clients.run(0.5, count=True)
        assert (clients.lost, clients.missed(), len(clients.delays)) == (1, 1, 9)
        clients.close()
        for each in (whole, gap):
            each.close()
