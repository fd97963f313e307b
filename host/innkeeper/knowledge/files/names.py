"""Ids of bases, and the folders in which they lie."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from innkeeper.knowledge.files.relative import why_not
from innkeeper.knowledge.model.bounds import MOST_NAME

ID_RIGHT: Final = "1 to 64 lower-case letters, digits, dots, dashes and underscores, a letter or digit first"

NAMES: Final = ("knowledge.json", "entries.json")
"""What the file of a base is called in its folder or archive; one of them is there."""

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_OTHER = re.compile(r"[^a-z0-9_-]+")


def is_id(text: str) -> bool:
    """Whether a text can be the id of a base that is made here (bool): it can be a folder's name as well."""
    return _PLAIN.fullmatch(text) is not None and not why_not(text)


def slug(text: str) -> str:
    """An id made of a name (str): the name itself where that can be one."""
    if is_id(text):
        return text
    found = _plain(text)
    # Letters were lost where this is not so: two names shall not become the same id.
    if len(text) <= MOST_NAME and is_id(found) and len(unicodedata.normalize("NFC", text)) == len(_ascii(text)):
        return found
    return f"{found or 'kb'}-{_mark(text)[:8]}"


def folder_name(base_id: str) -> str:
    """The name of the folder in which the home keeps a base (str): for two ids two names, on every system."""
    # Files of the folder of bases, and copies, have a dot.
    return base_id if is_id(base_id) and "." not in base_id else f"{_plain(base_id) or 'kb'}-{_mark(base_id)}"


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text[:MOST_NAME]).encode("ascii", "ignore").decode()


def _plain(text: str) -> str:
    return _OTHER.sub("-", _ascii(text).lower()).strip("-_")[:40].strip("-_")


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
