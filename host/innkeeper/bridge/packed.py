"""Values that pass through a service as msgpack: checked, and never built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from innkeeper.bridge.codec import is_map
from innkeeper.bridge.scan import DataBounds, MalformedError, scan_msgpack

_OK: bytes = msgpack.packb({"ok": None})[:-1]


class Packed(bytes):
    """One value as msgpack.

    As an argument of an operation: within the operation's bounds, and the caller's own bytes. As its result: given to
    the guest as it is.
    """

    __slots__ = ()


def unpack_but(data: bytes, bounds: DataBounds, key: str) -> Any:
    """The value that `data` is; where it is a map, what it has under `key` as `Packed`.

    Raises:
        MalformedError: as `scan_msgpack`.
    """
    scan_msgpack(data, bounds)
    if not is_map(data[0]):
        return msgpack.unpackb(data)
    reader = _reader(data)
    found: dict[str, Any] = {}
    for _ in range(reader.read_map_header()):
        name = reader.unpack()
        if name == key:
            start = reader.tell()
            reader.skip()
            found[name] = Packed(data[start : reader.tell()])
        else:
            found[name] = reader.unpack()
    return found


def items_of(array: Packed) -> list[bytes]:
    """The items of an array, each as msgpack.

    Raises:
        MalformedError: it is no array.
    """
    if not (array[0] >> 4 == 0x9 or array[0] in (0xDC, 0xDD)):
        raise MalformedError("it is no list")
    reader = _reader(array)
    count = reader.read_array_header()
    skip, tell = reader.skip, reader.tell
    items = []
    start = tell()
    for _ in range(count):
        skip()
        end = tell()
        items.append(array[start:end])
        start = end
    return items


def array_of(items: Sequence[bytes]) -> bytes:
    """An array of items, each as msgpack."""
    header: bytes = msgpack.Packer().pack_array_header(len(items))
    return header + b"".join(items)


def answered(value: Packed) -> bytes:
    """What a guest is given where an operation's result is `value`."""
    return _OK + value


def _reader(data: bytes) -> msgpack.Unpacker:
    reader = msgpack.Unpacker(None, max_buffer_size=len(data), strict_map_key=True)
    reader.feed(data)
    return reader
