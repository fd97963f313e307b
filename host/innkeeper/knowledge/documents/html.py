"""HTML in blocks: the text of a page with its headings, lists, tables and listings, and nothing of its looks."""

from __future__ import annotations

from innkeeper.knowledge.documents import bounds
from innkeeper.knowledge.documents.blocks import Block, Kind, Parsed, tidy
from innkeeper.knowledge.documents.html_tokens import Tag, tokens
from innkeeper.knowledge.documents.tags import BLOCK_TAGS, HEADINGS

_DEEPEST = 8
"""Lists inside each other that are shown by indentation."""


def read_html(text: str) -> Parsed:
    """A page in blocks, written as Markdown."""
    page = _Page()
    for token in tokens(text):
        if isinstance(token, str):
            page.say(token)
        elif token.opens:
            page.open(token)
        else:
            page.close(token.name)
    page.end()
    return Parsed(page.blocks, title=page.title, mime="text/markdown")


class _Page:
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.title = ""
        self._said: list[str] = []
        self._level = 0
        self._in_title = False
        self._listing = 0
        self._lists: list[str] = []
        self._numbers: list[int] = []
        self._lines: list[str] = []
        self._mark = ""
        self._tables = 0
        self._rows: list[list[str]] = []
        self._quotes = 0

    def say(self, text: str) -> None:
        self._said.append(text)

    def open(self, tag: Tag) -> None:
        name = tag.name
        if name == "br":
            self._said.append("\n" if self._listing else "\r")
        elif name == "img":
            if tag.alt.strip():
                self._said.append(f" [{tag.alt}] ")
        elif name == "pre":
            self._flush()
            self._listing += 1
        elif name in BLOCK_TAGS and not (self._listing and name not in HEADINGS):
            self._flush()
            self._open_block(name)

    def _open_block(self, name: str) -> None:
        if name in HEADINGS:
            self._level = HEADINGS[name]
        elif name == "title":
            self._in_title = True
        elif name in ("ul", "ol", "menu"):
            self._lists.append("1" if name == "ol" else "-")
            self._numbers.append(0)
        elif name == "li":
            self._mark = "- "
            if self._lists and self._lists[-1] == "1":
                self._numbers[-1] += 1
                self._mark = f"{self._numbers[-1]}. "
        elif name == "table":
            self._tables += 1
        elif name == "tr" and self._tables:
            self._rows.append([])
        elif name == "blockquote":
            self._quotes += 1

    def close(self, name: str) -> None:
        if name == "pre":
            self._flush()
            self._listing = max(0, self._listing - 1)
        elif name in BLOCK_TAGS and not self._listing:
            self._flush()
            if name in HEADINGS:
                self._level = 0
            elif name == "title":
                self._in_title = False
            elif name in ("ul", "ol", "menu") and self._lists:
                self._lists.pop()
                self._numbers.pop()
                if not self._lists:
                    self._end_list()
            elif name == "table" and self._tables:
                self._tables -= 1
                if not self._tables:
                    self._end_table()
            elif name == "blockquote":
                self._quotes = max(0, self._quotes - 1)

    def end(self) -> None:
        self._listing = min(self._listing, 1)
        self._flush()
        self._end_list()
        self._end_table()

    def _flush(self) -> None:
        said = "".join(self._said)
        self._said.clear()
        if self._listing:
            if said.strip():
                # Longer than every run of marks in it, so that the listing ends where it ends.
                marks = "`" * max(3, _longest_run(said) + 1)
                self._block("code", f"{marks}\n{said.strip(chr(10))}\n{marks}")
            return
        # Of white space only what "br" stands for makes a line.
        lines = [" ".join(line.split()) for line in said.split("\r")]
        text = "\n".join(line for line in lines if line)
        if not text:
            return
        flat = text.replace("\n", " ")
        if self._in_title:
            self.title = self.title or tidy(flat, bounds.MOST_HEADING)
            self._in_title = False
        elif self._level:
            self._block("heading", f"{'#' * self._level} {flat}", self._level, tidy(flat, bounds.MOST_HEADING))
        elif self._tables:
            if not self._rows:
                self._rows.append([])
            self._rows[-1].append(flat.replace("|", "\\|"))
        elif self._lists or self._mark:
            indent = "  " * min(max(0, len(self._lists) - 1), _DEEPEST)
            self._lines.append(indent + (self._mark or "  ") + text.replace("\n", "\n" + indent + "  "))
            self._mark = ""
            if not self._lists:
                self._end_list()
        elif self._quotes:
            self._block("quote", "> " + text.replace("\n", "\n> "))
        else:
            self._block("paragraph", text)

    def _block(self, kind: Kind, text: str, level: int = 0, title: str = "") -> None:
        # What is said in the midst of a list or table, such as a heading, stands behind what came before it.
        self._end_list()
        if not self._tables:
            self._end_table()
        self.blocks.append(Block(kind, text, level, title))

    def _end_list(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self.blocks.append(Block("list", "\n".join(lines)))

    def _end_table(self) -> None:
        rows = [row for row in self._rows if row]
        self._rows = []
        if rows:
            lines = [f"| {' | '.join(row)} |" for row in rows]
            lines.insert(1, "|" + " - |" * len(rows[0]))
            self.blocks.append(Block("table", "\n".join(lines)))


def _longest_run(text: str) -> int:
    longest = run = 0
    if "```" not in text:
        return 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
