"""Names of files that a client may choose: plain, and the same on every system."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from innkeeper.server.files.problems import FileError

MOST_NAME: Final = 255
"""Bytes of a name in UTF-8, which is what file systems have."""

OWN: Final = ".innkeeper"
"""How names begin that only the server itself gives."""

_FORBIDDEN: Final = frozenset('/\\:*?"<>|')
_CATEGORIES: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_JOINERS: Final = frozenset("\u200c\u200d")
"""Not seen by themselves, yet part of words in Persian and of emoji."""

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])[ .]*(\..*)?", re.IGNORECASE)


def why_no_name(name: str) -> str:
    """What keeps a text in NFC from being a name, as the rest of a sentence (str); "" if nothing does."""
    if name in ("", ".", ".."):
        return "is no name"
    # Characters first: what is far too long is not encoded.
    if len(name) > MOST_NAME:
        return f"is longer than {MOST_NAME} bytes of UTF-8"
    for letter in name:
        if letter in _FORBIDDEN:
            return f"has the character {letter!r}"
        if unicodedata.category(letter) in _CATEGORIES and letter not in _JOINERS:
            return f"has the character U+{ord(letter):04X}, which cannot be seen"
    if len(name.encode()) > MOST_NAME:
        return f"is longer than {MOST_NAME} bytes of UTF-8"
    if name[-1] in ". ":
        return "ends with a dot or a space"
    if name[0] == " ":
        return "begins with a space"
    if _DEVICE.fullmatch(name):
        return "is a device's on some systems"
    if name.casefold().startswith(OWN):
        return "is one of the server's own"
    return ""


def checked_name(text: str) -> str:
    """A name as files have it here: in NFC.

    Raises:
        FileError: "name": it cannot be one.
    """
    if len(text) <= MOST_NAME:
        text = unicodedata.normalize("NFC", text)
    why = why_no_name(text)
    if why:
        raise FileError("name", f"the name {shown(text)} {why}: choose another")
    return text


def safe_name(text: str, suffix: str = "", most: int = MOST_NAME) -> str:
    """A name that is made of what people call something (str): the text itself with the suffix where that can be one
    that is not hidden.

    Args:
        text: any.
        suffix: of the name, such as ".json".
        most: bytes.
    """
    text = unicodedata.normalize("NFC", text[: 4 * MOST_NAME])
    plain = "".join("_" if _is_bad(letter) else letter for letter in text).strip(" ")
    if plain.startswith("."):
        plain = "_" + plain[1:]
    plain = plain.encode()[: most - len(suffix.encode()) - 1].decode(errors="ignore").rstrip(". ") or "untitled"
    # Cut in the middle of a cluster, the rest may compose anew.
    plain = unicodedata.normalize("NFC", plain)
    return f"_{plain}{suffix}" if _DEVICE.fullmatch(plain + suffix) else f"{plain}{suffix}"


def shown(text: str) -> str:
    """A name for a message (str): of what is long the beginning."""
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


def _is_bad(letter: str) -> bool:
    return letter in _FORBIDDEN or (unicodedata.category(letter) in _CATEGORIES and letter not in _JOINERS)
