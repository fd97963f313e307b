"""What changes in a base when documents are read again: their own entries alone, and of those only what is new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from innkeeper.knowledge.documents.entries import OURS, digest_of
from innkeeper.knowledge.documents.read import Documents


@dataclass(slots=True)
class Changes:
    """What is to be done to a base.

    Attributes:
        put: documents of entries that are new or say something else than before.
        delete: ids of entries whose text is no longer in its file.
        unchanged: how many entries stay untouched, with their vectors and their history.
        edited: ids of entries that somebody changed by hand. They stay as they are, in neither list.
        missing: paths of files whose entries are in the base and that are no longer in their folder.
    """

    put: list[dict[str, Any]] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    unchanged: int = 0
    edited: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def changes(
    existing: Iterable[Mapping[str, Any]],
    documents: Documents,
    *,
    remove_missing: bool = False,
    overwrite: bool = False,
) -> Changes:
    """Compares a base with documents that were read. Linear.

    Args:
        existing: documents of all entries of the base.
        documents: what was read now.
        remove_missing: whether entries go whose files are no longer in a folder that was read whole.
        overwrite: whether entries that were changed by hand go the way of the others.
    """
    result = Changes()
    old: dict[str, Mapping[str, Any]] = {}
    others: set[str] = set()
    for entry in existing:
        identity = str(entry.get("id", ""))
        if document_of(entry) is None:
            others.add(identity)
        else:
            old[identity] = entry
    read = {file.path for file in documents.files}
    fresh: set[str] = set()
    for entry in documents.entries:
        identity = entry["id"]
        fresh.add(identity)
        before = old.get(identity)
        if identity in others:
            # Of this id, but none of ours any more: somebody took the mark away, and with it our leave to change it.
            result.edited.append(identity)
        elif before is None:
            result.put.append(entry)
        elif _mark(before)["digest"] == _mark(entry)["digest"] or (same := digest_of(before)) == digest_of(entry):
            result.unchanged += 1
        elif same != _mark(before)["digest"] and not overwrite:
            result.edited.append(identity)
        else:
            result.put.append({**entry, "extensions": {**(before.get("extensions") or {}), **entry["extensions"]}})
    missing: dict[str, None] = {}
    for identity, before in old.items():
        path = _mark(before)["path"]
        if identity in fresh:
            continue
        if path not in read:
            if not _gone(path, documents):
                continue
            missing[path] = None
            if not remove_missing:
                continue
        if digest_of(before) != _mark(before)["digest"] and not overwrite:
            result.edited.append(identity)
        else:
            result.delete.append(identity)
    result.missing.extend(missing)
    return result


def document_of(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What an entry says of the document that it was read in: {path, digest, chunk}; None where it says nothing."""
    extensions = entry.get("extensions")
    ours = extensions.get(OURS) if isinstance(extensions, Mapping) else None
    found = ours.get("document") if isinstance(ours, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    return found if isinstance(found.get("path"), str) and isinstance(found.get("digest"), str) else None


def _mark(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = document_of(entry)
    assert found is not None
    return found


def _gone(path: str, documents: Documents) -> bool:
    """Whether a file is no longer there: it would have been read, had it been."""
    if not any(path.startswith(f"{root}/") for root in documents.roots):
        return False
    return not any(path == failed or path.startswith(f"{failed}/") for failed in documents.failed)
