"""What a chat may be at most."""

from __future__ import annotations

from typing import Final

from innkeeper.bridge.scan import DataBounds
from innkeeper.sandbox.limits import KIB, MIB

MOST_NODES: Final = 10_000
"""Messages of one tree. A chat without branches is as deep as it is long, so that this bounds its depth as well."""

MOST_CONTENT: Final = 500_000
"""Characters of one message: a whole novel's chapter many times over."""

MOST_EXTRA: Final = 64 * KIB
"""Bytes of what a message carries beside its content, as JSON."""

FILE: Final = DataBounds(size=16 * MIB, depth=32, elements=500_000)
"""What the file of a session may be: its largest tree with 25 values a message, and room for what is unknown here."""

REQUEST: Final = DataBounds(size=3 * MIB, depth=24, elements=50_000)
"""What a request may be: one message of the longest kind, or the ids of all messages. What it carries lies deeper in
its file than in the request."""

MOST_SESSIONS: Final = 1_000
"""Sessions of one project."""

MOST_PROJECTS: Final = 1_000
"""Projects that are looked through for a session whose project is not named."""

MOST_TITLE: Final = 200
MOST_DESCRIPTION: Final = 4_000
MOST_TAGS: Final = 50
MOST_TAG: Final = 64

MOST_ASSET: Final = 8 * MIB
"""Bytes of one picture or sound."""

MOST_ASSETS: Final = 200
"""Assets of one session."""

MOST_ASSETS_SIZE: Final = 64 * MIB
"""Bytes of all assets of one session."""

KEPT: Final = 20
"""Trees that are kept in memory, of all users."""

KEPT_SIZE: Final = 384 * MIB
"""Bytes that they take together: the largest, of some 90 MiB, must be one that a cache still keeps."""

KEPT_FOR: Final = 3600.0
"""Seconds for which one is kept that nobody changes."""
