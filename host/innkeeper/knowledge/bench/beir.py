"""Reads a folder in the layout of BEIR: corpus.jsonl, queries.jsonl and qrels.tsv."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from innkeeper.knowledge.bench.sets import (
    MOST_DOCUMENTS,
    MOST_JUDGEMENTS,
    MOST_QUESTION,
    MOST_QUESTIONS,
    MOST_TEXT,
    DataSet,
    Problems,
    Question,
    document,
    read_bounded,
)
from innkeeper.knowledge.model.problems import KnowledgeError

CORPUS: Final = "corpus.jsonl"
QUERIES: Final = "queries.jsonl"
QRELS: Final = "qrels.tsv"
FILES: Final = (CORPUS, QUERIES, QRELS)

_MOST_LINE = 1 << 20
_MOST_ID = 1000
_MOST_GAIN = 1e6


def is_beir(folder: Path) -> bool:
    """Whether a folder has one of the files (bool): what it lacks is said when it is read."""
    return any((folder / name).is_file() for name in FILES)


def read_beir(folder: Path) -> DataSet:
    """The documents and queries of a folder. Not for trio's thread.

    Queries without a relevant document are left out, and so are judgements of documents or queries that are not there.

    Args:
        folder: its name is that of the set.

    Raises:
        KnowledgeError: a file is missing, not of this layout, or too large; says everything that is wrong with it.
    """
    documents = _texts(folder / CORPUS, MOST_DOCUMENTS, MOST_TEXT, titled=True)
    queries = _texts(folder / QUERIES, MOST_QUESTIONS, MOST_QUESTION, titled=False)
    # Ids of others may be longer than those of entries, and hold anything.
    ids = {id: f"d{place}" for place, id in enumerate(documents)}
    gains: dict[str, dict[str, float]] = {}
    unknown = 0
    for query, id, gain in _judgements(folder / QRELS):
        if query not in queries or id not in ids:
            unknown += 1
        elif gain > 0:
            gains.setdefault(query, {})[ids[id]] = gain
    if not gains:
        raise KnowledgeError("no query has a relevant document", source=f"{folder.name}/{QRELS}")
    notes = []
    if unknown:
        notes.append(f"{unknown} judgements of unknown queries or documents were left out")
    entries = [document(ids[id], title, text) for id, (title, text) in documents.items()]
    questions = [Question(text, gains[query]) for query, (_, text) in queries.items() if query in gains]
    return DataSet(folder.name, entries, questions, notes)


def _texts(path: Path, most: int, longest: int, *, titled: bool) -> dict[str, tuple[str, str]]:
    """Title and text by id, in the order of the file."""
    problems = Problems(f"{path.parent.name}/{path.name}")
    found: dict[str, tuple[str, str]] = {}
    for number, line in _lines(path, problems):
        row = _row(line, number, problems)
        if row is None:
            continue
        id, text, title = _id(row.get("_id")), row.get("text"), row.get("title") or ""
        if not id:
            problems.add("_id", f"should be a text of 1 to {_MOST_ID} characters", number)
        elif id in found:
            problems.add("_id", f"{id[:100]!r} was there before", number)
        elif not isinstance(text, str) or len(text) > longest:
            problems.add("text", f"should be a text of at most {longest:,} characters", number)
        elif not isinstance(title, str) or len(title) > longest:
            problems.add("title", f"should be a text of at most {longest:,} characters", number)
        else:
            found[id] = (title if titled else "", text)
            if len(found) > most:
                problems.add("", f"is one line more than {most:,}", number)
                break
    problems.raise_any()
    return found


def _judgements(path: Path) -> Iterator[tuple[str, str, float]]:
    problems = Problems(f"{path.parent.name}/{path.name}")
    found: list[tuple[str, str, float]] = []
    for number, line in _lines(path, problems):
        cells = line.split("\t")
        if len(cells) != 3:
            problems.add("", "should be query, document and score with tabs between them", number)
            continue
        gain = _number(cells[2])
        if gain is None:
            # The first line is a header, as a rule.
            if number > 1:
                problems.add("score", f"should be a number of at most {_MOST_GAIN:,.0f}", number)
            continue
        found.append((cells[0].strip(), cells[1].strip(), gain))
        if len(found) > MOST_JUDGEMENTS:
            problems.add("", f"is one judgement more than {MOST_JUDGEMENTS:,}", number)
            break
    problems.raise_any()
    yield from found


def _lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    # One line at a time: a file of line breaks alone would be a list of hundreds of millions.
    for number, raw in enumerate(BytesIO(read_bounded(path)), start=1):
        if len(raw) > _MOST_LINE:
            problems.add("", f"is longer than {_MOST_LINE >> 20} MiB", number)
            continue
        try:
            line = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            problems.add("", "is no UTF-8", number)
            continue
        if line.strip():
            yield number, line.rstrip("\r\n")


def _row(line: str, number: int, problems: Problems) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict):
        return row
    problems.add("", "should be an object of JSON", number)
    return None


def _id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and len(value) <= _MOST_ID else ""


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    # Sums of larger ones could be infinite.
    return value if math.isfinite(value) and abs(value) <= _MOST_GAIN else None
