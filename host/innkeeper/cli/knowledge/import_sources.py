"""What a file is that somebody imports: a base, an archive of one, a lorebook of others, or documents."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.files.decoding import Progress
    from innkeeper.knowledge.files.vectors import VectorSet
    from innkeeper.knowledge.model.base import Base
    from innkeeper.knowledge.model.problems import Problem

MOST_LOREBOOK: Final = 256 << 20
"""Bytes of a lorebook."""


@dataclass(slots=True)
class Found:
    """What was found in a file or folder.

    Attributes:
        kind: "base", "archive", "documents", or the kind of lorebook.
        base: its entries.
        problems: what was left out.
        vectors: that came with it.
        media: bytes of its media, by path, piece by piece; each is read when its turn comes.
        media_bytes: how many they are.
        exact: whether it is a whole base with an id of its own.
    """

    kind: str
    base: Base
    problems: list[Problem] = field(default_factory=list)
    vectors: list[VectorSet] = field(default_factory=list)
    media: Mapping[str, Iterator[bytes]] = field(default_factory=dict)
    media_bytes: int = 0
    exact: bool = False


@contextmanager
def opened(path: Path, *, strict: bool, progress: Progress | None = None) -> Iterator[Found]:
    """What is in a file or folder, for the time of a `with`. Blocks, for a thread.

    Args:
        path: of it.
        strict: whether a single mistake refuses it.
        progress: called with how much was read.

    Raises:
        KnowledgeError, UsageError: it is nothing that can be imported, or has mistakes.
    """
    with ExitStack() as stack:
        yield _found(path, strict, progress, stack)


def is_document(path: Path) -> bool:
    """Whether a file or folder is read as documents (bool)."""
    from innkeeper.knowledge.documents.walk import KINDS
    from innkeeper.knowledge.files.names import NAMES

    if path.is_dir():
        return not any(os.path.lexists(path / name) for name in (*NAMES, "project.json"))
    return path.suffix.lower() in KINDS


def _found(path: Path, strict: bool, progress: Progress | None, stack: ExitStack) -> Found:
    from innkeeper.knowledge.files import detection
    from innkeeper.knowledge.files.known import decode_head
    from innkeeper.knowledge.files.reading import read_bounded
    from innkeeper.knowledge.interchange.detect import read_lorebook
    from innkeeper.knowledge.model.problems import KnowledgeError

    if path.is_dir():
        return _base(path, strict, progress)
    if _is_archive(path):
        return _archive(path, strict, progress, stack)
    data = read_bounded(path, path.name, most=MOST_LOREBOOK)
    if detection.looks_like_json(data):
        top, _ = decode_head(data, path.name)
        if top is None or "kb_id" in top:
            return _base(path, strict, progress)
    lorebook = read_lorebook(data, path.name)
    if lorebook is not None:
        if strict and lorebook.problems:
            raise KnowledgeError(lorebook.problems, source=path.name)
        return Found(lorebook.kind, lorebook.base, list(lorebook.problems))
    # Says what it is instead.
    return _base(path, strict, progress)


def _is_archive(path: Path) -> bool:
    from innkeeper.knowledge.files import detection

    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return detection.is_archive(file.read(4))
    except OSError:
        return False


def _base(path: Path, strict: bool, progress: Progress | None) -> Found:
    from innkeeper.knowledge.files.keeper import read_vectors
    from innkeeper.knowledge.files.reading import read_base
    from innkeeper.knowledge.files.unpacking import media_of

    read = read_base(path, strict=strict, progress=progress)
    folder = read.source.folder
    media, total, problems = media_of(read.base, folder) if folder else ({}, 0, [])
    known = {item.entry.id for item in read.base.items}
    vectors = read_vectors(path, known) if read.source.kind == "folder" else []
    return Found("base", read.base, [*read.problems, *problems], vectors, media, total, exact=True)


def _archive(path: Path, strict: bool, progress: Progress | None, stack: ExitStack) -> Found:
    from innkeeper.knowledge.files.archive import open_archive
    from innkeeper.knowledge.files.reading import read_bounded
    from innkeeper.knowledge.files.unpacking import opened_archive

    with open_archive(path, path.name) as archive:
        card = "card.json" in archive.sizes
    if card:
        from innkeeper.knowledge.interchange.detect import read_lorebook

        lorebook = read_lorebook(read_bounded(path, path.name, most=MOST_LOREBOOK), path.name)
        if lorebook is None:
            raise UsageError(f"{path.name}: is a card without a lorebook: `innkeeper card import` reads it")
        return Found(lorebook.kind, lorebook.base, list(lorebook.problems))
    opened_ = stack.enter_context(opened_archive(path, strict=strict, progress=progress))
    given = opened_.given
    media, total = opened_.media()
    problems = [*given.read.problems, *given.problems]
    return Found("archive", given.read.base, problems, given.vectors, media, total, exact=True)
