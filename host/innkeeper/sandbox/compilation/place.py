"""Where the cache lies: the variable INNKEEPER_CACHE, else innkeeper.toml, else the platform's folder for caches."""

from __future__ import annotations

import os
from pathlib import Path

from innkeeper.errors import UsageError

VARIABLE = "INNKEEPER_CACHE"
OFF = "off"
RIGHT = 'an absolute path, or "off"'
"""What either may say, for messages."""


def is_right(chosen: str) -> bool:
    """Whether the text is `RIGHT` (bool)."""
    return chosen == OFF or (os.path.isabs(os.path.expanduser(chosen)) and "\0" not in chosen)


def cache_folder(configured: str | None = None) -> tuple[Path | None, str]:
    """The folder, or None where there shall be no cache, and who chose it (str).

    Args:
        configured: what innkeeper.toml says: an absolute path, or "off".

    Raises:
        UsageError: what was chosen is not an absolute path.
    """
    for chosen, origin in ((os.environ.get(VARIABLE) or None, VARIABLE), (configured, "innkeeper.toml")):
        if chosen == OFF:
            return None, origin
        if chosen is not None:
            return _absolute(chosen, origin), origin
    import platformdirs

    return Path(platformdirs.user_cache_dir("innkeeper", appauthor=False)) / "compiled", "the platform's cache folder"


def _absolute(chosen: str, origin: str) -> Path:
    if not is_right(chosen):
        raise UsageError(f"{origin}: the cache is {chosen[:200]!r}; it must be {RIGHT}")
    # Without "..", which would lead elsewhere where a folder is a link.
    return Path(os.path.normpath(os.path.expanduser(chosen)))
