"""What commands need of whatever keeps bases, and the one that keeps them in their files alone.

The file of a base is what its store is brought in step with, so each change here is one of the file. A keeper that has
a store as well makes the same change there, with history.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import trio

from innkeeper.knowledge.files.bounds import MOST_ARCHIVE, MOST_SETS
from innkeeper.knowledge.files.decoding import Progress
from innkeeper.knowledge.files.known import Known
from innkeeper.knowledge.files.parsing import Read
from innkeeper.knowledge.files.reading import read_base, read_bounded
from innkeeper.knowledge.files.vectors import FOLDER, MOST_HEADER, VectorSet, pack, unpack
from innkeeper.knowledge.files.writing import locked, write_base
from innkeeper.knowledge.files.writing import replace as replace_file
from innkeeper.knowledge.model.base import Base, BaseInfo, Item
from innkeeper.knowledge.model.bounds import MOST_ENTRIES
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.model.problems import KnowledgeError, Problem


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did.

    Attributes:
        created, changed, same, deleted: how many entries.
    """

    created: int = 0
    changed: int = 0
    same: int = 0
    deleted: int = 0


class Keeper(Protocol):
    """Keeps bases. Every method may raise KnowledgeError, and what its disk or database raises."""

    async def follow(self, known: Known) -> None:
        """Takes up a base whose file was made, or changed by others."""
        ...

    async def read(self, known: Known, *, progress: Progress | None = None) -> Read:
        """A base as it is now."""
        ...

    async def change(
        self,
        known: Known,
        documents: Sequence[Mapping[str, Any]],
        gone: Collection[str] = (),
        *,
        info: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Changed:
        """Puts entries into a base, each in the place of the one that has its id, or at the end; all, or none.

        Args:
            known: the base.
            documents: of the entries.
            gone: ids of entries that are deleted.
            info: keys of the top level that change.
            progress: called with entries.
        """
        ...

    async def vectors(self, known: Known) -> list[VectorSet]:
        """The vectors of a base's entries."""
        ...

    async def keep_vectors(self, known: Known, found: VectorSet) -> None:
        """Keeps vectors that came with a base, and records their model as the base's."""
        ...

    async def models(self) -> list[str]:
        """Keys of the models that are here."""
        ...

    async def model_key(self, name: str) -> str:
        """The key of the model that a name, an id or a key means; "" where there is none."""
        ...

    async def embed(self, known: Known, model: str, *, progress: Progress | None = None) -> int:
        """Makes the vectors that are missing, records the model as the base's, and says how many they were (int)."""
        ...


class FileKeeper:
    """Keeps bases in their files, and vectors beside them as archives have them. It has no models."""

    async def follow(self, known: Known) -> None:
        """Nothing: the file is all there is."""

    async def read(self, known: Known, *, progress: Progress | None = None) -> Read:
        return await trio.to_thread.run_sync(lambda: read_base(known.path, progress=progress))

    async def change(
        self,
        known: Known,
        documents: Sequence[Mapping[str, Any]],
        gone: Collection[str] = (),
        *,
        info: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Changed:
        return await trio.to_thread.run_sync(lambda: _locked_change(known, documents, gone, info, progress))

    async def vectors(self, known: Known) -> list[VectorSet]:
        return await trio.to_thread.run_sync(lambda: read_vectors(known.path, _ids(known)))

    async def keep_vectors(self, known: Known, found: VectorSet) -> None:
        await trio.to_thread.run_sync(lambda: _keep(known, found))

    async def models(self) -> list[str]:
        return []

    async def model_key(self, name: str) -> str:
        return ""

    async def embed(self, known: Known, model: str, *, progress: Progress | None = None) -> int:
        raise KnowledgeError(f"cannot be embedded with {model[:100]!r}: there are no models here", source=known.label)


def changed_base(
    base: Base, documents: Sequence[Mapping[str, Any]], gone: Collection[str], info: Mapping[str, Any] | None
) -> tuple[Base, Changed]:
    """A base after a change; the given one stays as it is.

    Raises:
        KnowledgeError: a document is no entry, or there are too many; all problems at once.
    """
    items = {item.entry.id: item for item in base.items}
    problems: list[Problem] = []
    created = changed = same = 0
    for number, each in enumerate(documents):
        document = dict(each)
        entry, found = read_entry(document, f"entries[{number}]")
        problems += found
        if entry is None:
            continue
        before = items.get(entry.id)
        items[entry.id] = Item(document, entry)
        if before is None:
            created += 1
        elif before.document == document:
            same += 1
        else:
            changed += 1
    if problems:
        raise KnowledgeError(problems, source=base.info.name)
    deleted = sum(items.pop(each, None) is not None for each in set(gone))
    if len(items) > MOST_ENTRIES:
        raise KnowledgeError(f"would have more than {MOST_ENTRIES:,} entries", source=base.info.name)
    document = {**base.document, **(info or {})}
    made = Base(document, BaseInfo.model_validate(document), list(items.values()))
    return made, Changed(created, changed, same, deleted)


def read_vectors(folder: Path, known: Collection[str]) -> list[VectorSet]:
    """The vectors that lie in the folder of a base; of entries that are gone, none. Blocks, for a thread.

    Raises:
        KnowledgeError: a set is none.
    """
    place = folder / FOLDER
    if not place.is_dir():
        return []
    names = sorted(name for name in os.listdir(place) if name.endswith(".json"))
    if len(names) > MOST_SETS:
        raise KnowledgeError(f"has {len(names)} sets of vectors, the most is {MOST_SETS}", source=FOLDER)
    found = []
    for name in names:
        header = read_bounded(place / name, name, most=MOST_HEADER, follow=False)
        numbers = f"{name.removesuffix('.json')}.f16"
        data = read_bounded(place / numbers, numbers, most=MOST_ARCHIVE, follow=False)
        found.append(_only(unpack(header, data, name, _Anything()), known))
    return found


class _Anything(Collection[str]):
    """Has every id: those of entries that were deleted meanwhile are no mistake of a folder."""

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def _only(found: VectorSet, known: Collection[str]) -> VectorSet:
    rows = [number for number, id in enumerate(found.ids) if id in known]
    if len(rows) == len(found.ids):
        return found
    ids, digests = [found.ids[row] for row in rows], [found.digests[row] for row in rows]
    return replace(found, ids=ids, digests=digests, vectors=found.vectors[rows])


def _ids(known: Known) -> set[str]:
    return {item.entry.id for item in read_base(known.path).base.items}


def _locked_change(
    known: Known,
    documents: Sequence[Mapping[str, Any]],
    gone: Collection[str],
    info: Mapping[str, Any] | None,
    progress: Progress | None,
) -> Changed:
    with locked(known.file.parent):
        return _change(known, documents, gone, info, progress)


def _change(
    known: Known,
    documents: Sequence[Mapping[str, Any]],
    gone: Collection[str],
    info: Mapping[str, Any] | None,
    progress: Progress | None,
) -> Changed:
    read = read_base(known.path)
    base, changed = changed_base(read.base, documents, gone, info)
    # Vectors of texts that were others go first: without a vector an entry is found by its words, with another's it is
    # found wrongly.
    before = {item.entry.id: item.entry.text for item in read.base.items}
    fresh = {item.entry.id for item in base.items if before.get(item.entry.id) == item.entry.text}
    if known.path.is_dir():
        for found in read_vectors(known.path, before):
            if not fresh.issuperset(found.ids):
                _write(known.path, _only(found, fresh))
    write_base(base, read.source.file, read.source)
    if progress is not None:
        progress(len(documents), len(documents))
    return changed


def _keep(known: Known, found: VectorSet) -> None:
    if not known.path.is_dir():
        raise KnowledgeError("is a single file: vectors lie in the folder of a base", source=known.label)
    with locked(known.path):
        _write(known.path, found)
        _change(known, (), (), {"embedding_model_id": found.model}, None)


def _write(folder: Path, found: VectorSet) -> None:
    stem, header, data = pack(found)
    place = folder / FOLDER
    if place.is_symlink():
        raise KnowledgeError("is a link, which is not followed here", source=FOLDER)
    # Between the two the digest in the header is that of other numbers, and says so.
    replace_file(place / f"{stem}.f16", data)
    replace_file(place / f"{stem}.json", header)
