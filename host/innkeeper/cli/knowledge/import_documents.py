"""Documents become entries: of a new base, or of one in which a changed document replaces only its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innkeeper.cli.knowledge.import_sources import Found
from innkeeper.cli.knowledge.keeping import bar

if TYPE_CHECKING:
    from innkeeper.cli.knowledge.kb_import import Import
    from innkeeper.knowledge.documents.changes import Changes


_EDITED = "was edited by hand and stays as it is: --existing replace overwrites it"
_MISSING = "is gone from its folder, and its entries stay: --remove-missing deletes them"


async def import_documents(importer: Import, paths: Sequence[Path]) -> dict[str, Any]:
    """Reads documents into one base; what became of them (dict)."""
    import trio

    from innkeeper.knowledge.documents.changes import changes as compare
    from innkeeper.knowledge.documents.read import read_documents
    from innkeeper.knowledge.files.names import slug
    from innkeeper.knowledge.files.step import base_of
    from innkeeper.knowledge.model.base import SCHEMA_VERSION
    from innkeeper.knowledge.model.problems import Problem

    name = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
    with bar(f"reading {name}", not importer.options.quiet) as progress:

        def told(_files: int, size: int, _path: str) -> None:
            if progress is not None:
                # How much there is shows when all of it was read.
                progress(size, 0)

        documents = await trio.to_thread.run_sync(lambda: read_documents(paths, progress=told))
    entries = documents.entries
    stem = paths[0].name if paths[0].is_dir() else paths[0].stem
    info = {
        "kb_id": slug(stem),
        "kb_version": "1.0.0",
        "schema_version": SCHEMA_VERSION,
        "kb_displayName": stem[:1000],
    }
    base = await trio.to_thread.run_sync(base_of, info, entries)
    found = Found("documents", base, list(documents.problems))
    if importer.options.into is None:
        return await importer.found(found, name)
    options = importer.options

    def difference(existing: list[dict[str, Any]]) -> Changes:
        overwrite = options.existing == "replace"
        changes = compare(existing, documents, remove_missing=options.remove_missing, overwrite=overwrite)
        found.problems += [Problem(id, _EDITED) for id in changes.edited]
        if not options.remove_missing:
            found.problems += [Problem(path, _MISSING) for path in changes.missing]
        return changes

    return await importer.found(found, name, difference)
