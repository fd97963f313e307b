"""The folder of a base is made of what somebody gave: an archive, a folder, a file, or a base that was read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from innkeeper.knowledge.files import detection
from innkeeper.knowledge.files.archive import PIECE, Archive, find_member, open_archive
from innkeeper.knowledge.files.bounds import MOST_ARCHIVE, MOST_MEDIUM, MOST_SETS
from innkeeper.knowledge.files.decoding import Progress
from innkeeper.knowledge.files.media import mime_type, open_media
from innkeeper.knowledge.files.parsing import Read, Source, parse_base
from innkeeper.knowledge.files.placing import new_file, placed
from innkeeper.knowledge.files.relative import MEDIA
from innkeeper.knowledge.files.upgrades import FIRST
from innkeeper.knowledge.files.vectors import FOLDER, MOST_HEADER, VectorSet, unpack
from innkeeper.knowledge.files.writing import encode_base
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.bounds import MOST_FILE
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

FILE: Final = "knowledge.json"
"""What the file of a base is called that is made here."""


@dataclass(frozen=True, slots=True)
class Given:
    """A base with what belongs to it, not yet anywhere.

    Attributes:
        read: the base.
        vectors: its vectors, checked.
        media: paths of its media files.
        problems: what else of the archive or folder was left out.
    """

    read: Read
    vectors: list[VectorSet] = field(default_factory=list)
    media: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@contextmanager
def opened_archive(path: Path, *, strict: bool = True, progress: Progress | None = None) -> Iterator[Opened]:
    """The base of an archive for the time of a `with`. All of it was looked at, the vectors included, but the media:
    they are unpacked by `Opened.place`. Blocks, for a thread.

    Raises:
        KnowledgeError, UsageError: as `archive.open_archive`, `reading.read_base` and `vectors.unpack`.
    """
    with open_archive(path, path.name) as archive:
        member = find_member(archive)
        root = member.rpartition("/")[0]
        source = Source("archive", path, path, None, member, "object", None, "", FIRST, False, False)
        read = parse_base(
            archive.read(member, most=MOST_FILE),
            source,
            label=f"{path.name}/{member}",
            base_id=root or path.stem,
            strict=strict,
            progress=progress,
        )
        prefix = f"{root}/" if root else ""
        media, sets, problems = _sorted_out(archive, member, prefix)
        known = {item.entry.id for item in read.base.items}
        vectors = [] if read.problems else [_vectors(archive, prefix + name, known) for name in sets]
        if read.problems and sets:
            problems.append(Problem(FOLDER, "was left out, since entries were"))
        yield Opened(Given(read, vectors, media, problems), archive, prefix)


class Opened:
    """What an archive holds, while it is open."""

    def __init__(self, given: Given, archive: Archive, prefix: str) -> None:
        self.given = given
        self._archive = archive
        self._prefix = prefix

    def place(self, target: Path, base: Base | None = None, *, progress: Progress | None = None) -> None:
        """Makes the folder of the base: its file and its media, whole or not at all. Blocks, for a thread.

        Args:
            target: the folder, which must not be there yet.
            base: in place of what was read, such as under another id.
            progress: called with bytes.

        Raises:
            KnowledgeError: it is there, or a medium is broken, too large, or an archive itself.
            UsageError: it cannot be written.
        """
        media, total = self.media()
        place_base(base or self.given.read.base, target, media, total=total, progress=progress)

    def media(self) -> tuple[dict[str, Iterator[bytes]], int]:
        """The bytes of the media by path, piece by piece, and how many they are; read while the archive is open."""
        total = sum(self._archive.sizes[self._prefix + path] for path in self.given.media)
        return {path: self._pieces(path) for path in self.given.media}, total

    def _pieces(self, path: str) -> Iterator[bytes]:
        return self._archive.pieces(self._prefix + path, most=MOST_MEDIUM)


def place_base(
    base: Base,
    target: Path,
    media: Mapping[str, Iterator[bytes]] | None = None,
    *,
    total: int = 0,
    progress: Progress | None = None,
) -> None:
    """Makes the folder of a base, whole or not at all. Blocks, for a thread.

    Args:
        base: what its file shall hold.
        target: the folder, which must not be there yet.
        media: bytes of its media, piece by piece, by their paths below the folder.
        total: bytes of all media, for `progress`.
        progress: called with bytes.

    Raises:
        KnowledgeError: the folder is there, or a medium is an archive itself.
        UsageError: it cannot be written.
    """
    done = 0

    def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal done
        for piece in pieces:
            done += len(piece)
            if progress is not None:
                progress(min(done, total), total)
            yield piece

    with placed(target) as folder:
        new_file(folder, FILE, [encode_base(base)])
        for path, pieces in (media or {}).items():
            new_file(folder, path, counted(no_archive(path, pieces)))


def media_of(base: Base, folder: Path) -> tuple[dict[str, Iterator[bytes]], int, list[Problem]]:
    """The media that the entries of a base name, out of its folder: their bytes by path, how many bytes they are, and
    those that are not there, or are not read. Blocks, for a thread; each file is opened when its turn comes."""
    found: dict[str, Iterator[bytes]] = {}
    problems: list[Problem] = []
    total = 0
    for number, item in enumerate(base.items):
        path = item.entry.content.path
        if not path or path in found:
            continue
        try:
            with open_media(folder, path) as medium:
                total += medium.size
        except KnowledgeError as error:
            where = f"entries[{number}].content.path"
            sentence = f"{error.problems[0].message}; it was left out"
            problems.append(Problem(where, f"{path[:200]!r} {sentence}", item.entry.name[:100]))
            continue
        if total > MOST_ARCHIVE:
            raise KnowledgeError(f"has media of more than {MOST_ARCHIVE:,} bytes", source=base.info.name)
        found[path] = _read(folder, path)
    return found, total, problems


def no_archive(path: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces, unless they begin as an archive does.

    Raises:
        KnowledgeError: they do.
    """
    first = True
    for piece in pieces:
        if first and piece.startswith(detection.PACKED):
            raise KnowledgeError(Problem(path, "is an archive inside of the base, which is not read"))
        first = False
        yield piece


def _read(folder: Path, path: str) -> Iterator[bytes]:
    size = 0
    with open_media(folder, path) as medium:
        while piece := medium.file.read(PIECE):
            size += len(piece)
            if size > MOST_MEDIUM:
                raise KnowledgeError(Problem(path, f"is more than {MOST_MEDIUM:,} bytes"))
            yield piece


def _sorted_out(archive: Archive, member: str, prefix: str) -> tuple[list[str], list[str], list[Problem]]:
    """The media, the headers of vectors, and what is neither."""
    media: list[str] = []
    sets: list[str] = []
    problems: list[Problem] = []
    for name in archive.sizes:
        path = name.removeprefix(prefix)
        if name == member:
            continue
        if not name.startswith(prefix):
            problems.append(Problem(name, "lies outside of the base and was left out"))
        elif path.startswith(f"{MEDIA}/"):
            if mime_type(path) is None:
                problems.append(Problem(path, "is no medium that is known, and was left out"))
            else:
                media.append(path)
        elif path.startswith(f"{FOLDER}/") and path.endswith(".json"):
            sets.append(path)
        elif not (path.startswith(f"{FOLDER}/") and path.endswith(".f16")):
            problems.append(Problem(path, "is not part of a base, and was left out"))
    if len(sets) > MOST_SETS:
        raise KnowledgeError(f"has {len(sets)} sets of vectors, the most is {MOST_SETS}", source=archive.name)
    return media, sets, problems


def _vectors(archive: Archive, name: str, known: set[str]) -> VectorSet:
    numbers = f"{name.removesuffix('.json')}.f16"
    if numbers not in archive.sizes:
        raise KnowledgeError(Problem(os.path.basename(name), "has no file of numbers beside it"), source=archive.name)
    header = archive.read(name, most=MOST_HEADER)
    return unpack(header, archive.read(numbers, most=MOST_ARCHIVE), f"{archive.name}/{name}", known)
