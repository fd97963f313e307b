"""Files that a client sends as a form (multipart/form-data), written to the disk as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import trio
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from innkeeper.server.answers import AnswerError
from innkeeper.server.files.entries import Entry
from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.staging import Staged
from innkeeper.server.files.store import Files
from innkeeper.server.files.tree import Tree

FIELD: Final = "files"
"""The field of the form that has the files. Others are passed over."""

MOST_FILES: Final = 100
"""Files in one request."""

_BATCH: Final = 1 << 20
"""Bytes that are collected for one hop into a thread."""

_MOST_BOUNDARY = 70
_MOST_HEADERS = 16 * 1024
_Event = tuple[str, bytes]


class Upload:
    """The files of one request. They get their names together at the end, or none of them does."""

    def __init__(self, files: Files, tree: Tree, folder: LogicalPath) -> None:
        """Args:
        files, tree: where they will lie.
        folder: in which.
        """
        self._files = files
        self._tree = tree
        self._folder = folder
        self._staged: list[tuple[LogicalPath, Staged]] = []

    async def receive(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        """Writes what comes.

        Args:
            content_type: of the request.
            body: of it; somebody bounds it.

        Raises:
            AnswerError: 400, 415: it is no such form; 413: there are too many files.
            FileError: there is no room, or a name cannot be one.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= _MOST_BOUNDARY:
            raise AnswerError(415, "files are sent as multipart/form-data")
        form = _Form(boundary)
        waiting = bytearray()
        async for chunk in body:
            for what, data in form.feed(chunk):
                if what == "data":
                    waiting += data
                    if len(waiting) >= _BATCH:
                        await self._append(waiting)
                else:
                    await self._append(waiting)
                    await self._begin(data)
        await self._append(waiting)
        form.end()

    async def place(self, *, replace: bool) -> list[tuple[LogicalPath, Entry]]:
        """Gives the files their names.

        Args:
            replace: whether files that are there are replaced.

        Raises:
            FileError: "taken": one is there, and none was placed.
        """
        return await self._files.run(self._place, replace)

    async def aclose(self) -> None:
        """Ends it: what has no name is gone."""
        with trio.CancelScope(shield=True):
            for _, staged in self._staged:
                await self._files.run(staged.close)

    async def _begin(self, name: bytes) -> None:
        if len(self._staged) >= MOST_FILES:
            raise AnswerError(413, f"one request takes at most {MOST_FILES} files")
        path = self._folder.child(_text(name))
        if any(path == other for other, _ in self._staged):
            raise AnswerError(400, f"{path.name!r} is there twice: a name is sent once")
        if self._staged:
            # One file of a request is open at a time.
            await self._files.run(self._staged[-1][1].finish)
        self._staged.append((path, await self._files.run(Staged, self._tree)))

    async def _append(self, waiting: bytearray) -> None:
        if waiting:
            data = bytes(waiting)
            waiting.clear()
            await self._files.run(self._staged[-1][1].append, data)

    def _place(self, replace: bool) -> list[tuple[LogicalPath, Entry]]:
        self._tree.make(self._folder, parents=True)
        if not replace:
            for path, _ in self._staged:
                if self._tree.exists(path):
                    raise FileError("taken", f"{path}: something of this name is there already")
        done: list[tuple[LogicalPath, Entry]] = []
        try:
            for path, staged in self._staged:
                done.append((path, staged.commit(path, replace=replace)))
        except FileError:
            # Somebody was faster with one of the names.
            for path, _ in [] if replace else done:
                self._tree.remove(path)
            raise
        return done


class _Form:
    """Finds the files in the bytes of a form."""

    def __init__(self, boundary: bytes) -> None:
        self._events: list[_Event] = []
        self._field = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._headers = 0
        self._inside = self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> list[_Event]:
        """What more bytes mean: "file" with a name, or "data" of the last file."""
        self._events = []
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise AnswerError(400, "the form is not multipart/form-data that can be read") from None
        return self._events

    def end(self) -> None:
        """Makes sure that the form came to its end."""
        if not self._ended:
            raise AnswerError(400, "the form has no end: not all of it came")

    def _part_begin(self) -> None:
        self._disposition, self._headers, self._inside = b"", 0, False

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") == FIELD.encode() and b"filename" in options:
            self._inside = True
            self._events.append(("file", options[b"filename"]))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._events.append(("data", data[start:end]))

    def _part_end(self) -> None:
        self._inside = False

    def _end(self) -> None:
        self._ended = True

    def _count(self, length: int) -> None:
        self._headers += length
        if self._headers > _MOST_HEADERS:
            raise AnswerError(400, "a part of the form has too many headers")


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise AnswerError(400, "the name of a file is not UTF-8") from None
