"""A connection to the server of a URL: to an address that was looked up once and checked, under the name that the URL
has. Between the check and the connection nobody is asked again."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Final

import trio

from innkeeper.bridge.web.addresses import IpAddress
from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.bridge.web.handshake import THREADS, encrypted
from innkeeper.bridge.web.reach import Reach
from innkeeper.bridge.web.resolver import Resolver
from innkeeper.plugins.urls import Url

CONNECT: Final = 10.0
"""Seconds until a server must have been found, reached and, with https, agreed with: what browsers' users wait for."""

_ATTEMPTS = 4
"""Addresses of one name that are tried, one after the other."""

ContextMaker = Callable[[], ssl.SSLContext]


def system_context() -> ssl.SSLContext:
    """Checks certificates against the roots that the system trusts (the variables SSL_CERT_FILE and SSL_CERT_DIR
    name others). Takes some 20 ms."""
    # Not `ssl.create_default_context`: that one writes the keys of all connections to the file that a variable of the
    # environment names (SSLKEYLOGFILE).
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    # A server could ask for another handshake at any time, on trio's thread.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Opens connections, each for one request. None is kept: one that two requests shared could carry something from
    one plugin, or from one with a secret, to the other."""

    def __init__(self, resolver: Resolver, make_context: ContextMaker = system_context) -> None:
        """Args:
        resolver: looks names up.
        make_context: makes what certificates are checked with, once, in a thread.
        """
        self._resolver = resolver
        self._make_context = make_context
        self._context: ssl.SSLContext | None = None
        self._making = trio.Lock()
        self._agreeing = trio.CapacityLimiter(THREADS)

    async def connect(self, url: Url, reach: Reach) -> trio.abc.Stream:
        """A connection, over TLS where the URL says https.

        Raises:
            WebError: the server may not be reached, or could not.
        """
        with trio.move_on_after(CONNECT):
            addresses = await self._resolver.resolve(url.host, url.port, reach.asker)
            reach.check_addresses(url, addresses)
            stream = await _first(addresses, url)
            if url.scheme == "http":
                return stream
            try:
                return await self._encrypted(stream, url)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        raise WebError(Rule.TIME, f"there was no connection to {url.host!r} within {CONNECT:g} s")

    async def _encrypted(self, stream: trio.SocketStream, url: Url) -> trio.abc.Stream:
        if self._context is None:
            async with self._making:
                if self._context is None:
                    self._context = await trio.to_thread.run_sync(self._make_context)
        try:
            return await encrypted(stream, self._context, url.host.strip("[]"), self._agreeing)
        except ssl.SSLCertVerificationError as error:
            # Such as "certificate has expired"; it names no more than the host that was asked for.
            raise WebError(
                Rule.TLS, f"the certificate of {url.host!r} is not valid: {error.verify_message:.200}"
            ) from None
        except (ssl.SSLError, trio.BrokenResourceError):
            raise WebError(Rule.TLS, f"{url.host!r} does not speak TLS as it must") from None


async def _first(addresses: Sequence[IpAddress], url: Url) -> trio.SocketStream:
    tried = addresses[:_ATTEMPTS]
    begun = trio.current_time()
    for left in range(len(tried), 0, -1):
        # Each gets its share of what is left, so that one that does not answer leaves time for the others.
        rest = CONNECT - (trio.current_time() - begun)
        with trio.move_on_after(max(0.1, rest / left)):
            try:
                return await _reach(tried[-left], url.port)
            except OSError:
                continue
    raise WebError(Rule.CONNECT, f"{url.host!r} cannot be reached on port {url.port}")


async def _reach(address: IpAddress, port: int) -> trio.SocketStream:
    family = trio.socket.AF_INET if address.version == 4 else trio.socket.AF_INET6
    socket = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        await socket.connect((str(address), port))
        return trio.SocketStream(socket)
    except BaseException:
        socket.close()
        raise
