"""Versions and ranges of them, such as ">=1.2, <2", as Python's packages write both (PEP 440)."""

from __future__ import annotations

from functools import cache, lru_cache

from innkeeper.plugins.tables import shown

MAX_RANGE = 200
"""Characters of a range."""

RIGHT = 'a range of versions such as ">=1.2, <2"'


@cache
def host_version() -> str | None:
    """The version of this host (str), or None where nobody installed it and so nobody knows."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("innkeeper")
    except PackageNotFoundError:
        return None


def check_range(text: str) -> None:
    """Refuses what is no range. An empty one is every version.

    Raises:
        ValueError: it is none; the message is a sentence that says what would be right.
    """
    # Imported late: who neither depends on a plugin nor on a version does not pay for it.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    # "===" compares texts, and whoever writes it means "==".
    if len(text) <= MAX_RANGE and "===" not in text:
        try:
            SpecifierSet(text)
            return
        except InvalidSpecifier:
            pass
    raise ValueError(f"is {shown(text)}: it must be {RIGHT}")


@lru_cache(maxsize=4096)
def in_range(version: str, text: str) -> bool:
    """Whether a version is in a range that was checked. A version that has no order, such as "nightly", is in the range
    of every version alone."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    if not text.strip():
        return True
    try:
        # A version before a release is of that release's kind: whoever runs one wants to use it.
        return SpecifierSet(text).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False
