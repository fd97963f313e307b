"""Documents become entries: of a new base, or of one in which a changed document replaces only its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from innkeeper.cli.knowledge.import_sources import Found
from innkeeper.cli.knowledge.keeping import bar

if TYPE_CHECKING:
    from innkeeper.cli.knowledge.kb_import import Import
    from innkeeper.knowledge.files.decoding import Progress
    from innkeeper.knowledge.model.problems import Problem


class _File(Protocol):
    """A document that was read: its path from where the walk began, and its entries as documents."""

    path: str
    entries: Sequence[Mapping[str, Any]]


class _Documents(Protocol):
    files: Sequence[_File]
    problems: Sequence[Problem]


class Changes(Protocol):
    """Documents of entries that are put, and ids of entries that are deleted."""

    put: Sequence[Mapping[str, Any]]
    delete: Sequence[str]


class _Reader(Protocol):
    """What the room of documents offers."""

    def read_documents(self, paths: Sequence[Path], *, progress: Progress | None = None) -> _Documents:
        """Documents, and folders of them, cut into entries. Blocks, for a thread."""
        ...

    def changes(self, existing: Iterable[Mapping[str, Any]], documents: _Documents) -> Changes:
        """What is to be put into a base, and deleted there, so that it has these documents as they are now."""
        ...


async def import_documents(importer: Import, paths: Sequence[Path]) -> dict[str, Any]:
    """Reads documents into one base; what became of them (dict)."""
    import trio

    from innkeeper.knowledge.files.names import slug
    from innkeeper.knowledge.files.step import base_of
    from innkeeper.knowledge.model.base import SCHEMA_VERSION

    name = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
    reader = cast(_Reader, await trio.to_thread.run_sync(import_module, "innkeeper.knowledge.documents.read"))
    with bar(f"reading {name}", not importer.options.quiet) as progress:
        documents = await trio.to_thread.run_sync(lambda: reader.read_documents(paths, progress=progress))
    entries = [entry for file in documents.files for entry in file.entries]
    stem = paths[0].name if paths[0].is_dir() else paths[0].stem
    info = {
        "kb_id": slug(stem),
        "kb_version": "1.0.0",
        "schema_version": SCHEMA_VERSION,
        "kb_displayName": stem[:1000],
    }
    base = await trio.to_thread.run_sync(base_of, info, entries)
    found = Found("documents", base, list(documents.problems))
    if importer.options.into is not None:
        return await importer.found(found, name, lambda existing: reader.changes(existing, documents))
    return await importer.found(found, name)
