"""Where the cache lies: an option, else the variable INNKEEPER_CACHE, else innkeeper.toml, else the platform's folder
for caches."""

from __future__ import annotations

import os
from pathlib import Path

from innkeeper.errors import UsageError

VARIABLE = "INNKEEPER_CACHE"
FILE = "innkeeper.toml"
OFF = "off"
RIGHT = 'an absolute path, or "off"'
"""What either may say, for messages."""


def is_right(chosen: str) -> bool:
    """Whether the text is `RIGHT` (bool)."""
    return chosen == OFF or (os.path.isabs(os.path.expanduser(chosen)) and "\0" not in chosen)


def cache_folder(configured: str | None = None, origin: str = FILE) -> tuple[Path | None, str]:
    """The folder, or None where there shall be no cache, and who chose it (str).

    Args:
        configured: what the configuration says: an absolute path, or "off".
        origin: who says so. An option goes before the variable.

    Raises:
        UsageError: what was chosen is not an absolute path.
    """
    named = [(os.environ.get(VARIABLE) or None, VARIABLE), (configured, origin)]
    for chosen, who in named if origin in (FILE, VARIABLE) else reversed(named):
        if chosen == OFF:
            return None, who
        if chosen is not None:
            return _absolute(chosen, who), who
    import platformdirs

    return Path(platformdirs.user_cache_dir("innkeeper", appauthor=False)) / "compiled", "the platform's cache folder"


def _absolute(chosen: str, origin: str) -> Path:
    if not is_right(chosen):
        raise UsageError(f"{origin}: the cache is {chosen[:200]!r}; it must be {RIGHT}")
    # Without "..", which would lead elsewhere where a folder is a link.
    return Path(os.path.normpath(os.path.expanduser(chosen)))
