"""What flows through a stream, as the events say it. A chunk's payload is {"type": ..., "content": ...} (msgpack)."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from innkeeper.bridge.codec import is_map

CHUNK_TYPES: Final = frozenset(
    {"text_chunk", "tool_call_chunk", "finish_reason_chunk", "usage_chunk", "error_chunk", "custom"}
)
"""Types of what is given out as it is."""

ERROR_CHUNK: Final = "error_chunk"

MOST_SAID: Final = 1000
"""Characters of what a producer says of its failure."""


def _before(type: str) -> bytes:
    head: bytes = msgpack.packb({"type": type, "content": None})
    return head[:-1]


_TEXT: Final = _before("text_chunk")
_CUSTOM: Final = _before("custom")
_TYPE: Final = msgpack.packb("type")

LAST: Final[bytes] = msgpack.packb({"type": "finish_reason_chunk", "content": "Stream ended"})
"""The last chunk of a stream that ended well."""


def last_of_failed(message: str) -> bytes:
    """The last chunk (bytes) of a stream whose producer failed."""
    packed: bytes = msgpack.packb({"type": ERROR_CHUNK, "content": message})
    return packed


def typed(item: bytes) -> str | None:
    """The type of an item that is a chunk's payload already (str), or None for all others.

    Args:
        item: what a node wrote, as msgpack that the bridge made.
    """
    if not is_map(item[0]) or _TYPE not in item:
        return None
    reader = msgpack.Unpacker(None, max_buffer_size=len(item))
    reader.feed(item)
    for _ in range(reader.read_map_header()):
        if reader.unpack() == "type":
            found = reader.unpack()
            return found if isinstance(found, str) and found in CHUNK_TYPES else None
        reader.skip()
    return None


def payload_of(item: bytes, type: str | None) -> bytes:
    """The payload (bytes) that an item is given out as.

    Args:
        item: what a node wrote.
        type: what `typed` says of it.
    """
    if type is not None:
        return item
    first = item[0]
    is_text = 0xA0 <= first <= 0xBF or 0xD9 <= first <= 0xDB
    return (_TEXT if is_text else _CUSTOM) + item


def said(item: bytes) -> str:
    """What an item of the type "error_chunk" says (str), bounded."""
    content: Any = msgpack.unpackb(item).get("content")
    if isinstance(content, dict) and isinstance(content.get("message"), str):
        content = content["message"]
    if not isinstance(content, str) or not content.strip():
        return "it wrote an error_chunk that says nothing"
    return content[:MOST_SAID]
