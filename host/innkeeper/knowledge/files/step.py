"""Files of bases as a store that keeps itself in step with them reads and writes them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

from innkeeper.knowledge.files.collecting import no_collections
from innkeeper.knowledge.files.names import NAMES
from innkeeper.knowledge.files.parsing import Source
from innkeeper.knowledge.files.reading import read_base
from innkeeper.knowledge.files.writing import write_base
from innkeeper.knowledge.model.base import Base, BaseInfo, Item
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

_MOST_KNOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file has.

    Attributes:
        info: the top level without `entries`.
        documents: its entries in their order; no id twice, each a sound entry.
        digest: sha256 of the file's bytes, in hexadecimal.
        read_only: whether a newer version wrote it, so that it must not be written.
    """

    info: Mapping[str, Any]
    documents: Sequence[Mapping[str, Any]]
    digest: str
    read_only: bool = False


class StepFiles:
    """Reads and writes files of bases as their authors shaped them. May be called from any thread; blocks."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._lock = Lock()

    def read(self, path: Path) -> FileState:
        """What a file has.

        Raises:
            KnowledgeError: it is no base, or has a mistake; with line and key.
            UsageError: it cannot be read.
        """
        # The entries' models are gone before anybody looks through them for garbage: only documents stay.
        with no_collections():
            base, source, _ = read_base(_named(path))
            self._remember(path, source)
            state = FileState(base.document, [item.document for item in base.items], source.digest, source.read_only)
            del base
        return state

    def write(self, path: Path, info: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> str:
        """Replaces a file by a new one, which is there whole or not at all; gives the sha256 of its bytes (str).

        What stood there decides the order of its keys, and whether it is an array; where it was of an older structure,
        a copy of it is kept.

        Raises:
            KnowledgeError: a document is no entry, or the file is newer than this host.
            UsageError: it cannot be written.
        """
        with self._lock:
            source = self._sources.get(str(path))
        # The entries' models are gone before anybody looks through them for garbage.
        with no_collections():
            if source is None and os.path.lexists(path):
                source = read_base(_named(path), strict=False).source
                self._remember(path, source)
            written = write_base(base_of(info, documents), path, source)
        if source is not None and source.upgraded:
            # What it is now nobody upgraded.
            with self._lock:
                self._sources.pop(str(path), None)
        return written.digest

    def _remember(self, path: Path, source: Source) -> None:
        with self._lock:
            self._sources[str(path)] = source
            self._sources.move_to_end(str(path))
            if len(self._sources) > _MOST_KNOWN:
                self._sources.popitem(last=False)


def _named(file: Path) -> Path:
    """What the file of a base is read by: in a base's folder by that folder, so that no link is followed which somebody
    put in the place of the file since the base was opened."""
    return file.parent if file.name in NAMES else file


def base_of(info: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> Base:
    """A base of plain data.

    Raises:
        KnowledgeError: a document is no entry; all of them at once.
    """
    problems: list[Problem] = []
    items: list[Item] = []
    for number, each in enumerate(documents):
        document = dict(each)
        entry, found = read_entry(document, f"entries[{number}]")
        problems += found
        if entry is not None:
            items.append(Item(document, entry))
    if problems:
        raise KnowledgeError(problems)
    document = dict(info)
    return Base(document, BaseInfo.model_validate(document), items)
