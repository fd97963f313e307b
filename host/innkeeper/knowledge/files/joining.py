"""A base goes into another one: whose entry stays where both have one of the same id, and where its media go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any

from innkeeper.knowledge.files.archive import PIECE
from innkeeper.knowledge.files.decoding import Progress
from innkeeper.knowledge.files.media import open_media
from innkeeper.knowledge.files.placing import new_file
from innkeeper.knowledge.files.unpacking import no_archive
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.bounds import MOST_ID
from innkeeper.knowledge.model.problems import KnowledgeError, Problem


class Existing(Enum):
    """What becomes of an entry whose id the other base has, with another document."""

    REFUSE = "refuse"
    REPLACE = "replace"
    KEEP = "keep"
    RENAME = "rename"


def joined(target: Base, base: Base, existing: Existing) -> list[dict[str, Any]]:
    """The documents of a base's entries as they go into another one.

    Args:
        target: the other base.
        base: whose entries they are; it stays as it is.
        existing: what becomes of entries whose id is there: under `RENAME` they get other ids, and what names them in
            the same base names those.

    Raises:
        KnowledgeError: some are, and `existing` refuses that; each is named.
    """
    there = {item.entry.id: item.document for item in target.items}
    same = [item for item in base.items if item.entry.id in there and there[item.entry.id] != item.document]
    if same and existing is Existing.REFUSE:
        problems = [
            Problem(
                "id",
                "is that of another entry there: --existing replace, keep or rename says what to do",
                item.entry.name,
            )
            for item in same
        ]
        raise KnowledgeError(problems, source=target.info.name)
    if existing is Existing.KEEP:
        gone = {item.entry.id for item in same}
        return [item.document for item in base.items if item.entry.id not in gone]
    if existing is Existing.RENAME and same:
        names = _names({item.entry.id for item in same}, {*there, *(item.entry.id for item in base.items)})
        return [_renamed(item.document, names) for item in base.items]
    return [item.document for item in base.items]


@contextmanager
def media_added(
    folder: Path, media: Mapping[str, Iterator[bytes]], *, total: int = 0, progress: Progress | None = None
) -> Iterator[int]:
    """Media lie in the folder of a base for good, unless the block fails; how many are new (int). What is there stays,
    and has to be the same. Blocks, for a thread.

    Args:
        folder: of the base.
        media: bytes by path, piece by piece.
        total: bytes of all media, for `progress`.
        progress: called with bytes.

    Raises:
        KnowledgeError: another file is there under the same path, or one is an archive.
        UsageError: one cannot be written.
    """
    written: list[Path] = []
    done = 0

    def counted(pieces: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal done
        for piece in pieces:
            done += len(piece)
            if progress is not None:
                progress(min(done, total), total)
            yield piece

    try:
        for path, pieces in media.items():
            checked = counted(no_archive(path, pieces))
            if os.path.lexists(folder / path):
                if _digest(checked) != _digest_of(folder, path):
                    raise KnowledgeError(Problem(path, "is there already, with other content: rename one of them"))
                continue
            _no_links(folder, path)
            written.append(folder / path)
            new_file(folder, path, checked)
        yield len(written)
    except BaseException:
        for file in written:
            with suppress(OSError):
                file.unlink()
        raise


def _no_links(folder: Path, path: str) -> None:
    above = folder
    for part in path.split("/")[:-1]:
        above = above / part
        if above.is_symlink():
            raise KnowledgeError(Problem(path, "lies behind a link, which is not followed here"))


def _digest(pieces: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _digest_of(folder: Path, path: str) -> bytes:
    with open_media(folder, path) as medium:
        return _digest(iter(lambda: medium.file.read(PIECE), b""))


def _names(ids: set[str], taken: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for id in sorted(ids):
        number = 2
        while (name := f"{id[: MOST_ID - 8]}-{number}") in taken:
            number += 1
        taken.add(name)
        found[id] = name
    return found


def _renamed(document: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    changed = {**document, "id": names.get(document["id"], document["id"])}
    management = document.get("management_metadata")
    if isinstance(management, dict):
        links = {
            key: [names.get(id, id) for id in management[key]]
            for key in ("child_ids", "related_ids")
            if isinstance(management.get(key), list)
        }
        changed["management_metadata"] = {**management, **links}
    return changed
