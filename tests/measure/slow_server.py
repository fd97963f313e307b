"""A server on loopback that takes its time: `python -m tests.measure.slow_server SECONDS`; prints its port."""

from __future__ import annotations

import sys
from functools import partial

import trio

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
_MOST_HEAD = 16 * 1024


async def _answer(seconds: float, stream: trio.SocketStream) -> None:
    try:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD:
            got = await stream.receive_some(4096)
            if not got:
                return
            head += got
        await trio.sleep(seconds)
        await stream.send_all(_ANSWER)
    except trio.BrokenResourceError:
        pass
    finally:
        await trio.aclose_forcefully(stream)


async def _serve(seconds: float) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=2048)
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(partial(_answer, seconds), listeners)


if __name__ == "__main__":
    trio.run(_serve, float(sys.argv[1]))
