"""A large value that the host wrote itself, built piece by piece."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from innkeeper.bridge.codec import is_map
from innkeeper.bridge.scan import CHUNK

_OPEN: Final = 3
"""Levels whose containers are taken apart whatever their size: a job, its workflow, and the nodes of that."""


def unpack_own(data: bytes) -> Any:
    """Builds one msgpack value that was bounded before it was written; halves of characters come back as they are.

    Unlike `scan_msgpack`, which says where a value of others can be cut, nothing here is done for each element. No call
    of C code keeps the interpreter's lock for longer than it takes to build some `CHUNK` bytes, or to pass over one
    node.

    Raises:
        ValueError, msgpack.UnpackException: it is damaged.
    """
    value, end = _built(data, _OPEN)
    if end != len(data):
        raise ValueError("bytes follow after its end")
    return value


def _reader(data: bytes) -> msgpack.Unpacker:
    reader = msgpack.Unpacker(None, max_buffer_size=len(data), unicode_errors="surrogatepass")
    reader.feed(data)
    return reader


def _built(data: bytes, levels: int) -> tuple[Any, int]:
    # One goes ahead and says how long the next value is, for the other to build it.
    ahead, behind = _reader(data), _reader(data)

    def child(levels: int) -> Any:
        start = behind.tell()
        first = data[start : start + 1]
        if levels and first and _is_container(first[0]):
            return container(first[0], levels)
        ahead.skip()
        if ahead.tell() - start <= CHUNK or not _is_container(first[0]):
            return behind.unpack()
        behind.skip()
        return _built(data[start : behind.tell()], 1)[0]

    def container(first: int, levels: int) -> Any:
        if not is_map(first):
            ahead.read_array_header()
            return [child(levels - 1) for _ in range(behind.read_array_header())]
        ahead.read_map_header()
        found = {}
        for _ in range(behind.read_map_header()):
            ahead.skip()
            key = behind.unpack()
            found[key] = child(levels - 1)
        return found

    return child(levels), behind.tell()


def _is_container(byte: int) -> bool:
    return is_map(byte) or byte >> 4 == 0x9 or byte in (0xDC, 0xDD)
