"""A base from a folder, a single file or an archive: all of it with every mistake named, or what is sound of it."""

from __future__ import annotations

import os
from pathlib import Path

from innkeeper.errors import RejectedError, UsageError
from innkeeper.knowledge.files import detection
from innkeeper.knowledge.files.decoding import Progress
from innkeeper.knowledge.files.names import NAMES
from innkeeper.knowledge.files.parsing import Read, Source, parse_base
from innkeeper.knowledge.files.regular import open_regular
from innkeeper.knowledge.files.upgrades import FIRST
from innkeeper.knowledge.model.bounds import MOST_FILE
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.plugins.files import read_file


def read_base(path: str | os.PathLike[str], *, strict: bool = True, progress: Progress | None = None) -> Read:
    """A base from a folder with knowledge.json or entries.json, a single .json or .ckb, or a .zip or .ctkbz. Blocks,
    for a thread; between entries others get their turn.

    Args:
        path: what is named; links on the way are followed, a link in the folder of a base is not.
        strict: whether any mistake refuses all of it; without, sound entries are read, and the rest listed. A file that
            is no JSON, or whose top level is wrong, is refused either way.
        progress: called with characters.

    Raises:
        KnowledgeError: it is no base, or has mistakes; each with line and key.
        UsageError: there is nothing, or it cannot be read.
    """
    path = Path(os.path.abspath(path))
    label = path.name or "/"
    if path.is_dir():
        file = find_file(path)
        data = read_bounded(file, f"{label}/{file.name}", follow=False)
        return parse_base(
            data,
            Source("folder", path, file, path, "", "object", None, "", FIRST, False, False),
            label=f"{label}/{file.name}",
            base_id=path.name,
            strict=strict,
            progress=progress,
        )
    beginning = _beginning(path, label)
    if detection.is_archive(beginning):
        from innkeeper.knowledge.files.archive import read_member

        member, data = read_member(path)
        source = Source("archive", path, path, None, member, "object", None, "", FIRST, False, False)
        inner = f"{label}/{member}"
        base_id = member.partition("/")[0] if "/" in member else path.stem
        return parse_base(data, source, label=inner, base_id=base_id, strict=strict, progress=progress)
    if not detection.looks_like_json(beginning) and beginning[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise KnowledgeError(detection.no_base(beginning), source=label)
    data = read_bounded(path, label)
    source = Source("file", path, path, path.parent, "", "object", None, "", FIRST, False, False)
    # The file inside of a base's folder is that base.
    base_id = path.parent.name if path.name in NAMES else path.stem
    return parse_base(data, source, label=label, base_id=base_id, strict=strict, progress=progress)


def find_file(folder: Path) -> Path:
    """The file of JSON in the folder of a base.

    Raises:
        KnowledgeError: there is none, or there are two.
    """
    found = [name for name in NAMES if os.path.lexists(folder / name)]
    if len(found) == 1:
        return folder / found[0]
    label = folder.name or "/"
    if found:
        raise KnowledgeError(f"has both {' and '.join(NAMES)}: keep the one that is meant", source=label)
    if os.path.lexists(folder / "project.json"):
        raise KnowledgeError("is a project: name one of the folders in its knowledgebases/", source=label)
    raise KnowledgeError(f"is a folder without {' or '.join(NAMES)}, so it is no knowledge base", source=label)


def read_bounded(path: Path, label: str, *, most: int = MOST_FILE, follow: bool = True) -> bytes:
    """The bytes of a regular file, as `plugins.files.read_file`, whose refusals are this room's.

    Raises:
        KnowledgeError: it is too large.
        UsageError: it cannot be read.
    """
    try:
        return read_file(path, most=most, label=label, follow=follow)
    except RejectedError as error:
        raise KnowledgeError(error.message) from None


def _beginning(path: Path, label: str) -> bytes:
    """The first bytes of a regular file."""
    try:
        # Opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UsageError(f"{label}: no such file") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{label}: cannot be read: {getattr(error, 'strerror', 'not a file name')}") from None
    file = open_regular(descriptor)
    if file is None:
        raise UsageError(f"{label}: is not a regular file")
    with file:
        return file.read(4096)
