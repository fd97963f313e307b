"""Entries as a session sees them, and which of them somebody wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from innkeeper.knowledge.live.base import LiveBase
from innkeeper.knowledge.store.values import Overlaid, Stored
from innkeeper.storage.knowledge_model import Filters
from innkeeper.storage.names import check_name

SESSIONS: Final = 1 << 40
"""What is added to the version of an entry in a session: no entry of a base gets that far, so that a version which was
read in the one place is never expected in the other."""


def seen(live: LiveBase, overlay: Mapping[str, Overlaid], id: str) -> Stored | None:
    """An entry as a session sees it.

    Args:
        live: the base.
        overlay: of the session, by id of the entry.
        id: of the entry.
    """
    mine = overlay.get(id)
    return live.get(id) if mine is None else stored_of(mine, live.get(id))


def stored_of(mine: Overlaid, under: Stored | None) -> Stored | None:
    """What an overlay says of an entry, in the form of what a base says of one; None where it says that it is gone."""
    if mine.document is None:
        return None
    management = mine.document.get("management_metadata")
    management = management if isinstance(management, Mapping) else {}
    return Stored(
        mine.entry,
        json.dumps(mine.document, ensure_ascii=False),
        under.position if under is not None else 0.0,
        SESSIONS + mine.version,
        management.get("is_enabled", True) is not False,
        text_or_empty(management.get("source")),
        mine.author,
        under.created if under is not None else mine.at,
        mine.at,
        "",
    )


def passes(stored: Stored, filters: Filters) -> bool:
    """Whether filters let an entry through."""
    if not (stored.enabled or filters.disabled) or filters.source not in (None, stored.source):
        return False
    if not filters.tags and not filters.types:
        return True
    document = stored.plain()
    management = document.get("management_metadata")
    tags = management.get("tags") if isinstance(management, Mapping) else ()
    if filters.tags and not any(tag in filters.tags for tag in tags or ()):
        return False
    return not filters.types or document.get("entry_type", "lore_detail") in filters.types


def check_source(filters: Filters) -> None:
    """Raises ValueError for a source that is none."""
    if filters.source is not None:
        check_name(filters.source, "source")


def text_or_empty(value: object) -> str:
    """The value where it is text, else ""."""
    return value if isinstance(value, str) else ""
