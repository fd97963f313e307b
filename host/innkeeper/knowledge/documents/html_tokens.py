"""HTML as a sequence of texts and tags, in one pass that never goes back.

The standard library's parser takes time with the square of the length of a crafted page (60 KB held it for twenty
seconds), and parsers that build a tree can be made to build an enormous one. What is needed here is neither attributes
nor a tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

from innkeeper.knowledge.documents.tags import HIDDEN

_NAME = re.compile(r"/?([A-Za-z][A-Za-z0-9:-]{0,40})")
_STOP = re.compile(r"[\"'>]")
_BEFORE_QUOTE = re.compile(r"=\s{0,9}\Z")
_LONG_NUMBER = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{7,});?")
_ALT = re.compile(r"\salt\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_MOST_TAG = 64 << 10


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag.

    Attributes:
        name: in small letters.
        opens: whether it opens something.
        alt: of an image, its text; else "".
    """

    name: str
    opens: bool
    alt: str = ""


def tokens(text: str) -> Iterator[str | Tag]:
    """Texts, with character references resolved, and tags. Linear in the text.

    Comments, declarations and what browsers do not show as text are left out. A tag that does not end is text, as is
    all behind it.
    """
    at = 0
    length = len(text)
    while at < length:
        opened = text.find("<", at)
        if opened < 0:
            opened = length
        if opened > at:
            yield resolved(text[at:opened])
        if opened == length:
            return
        if text.startswith("<!--", opened):
            # As browsers do: an empty comment may end at once, one that does not end is all that follows.
            end = opened + 2 if text.startswith(("<!-->", "<!--->"), opened) else opened + 4
            closed = text.find("-->" if end == opened + 4 else ">", end)
            at = length if closed < 0 else closed + (3 if end == opened + 4 else 1)
            continue
        if text.startswith(("<!", "<?"), opened):
            closed = text.find(">", opened)
            at = length if closed < 0 else closed + 1
            continue
        name = _NAME.match(text, opened + 1)
        if name is None:
            yield "<"
            at = opened + 1
            continue
        closed = _end_of_tag(text, name.end())
        if closed < 0:
            yield resolved(text[opened:])
            return
        tag = Tag(name.group(1).lower(), text[opened + 1] != "/")
        if tag.name == "img" and (alt := _ALT.search(text, opened, min(closed, opened + _MOST_TAG))):
            tag = Tag("img", True, resolved(alt.group(1) or alt.group(2) or ""))
        at = closed + 1
        if tag.opens and tag.name in HIDDEN and text[closed - 1] != "/":
            at = _after_hidden(text, tag.name, at)
        yield tag


def resolved(text: str) -> str:
    """A text with its character references resolved."""
    if "&" not in text:
        return text
    # No character has so long a number, and Python refuses to read very long ones.
    return unescape(_LONG_NUMBER.sub("\ufffd", text)).replace("\0", "\ufffd")


def _end_of_tag(text: str, at: int) -> int:
    while stop := _STOP.search(text, at):
        found = stop.start()
        if text[found] == ">":
            return found
        at = found + 1
        # A quotation mark that is no value's is a character like others.
        if _BEFORE_QUOTE.search(text, max(0, found - 10), found):
            closed = text.find(text[found], at)
            if closed < 0:
                return -1
            at = closed + 1
    return -1


def _after_hidden(text: str, name: str, at: int) -> int:
    ending = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(text, at)
    return len(text) if ending is None else ending.start()
