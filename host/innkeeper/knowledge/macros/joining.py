"""Pieces of text put together: what `{{trim}}` takes away, and the indentation of a body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final


class Trim:
    """Stands where `{{trim}}` was, until the line breaks around it are known."""


TRIM: Final = Trim()


def dedented(text: str) -> str:
    """A body without the indentation of its first line, and without the space around it."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    return "\n".join(line.removeprefix(indent) for line in lines).strip()


def joined(pieces: Sequence[str | Trim]) -> str:
    """Pieces behind each other; linear in their length."""
    out: list[str] = []
    trimming = False
    for piece in pieces:
        if isinstance(piece, Trim):
            trimming = True
            while out:
                out[-1] = out[-1].rstrip("\r\n")
                if out[-1]:
                    break
                out.pop()
            continue
        if trimming:
            piece = piece.lstrip("\r\n")
        if piece:
            out.append(piece)
            trimming = False
    return "".join(out)
