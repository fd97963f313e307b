"""The items of a module's sections: how they are read, written and appended."""

from __future__ import annotations

from collections.abc import Iterator

from innkeeper.sandbox.leb import leb, u32
from innkeeper.sandbox.module_info import KINDS, MalformedError, Section


def items(wasm: bytes, section: Section | None) -> tuple[int, bytes]:
    """How many items a section of a module has, and their bytes; none where there is no section (None)."""
    if section is None:
        return 0, b""
    count, start = u32(wasm, section.start, section.end)
    return count, wasm[start : section.end]


def appended(wasm: bytes, section: Section | None, count: int, more: bytes) -> bytes:
    """The content of a section with so many more items at its end; None: of a new section."""
    before, own = items(wasm, section)
    return b"".join((leb(before + count), own, more))


def bodies(wasm: bytes, code: Section) -> Iterator[tuple[int, int, int]]:
    """The functions of the code section: the offset of the function's length, and where its body starts and ends.

    Raises:
        MalformedError: the section ends before the last of them does, or after it.
    """
    count, pos = u32(wasm, code.start, code.end)
    for _ in range(count):
        header = pos
        size, start = u32(wasm, header, code.end)
        pos = start + size
        if pos > code.end:
            raise MalformedError(f"the function at offset {header} is longer than the code section")
        yield header, start, pos
    if pos != code.end:
        raise MalformedError(f"{code.end - pos} bytes too many after the last function")


def export_item(name: str, kind: str, index: int) -> bytes:
    """An export. `kind` is one of `KINDS`."""
    return _name(name) + bytes([KINDS.index(kind)]) + leb(index)


def function_import_item(module: str, name: str, type_: int) -> bytes:
    """The import of a function; `type_` is the index of its type."""
    return _name(module) + _name(name) + b"\0" + leb(type_)


def _name(text: str) -> bytes:
    encoded = text.encode()
    return leb(len(encoded)) + encoded
