"""Markdown in blocks: one pass over its lines, each looked at a bounded number of times.

Not a library's parser: those build a token for each line, take seconds for a crafted megabyte, and what is needed of
them here is where blocks begin and end. Every line of the text is in exactly one block, as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from innkeeper.knowledge.documents import bounds
from innkeeper.knowledge.documents.blocks import Block, Kind, Parsed, tidy
from innkeeper.knowledge.documents.front_matter import take_front_matter
from innkeeper.knowledge.documents.tags import BLOCK_TAGS

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_ITEM = re.compile(r" {0,3}(?:[-+*]|[0-9]{1,9}[.)])(?:[ \t]|$)")
_SPACE = re.compile(r"[ \t]*")
_QUOTE = re.compile(r" {0,3}>")
_INDENTED = re.compile(r"(?: {4}| {0,3}\t)")
_HTML = re.compile(
    r" {0,3}<(?:(script|pre|style|textarea)(?=[\s>]|$)|(!--)|/?([a-z][a-z0-9]{0,11})(?=[\s/>]|$))", re.IGNORECASE
)
_DELIMITERS = frozenset("|-: \t")

_CLOSING = re.compile(r"(?:^|[ \t])#+$")
_ATTRIBUTES = re.compile(r"\{#[^{}]*\}$")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_MARKS = re.compile(r"[*_`~]{1,3}")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")


def read_markdown(text: str) -> Parsed:
    """A Markdown text in blocks, with what stands above it."""
    parsed = Parsed([], mime="text/markdown")
    text = take_front_matter(text, parsed)
    parsed.blocks = _Lines(text.split("\n")).blocks()
    if not parsed.title:
        parsed.title = next((block.title for block in parsed.blocks if block.level == 1), "")
    return parsed


def plain_title(text: str) -> str:
    """A heading without its marks: emphasis, code, links, attributes and tags of HTML."""
    text = _ATTRIBUTES.sub("", _CLOSING.sub("", text.strip()).strip())
    text = _MARKS.sub("", _LINK.sub(r"\1", _TAG.sub("", text[:5000])))
    return tidy(text, bounds.MOST_HEADING)


def _rule(line: str) -> bool:
    bare = line.replace(" ", "").replace("\t", "")
    return len(bare) >= 3 and bare[0] in "-*_" and bare == bare[0] * len(bare) and not _INDENTED.match(line)


def _delimiters(line: str) -> bool:
    return "|" in line and "-" in line and _DELIMITERS.issuperset(line)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0
        self._inner = 0

    def blocks(self) -> list[Block]:
        found: list[Block] = []
        lines = self._lines
        while self._at < len(lines):
            line = lines[self._at]
            if not line.strip():
                self._at += 1
                continue
            found.append(self._block(line))
        return found

    def _block(self, line: str) -> Block:
        if heading := _HEADING.match(line):
            self._at += 1
            return Block("heading", line.rstrip(), len(heading.group(1)), plain_title(line[heading.end(1) :]))
        if fence := _FENCE.match(line):
            return self._fenced(fence.group(1))
        if _INDENTED.match(line):
            return self._taken("code", self._indented)
        if _rule(line):
            self._at += 1
            return Block("paragraph", line.rstrip())
        if _QUOTE.match(line):
            return self._taken("quote", self._quoted)
        if item := _ITEM.match(line):
            self._inner = item.end()
            return self._taken("list", self._listed)
        html = _HTML.match(line)
        if html and (html.group(3) is None or html.group(3).lower() in BLOCK_TAGS):
            return self._html(html.group(1), bool(html.group(2)))
        following = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
        if "|" in line and _delimiters(following):
            return self._taken("table", lambda line: bool(line.strip()) and not self._interrupts(line))
        return self._paragraph()

    def _taken(self, kind: Kind, goes_on: Callable[[str], bool]) -> Block:
        start = self._at
        self._at += 1
        while self._at < len(self._lines) and goes_on(self._lines[self._at]):
            self._at += 1
        return self._made(kind, start)

    def _made(self, kind: Kind, start: int) -> Block:
        end = self._at
        while end > start and not self._lines[end - 1].strip():
            end -= 1
        return Block(kind, "\n".join(self._lines[start:end]))

    def _fenced(self, fence: str) -> Block:
        # A fence of fewer marks, or with a text behind it, does not close; where none does, the rest of the text is it.
        start = self._at
        self._at += 1
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            closing = _FENCE.match(line)
            if closing and closing.group(1).startswith(fence) and not line[closing.end() :].strip():
                break
        return self._made("code", start)

    def _html(self, raw: str | None, comment: bool) -> Block:
        start = self._at
        end = "-->" if comment else f"</{raw.lower()}>" if raw else ""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if not end and not line.strip():
                break
            self._at += 1
            if end and end in line.lower():
                break
        return self._made("code" if raw else "paragraph", start)

    def _indented(self, line: str) -> bool:
        return bool(_INDENTED.match(line)) or self._empty_before(lambda line: bool(_INDENTED.match(line)))

    def _quoted(self, line: str) -> bool:
        return bool(line.strip()) and (bool(_QUOTE.match(line)) or not self._interrupts(line))

    def _listed(self, line: str) -> bool:
        if not line.strip():
            return self._empty_before(self._in_item)
        if line[0] in " \t":
            return True
        if item := _ITEM.match(line):
            self._inner = item.end()
            return not _rule(line)
        # A line without indentation goes on with the item above it, where none is empty between them.
        return bool(self._lines[self._at - 1].strip()) and not self._interrupts(line)

    def _in_item(self, line: str) -> bool:
        """Whether a line below an empty one belongs to the list: it is indented as far as its item's text, or an
        item."""
        space = _SPACE.match(line)
        indent = len(space.group().expandtabs(4)) if space else 0
        if indent >= self._inner:
            return True
        item = _ITEM.match(line)
        if item is None or _rule(line):
            return False
        self._inner = item.end()
        return True

    def _empty_before(self, goes_on: Callable[[str], bool]) -> bool:
        """Whether this line and those below it are empty, and then one comes that belongs to the block. They are passed
        over then, so that none is looked at again."""
        ahead = self._at
        while ahead < len(self._lines) and not self._lines[ahead].strip():
            ahead += 1
        if ahead == self._at or ahead == len(self._lines) or not goes_on(self._lines[ahead]):
            return False
        self._at = ahead
        return True

    def _interrupts(self, line: str) -> bool:
        return bool(_HEADING.match(line) or _FENCE.match(line) or _QUOTE.match(line) or _rule(line))

    def _paragraph(self) -> Block:
        start = self._at
        self._at += 1
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if not line.strip():
                break
            if underline := _UNDERLINE.match(line):
                self._at += 1
                said = self._lines[start : self._at - 1]
                text = "\n".join(self._lines[start : self._at])
                return Block("heading", text, 1 if underline.group(1)[0] == "=" else 2, plain_title(" ".join(said)))
            if self._interrupts(line) or _ITEM.match(line):
                break
            following = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
            if "|" in line and _delimiters(following):
                break
            self._at += 1
        return self._made("paragraph", start)
