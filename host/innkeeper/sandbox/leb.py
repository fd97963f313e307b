"""LEB128, the numbers of the Wasm binary format."""

from __future__ import annotations

from innkeeper.sandbox.module_info import MalformedError


def leb(value: int) -> bytes:
    """An unsigned number (int, not negative) in as few bytes as it takes."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def u32(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """The unsigned number (below 2**35) at `pos`, and the offset after it.

    Raises:
        MalformedError: it does not end before `end`, or is longer than five bytes.
    """
    value = 0
    for shift in range(0, 35, 7):
        if pos >= end:
            break
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
    raise MalformedError(f"the number before offset {pos} is not readable")
