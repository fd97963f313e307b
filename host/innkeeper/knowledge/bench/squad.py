"""Reads question answering data in SQuAD's format as retrieval: which paragraph does a question belong to?

{"data": [{"paragraphs": [{"context": text, "qas": [{"question": text}]}]}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from innkeeper.knowledge.bench.sets import (
    MOST_DOCUMENTS,
    MOST_FILE,
    MOST_QUESTION,
    MOST_QUESTIONS,
    MOST_TEXT,
    DataSet,
    Problems,
    Question,
    document,
    read_bounded,
)
from innkeeper.knowledge.interchange.reading import read_json


def read_squad(path: Path) -> DataSet:
    """The paragraphs and questions of a file. Computes for about a second for each 100 MB: not for trio's thread.

    A paragraph that is there twice is one entry. Questions that their author marked as impossible are left out.

    Args:
        path: of the file; its name without ".json" is that of the set.

    Raises:
        KnowledgeError: it is not of this format, or too large; says everything that is wrong.
    """
    return squad_of(read_bounded(path), path.name)


def squad_of(data: bytes, source: str) -> DataSet:
    """As `read_squad`, of what is in a file.

    Args:
        data: the file.
        source: its name, for messages.
    """
    raw = read_json(data, source, MOST_FILE)
    problems = Problems(source)
    places: dict[str, str] = {}
    asked: list[tuple[str, str]] = []
    impossible = 0
    for where, paragraph in _paragraphs(raw, problems):
        context = paragraph.get("context")
        if not isinstance(context, str) or len(context) > MOST_TEXT:
            problems.add(f"{where}.context", f"should be a text of at most {MOST_TEXT:,} characters")
            continue
        id = places.setdefault(context, f"p{len(places)}")
        if len(places) > MOST_DOCUMENTS:
            problems.add(where, f"is one paragraph more than {MOST_DOCUMENTS:,}")
            break
        for at, qa in enumerate(_list(paragraph, "qas", where, problems)):
            question = qa.get("question") if isinstance(qa, dict) else None
            if not isinstance(question, str) or not question.strip() or len(question) > MOST_QUESTION:
                problems.add(f"{where}.qas[{at}].question", f"should be a text of at most {MOST_QUESTION:,} characters")
            elif qa.get("is_impossible") is True:
                impossible += 1
            else:
                asked.append((question, id))
        if len(asked) > MOST_QUESTIONS:
            problems.add(where, f"has one question more than {MOST_QUESTIONS:,}")
            break
    if not asked:
        problems.add("data", "should have paragraphs with questions")
    problems.raise_any()
    notes = [f"{impossible} questions that have no answer were left out"] if impossible else []
    entries = [document(id, "", context) for context, id in places.items()]
    return DataSet(source.removesuffix(".json"), entries, [Question(text, {id: 1.0}) for text, id in asked], notes)


def _paragraphs(raw: Any, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(raw, dict):
        problems.add("", "should be an object with `data`, as SQuAD has it")
        return
    for first, article in enumerate(_list(raw, "data", "", problems)):
        where = f"data[{first}]"
        if not isinstance(article, dict):
            problems.add(where, "should be an object with `paragraphs`")
            continue
        for second, paragraph in enumerate(_list(article, "paragraphs", where, problems)):
            if isinstance(paragraph, dict):
                yield f"{where}.paragraphs[{second}]", paragraph
            else:
                problems.add(f"{where}.paragraphs[{second}]", "should be an object with `context` and `qas`")


def _list(holder: dict[str, Any], key: str, where: str, problems: Problems) -> list[Any]:
    found = holder.get(key)
    if isinstance(found, list):
        return found
    problems.add(f"{where}.{key}" if where else key, "should be a list, as SQuAD has it")
    return []
