"""Calls as they are packed, and large values in pieces: the C code keeps the interpreter's lock for as long as one
piece takes, and meanwhile trio's thread waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgpack

from innkeeper.bridge.journal.model import MOST_MESSAGE, Answered, Given, HostCall, Printed, Raised, Wrote
from innkeeper.bridge.scan import CHUNK

_FEW: Final = 64
"""Elements of a list that is packed in one go, if none of them is large."""


def call_value(call: HostCall) -> list[Any]:
    """A call as plain data."""
    return [call.function, call.asked, _answer_value(call.answer)]


def clean(text: str, most: int | None = MOST_MESSAGE) -> str:
    """A text of at most so many characters that can be written as UTF-8 (str)."""
    return text[:most].encode("utf-8", "replace").decode()


def _answer_value(answer: Answered) -> Any:
    if isinstance(answer, Given):
        logged = answer.logged
        if logged is None:
            return ["given", answer.value]
        lines = [[level, clean(text, None)] for level, text in logged.lines]
        return ["given", answer.value, lines, logged.dropped, logged.room]
    if isinstance(answer, Wrote):
        return ["wrote", answer.errno, [list(each) for each in answer.written]]
    if isinstance(answer, Printed):
        return ["printed", answer.stream]
    return ["raised"] if isinstance(answer, Raised) else None


def pieces(packer: msgpack.Packer, value: Any) -> Iterator[bytes]:
    """The bytes that `packer.pack(value)` would give. Large bytes are given as they are, without being copied.

    Raises:
        TypeError, OverflowError: it is not plain data.
    """
    if value.__class__ is bytes and len(value) > CHUNK:
        yield (
            b"\xc6" + len(value).to_bytes(4, "big") if len(value) > 0xFFFF else b"\xc5" + len(value).to_bytes(2, "big")
        )
        yield value
    elif value.__class__ is list and _is_large(value):
        yield packer.pack_array_header(len(value))
        for each in value:
            yield from pieces(packer, each)
    else:
        yield packer.pack(value)


def _is_large(values: list[Any]) -> bool:
    return len(values) > _FEW or any(
        _is_large(each) if each.__class__ is list else each.__class__ is bytes and len(each) > CHUNK for each in values
    )
