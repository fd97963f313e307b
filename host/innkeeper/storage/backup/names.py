"""Which names the files of a backup may have: relative, plain, leading down."""

from __future__ import annotations

import unicodedata
from typing import Final

from innkeeper.storage.backup.header import MOST_NAME

MOST_FOLDERS: Final = 64
"""Folders in folders."""

_MOST_COMPONENT = 255


def why_not(name: str) -> str:
    """What keeps a text from being the name of a file in a backup, as the rest of a sentence (str); "" if nothing does.

    Args:
        name: components with "/" between them.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is no text of Unicode"
    if not name or size > MOST_NAME:
        return f"has {size:,} bytes: a name has 1 to {MOST_NAME:,}"
    # What is not seen in a list of files is not looked at either. Marks that join letters are part of languages.
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        return "has a control character"
    parts = name.split("/")
    if len(parts) > MOST_FOLDERS:
        return f"has more than {MOST_FOLDERS} folders inside of each other"
    for part in parts:
        if part in ("", ".", ".."):
            return f"has the component {part!r}: it must lead down, step by step"
        if len(part.encode()) > _MOST_COMPONENT:
            return f"has a component of more than {_MOST_COMPONENT} bytes"
    return ""
