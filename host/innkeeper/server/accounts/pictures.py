"""Pictures of users: taken from a form, and believed by their first bytes alone."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from typing import Final

import trio
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from innkeeper.server.answers import AnswerError
from innkeeper.storage.accounts_model import Picture

LARGEST: Final = 5 * 1024 * 1024
"""Bytes of a picture, as ComfyTavern takes them."""

FORM: Final = LARGEST + 64 * 1024
"""Bytes of the form around it."""

AT_ONCE: Final = 4
"""Pictures that are received at the same time: they are in memory meanwhile."""

PATIENCE: Final = 60.0
"""Seconds within which a picture must be there: who is slower keeps out others."""

_limit: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("pictures")


def type_of(body: bytes) -> str | None:
    """The media type (str) of a picture by its first bytes; None where it is none that is taken."""
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if body.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    return "image/gif" if body[:6] in (b"GIF87a", b"GIF89a") else None


async def picture_of(request: Request) -> Picture:
    """The picture in the form of a request: its one file, whatever the field is called.

    Raises:
        AnswerError: 400: there is no form with one file; 413: it is too large; 415: it is no picture.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise AnswerError(415, "send the picture as a form: multipart/form-data")
    try:
        async with _limiter():
            with trio.fail_after(PATIENCE):
                body = await _file_of(request)
    except trio.TooSlowError:
        raise AnswerError(408, "the picture did not come in time") from None
    found = type_of(body)
    if found is None:
        raise AnswerError(415, "this is no picture in PNG, JPEG, WebP or GIF")
    return Picture(hashlib.sha256(body).hexdigest(), found, body)


async def _file_of(request: Request) -> bytes:
    # It stays in memory, which is bounded: a file of the system's would block.
    parser = MultiPartParser(request.headers, _bounded(request), max_files=1, max_fields=8, max_part_size=1024)
    parser.spool_max_size = FORM + 1
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError):
        raise AnswerError(400, "the form cannot be read: it must have one file") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise AnswerError(400, "the form must have one file")
        body = await files[0].read(LARGEST + 1)
    finally:
        await form.close()
    if len(body) > LARGEST:
        raise _too_large()
    return body


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > FORM):
        raise _too_large()
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > FORM:
            raise _too_large()
        yield chunk


def _too_large() -> AnswerError:
    return AnswerError(413, f"the picture is too large: at most {LARGEST:,} bytes are taken")


def _limiter() -> trio.CapacityLimiter:
    try:
        return _limit.get()
    except LookupError:
        made = trio.CapacityLimiter(AT_ONCE)
        _limit.set(made)
        return made
