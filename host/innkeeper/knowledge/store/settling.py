"""What a transaction that changed a base leaves behind: counts, the step, and history within its bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.legs import dump
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.store.values import Applied, Origin
from innkeeper.storage.knowledge_model import FullError, Place


@dataclass(slots=True)
class Tally:
    """What a transaction changed.

    Attributes:
        created, changed, deleted: entries.
        bytes, agent_entries, agent_bytes, history_rows, history_bytes: how many more of each.
        last: the largest position.
    """

    last: float
    created: int = 0
    changed: int = 0
    deleted: int = 0
    bytes: int = 0
    agent_entries: int = 0
    agent_bytes: int = 0
    history_rows: int = 0
    history_bytes: int = 0

    def applied(self, revision: int) -> Applied:
        """As the caller is told."""
        return Applied(revision, self.created, self.changed, self.deleted)


def model_of(info: Mapping[str, Any]) -> str:
    """The model that a base says that its vectors are of, or ""."""
    model = info.get("embedding_model_id")
    return model if isinstance(model, str) else ""


def check_quota(base: Any, tally: Tally, quota: StoreQuota, author: str) -> None:
    """Makes sure that a base has room for what was changed.

    Raises:
        FullError: it has not; the transaction is to be undone.
    """
    entries = base.entries + tally.created - tally.deleted
    # What makes something smaller is always taken.
    if entries > quota.entries and tally.created > tally.deleted:
        raise FullError("entries", quota.entries)
    if base.bytes + tally.bytes > quota.bytes and tally.bytes > 0:
        raise FullError("bytes", quota.bytes)
    if author:
        if base.agent_entries + tally.agent_entries > quota.agent_entries and tally.agent_entries > 0:
            raise FullError("entries", quota.agent_entries)
        if base.agent_bytes + tally.agent_bytes > quota.agent_bytes and tally.agent_bytes > 0:
            raise FullError("bytes", quota.agent_bytes)


def settle(
    connection: Connection,
    where: dict[str, Any],
    base: Any,
    tally: Tally,
    quota: StoreQuota,
    values: Mapping[str, Any],
    *,
    now: float,
) -> None:
    """Counts what was changed, and forgets the oldest history where there is too much of it: no more rows than twice
    what was changed, and some."""
    entries, size = base.entries + tally.created - tally.deleted, base.bytes + tally.bytes
    rows, kept = base.history_rows + tally.history_rows, base.history_bytes + tally.history_bytes
    forgotten = base.forgotten
    room = max(quota.history_bytes, 2 * size)
    if rows > quota.history_rows or kept > room:
        last = None
        for row in connection.execute(sql.OLDEST, {**where, "most": 2 * tally.history_rows + 16}):
            if rows <= quota.history_rows and kept <= room:
                break
            rows, kept, last = rows - 1, kept - row.size, row
        if last is not None:
            connection.execute(sql.FORGET, {**where, "its_number": last.number})
            connection.execute(sql.FORGET_STEPS, {**where, "its_revision": last.revision})
            forgotten = last.revision
    counts = {"entries": entries, "bytes": size, "history_rows": rows, "history_bytes": kept, "forgotten": forgotten}
    counts |= {"agent_entries": base.agent_entries + tally.agent_entries, "last": tally.last, "updated": now}
    counts["agent_bytes"] = base.agent_bytes + tally.agent_bytes
    connection.execute(sql.UPDATE_BASE, {**where, **counts, **values})


def add_step(
    connection: Connection,
    place: Place,
    revision: int,
    now: float,
    origin: Origin,
    changes: int,
    info_before: str | None,
    infos: int,
) -> None:
    """Remembers that a step was taken; of those that changed what the base says of itself, the last `infos`."""
    values = {"owner": place.owner, "base": place.base, "revision": revision, "at": now, "changes": changes}
    values |= {"reason": origin.reason, "author": origin.author, "info_before": info_before}
    connection.execute(sql.INSERT_STEP, values)
    if info_before is not None:
        # Such a step may change no entry, and then leaves no history by which its age or size is bounded.
        its = {"its_owner": place.owner, "its_base": place.base, "infos": infos}
        connection.execute(sql.FORGET_INFOS, its)


def info_values(base: Any, info: Mapping[str, Any] | str | None) -> tuple[dict[str, Any], str | None]:
    """What a new account of itself changes in a base's row, and what it said before; nothing where it is the same."""
    if info is None:
        return {}, None
    text = info if isinstance(info, str) else dump(info)
    if text == base.info:
        return {}, None
    said = model_of(json.loads(text))
    # Where neither names a model, the one stays that somebody else chose (`embedding.adopt_model`).
    return {"info": text, "model": said if said or model_of(json.loads(base.info)) else base.model}, base.info


def legs_after(base: Any, key: str) -> str:
    """What a base says of the make of its terms after somebody wrote terms of the make `key` to it (str)."""
    if base.legs in (key, f"making {key}"):
        return str(base.legs)
    return key if base.entries == 0 else ""
