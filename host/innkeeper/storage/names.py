"""Keys and other names that guests choose: bounded, readable, and searched by prefix without a pattern. And names that
nobody chooses."""

from __future__ import annotations

import secrets
import unicodedata
from typing import Final

MOST_BYTES: Final = 256
"""Bytes of a name in UTF-8."""

_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def check_name(text: str, what: str, *, empty: bool = False) -> int:
    """Makes sure that a text can be a name; gives its bytes in UTF-8 (int).

    Args:
        text: from anywhere.
        what: what it names, for the message: "key".
        empty: whether it may be empty.

    Raises:
        ValueError: it is too long, empty, no text of Unicode, or has control characters. The message does not show it.
    """
    # A character has at least one byte: nothing long is encoded or looked through.
    if len(text) > MOST_BYTES:
        raise ValueError(f"the {what} is longer than {MOST_BYTES} bytes: take a shorter one")
    if not text and not empty:
        raise ValueError(f"the {what} is empty: it must have at least one character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the {what} has half of a surrogate pair: it must be text of Unicode") from None
    if size > MOST_BYTES:
        raise ValueError(f"the {what} is longer than {MOST_BYTES} bytes: take a shorter one")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError(f"the {what} has a control character: leave it out")
    return size


def new_id() -> str:
    """An id (str) of a run, a schedule or a host: 128 random bits as hexadecimal digits, which no command takes for an
    option."""
    return secrets.token_hex(16)


def after_prefix(prefix: str) -> str | None:
    """The first text (str) after all that begin with `prefix`, in the order of bytes in UTF-8; None if there is none.

    A range finds what a pattern would, and no character has a meaning in it.
    """
    for end in range(len(prefix), 0, -1):
        code = ord(prefix[end - 1]) + 1
        if code in _SURROGATES:
            code = _SURROGATES.stop
        if code <= _LAST:
            return prefix[: end - 1] + chr(code)
    return None
