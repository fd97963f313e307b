"""The service `kb`: knowledge bases, searched, read, written and turned into context by plugins."""

from __future__ import annotations

from innkeeper.bridge.kb_context import KbContext
from innkeeper.bridge.quota import Rate

RATE = Rate(per_second=200, burst=400)
"""Calls of one plugin. Searches and changes wait for each other besides: none of them is quick."""


class KbService(KbContext):
    """What guests may do with knowledge bases."""
