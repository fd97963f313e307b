"""A data set of retrieval: entries, questions, and which entries answer which question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from innkeeper.knowledge.model.entry import Content, Entry
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

MOST_FILE: Final = 256 << 20
"""Bytes of one file of a data set."""

MOST_DOCUMENTS: Final = 200_000
"""Entries of one set: as many as a base may have."""

MOST_QUESTIONS: Final = 50_000

MOST_TEXT: Final = 256 << 10
"""Characters of one document, as of one entry."""

MOST_QUESTION: Final = 8000
"""Characters of one question."""

MOST_JUDGEMENTS: Final = 1_000_000

MOST_PROBLEMS: Final = 100
"""Mistakes that are collected before a file is given up."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its answers.

    Attributes:
        text: as somebody asks it.
        gains: what each relevant entry is worth, by the entry's id; at least one, each more than 0.
    """

    text: str
    gains: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a search is measured with.

    Attributes:
        name: of the set, such as "xquad.en".
        entries: that are searched; no id is there twice.
        questions: at least one.
        notes: sentences on what of the files was left out.
    """

    name: str
    entries: Sequence[Entry]
    questions: Sequence[Question]
    notes: Sequence[str] = ()


class Problems:
    """Collects what is wrong with a file, so that all of it is said at once."""

    def __init__(self, source: str) -> None:
        """Args:
        source: name of the file, for messages.
        """
        self.source = source
        self._found: list[Problem] = []

    def add(self, where: str, message: str, line: int = 0) -> None:
        """One more.

        Raises:
            KnowledgeError: these are enough.
        """
        self._found.append(Problem(where, message, line=line))
        if len(self._found) >= MOST_PROBLEMS:
            self.raise_any()

    def raise_any(self) -> None:
        """Raises:
        KnowledgeError: something is wrong.
        """
        if self._found:
            raise KnowledgeError(self._found, source=self.source)


def document(id: str, title: str, text: str) -> Entry:
    """An entry that says what a document of a data set says.

    Args:
        id: of the entry.
        title: of the document, or "".
        text: of it.
    """
    return Entry(id=id, displayName=title[:1000] or None, content=Content(value=text))


def read_bounded(path: Path) -> bytes:
    """A file of a data set, whole.

    Raises:
        KnowledgeError: it cannot be read, is no file, or is larger than `MOST_FILE`.
    """
    try:
        if not path.is_file():
            raise KnowledgeError("it is no file", source=path.name)
        with path.open("rb") as file:
            data = file.read(MOST_FILE + 1)
    except OSError as error:
        raise KnowledgeError(f"cannot be read: {error.strerror}", source=path.name) from None
    if len(data) > MOST_FILE:
        raise KnowledgeError(f"is larger than {MOST_FILE >> 20} MiB", source=path.name)
    return data
