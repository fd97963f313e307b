"""A request as a plugin gets it, and an answer as a client gets it: what is on the lists, and nothing else.

Guarantees: no cookie, key or ticket of the host's reaches a plugin, nor who asks; an answer sets no cookie, sends
nobody elsewhere, and what a browser shows of it is no document of the host's origin and runs no script.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from innkeeper.bridge.codec import Codec, decode, encode
from innkeeper.bridge.scan import DataBounds
from innkeeper.errors import GuestError
from innkeeper.plugins.serving import Serve

MOST_BODY: Final = 1 << 20
"""Bytes of a request's body."""

MOST_ANSWER: Final = 4 << 20
"""Bytes of an answer's body."""

_MOST_VALUE: Final = 4096
"""Characters of a header's value."""

_MOST_QUERY: Final = 256
_BOUNDS: Final = DataBounds(size=MOST_ANSWER * 3 // 2, depth=8, elements=1000)

_GIVEN: Final = ("accept", "accept-language", "content-type", "if-none-match", "user-agent")
"""Headers of a request that each plugin gets."""

_SECRET: Final = frozenset({"ticket"})
"""Fields of a query by which the host itself may know who asks."""

_TAKEN: Final = frozenset({"content-type", "content-language", "content-disposition", "etag", "last-modified"})
"""Headers of an answer that a plugin may say; one that anybody may read says also for how long to keep it."""

_VALUE: Final = re.compile(r"[\x20-\x7e]{0,1024}")

_ALWAYS: Final = {
    "Content-Security-Policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Without scripts: where nobody has to log in, whatever runs in a page of this machine could do what its user may."""


def question(
    serve: Serve,
    method: str,
    path: str,
    query: QueryParams,
    headers: Headers,
    body: bytes,
    *,
    authenticated: bool,
    codec: Codec,
) -> bytes:
    """A request as the guest's function is given it.

    Args:
        serve: what the plugin's manifest says.
        method: of HTTP.
        path: below /x/ID, beginning with "/".
        query: its fields.
        headers: all of them.
        body: bounded by `MOST_BODY`.
        authenticated: whether it comes from somebody who may use the host.
        codec: of the plugin; "raw" gets JSON.
    """
    given = {name: headers[name][:_MOST_VALUE] for name in (*_GIVEN, *serve.headers) if name in headers}
    fields = [[key, value] for key, value in query.multi_items()[:_MOST_QUERY] if key.lower() not in _SECRET]
    found = {
        "method": method,
        "path": path,
        "query": fields,
        "headers": given,
        "body": body,
        "authenticated": authenticated,
    }
    return encode(found, "msgpack" if codec == "msgpack" else "json")


def answer(data: bytes, codec: Codec, *, public: bool) -> Response:
    """The answer that a guest's function gave.

    Args:
        data: its output: a map of `status`, `headers`, and `body` (text, or bytes in msgpack) or `bodyBase64`.
        codec: as of `question`.
        public: whether anybody may read it, so that it may say how long it is kept.

    Raises:
        GuestError: it is no such thing; the sentence says what is wrong.
    """
    found = decode(data, "msgpack" if codec == "msgpack" else "json", _BOUNDS, what="the plugin's answer")
    if not isinstance(found, dict):
        raise GuestError("the plugin's answer is no map")
    status = found.get("status", 200)
    if isinstance(status, bool) or not isinstance(status, int) or not (200 <= status < 300 or 400 <= status < 600):
        raise GuestError("the plugin's answer has a status that is none of 200 to 299 and 400 to 599")
    body = _body(found)
    headers = _headers(found.get("headers"), public=public)
    if status in (204, 205):
        body = b""
    response = Response(body, status, headers=headers)
    if "content-type" not in headers:
        response.headers["content-type"] = "text/plain; charset=utf-8"
    for name, value in _ALWAYS.items():
        response.headers[name] = value
    if "cache-control" not in headers:
        response.headers["cache-control"] = "no-store"
    return response


def _headers(found: object, *, public: bool) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise GuestError("the plugin's answer has headers that are no map")
    taken = _TAKEN | {"cache-control"} if public else _TAKEN
    headers: dict[str, str] = {}
    for name, value in found.items():
        lower = name.lower()
        if lower not in taken:
            raise GuestError(f"the plugin's answer has the header {lower[:40]!a}, which it may not say")
        if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
            raise GuestError(f"the plugin's answer has a value of the header {lower!r} that is none")
        headers[lower] = value
    return headers


def _body(found: Mapping[str, Any]) -> bytes:
    encoded = found.get("bodyBase64")
    body = found.get("body")
    if encoded is not None:
        if body is not None or not isinstance(encoded, str):
            raise GuestError("the plugin's answer has a body that is neither text nor bytes")
        try:
            body = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise GuestError("the plugin's answer has a bodyBase64 that is no base64") from None
    if body is None:
        body = b""
    if isinstance(body, str):
        body = body.encode("utf-8", "replace")
    if not isinstance(body, bytes):
        raise GuestError("the plugin's answer has a body that is neither text nor bytes")
    if len(body) > MOST_ANSWER:
        raise GuestError(f"the plugin's answer has {len(body):,} bytes, and at most {MOST_ANSWER:,} are taken")
    return body
