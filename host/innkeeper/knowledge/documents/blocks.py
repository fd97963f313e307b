"""What a document consists of, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["heading", "paragraph", "list", "table", "code", "quote"]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a document that belongs together.

    Attributes:
        kind: what it is.
        text: as it is inserted: lines without the one break at the end.
        level: of a heading, 1 to 6; else 0.
        title: of a heading, without marks; else "".
    """

    kind: Kind
    text: str
    level: int = 0
    title: str = ""


@dataclass(slots=True)
class Parsed:
    """A document in blocks.

    Attributes:
        blocks: in their order.
        title: of the whole, or "".
        tags, keywords: that its author gave it.
        metadata: what else stands above it, as plain data.
        mime: of its blocks' texts.
        notes: what could not be read, as parts of sentences that begin with the file's name.
    """

    blocks: list[Block]
    title: str = ""
    tags: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    mime: str = "text/plain"
    notes: list[str] = field(default_factory=list)


def tidy(text: str, most: int) -> str:
    """A text on one line (str), without what steers a terminal, cut where it is long."""
    text = " ".join(text.translate(_UNSAFE).split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _unsafe() -> dict[int, str]:
    from innkeeper.printable import UNSAFE

    return dict.fromkeys(UNSAFE, " ")


_UNSAFE = _unsafe()
