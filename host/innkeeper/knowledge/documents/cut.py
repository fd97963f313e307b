"""Blocks become chunks: what stands under one heading together, up to a size, and nothing longer than allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from innkeeper.knowledge.documents import bounds
from innkeeper.knowledge.documents.blocks import Block
from innkeeper.knowledge.documents.options import Options
from innkeeper.knowledge.documents.pieces import MOST_PIECE, grouped, pieces
from innkeeper.knowledge.tokens.interface import TokenCounter

_BREAK = "\n\n"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document that becomes an entry.

    Attributes:
        path: titles of the headings that it stands under, the outermost first.
        above: those of them that its text does not have.
        text: what it says; headings and what they stand above are in the first chunk of their section.
        part: its number in its section, from 1.
    """

    path: tuple[str, ...]
    above: tuple[str, ...]
    text: str
    part: int


@dataclass(slots=True)
class _Section:
    path: tuple[str, ...]
    above: tuple[str, ...]
    head: list[str]
    blocks: list[Block] = field(default_factory=list)


def cut(blocks: Sequence[Block], options: Options, counter: TokenCounter) -> list[Chunk]:
    """All chunks of a document, in its order. Put behind each other they have every word of the blocks, in order."""
    found: list[Chunk] = []
    for section in _sections(blocks):
        texts = _Cutter(options, counter).texts(section)
        for number, text in enumerate(texts, 1):
            above = section.above if number == 1 else section.path
            found.append(Chunk(section.path, above, text, number))
    return found


def _sections(blocks: Sequence[Block]) -> list[_Section]:
    """A heading that has nothing under it but another one stands at the head of that one's section."""
    found: list[_Section] = []
    stack: list[tuple[int, str]] = []
    current = _Section((), (), [])
    for block in blocks:
        if block.kind != "heading":
            current.blocks.append(block)
            continue
        while stack and stack[-1][0] >= block.level:
            stack.pop()
        above = tuple(title for _, title in stack)
        stack.append((block.level, block.title))
        path = tuple(title for _, title in stack)
        if current.blocks:
            found.append(current)
            current = _Section(path, above, [block.text])
        else:
            # Nothing stood between: the heads of both, and above them what stood above the first.
            current.above = current.above if current.head else above
            current.path = path
            current.head.append(block.text)
    if current.blocks or current.head:
        found.append(current)
    return found


class _Cutter:
    def __init__(self, options: Options, counter: TokenCounter) -> None:
        self._options = options
        self._counter = counter
        self._break = max(1, counter.count(_BREAK))
        self._most = options.most - options.overlap
        self._size = min(options.size, self._most)

    def texts(self, section: _Section) -> list[str]:
        size = self._size
        found: list[str] = []
        current: list[str] = []
        total = 0

        def flush() -> None:
            nonlocal total
            if current:
                found.extend(self._fitting(list(current)))
                current.clear()
            total = 0

        for text in self._heads(section.head):
            current.append(text)
            total += self._counter.count(text) + self._break
        head = len(current)
        for block in section.blocks:
            parts = self._parts(block)
            for text in parts:
                tokens = self._counter.count(text) + self._break
                # A heading stays with what it stands above, even where that makes an entry larger than asked.
                alone = len(current) == head and not found
                if current and total + tokens > (self._most if alone else size):
                    flush()
                current.append(text)
                total += tokens
        flush()
        self._join_tail(found)
        return self._overlapped(found)

    def _heads(self, heads: Sequence[str]) -> list[str]:
        found = []
        for text in heads:
            found += grouped(pieces(text, "heading", self._most, self._counter), self._size, self._counter)
        return found

    def _parts(self, block: Block) -> list[str]:
        text = block.text
        if len(text) <= MOST_PIECE and self._counter.count(text) <= self._most:
            return [text]
        before, after, text = _wrapping(block)
        around = self._counter.count(before) + self._counter.count(after) + 2
        if around > self._most // 4 or len(before) > MOST_PIECE:
            before, after, around, text = "", "", 0, block.text
        room = self._most - around
        groups = grouped(pieces(text, block.kind, room, self._counter), min(self._size, room), self._counter)
        found = []
        for group in groups:
            wrapped = f"{before}{group.strip(chr(10))}{after}"
            if group.strip():
                found.append(wrapped if self._counter.count(wrapped) <= self._most else group.strip("\n"))
        return found

    def _fitting(self, parts: list[str]) -> list[str]:
        """Parts as one text; where their sum is longer than they are, as several."""
        text = _BREAK.join(parts)
        if len(parts) == 1 or (self._counter.count(text) <= self._most and len(text) <= bounds.MOST_ENTRY):
            return [text]
        middle = len(parts) // 2
        return self._fitting(parts[:middle]) + self._fitting(parts[middle:])

    def _join_tail(self, found: list[str]) -> None:
        """A few words at the end of a section go to what stands before them, if they fit."""
        if len(found) > 1 and self._counter.count(found[-1]) * 4 < self._options.size:
            joined = _BREAK.join(found[-2:])
            if self._counter.count(joined) <= self._most and len(joined) <= bounds.MOST_ENTRY:
                found[-2:] = [joined]

    def _overlapped(self, found: list[str]) -> list[str]:
        overlap = self._options.overlap
        if not overlap:
            return found
        result = found[:1]
        for before, text in pairwise(found):
            tail = ""
            for piece, _ in reversed(pieces(before[-8 * overlap :], "paragraph", max(1, overlap // 4), self._counter)):
                if self._counter.count(piece + tail) > overlap:
                    break
                tail = piece + tail
            joined = f"{tail.strip()}{_BREAK}{text}" if tail.strip() else text
            result.append(joined if self._counter.count(joined) <= self._options.most else text)
        return result


def _wrapping(block: Block) -> tuple[str, str, str]:
    """What each part of a long block needs around it to be what it was: its fences, its head of a table."""
    lines = block.text.split("\n")
    if block.kind == "code" and len(lines) > 2 and lines[0].lstrip().startswith(("```", "~~~")):
        marks = lines[0].lstrip()
        fence = marks[: len(marks) - len(marks.lstrip(marks[0]))]
        body = lines[1:-1] if lines[-1].strip().startswith(fence) else lines[1:]
        return f"{lines[0]}\n", f"\n{fence}", "\n".join(body)
    if block.kind == "table" and len(lines) > 3:
        return f"{lines[0]}\n{lines[1]}\n", "", "\n".join(lines[2:])
    return "", "", block.text
