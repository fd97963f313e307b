"""What takes a step back: changes that lead to what was before. They are a step like any other, so they too can be
taken back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.store import reading
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.values import UNDO, Applied, Change, Origin, Past
from innkeeper.knowledge.store.writing import where_of
from innkeeper.storage.knowledge_model import NoSuchError, Place

_PAGE: Final = 500


async def undo_entry(
    store: KnowledgeStore, place: Place, id: str, *, author: str = "", last: Past | None = None
) -> Applied:
    """Makes an entry what it was before its last change.

    Args:
        last: its last change, as `history` gave it; None: whatever that is now.
        author: id of the plugin that takes it back, which must have made it; "": a person, who may take back anything.

    Raises:
        NoSuchError: nothing is remembered of it.
        VersionError: somebody changed it meanwhile.
        ValueError: somebody else than the plugin made the last change.
    """
    if last is None:
        past = await store.history(place, id, most=1)
        if not past:
            raise NoSuchError(f"nothing is remembered of an entry {id[:80]!r} in the knowledge base {place.base!r}")
        last = past[0]
    # Here, where the change is taken back that was looked at, or none: whoever asked before may have seen an older one.
    if author and last.author != author:
        raise ValueError("somebody else changed the entry last: only the operator takes that back")
    return await store.change(place, [_back(last)], Origin(UNDO, author))


async def undo_step(store: KnowledgeStore, place: Place, revision: int | None = None, *, author: str = "") -> Applied:
    """Makes all entries that a step changed what they were before.

    Args:
        revision: of the step; None: the last one.

    Raises:
        NoSuchError: there is no such step, or a part of it is forgotten.
        VersionError: somebody changed one of its entries since.
        ValueError: a plugin takes it back that did not take it.
    """
    steps = await store.steps(place, below=1 << 62 if revision is None else revision + 1, most=1)
    if not steps or revision not in (None, steps[0].revision):
        which = "step that could be taken back" if revision is None else f"step {revision}"
        raise NoSuchError(f"the knowledge base {place.base!r} remembers no {which}")
    step = steps[0]
    if author and step.author != author:
        raise ValueError(f"somebody else took the step {step.revision}: only the operator takes that back")
    where = where_of(place)
    changes: list[Change] = []
    after = ""
    while True:

        def read(connection: Connection, after: str = after) -> list[Past]:
            asked = {**where, "its_revision": step.revision, "after": after, "most": _PAGE}
            return [reading.past_of(row) for row in connection.execute(sql.OF_STEP, asked)]

        page = await store.db.read(read)
        changes += [_back(past) for past in page]
        if len(page) < _PAGE:
            break
        after = page[-1].entry
    if len(changes) < step.changes:
        raise NoSuchError(
            f"the knowledge base {place.base!r} has forgotten a part of the step {step.revision}: take entries back "
            "one by one"
        )
    return await store.change(place, changes, Origin(UNDO, author), info=step.info_before)


def _back(past: Past) -> Change:
    # An entry has the version of the step that changed it last; one that a step deleted is not there.
    expect = 0 if past.kind == "delete" else past.revision
    try:
        document: Mapping[str, Any] | None = None if past.before is None else json.loads(past.before)
    except (TypeError, ValueError, RecursionError):
        raise KnowledgeError("what the entry was is damaged in the database", source=past.entry) from None
    return Change(past.entry, document, expect, position=None if document is None else past.position)
