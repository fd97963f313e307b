"""Reads documents as entries: what `kb import` calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from innkeeper.knowledge.documents.blocks import Parsed
from innkeeper.knowledge.documents.cut import cut
from innkeeper.knowledge.documents.decode import decode
from innkeeper.knowledge.documents.entries import entries_of
from innkeeper.knowledge.documents.html import read_html
from innkeeper.knowledge.documents.markdown import read_markdown
from innkeeper.knowledge.documents.options import Options
from innkeeper.knowledge.documents.plain import read_plain
from innkeeper.knowledge.documents.walk import Found, Walk, walk
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.knowledge.tokens.named import counter

Progress = Callable[[int, int, str], None]
"""Is told how many files and bytes were read, and the path of the last one. What it raises ends the reading."""

_READERS: dict[str, Callable[[str], Parsed]] = {"plain": read_plain, "markdown": read_markdown, "html": read_html}


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read.

    Attributes:
        path: relative, with "/"; what names it in a base.
        kind: "plain", "markdown" or "html".
        title: of the whole, or "".
        digest: sha256 of its bytes, in hexadecimal.
        entries: documents of its entries, plain data, in order. None of a file without text.
    """

    path: str
    kind: str
    title: str
    digest: str
    entries: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Documents:
    """All files that were read.

    Attributes:
        files: in the order of `paths`, those of a folder by name.
        problems: files that were left out, each with its path and why, and what could not be read in others.
        roots: names of the folders that were read whole.
        failed: paths of files and folders that are there and could not be read.
        passed: how many files were passed over: of other kinds, hidden, or links.
    """

    files: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    passed: int = 0

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries of all files."""
        return [entry for file in self.files for entry in file.entries]


def read_documents(
    paths: Sequence[str | os.PathLike[str]], options: Options | None = None, *, progress: Progress | None = None
) -> Documents:
    """Reads text files, Markdown, HTML and folders of them. Belongs into a thread: a megabyte takes part of a second.

    A file that cannot be read is a problem of its own; the others are read all the same.

    Args:
        paths: files and folders. A file is known by its name, one in a folder by its path from the folder's name on.
        options: how they are cut.
        progress: is told after each file.

    Raises:
        UsageError: a path is not there, or options contradict each other.
        KnowledgeError: there is more than the bounds of `documents.bounds` say; nothing is kept.
    """
    options = options or Options()
    options.check()
    tokens = counter(options.tokenizer)
    found = Documents()
    walked = Walk()
    seen: set[str] = set()
    entries = size = 0
    for file in walk(paths, walked, hidden=options.hidden):
        size += len(file.data)
        if file.path in seen:
            found.problems.append(Problem(file.path, "another file of this path was read before; it is left out"))
            continue
        seen.add(file.path)
        try:
            parsed = parse(file)
        except KnowledgeError as error:
            walked.fail(file.path, error.problems[0].message)
            continue
        found.problems.extend(Problem(file.path, note) for note in parsed.notes)
        document = Document(
            file.path,
            file.kind,
            parsed.title,
            sha256(file.data).hexdigest(),
            entries_of(file.path, parsed, cut(parsed.blocks, options, tokens), options),
        )
        entries += len(document.entries)
        if entries > bounds.MOST_ENTRIES:
            raise KnowledgeError(f"more than {bounds.MOST_ENTRIES:,} entries; import the documents in parts")
        found.files.append(document)
        if progress is not None:
            progress(len(found.files), size, file.path)
    found.problems.extend(walked.problems)
    found.roots.extend(walked.roots)
    found.failed.extend(walked.failed)
    return Documents(found.files, found.problems, found.roots, found.failed, walked.passed)


def parse(file: Found) -> Parsed:
    """The blocks of a file.

    Raises:
        KnowledgeError: it is no text.
    """
    return _READERS[file.kind](decode(file.data, "", html=file.kind == "html"))
