"""What the migration 0009 makes of the entries that the older tables held."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import msgpack
import sqlalchemy as sa
from sqlalchemy import Connection

from innkeeper.storage.knowledge_schema import kb_bases, kb_entries
from innkeeper.storage.plain_json import to_json

_SOME: Final = 200

_bases = sa.table("knowledge_bases", *map(sa.column, ("owner", "base", "entries", "bytes", "version")))
_entries = sa.table(
    "knowledge_entries",
    *map(sa.column, ("owner", "base", "id", "title", "content", "keywords", "metadata", "priority", "enabled")),
    *map(sa.column, ("source", "author", "version", "created", "updated")),
)


def carry_over(connection: Connection) -> None:
    """Keeps each entry as a document. Terms and digests are made when somebody first opens the base: `legs` is ""."""
    for base in connection.execute(sa.select(_bases)).all():
        own = sa.and_(_entries.c.owner == base.owner, _entries.c.base == base.base)
        counts = {"entries": 0, "bytes": 0, "agent_entries": 0, "agent_bytes": 0}
        for rows in _pages(connection, own):
            made = [_row(row, counts["entries"] + number) for number, row in enumerate(rows)]
            connection.execute(sa.insert(kb_entries), made)
            counts["entries"] += len(made)
            counts["bytes"] += sum(each["size"] for each in made)
            by_agents = [each["size"] for each in made if each["source"] == "agent_generated"]
            counts["agent_entries"] += len(by_agents)
            counts["agent_bytes"] += sum(by_agents)
        created, updated = connection.execute(
            sa.select(sa.func.min(_entries.c.created), sa.func.max(_entries.c.updated)).where(own)
        ).one()
        info = {"kb_id": base.base, "schema_version": "1.1"}
        values = {"owner": base.owner, "base": base.base, "info": json.dumps(info, ensure_ascii=False), "model": ""}
        values |= {"revision": base.version, "history_rows": 0, "history_bytes": 0, "forgotten": base.version}
        values |= {
            "last": float(counts["entries"]),
            "legs": "",
            "folding": "",
            "file": "",
            "digest": "",
            "synced": 0,
            "embedded": 0,
        }
        values |= {"note": "", "refused": "", "read_only": False, "approval": False}
        values |= {"created": created or 0.0, "updated": updated or 0.0}
        connection.execute(sa.insert(kb_bases), {**values, **counts})


def _pages(connection: Connection, own: Any) -> Iterator[list[Any]]:
    after = ""
    while rows := connection.execute(
        sa.select(_entries).where(own, _entries.c.id > after).order_by(_entries.c.id).limit(_SOME)
    ).all():
        yield list(rows)
        after = rows[-1].id


def _row(row: Any, number: int) -> dict[str, Any]:
    document: dict[str, Any] = {"id": row.id, "displayName": row.title, "content": {"value": row.content}}
    document["activation_criteria"] = {"keywords": json.loads(row.keywords)}
    document["usage_metadata"] = {"priority": row.priority}
    document["management_metadata"] = {"source": row.source, "is_enabled": bool(row.enabled)}
    metadata = msgpack.unpackb(row.metadata)
    if metadata:
        document["extensions"] = {"innkeeper": {"metadata": to_json(metadata)}}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return {
        "owner": row.owner,
        "base": row.base,
        "id": row.id,
        "position": float(number + 1),
        "version": row.version,
        "enabled": bool(row.enabled),
        "source": row.source,
        "tags": "[]",
        "author": row.author,
        "created": row.created,
        "updated": row.updated,
        "digest": "",
        "size": len(text.encode()),
        "document": text,
        "terms": b"",
    }
