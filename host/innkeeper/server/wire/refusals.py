"""What is refused of a request by its head alone, before an application hears of it."""

from __future__ import annotations

from dataclasses import dataclass

import h11

from innkeeper.server.wire.bounds import HEAD_BYTES, Bounds


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        status: of HTTP.
        sentence: for the client.
    """

    status: int
    sentence: str


def refusal_of(request: h11.Request, bounds: Bounds, *, websocket: bool, more: bool) -> Refusal | None:
    """Why a request is refused, or None.

    Args:
        request: its head.
        bounds: what clients may do.
        websocket: whether it is a WebSocket's handshake.
        more: whether bytes followed the head at once.
    """
    if request.http_version not in (b"1.0", b"1.1"):
        return Refusal(505, "this server speaks HTTP/1.1")
    # Each line has its colon, space and end.
    size = (
        len(request.method) + len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
    )
    if size > HEAD_BYTES:
        return Refusal(431, f"the head has more than {HEAD_BYTES} bytes")
    lengths = [value for name, value in request.headers if name == b"content-length"]
    encoded = any(name == b"transfer-encoding" for name, _ in request.headers)
    if encoded and (lengths or request.http_version == b"1.0"):
        # Whatever stands in front may have seen another body: what follows could be a request that it never checked.
        return Refusal(400, "a request has a Content-Length or a Transfer-Encoding, and HTTP/1.0 has the first alone")
    # h11 lets through one length, of digits.
    if lengths and int(lengths[0][:20]) > bounds.settings.body_size:
        return Refusal(413, f"the body has more than {bounds.settings.body_size} bytes")
    if websocket and (more or lengths or encoded):
        return Refusal(400, "a WebSocket's handshake has no body, and its client waits for the answer")
    return None
