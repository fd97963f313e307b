"""Finds the data sets of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from innkeeper.errors import UsageError
from innkeeper.knowledge.bench.beir import is_beir, read_beir
from innkeeper.knowledge.bench.sets import DataSet
from innkeeper.knowledge.bench.squad import read_squad

MOST_SETS: Final = 100
"""Sets of one folder."""


def sets_in(folder: Path) -> dict[str, Path]:
    """The files `*.json` and the sub-folders in BEIR's layout, by the name of the set, in the order of names.

    Raises:
        UsageError: there is none, there are too many, or two would have one name.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read: {error.strerror}") from None
    found: dict[str, Path] = {}
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_dir() and is_beir(path):
            name = path.name
        elif path.suffix == ".json" and path.is_file():
            name = path.name.removesuffix(".json")
        else:
            continue
        if name in found:
            raise UsageError(f"{folder}: a file and a folder are both called {name!r}; rename one of them")
        found[name] = path
    if not found:
        raise UsageError(
            f"{folder}: there is no data set: neither a file *.json in SQuAD's format nor a sub-folder with "
            "corpus.jsonl, queries.jsonl and qrels.tsv"
        )
    if len(found) > MOST_SETS:
        raise UsageError(f"{folder}: there are {len(found)} data sets, and {MOST_SETS} are the most")
    return found


def read_set(path: Path) -> DataSet:
    """The data set of a path that `sets_in` gave. Not for trio's thread.

    Raises:
        KnowledgeError: it cannot be read.
    """
    return read_beir(path) if path.is_dir() else read_squad(path)
