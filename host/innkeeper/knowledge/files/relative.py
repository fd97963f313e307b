"""Names of files that somebody else wrote: relative, plain, the same on every system."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from innkeeper.knowledge.files.bounds import MOST_FOLDERS, MOST_NAME, MOST_PATH

MEDIA: Final = "media"
"""The folder of a base's media files. None lies elsewhere."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def why_not(path: str) -> str:
    """What keeps a text from being a relative path that every system takes for the same, as the rest of a sentence
    (str); "" if nothing does.

    Args:
        path: components with "/" between them.
    """
    if not path:
        return "is empty"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is no text of Unicode"
    if size > MOST_PATH:
        return f"has {size:,} bytes: a path has at most {MOST_PATH:,}"
    if "\\" in path:
        return 'has a backslash: folders are separated by "/"'
    if path.startswith("/"):
        return "is absolute: it must be relative"
    if ":" in path:
        return "has a colon, as drives and addresses have it"
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") for letter in path):
        return "has a character that cannot be seen"
    parts = path.split("/")
    if len(parts) > MOST_FOLDERS:
        return f"has more than {MOST_FOLDERS} folders inside of each other"
    for part in parts:
        if part in ("", ".", ".."):
            return f"has the component {part!r}: it must lead down, step by step"
        if len(part.encode()) > MOST_NAME:
            return f"has a name of more than {MOST_NAME} bytes"
        if part[-1] in ". " or _RESERVED.fullmatch(part):
            return f"has the name {part!r}, which not every system can have"
    return ""


def why_no_medium(path: str) -> str:
    """As `why_not`, for a file of a base's media."""
    problem = why_not(path)
    if problem:
        return problem
    return "" if path.startswith(f"{MEDIA}/") else f"does not lie below {MEDIA}/"


def folded(path: str) -> str:
    """What is equal for two paths that some system takes for the same (str)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
