"""Text in pictures: made safe, cut to a width, and escaped."""

from __future__ import annotations

from html import escape

from innkeeper.printable import columns_of, printable

COLUMN = 6.9
"""Pixels that a column takes, about, in the pictures' 12 pixel type. Whoever looks chooses the font."""

_NOT_XML = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}
_LOOKED_AT = 2000


def safe(text: str, most: int) -> str:
    """A text as a picture may show it on one line (str): nothing that steers, reorders or is no character of XML.

    Args:
        text: from anywhere.
        most: columns; what is longer is cut, with an ellipsis at its end.
    """
    shown = printable(text[:_LOOKED_AT]).translate(_NOT_XML)
    if len(text) <= _LOOKED_AT and columns_of(shown) <= most:
        return shown
    taken, width = 0, 0
    for letter in shown:
        width += columns_of(letter)
        if width >= most:
            break
        taken += 1
    return f"{shown[:taken]}…"


def markup(text: str) -> str:
    """A safe text as it stands in SVG, in an element or in an attribute (str)."""
    return escape(text, quote=True)


def width_of(text: str) -> float:
    """Pixels that a safe text takes, about (float)."""
    return columns_of(text) * COLUMN
