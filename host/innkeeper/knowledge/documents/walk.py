"""Which files there are: bounded, in a fixed order, and never by way of a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.knowledge.documents import bounds
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.plugins.files import read_file
from innkeeper.printable import printable

KINDS = {
    ".txt": "plain",
    ".text": "plain",
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdown": "markdown",
    ".mkd": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
}
"""What a file is, by how its name ends. What a user names himself, and ends otherwise, is plain text."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was read.

    Attributes:
        path: relative, with "/", from the name of the folder that was given on.
        kind: a value of `KINDS`.
        data: its bytes.
    """

    path: str
    kind: str
    data: bytes


@dataclass(slots=True)
class Walk:
    """What a walk finds beside files.

    Attributes:
        roots: names of the folders that were walked whole.
        problems: files that could not be read.
        passed: how many files were passed over: of other kinds, hidden, or links.
        seen: names that were looked at.
        files, size: that were read, and their bytes.
        failed: paths of what is there and could not be read.
    """

    roots: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    passed: int = 0
    seen: int = 0
    files: int = 0
    size: int = 0
    failed: list[str] = field(default_factory=list)

    def fail(self, path: str, reason: str) -> None:
        """Notes what could not be read."""
        self.failed.append(path)
        self.problems.append(Problem(path, reason))


def kind_of(name: str) -> str | None:
    """What a file of this name is (a value of `KINDS`), or None."""
    return KINDS.get(os.path.splitext(name)[1].lower())


def walk(paths: Sequence[str | os.PathLike[str]], found: Walk, *, hidden: bool = False) -> Iterator[Found]:
    """Reads files one after the other, those of a folder in the order of their names.

    What a user names may be a link; inside of a folder none is followed, and what becomes one meanwhile neither.

    Args:
        paths: files and folders.
        found: is told what is no file.
        hidden: whether names that begin with a dot are read, too.

    Raises:
        UsageError: one of `paths` is not there.
        KnowledgeError: there is more than the bounds say.
    """
    for given in paths:
        path = Path(given)
        if path.is_dir():
            name = path.resolve().name or "files"
            if not _sound(name):
                raise UsageError(f"{printable(str(path), 200)}: the folder needs a name that is UTF-8 text")
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise UsageError(f"{printable(str(path), 200)}: cannot be opened: {error.strerror}") from None
            found.roots.append(name)
            try:
                yield from _folder(descriptor, name, found, hidden, 1)
            finally:
                os.close(descriptor)
        else:
            name = path.name
            yield from _file(None, os.fspath(path), name, kind_of(name) or "plain", found)


def _folder(descriptor: int, path: str, found: Walk, hidden: bool, depth: int) -> Iterator[Found]:
    try:
        with os.scandir(descriptor) as listing:
            names = []
            for entry in listing:
                found.seen += 1
                if found.seen > bounds.MOST_NAMES:
                    raise KnowledgeError(f"has more than {bounds.MOST_NAMES:,} files and folders", source=path)
                names.append(entry.name)
    except OSError as error:
        found.fail(path, f"cannot be listed: {error.strerror}")
        return
    for name in sorted(names):
        below = f"{path}/{name}"
        if name.startswith(".") and not hidden:
            found.passed += 1
            continue
        try:
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
        except OSError:
            continue  # Gone meanwhile.
        if stat.S_ISDIR(mode):
            if not _sound(name):
                found.fail(f"{path}/{printable(name, 200)}", "has a name that is no UTF-8 text; rename it")
            elif depth == bounds.MOST_FOLDERS:
                found.fail(below, f"lies deeper than {bounds.MOST_FOLDERS} folders")
            else:
                try:
                    inner = os.open(
                        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor
                    )
                except OSError as error:
                    found.fail(below, f"cannot be opened: {error.strerror}")
                    continue
                try:
                    yield from _folder(inner, below, found, hidden, depth + 1)
                finally:
                    os.close(inner)
        elif stat.S_ISREG(mode) and (kind := kind_of(name)):
            if _sound(name):
                yield from _file(descriptor, name, below, kind, found)
            else:
                found.fail(f"{path}/{printable(name, 200)}", "has a name that is no UTF-8 text; rename it")
        else:
            found.passed += 1


def _file(folder: int | None, name: str, path: str, kind: str, found: Walk) -> Iterator[Found]:
    found.files += 1
    if found.files > bounds.MOST_FILES:
        raise KnowledgeError(f"more than {bounds.MOST_FILES:,} documents; import them in parts")
    try:
        data = read_file(name, most=bounds.MOST_FILE, label="the file", follow=folder is None, folder=folder)
    except InnkeeperError as error:
        if folder is None:
            raise UsageError(f"{printable(path, 200)}: {error.message.removeprefix('the file: ')}") from None
        found.fail(path, error.message.removeprefix("the file: "))
        return
    found.size += len(data)
    if found.size > bounds.MOST_BYTES:
        raise KnowledgeError(f"more than {bounds.MOST_BYTES >> 20} MiB of documents; import them in parts")
    yield Found(path, kind, data)


def _sound(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
