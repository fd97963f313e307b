"""A file as an answer: whole or a part of it, not at all if the client has it, and never as a page of this server."""

from __future__ import annotations

import os
import re
from email.utils import formatdate
from typing import Final
from urllib.parse import quote

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from innkeeper.server.files.entries import Entry
from innkeeper.server.files.kinds import served_as
from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.store import Files
from innkeeper.server.files.tree import Tree
from innkeeper.server.files.versions import etag_of, matches

_CHUNK: Final = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class FileResponse(Response):
    """Sends a file that is open, and closes it on every path."""

    def __init__(self, files: Files, descriptor: int, entry: Entry, headers: dict[str, str], asked: str | None) -> None:
        """Args:
        files: whose threads read.
        descriptor: of the file; closed by the answer.
        entry: what it is.
        headers: of the request, in lower case.
        asked: its Range, if it counts.
        """
        # Not the constructor of the base: it would make a body.
        self.background = None
        self.body = b""
        self._files = files
        # An answer that is never sent closes it as well, when it is forgotten.
        self._file = open(descriptor, "rb", buffering=0)  # noqa: SIM115
        self._first, self._length, self.status_code = 0, entry.size, 200
        told = {
            "etag": etag_of(entry),
            "last-modified": formatdate(entry.modified / 1e9, usegmt=True),
            "accept-ranges": "bytes",
            "cache-control": "private, no-cache",
            **safe_headers(entry.name),
        }
        if matches(headers.get("if-none-match"), told["etag"]):
            self.status_code, self._length = 304, 0
        elif asked is not None:
            part = part_of(asked, entry.size)
            if part is None:
                self.status_code, self._length = 416, 0
                told["content-range"] = f"bytes */{entry.size}"
            else:
                self._first, self._length, self.status_code = part[0], part[1] - part[0] + 1, 206
                told["content-range"] = f"bytes {part[0]}-{part[1]}/{entry.size}"
        if self.status_code != 304:
            told["content-length"] = str(self._length)
        self.raw_headers = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in told.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._length <= _CHUNK:
                await self._send(send)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, receive, nursery.cancel_scope)
                await self._send(send)
                nursery.cancel_scope.cancel()
        finally:
            self._file.close()

    @staticmethod
    async def _watch(receive: Receive, scope: trio.CancelScope) -> None:
        """Ends it once the client is gone: nothing is read for nobody."""
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        at, left = self._first, self._length
        while left:
            data = await self._files.run(os.pread, self._file.fileno(), min(left, _CHUNK), at)
            if not data:
                # The file was cut meanwhile: the connection breaks, and the client knows that something is missing.
                raise OSError("a file became shorter while it was sent")
            at, left = at + len(data), left - len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def download(files: Files, tree: Tree, path: LogicalPath, headers: dict[str, str]) -> FileResponse:
    """The answer with a file.

    Args:
        files, tree: where it lies.
        path: the file.
        headers: of the request, in lower case.

    Raises:
        FileError: there is none, or it may not be read.
    """
    descriptor, entry = await files.run(tree.open, path)
    asked = headers.get("range")
    if "if-range" in headers and headers["if-range"] != etag_of(entry):
        asked = None
    # Several parts, or another unit: the whole file is a right answer to that.
    if asked is not None and (_RANGE.fullmatch(asked) is None or asked == "bytes=-"):
        asked = None
    return FileResponse(files, descriptor, entry, headers, asked)


def safe_headers(name: str) -> dict[str, str]:
    """Headers that keep a browser from running a file as part of this server (dict).

    Args:
        name: of the file.
    """
    kind, shown = served_as(name)
    plain = "".join(letter if " " <= letter <= "~" and letter not in '"\\%' else "_" for letter in name)
    encoded = quote(name.encode("utf-8", "replace"), safe="")
    where = "inline" if shown else "attachment"
    return {
        "content-type": kind,
        "content-disposition": f"{where}; filename=\"{plain}\"; filename*=UTF-8''{encoded}",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "same-origin",
    }


def part_of(asked: str, size: int) -> tuple[int, int] | None:
    """The first and the last byte of a Range (ints); None where a file of that size has no such part."""
    found = _RANGE.fullmatch(asked)
    assert found is not None
    first, last = found[1], found[2]
    if not first:
        count = min(int(last), size)
        return (size - count, size - 1) if count else None
    end = min(int(last), size - 1) if last else size - 1
    return (int(first), end) if int(first) <= end else None
