"""A base becomes an archive: the same base, the same bytes."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from innkeeper.errors import UsageError
from innkeeper.knowledge.files.bounds import MOST_MEMBERS
from innkeeper.knowledge.files.decoding import Progress
from innkeeper.knowledge.files.unpacking import FILE, media_of, no_archive
from innkeeper.knowledge.files.vectors import FOLDER, VectorSet, pack
from innkeeper.knowledge.files.writing import encode_base, said, sync_folder
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

SUFFIXES: Final = (".ctkbz", ".zip")
"""How names of archives of bases end."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_PACKED_WELL = (".json", ".txt", ".md", ".bmp", ".wav")


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive that was written.

    Attributes:
        size: bytes.
        media: media files in it.
        vectors: vectors in it.
        problems: media that are not in it, and why.
    """

    size: int
    media: int
    vectors: int
    problems: list[Problem]


def write_archive(
    file: Path,
    base: Base,
    *,
    folder: Path | None = None,
    vectors: Sequence[VectorSet] = (),
    progress: Progress | None = None,
) -> Packed:
    """Writes the archive of a base, whole or not at all: its file, the media that its entries name, and vectors. Its
    bytes hang on those alone, not on when or where it is written. Blocks, for a thread.

    Args:
        file: the archive; what is there is replaced.
        base: what it holds.
        folder: below which its media lie; None: it has none.
        vectors: sets of vectors that go with it; none: it is shared without.
        progress: called with bytes.

    Raises:
        KnowledgeError: it is more than an archive may have.
        UsageError: it cannot be written.
        ValueError: a set is none.
    """
    media, total, problems = ({}, 0, []) if folder is None else media_of(base, folder)
    if len(media) + 2 * len(vectors) >= MOST_MEMBERS:
        raise KnowledgeError(f"has {len(media):,} media, the most is {MOST_MEMBERS:,}", source=base.info.name)
    data = encode_base(base)
    done, whole = 0, total + len(data)
    with said(file):
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".innkeeper-")
    try:
        with said(file), open(descriptor, "w+b") as opened:
            with zipfile.ZipFile(opened, "w") as archive:
                members: list[tuple[str, Iterable[bytes]]] = [(FILE, [data])]
                for number, found in enumerate(sorted(vectors, key=lambda each: each.model), 1):
                    name_, header, numbers = pack(found)
                    stem = f"{FOLDER}/{number}-{name_}"
                    members += [(f"{stem}.json", [header]), (f"{stem}.f16", [numbers])]
                members += [(path, no_archive(path, media[path])) for path in sorted(media)]
                for path, pieces in members:
                    info = zipfile.ZipInfo(path, _EPOCH)
                    info.create_system, info.external_attr = 3, _MODE
                    info.compress_type = zipfile.ZIP_DEFLATED if path.endswith(_PACKED_WELL) else zipfile.ZIP_STORED
                    with archive.open(info, "w", force_zip64=False) as member:
                        for piece in pieces:
                            member.write(piece)
                            done += len(piece)
                            if progress is not None:
                                progress(min(done, whole), whole)
            opened.flush()
            os.fchmod(opened.fileno(), 0o644)
            os.fsync(opened.fileno())
            size = opened.seek(0, os.SEEK_END)
            os.replace(name, file)
            sync_folder(file.parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(name)
        if isinstance(error, zipfile.LargeZipFile):
            raise UsageError(f"{file.name}: would be larger than an archive may be") from None
        raise
    return Packed(size, len(media), sum(len(each.ids) for each in vectors), problems)
