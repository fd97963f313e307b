"""How much of documents is read."""

from __future__ import annotations

from typing import Final

MOST_FILES: Final = 10_000
"""Files of one import."""

MOST_NAMES: Final = 100_000
"""Names that are looked at in all folders."""

MOST_FOLDERS: Final = 32
"""Folders inside each other."""

MOST_FILE: Final = 8 << 20
"""Bytes of one file."""

MOST_BYTES: Final = 256 << 20
"""Bytes of all files together."""

MOST_FRONT_MATTER: Final = 16 << 10
"""Bytes of what stands above a Markdown text. YAML is read slowly."""

MOST_HEADING: Final = 200
"""Characters of a heading that are kept of it where it names an entry; in the text it stays whole."""

MOST_TAGS: Final = 50
"""Tags and keywords of a document's front matter."""

LEAST_SIZE: Final = 16
MOST_SIZE: Final = 8000
"""Tokens that an entry may be asked to have."""

MOST_ENTRY: Final = 200_000
"""Characters of an entry, whatever its tokens."""
