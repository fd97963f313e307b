"""The project's own world as a data set: questions about its entries that share no word with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from innkeeper.errors import InternalError
from innkeeper.knowledge.bench.sets import DataSet, Question, read_bounded
from innkeeper.knowledge.model.entry import Entry, read_entry

LANGUAGES: Final = ("en", "zh")

_PACKAGE = Path(__file__).parents[2]


def lore_folder() -> Path:
    """Where the world lies (Path): inside of an installed package, or in its checkout."""
    root = _PACKAGE / "shipped"
    if not root.is_dir() and _PACKAGE.parent.name == "host":
        root = _PACKAGE.parent.parent
    return root / "docs" / "demo" / "lore"


def set_name(language: str) -> str:
    """The name of the set of a language (str)."""
    return f"paraphrases.{language}"


def read_lore(language: str) -> DataSet:
    """The entries of the world in one language, and a question for each that is written in other words.

    Args:
        language: of `LANGUAGES`.

    Raises:
        KnowledgeError: a file cannot be read.
        InternalError: it is not what was shipped.
    """
    folder = lore_folder()
    raw = json.loads(read_bounded(folder / language / "knowledge.json"))
    entries = [_entry(document) for document in raw["entries"]]
    known = {entry.id for entry in entries}
    questions = []
    for line in read_bounded(folder / f"paraphrases.{language}.jsonl").decode("utf-8").splitlines():
        row = json.loads(line)
        if row["entry"] not in known:
            raise InternalError(f"{set_name(language)}: there is no entry {row['entry']!r}")
        questions.append(Question(row["question"], {row["entry"]: 1.0}))
    return DataSet(set_name(language), entries, questions)


def _entry(document: dict[str, Any]) -> Entry:
    entry, problems = read_entry(document)
    if entry is None:
        raise InternalError(f"the world that comes with Innkeeper: {problems[0]}")
    return entry
