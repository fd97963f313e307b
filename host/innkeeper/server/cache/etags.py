"""Answers that a client keeps, and asks about with one small question: entity tags and dates, as RFC 9110 has them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from starlette.responses import Response

_TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]{0,256}")')
_LONGEST: Final = 8 * 1024
"""Characters of a list of tags that are looked at."""


def etag_of(data: bytes) -> str:
    """The strong tag (str, with its quotation marks) of bytes. It computes: large ones not on trio's thread."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def etag_of_file(modified: int, size: int, inode: int = 0) -> str:
    """The tag (str) of a file that is only ever replaced whole, without reading it.

    Args:
        modified: when it was written, in nanoseconds.
        size: in bytes.
        inode: its number, where there is one; another file has another one.
    """
    return f'"{modified:x}-{size:x}-{inode:x}"'


def is_named(header: str | None, tag: str) -> bool:
    """Whether a list of tags (`If-None-Match`, `If-Match`), or `*`, names a tag; weak tags count as strong ones."""
    if header is None:
        return False
    header = header[:_LONGEST].strip()
    return header == "*" or tag.removeprefix("W/") in _TAG.findall(header)


def http_date(modified: int) -> str:
    """A time in nanoseconds as the date (str) of a header."""
    return format_datetime(datetime.fromtimestamp(modified // 1_000_000_000, UTC), usegmt=True)


def is_known(headers: Mapping[str, str], tag: str, modified: int | None = None) -> bool:
    """Whether the client has this very representation (bool): the answer is then 304, without a body.

    Args:
        headers: of the request.
        tag: of what would be sent.
        modified: when that was written, in nanoseconds, or None.
    """
    tags = headers.get("if-none-match")
    if tags is not None:
        # A date that is sent as well does not count: a second is long.
        return is_named(tags, tag)
    since = headers.get("if-modified-since")
    if since is None or modified is None or len(since) > 64:
        return False
    try:
        return modified // 1_000_000_000 <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError, OSError):
        return False


def kept_headers(tag: str, modified: int | None = None, cache_control: str = "private, no-cache") -> dict[str, str]:
    """Headers of an answer that a client may keep, of a 200 and a 304 alike.

    Args:
        tag: of the body.
        modified: when it was written, in nanoseconds, or None.
        cache_control: by default the user's own client keeps it and asks each time, so that what was taken from
            somebody is not shown to them any more.
    """
    headers = {"ETag": tag, "Cache-Control": cache_control, "Vary": "Authorization, Cookie"}
    if modified is not None:
        headers["Last-Modified"] = http_date(modified)
    return headers


def conditional(
    asked: Mapping[str, str],
    body: bytes,
    tag: str,
    *,
    media_type: str,
    modified: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer to a request for bytes: 304 if the client has them, else 200. A browser takes it for nothing but what
    `media_type` says.

    Args:
        asked: headers of the request.
        body: the bytes.
        tag, modified: as of `kept_headers`.
        media_type: of the bytes.
        headers: further ones.
    """
    shown = {**kept_headers(tag, modified), "X-Content-Type-Options": "nosniff", **(headers or {})}
    if is_known(asked, tag, modified):
        return Response(status_code=304, headers=shown)
    return Response(body, media_type=media_type, headers=shown)
