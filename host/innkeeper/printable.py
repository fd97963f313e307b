"""Text from anywhere as text that is safe to show on one line.

Escapes, control characters and marks that reorder text are shown, not sent.
"""

from __future__ import annotations

UNSAFE = (
    *range(0x20),  # C0: escape, backspace, carriage return and the like
    *range(0x7F, 0xA0),  # delete and C1, whose 0x9b is an escape in one byte
    0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A),  # line separators and reordering
)  # fmt: skip
"""Code points that steer a terminal, break a line or reorder one."""

_SHOWN = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in UNSAFE}


def printable(text: str, most: int | None = None) -> str:
    """A text that is safe to print on one line (str).

    Args:
        text: from anywhere.
        most: characters after which it is cut.
    """
    if most is not None and len(text) > most:
        text = text[:most] + " ..."
    return text.translate(_SHOWN).encode("utf-8", "backslashreplace").decode()


def columns_of(text: str) -> int:
    """How many columns a text takes on a terminal (int): letters of Chinese and its neighbours take two, marks none."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    marks = ("Mn", "Me", "Cf")
    return sum(0 if category(each) in marks else 2 if east_asian_width(each) in "WF" else 1 for each in text)
