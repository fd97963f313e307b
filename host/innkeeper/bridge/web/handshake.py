"""Agreeing on keys with a server, beside trio's thread: the server chooses how long that takes, up to some 200 ms."""

from __future__ import annotations

import ssl
from typing import Final, cast

import trio

THREADS: Final = 2
"""Handshakes that are computed at once: usual ones take 0.4 ms each, and hostile ones must not have every processor.
The library leaves the interpreter's lock meanwhile."""

_READ = 32 * 1024


async def encrypted(
    stream: trio.SocketStream, context: ssl.SSLContext, name: str, limiter: trio.CapacityLimiter
) -> trio.SSLStream[trio.SocketStream]:
    """A stream over TLS to a server that has shown that it is who it should be.

    Args:
        stream: connected; closing it is the caller's.
        context: what certificates are checked with.
        name: of the server, or its address.
        limiter: for threads.

    Raises:
        ssl.SSLError: the server does not speak TLS, or is not who it should be.
        trio.BrokenResourceError: the connection broke.
    """
    kept = _Kept(context)
    # Of a context it asks for nothing but the object that does the work.
    made = trio.SSLStream(stream, cast(ssl.SSLContext, kept), server_hostname=name, https_compatible=True)
    done = False
    while not done:
        try:
            await trio.to_thread.run_sync(kept.work.do_handshake, limiter=limiter)
            done = True
        except ssl.SSLWantReadError:
            pass
        await stream.send_all(kept.outgoing.read())
        if not done:
            data = await stream.receive_some(_READ)
            if not data:
                raise trio.BrokenResourceError("it ended in the midst of a handshake")
            kept.incoming.write(data)
    # Nothing is left to do but to know it.
    await made.do_handshake()
    return made


class _Kept:
    """Makes what a context makes, and keeps it."""

    work: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, server_side: bool, server_hostname: str
    ) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`."""
        self.incoming, self.outgoing = incoming, outgoing
        self.work = self._context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_hostname)
        return self.work
