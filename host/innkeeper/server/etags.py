"""Answers that a client may keep: an ETag of what they hold, and 304 where it has that already."""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response


def etag_of(data: bytes) -> str:
    """The ETag of an answer's bytes (str, with its quotes)."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def conditional(
    request: Request, data: bytes, etag: str, media_type: str, headers: dict[str, str] | None = None
) -> Response:
    """An answer, or 304 where the client says that it has it.

    Args:
        request: may have If-None-Match.
        data: the answer's bytes.
        etag: `etag_of` them.
        media_type: of the answer.
        headers: further ones.
    """
    # Private: what is answered depends on who asks.
    said = {"ETag": etag, "Cache-Control": "private, no-cache", **(headers or {})}
    known = request.headers.get("if-none-match", "")[:4096]
    if known.strip() == "*" or any(each.strip().removeprefix("W/") == etag for each in known.split(",")):
        return Response(status_code=304, headers=said)
    return Response(data, media_type=media_type, headers=said)
