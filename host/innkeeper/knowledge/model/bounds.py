"""How much of anything a knowledge base may have. Files, stores and services check against these."""

from __future__ import annotations

from typing import Final

MOST_ENTRIES: Final = 200_000
"""Entries of one base."""

MOST_FILE: Final = 256 << 20
"""Bytes of one file of JSON."""

MOST_DEPTH: Final = 64
"""Containers inside each other in a file of JSON."""

MOST_ENTRY: Final = 1 << 20
"""Bytes of one entry as JSON in UTF-8, its extensions included."""

MOST_CONTENT: Final = 256 << 10
"""Characters of an entry's text. World books in the wild have entries of a hundred thousand."""

MOST_ID: Final = 128
"""Characters of an entry's id."""

MOST_NAME: Final = 1000
"""Characters of a name that people read."""

MOST_KEYS: Final = 1000
"""Keywords of one entry; also keys of one group, and groups of one entry."""

MOST_KEY: Final = 2000
"""Characters of one keyword or regular expression."""

MOST_PRIORITY: Final = 1_000_000_000
"""Absolute value of a priority: orders in the wild reach millions."""

MOST_LINKS: Final = 10_000
"""Children, related entries, tags or variables of one entry."""
