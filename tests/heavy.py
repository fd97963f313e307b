"""Small modules that a compiler takes long over: thousands of values that are all alive in a loop of many branches."""

from __future__ import annotations


def heavy_module(values: int = 2000, branches: int = 2000) -> bytes:
    """A module of one function. With the defaults: 63 kB, 4 s of processor time, 700 MB of memory.

    Args:
        values: locals that are alive everywhere.
        branches: jumps back to the loop's beginning.
    """
    first = b"".join(b"\x20\x00\x28\x02" + leb(4 * i) + b"\x21" + leb(1 + i) for i in range(values))
    changes = b"".join(
        b"\x20" + leb(1 + i % values) + b"\x04\x40\x20" + leb(1 + (i * 7) % values)
        + b"\x21" + leb(1 + (i * 13) % values) + b"\x0c\x01\x0b"
        for i in range(branches)
    )  # fmt: skip
    last = b"".join(b"\x20\x00\x20" + leb(1 + i) + b"\x36\x02" + leb(4 * i) for i in range(values))
    body = b"\x01" + leb(values) + b"\x7f" + first + b"\x03\x40" + changes + b"\x0b" + last + b"\x0b"
    code = b"\x01" + leb(len(body)) + body
    head = b"\0asm\1\0\0\0\x01\x05\x01\x60\x01\x7f\x00\x03\x02\x01\x00\x05\x03\x01\x00\x01"
    return head + b"\x0a" + leb(len(code)) + code


def leb(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])
