"""Plain text: paragraphs between empty lines."""

from __future__ import annotations

import re

from innkeeper.knowledge.documents.blocks import Block, Parsed

_EMPTY = re.compile(r"\n[^\S\n]*\n\s*")


def read_plain(text: str) -> Parsed:
    """A plain text in paragraphs, whose lines stay as they are."""
    pieces = _EMPTY.split(text.strip("\n"))
    return Parsed([Block("paragraph", piece.rstrip()) for piece in pieces if piece.strip()])
