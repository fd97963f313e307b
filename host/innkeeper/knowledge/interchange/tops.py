"""The top level of a book as that of a base, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.interchange.residue import residue, restored
from innkeeper.knowledge.interchange.world_fields import NATIVE, SOURCE
from innkeeper.knowledge.interchange.world_import import without_native
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import SCHEMA_VERSION
from innkeeper.knowledge.model.sillytavern import KEY


def base_document(raw: Mapping[str, Any], kb_id: str, name: str, form: str) -> dict[str, Any]:
    """The top level of a base of that of a book.

    Args:
        raw: the book; its entries are not looked at.
        kb_id: of the base, unless the book was exported here and says which it had.
        name: of the base where the book says none.
        form: the format, for export.

    Returns:
        a new object; what CAIU has no field for lies in `kb_extensions.sillytavern`.
    """
    given = raw.get("extensions")
    marker = given.get(NATIVE) if isinstance(given, Mapping) else None
    native = isinstance(marker, Mapping) and marker.get("native") is True
    top = {key: value for key, value in without_native(raw).items() if key != "entries"}
    called, described = top.get("name"), top.get("description")
    document: dict[str, Any] = {"kb_version": "1.0.0", "schema_version": SCHEMA_VERSION}
    document["kb_displayName"] = (called.strip() if isinstance(called, str) else "")[: bounds.MOST_NAME] or (
        "" if native else name
    )
    if isinstance(described, str) and described:
        document["kb_description"] = described[: bounds.MOST_CONTENT]
    kept = {key: value for key, value in top.items() if key not in ("name", "description", SOURCE)}
    if not native:
        lost = residue(top, {**kept, **_mapped(document)})
        document["kb_extensions"] = {KEY: {**kept, SOURCE: {"format": form, **({"residue": lost} if lost else {})}}}
    elif kept:
        document["kb_extensions"] = {KEY: kept}
    if isinstance(marker, Mapping):
        document = restored(document, marker.get("base"))
        document.pop("entries", None)
    own = document.get("kb_id")
    return {**document, "kb_id": own if isinstance(own, str) and own else kb_id}


def top_of(document: Mapping[str, Any], form: str) -> dict[str, Any]:
    """The top level of a book without its entries, as it was read, edits apart, or made of a base.

    Args:
        document: the top level of the base.
        form: the format.

    Returns:
        a new object; what CAIU knows and the format does not lies in its `extensions.innkeeper`.
    """
    extension = (document.get("kb_extensions") or {}).get(KEY)
    extension = extension if isinstance(extension, Mapping) else {}
    read = extension.get(SOURCE)
    read = read if isinstance(read, Mapping) else {}
    made = {**{key: value for key, value in extension.items() if key != SOURCE}, **_mapped(document)}
    imported = read.get("format") == form
    top = restored(made, read.get("residue")) if imported else made
    top.pop("entries", None)
    given = top.get("extensions")
    if given is not None and not isinstance(given, Mapping):
        if imported:
            return top
        del top["extensions"]
        given = None
    marker: dict[str, Any] = {} if imported else {"native": True}
    if not given:
        marker["bare"] = "absent" if "extensions" not in top else "null" if given is None else None
    marked = {**top, "extensions": {**(given or {}), NATIVE: marker}}
    back = base_document(marked, "", str(document.get("kb_displayName") or ""), form)
    if imported:
        extensions = back.setdefault("kb_extensions", {})
        extensions[KEY] = {**extensions.get(KEY, {}), SOURCE: dict(read)}
    # A base that was never here has whatever id it gets; one that was native keeps its own.
    own = {key: value for key, value in document.items() if key != "kb_id" or not imported}
    lost = residue(own, {key: value for key, value in back.items() if key != "kb_id"})
    if imported and not lost:
        return top
    marker["base"] = lost
    return marked


def _mapped(document: Mapping[str, Any]) -> dict[str, Any]:
    described = document.get("kb_description")
    name = {"name": document.get("kb_displayName") or ""}
    return {**name, "description": described} if described else name
