"""What a log never shows: values under names that mean secrets, and what looks like one in any text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

MOST_TEXT: Final = 2000
"""Characters of one value."""

MOST_ITEMS: Final = 50
MOST_DEPTH: Final = 5

REDACTED: Final = "[redacted]"

_SECRET_NAMES = re.compile(
    "token|secret|apikey|password|passwd|passphrase|authorization|cookie|credential|privatekey|masterkey|ticket"
)
_SEPARATORS = re.compile(r"[-_.\s]+")

_SECRET_TEXTS = re.compile(
    r"""
      (?P<head>\b(?:(?:set-)?cookie|authorization)["']?\s{0,3}[=:]\s{0,3})[^\r\n]{1,1000}
    | (?P<key>ctsk_)[A-Za-z0-9_-]{4,1000}                                 # a key of this server's
    | (?P<scheme>\b(?:bearer|basic)\s{1,3})[A-Za-z0-9._~+/=-]{4,2000}
    | (?P<url>://[^\s/:@]{0,100}:)[^\s/@]{1,200}(?=@)                     # a password in a URL
    | (?P<name>\b[a-z_-]{0,40}(?:token|secret|api_?key|password|ticket)["']?\s{0,3}[=:]\s{0,3}["']?)[^\s"'&,;]{1,400}
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Each part is bounded, so that searching takes as long as the text is."""

_MARKS = re.compile("(?i)token|secret|api_?key|password|ticket|cookie|authorization|bearer|basic|ctsk_|://")
"""What each of them has: most texts have none, and looking for that alone is ten times as fast."""


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether a name, such as that of a field or a header, means a secret (bool).

    Args:
        name: at most a few hundred characters of it.
    """
    return _SECRET_NAMES.search(_SEPARATORS.sub("", name.lower())) is not None


def redacted_text(text: str) -> str:
    """A text without what looks like a secret, and not longer than `MOST_TEXT` (str)."""
    # Cut first, with room for a secret that begins before the cut: searching a megabyte would take long.
    shown = text[: MOST_TEXT + 1000]
    if _MARKS.search(shown) is not None:
        shown = _SECRET_TEXTS.sub(_hidden, shown)
    return shown if len(shown) <= MOST_TEXT and len(text) <= MOST_TEXT + 1000 else shown[:MOST_TEXT] + " ..."


def _hidden(match: re.Match[str]) -> str:
    return (match["head"] or match["key"] or match["scheme"] or match["url"] or match["name"] or "") + REDACTED


def redacted(value: Any, depth: int = MOST_DEPTH) -> Any:
    """Plain data as a log may show it: bounded, and without secrets.

    Args:
        value: anything; what is no plain data is shown as text.
        depth: containers inside each other that are shown.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, Mapping | list | tuple) and depth <= 0:
        return "..."
    if isinstance(value, Mapping):
        shown: dict[str, Any] = {}
        for name, inner in list(value.items())[:MOST_ITEMS]:
            text = str(name)[:200]
            shown[redacted_text(text)] = REDACTED if is_secret(text) else redacted(inner, depth - 1)
        return shown
    if isinstance(value, list | tuple):
        return [redacted(inner, depth - 1) for inner in value[:MOST_ITEMS]]
    if isinstance(value, bytes | bytearray):
        return f"{len(value):,} bytes"
    return redacted_text(str(value))
