"""Extism's own `http_request`, for guests that were built with its PDKs: the operation `http.request` in other words.

It goes through the same function as the operation, so through the same gate, right, checks and bounds. Extism has no
value for a refusal: as there, a request without an answer ends the call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgpack
import trio

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.refusal import Refusal
from innkeeper.bridge.scan import DataBounds, MalformedError
from innkeeper.bridge.web.message import MOST_BODY, MOST_HEAD, MOST_HEADERS
from innkeeper.errors import BusyError, DeniedError, GuestError, InnkeeperError
from innkeeper.plugins.chain import calling
from innkeeper.plugins.urls import MAX_URL
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.kernel import ENV

_BOUNDS = DataBounds(size=MOST_HEAD + 4 * MAX_URL, depth=3, elements=2 * MOST_HEADERS + 16)
_KEYS = frozenset({"url", "method", "headers", "header"})


def extism_functions(request: HostFunction) -> list[HostFunction]:
    """The host functions behind `http_request`, `http_status_code` and `http_headers`.

    Args:
        request: the host function of the operation `http.request`.
    """

    async def http_request(meta: bytes, body: bytes) -> bytes:
        frame = calling()
        if frame is None:
            raise DeniedError("nobody calls: the call that this request belongs to is over", capability="http")
        # What the answer before left is not what this one answered.
        frame.notes.pop(http_request, None)
        # Before it is copied. What is as large as it may be takes some milliseconds each time: others have their turn
        # between.
        if len(body) > MOST_BODY:
            raise GuestError(f"http_request: the body has {len(body):,} bytes, and at most {MOST_BODY:,} are taken")
        given = msgpack.packb(_arguments(meta, body), use_bin_type=True)
        await trio.lowlevel.checkpoint()
        packed = await request.answer(given)
        await trio.lowlevel.checkpoint()
        answer = msgpack.unpackb(packed, strict_map_key=True)
        if "error" in answer:
            raise _failure(answer["error"])
        found = answer["ok"]
        frame.notes[http_request] = found["status"], found["headers"]
        content: bytes = found["body"]
        return content

    def noted() -> tuple[int, list[list[str]]]:
        frame = calling()
        kept: tuple[int, list[list[str]]] = (0, [])
        return kept if frame is None else frame.notes.get(http_request, kept)

    def http_status_code() -> int:
        return noted()[0]

    def http_headers() -> bytes:
        status, headers = noted()
        if not status:
            return b""
        joined: dict[str, str] = {}
        for name, value in headers:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return json.dumps(joined).encode()

    return [
        HostFunction("http_request", http_request, (Value.BYTES, Value.BYTES), Value.BYTES, ENV),
        HostFunction("http_status_code", http_status_code, (), Value.I32, ENV, quick=True),
        HostFunction("http_headers", http_headers, (), Value.BYTES, ENV, quick=True),
    ]


def _arguments(meta: bytes, body: bytes) -> dict[str, Any]:
    try:
        given = parse_json(meta, _BOUNDS)
    except MalformedError as error:
        raise GuestError(f"what the guest gave http_request is not JSON: {error}") from None
    if not isinstance(given, dict) or not _KEYS.issuperset(given):
        raise GuestError("http_request takes a JSON object of url, method and headers")
    method = given.get("method") or "GET"
    headers = given.get("headers") or given.get("header") or {}
    return {
        "url": given.get("url"),
        "method": method.upper() if isinstance(method, str) else method,
        "headers": headers,
        "body": body,
    }


def _failure(error: Mapping[str, Any]) -> InnkeeperError:
    message = f"http_request: {error['message']}"
    if error["kind"] == Refusal.DENIED.value:
        return DeniedError(message, capability=error.get("capability") or "http")
    if error["kind"] == Refusal.BUSY.value:
        return BusyError(message, bound="http requests")
    return GuestError(message)
