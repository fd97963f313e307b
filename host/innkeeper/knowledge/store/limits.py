"""How much the store takes, and how much of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from innkeeper.knowledge.model import bounds

AT_ONCE: Final = 256
"""Entries that one transaction changes: some 10 ms, for which every other writer waits."""

BYTES_AT_ONCE: Final = 2 << 20
"""Bytes of them; one entry may have more."""

MOST_TERMS: Final = 128 << 10
"""Bytes of the terms of one entry."""

MOST_DIMENSION: Final = 8192
"""Numbers in a vector."""

MOST_INFO: Final = 1 << 20
"""Bytes of what a base says of itself, as JSON."""

DEAD_AFTER: Final = 120.0
"""Seconds after which a batch that nobody stages to is cleaned up: its process has died."""


@dataclass(frozen=True, slots=True)
class StoreQuota:
    """What an owner's knowledge bases may have.

    Attributes:
        bases: how many of them.
        project_bases: own bases of projects, which do not count among these.
        entries, bytes: of one base; bytes of its documents and terms.
        agent_entries, agent_bytes: of these, what plugins wrote.
        history_rows: changes that one base remembers.
        history_bytes: bytes of them at least; a base may remember twice its own bytes.
        sessions: of one base; whoever wrote least recently goes first.
        overlaid: entries of one session's overlay.
        overlaid_bytes: bytes of them.
        overlays_bytes: bytes of all overlays of one base.
        state: bytes of what activation remembers of one session.
        proposals: that wait at one base.
        proposals_bytes: bytes of them.
        infos: changes of what a base says of itself that it remembers.
    """

    bases: int = 256
    project_bases: int = 1024
    entries: int = bounds.MOST_ENTRIES
    bytes: int = 1 << 30
    agent_entries: int = 10_000
    agent_bytes: int = 16 << 20
    history_rows: int = 2 * bounds.MOST_ENTRIES
    history_bytes: int = 16 << 20
    sessions: int = 1000
    overlaid: int = 1000
    overlaid_bytes: int = 4 << 20
    overlays_bytes: int = 256 << 20
    state: int = 256 << 10
    proposals: int = 1000
    proposals_bytes: int = 16 << 20
    infos: int = 32
