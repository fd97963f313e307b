"""How much of anything a file of knowledge may have, beside `model.bounds`."""

from __future__ import annotations

from typing import Final

MOST_VALUES: Final = 12_000_000
"""Values in one file of JSON: a hundred thousand entries with every field have five million."""

MOST_CONTAINERS: Final = 4_000_000
"""Objects and arrays in one file of JSON. An empty one takes two bytes in the file and sixty in memory."""

MOST_DIGITS: Final = 20
"""Characters of a whole number: what 64 bits hold, with a sign. Services and stores know no larger ones."""

MOST_PROBLEMS: Final = 1000
"""Problems of one file that are listed."""

MOST_MISTAKES: Final = 100_000
"""Problems of one file, listed or not, after which it is refused: nobody goes on to count them."""

MOST_SHOWN: Final = 300
"""Characters of a place in a file that a message shows."""

MOST_ODD: Final = 50
"""Problems of one value that are found by walking through it."""

MOST_WALKED: Final = 16 << 20
"""Characters that are walked for the sake of lines and keys, which is slow; what is wrong after that says where its
entry begins."""

MOST_VALUE: Final = 64 << 20
"""Bytes of one value at the top of a file, such as `kb_extensions`, or the ids of vectors."""

MOST_TOP: Final = 1000
"""Keys of the top level of a base."""

MOST_MEMBERS: Final = 10_000
"""Files in one archive."""

MOST_DIRECTORY: Final = 4 << 20
"""Bytes of an archive's table of contents, which is read whole."""

MOST_ARCHIVE: Final = 2 << 30
"""Bytes of an archive, and of all that is in it."""

MOST_MEDIUM: Final = 256 << 20
"""Bytes of one media file."""

MOST_RATIO: Final = 200
"""How many times larger than its compressed form a file in an archive may be, where it is larger than `SMALL`. Texts
come to thirty; what deflate can reach with nothing but zeros is a thousand."""

SMALL: Final = 1 << 20
"""Bytes below which nobody asks how well a file was compressed."""

MOST_NAME: Final = 255
"""Bytes of one component of a name of a file in UTF-8."""

MOST_PATH: Final = 1000
"""Bytes of a relative path in UTF-8."""

MOST_FOLDERS: Final = 16
"""Components of a relative path."""

MOST_DIMENSION: Final = 8192
"""Numbers in a vector."""

MOST_SETS: Final = 8
"""Sets of vectors in one archive: one a model."""

MOST_REFERENCES: Final = 1000
"""Knowledge bases that one project names, and bases that one home has."""

MOST_PROJECT: Final = 8 << 20
"""Bytes of a project.json, or of a registry."""
