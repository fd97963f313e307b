"""What importers of lorebooks have in common that are not SillyTavern's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.interchange.coerce import Fields
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import SCHEMA_VERSION
from innkeeper.knowledge.model.entry import ALWAYS
from innkeeper.knowledge.model.sillytavern import KEY


def document_of(
    fields: Fields,
    kind: str,
    *,
    id_: object,
    index: int,
    name: str,
    content: str | None,
    keywords: list[str],
    usage: dict[str, Any],
    enabled: bool,
    always: bool,
    rest: Mapping[str, Any],
    criteria: Mapping[str, Any] | None = None,
    honoured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document of an entry.

    Args:
        fields: of the entry, for problems.
        kind: the format; also the key of `extensions` under which the rest lies.
        id_: what the file says that its id is.
        index: its place in the file.
        name: what it is called, or "".
        content: its text; None: longer than one can be.
        keywords: one of them activates it.
        usage: its `usage_metadata`.
        enabled: whether it can be active.
        always: whether it is always active.
        rest: what has no field.
        criteria: further `activation_criteria`.
        honoured: what activation honours under SillyTavern's names.
    """
    if content is None:
        # Whoever reads the document refuses it; a text that is too long is never kept in part.
        content = next(value for value in fields.raw.values() if isinstance(value, str) and _long(value))
    good = isinstance(id_, str) and 0 < len(id_) <= bounds.MOST_ID
    document: dict[str, Any] = {"id": id_ if good else str(index), "version": 1, "entry_type": "lore_detail"}
    if name:
        document["displayName"] = name
    document["content"] = {"mime_type": "text/plain", "value": content}
    document["activation_criteria"] = {"keywords": keywords, **(criteria or {})}
    document["usage_metadata"] = usage
    document["management_metadata"] = {
        "tags": [ALWAYS] if always else [],
        "source": f"{kind}_import_v1",
        "is_enabled": enabled,
    }
    extensions: dict[str, Any] = {}
    if rest:
        extensions[kind] = dict(rest)
    if honoured:
        extensions[KEY] = dict(honoured)
    if extensions:
        document["extensions"] = extensions
    return document


def top_document(kb_id: str, name: str, kind: str, top: Mapping[str, Any]) -> dict[str, Any]:
    """The top level of a base; what the file says beside its entries lies in `kb_extensions` under its kind."""
    called, described = top.get("name"), top.get("description")
    document: dict[str, Any] = {"kb_id": kb_id, "kb_version": "1.0.0", "schema_version": SCHEMA_VERSION}
    document["kb_displayName"] = (called.strip() if isinstance(called, str) else "")[: bounds.MOST_NAME] or name
    if isinstance(described, str) and described:
        document["kb_description"] = described[: bounds.MOST_CONTENT]
    document["kb_extensions"] = {kind: dict(top)}
    return document


def _long(value: str) -> bool:
    return len(value) > bounds.MOST_CONTENT
