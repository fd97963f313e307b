"""Bytes as text: which encoding a file has, or that it is no text."""

from __future__ import annotations

import codecs
import re

from innkeeper.knowledge.model.problems import KnowledgeError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}[\"']?([A-Za-z0-9_-]{1,40})", re.IGNORECASE)
_DECLARED = frozenset((
    "big5", "big5hkscs", "cp1250", "cp1251", "cp1252", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "iso2022_jp",
    "iso8859-1", "iso8859-15", "iso8859-2", "iso8859-5", "iso8859-9", "koi8-r", "koi8-u", "shift_jis", "utf-8",
))  # fmt: skip
"""Encodings that a page may name: texts alone, none that unpacks something."""

_LOOKED_AT = 4096


def decode(data: bytes, name: str, *, html: bool = False) -> str:
    """The text of a file, with "\\n" at the ends of lines.

    Args:
        data: all of it.
        name: of the file, for messages.
        html: whether a page's own word on its encoding is heeded.

    Raises:
        KnowledgeError: it is no text, or in an encoding that neither a mark at its start nor it itself names.
    """
    try:
        text = data.decode(_encoding(data, html))
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.start:,}); save it as UTF-8, or as UTF-16 with a mark"
        raise KnowledgeError(problem, source=name) from None
    if "\0" in text:
        raise KnowledgeError("has null characters: it is no text", source=name)
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _encoding(data: bytes, html: bool) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    head = data[:_LOOKED_AT]
    # Text in UTF-16 without a mark: every other byte of Latin letters, spaces and ends of lines is null.
    for encoding, nulls, others in (("utf-16-le", head[1::2], head[0::2]), ("utf-16-be", head[0::2], head[1::2])):
        if len(nulls) > 4 and nulls.count(0) * 10 > len(nulls) * 4 and not others.count(0):
            return encoding
    if html and (found := _CHARSET.search(head)):
        try:
            name = codecs.lookup(found.group(1).decode()).name
        except LookupError:
            return "utf-8"
        return name if name in _DECLARED else "utf-8"
    return "utf-8"
