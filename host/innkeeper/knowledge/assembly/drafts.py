"""Messages that are being put together, and where in them each source stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from innkeeper.knowledge.assembly.pieces import Piece


@dataclass(frozen=True, slots=True)
class Source:
    """Where a part of a message comes from.

    Attributes:
        block: id of the block.
        base, entry: ids, or "" where it is no entry.
        start, end: characters of the message's text; the end is not included.
        exclude_from_history: whether whoever keeps the conversation should leave this part out later.
    """

    block: str
    base: str
    entry: str
    start: int
    end: int
    exclude_from_history: bool


@dataclass(slots=True, eq=False)
class Draft:
    """A message in the making.

    Attributes:
        role: whose words it is.
        name: who says it, or "".
        texts: put behind each other.
        sources: of its text.
        media: images of the base, as (base, path, MIME type).
        said: whether it is one of the conversation, among which depth is counted.
    """

    role: str
    name: str = ""
    texts: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    media: list[tuple[str, str, str]] = field(default_factory=list)
    said: bool = False
    length: int = 0

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.texts)

    def add(self, text: str) -> None:
        """Puts a text at the end."""
        self.texts.append(text)
        self.length += len(text)

    def add_piece(self, piece: Piece, block: str) -> None:
        """Puts a piece at the end, with its source."""
        active = piece.active
        start = self.length
        self.add(piece.text)
        base, entry, leaves = (active.base, active.entry, active.exclude_from_history) if active else ("", "", False)
        self.sources.append(Source(block, base, entry, start, self.length, leaves))
        if active is not None and active.media is not None:
            self.media.append((active.base, *active.media))

    def append(self, other: Draft, separator: str) -> None:
        """Puts another message at the end, behind a separator."""
        self.add(separator)
        start = self.length
        self.texts.extend(other.texts)
        self.length += other.length
        self.sources.extend(_moved(other.sources, start))
        self.media.extend(other.media)

    def put_before(self, text: str) -> None:
        """Puts a text in front."""
        self.texts.insert(0, text)
        self.length += len(text)
        self.sources = list(_moved(self.sources, len(text)))


def _moved(sources: Iterable[Source], by: int) -> Iterable[Source]:
    for each in sources:
        yield Source(each.block, each.base, each.entry, each.start + by, each.end + by, each.exclude_from_history)
