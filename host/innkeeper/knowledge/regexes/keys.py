"""Keys that are regular expressions, as SillyTavern and its neighbours write them: `/pattern/flags`."""

from __future__ import annotations

import re

from innkeeper.knowledge.regexes.interface import Regex

_WRITTEN = re.compile(r"/(.+)/([gimsuy]*)", re.DOTALL)
_BARE_SLASH = re.compile(r"(?<!\\)/")


def read_key(key: str) -> Regex | None:
    r"""The regular expression that a key is, or None where it is a plain word.

    It is one if it begins with a slash, has something before the last slash, no slash in there without a backslash in
    front, and nothing but the flags g, i, m, s, u and y behind. Whether it compiles shows when it is tested: one that
    does not (`Verdict.INVALID`) is a plain word too. The backslash of `\/` stays, since it means nothing.
    """
    found = _WRITTEN.fullmatch(key)
    if found is None or _BARE_SLASH.search(found[1]):
        return None
    return Regex(found[1], found[2])
