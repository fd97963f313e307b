"""Vectors of a base as files: plain numbers with a digest, never an index and never a pickle.

A set is two files: `vectors/NAME.json` says whose vectors they are, `vectors/NAME.f16` has them, row after row, as
little-endian half floats. Nothing in them is executed or followed; each number is looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from innkeeper.knowledge.files.bounds import MOST_DIMENSION
from innkeeper.knowledge.files.decoding import decode_object
from innkeeper.knowledge.files.names import slug
from innkeeper.knowledge.model.bounds import MOST_ENTRIES, MOST_ID, MOST_NAME
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

if TYPE_CHECKING:
    from innkeeper.knowledge.embedding.interface import Vectors

FOLDER: Final = "vectors"
FORMAT: Final = "innkeeper-vectors/1"

MOST_HEADER: Final = 64 << 20
"""Bytes of a header."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEXT_DIGEST = re.compile(r"[0-9a-f]{0,128}")
_LEAST_LENGTH = 1e-3
_ROWS = 4096


@dataclass(frozen=True, slots=True)
class VectorSet:
    """Vectors that one model made.

    Attributes:
        model: `ModelIdentity.key` of the model.
        ids: of the entries, one for each row; none twice.
        digests: of the texts that the vectors were made of, in hexadecimal, one for each row; "" where nobody knows.
        vectors: shape (entries, dimension), each row of length 1.
    """

    model: str
    ids: list[str]
    digests: list[str]
    vectors: Vectors


def pack(found: VectorSet) -> tuple[str, bytes, bytes]:
    """The files of a set: their name without its ending, the header, the numbers. Blocks, for a thread.

    Raises:
        ValueError: the rows are not as many as the ids, or some are no vectors.
    """
    import numpy as np

    rows, dimension = found.vectors.shape
    if not rows == len(found.ids) == len(found.digests) == len(set(found.ids)):
        raise ValueError("as many rows as ids, and no id twice")
    numbers = np.ascontiguousarray(found.vectors, dtype="<f2")
    if _first_wrong(numbers) is not None:
        raise ValueError("a row is no vector")
    data = numbers.tobytes()
    header = {
        "format": FORMAT,
        "model": found.model,
        "dimension": dimension,
        "count": rows,
        "sha256": hashlib.sha256(data).hexdigest(),
        "ids": found.ids,
        "texts": found.digests,
    }
    return slug(found.model), json.dumps(header, ensure_ascii=False).encode(), data


def unpack(header: bytes, data: bytes, name: str, known: Collection[str]) -> VectorSet:
    """A set out of its files, of which nothing is believed. Blocks, for a thread.

    Args:
        header, data: the bytes of the two files.
        name: of the header, for messages.
        known: ids of the base's entries.

    Raises:
        KnowledgeError: something of it is wrong; all that can be told from the header at once.
    """
    found = decode_object(header, name, most=MOST_HEADER)
    problems = list(_wrong_header(found, known))
    if problems:
        raise KnowledgeError(problems, source=name)
    count, dimension = found["count"], found["dimension"]
    if len(data) != count * dimension * 2:
        sentence = (
            f"are {len(data):,} bytes: {count:,} vectors of {dimension:,} half floats take {count * dimension * 2:,}"
        )
        raise KnowledgeError(Problem("the numbers", sentence), source=name)
    if hashlib.sha256(data).hexdigest() != found["sha256"]:
        raise KnowledgeError(Problem("sha256", "is not that of the numbers: they were changed"), source=name)
    import numpy as np

    numbers = np.frombuffer(data, dtype="<f2").reshape(count, dimension)
    wrong = _first_wrong(numbers)
    if wrong is not None:
        sentence = (
            f"of entry {found['ids'][wrong][:100]!r} is no vector: it has a number that is not finite, or only zeros"
        )
        raise KnowledgeError(Problem("a row", sentence), source=name)
    vectors = numbers.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return VectorSet(found["model"], found["ids"], found["texts"], vectors)


def _first_wrong(numbers: Any) -> int | None:
    """The first row with a number that is not finite, or with next to nothing in it."""
    import numpy as np

    for start in range(0, len(numbers), _ROWS):
        rows = numbers[start : start + _ROWS].astype(np.float32)
        right = np.isfinite(rows).all(axis=1)
        right &= np.linalg.norm(np.where(np.isfinite(rows), rows, 0), axis=1) >= _LEAST_LENGTH
        if not right.all():
            return start + int(np.argmin(right))
    return None


def _wrong_header(found: dict[str, Any], known: Collection[str]) -> list[Problem]:
    problems: list[Problem] = []

    def say(key: str, sentence: str) -> None:
        problems.append(Problem(key, sentence))

    if found.get("format") != FORMAT:
        say("format", f"must be {FORMAT!r}")
    model = found.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MOST_NAME:
        say("model", "must be the key of a model, such as 'NAME@VERSION/DIMENSION'")
    count, dimension = found.get("count"), found.get("dimension")
    if not _whole(count, 0, MOST_ENTRIES):
        say("count", f"must be a whole number up to {MOST_ENTRIES:,}")
    if not _whole(dimension, 1, MOST_DIMENSION):
        say("dimension", f"must be a whole number from 1 to {MOST_DIMENSION:,}")
    digest = found.get("sha256")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        say("sha256", "must be 64 hexadecimal digits")
    ids = found.get("ids")
    if not _texts(ids, MOST_ID) or len(ids) != count or len(set(ids)) != count:
        say("ids", "must be as many ids as count says, and none twice")
    elif strange := next((each for each in ids if each not in known), None):
        say("ids", f"names {strange!r}, and the base has no such entry")
    texts = found.get("texts")
    if not _texts(texts, 128) or len(texts) != count or not all(map(_TEXT_DIGEST.fullmatch, texts)):
        say("texts", "must be as many digests as count says, each hexadecimal or empty")
    return problems


def _whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _texts(value: object, most: int) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) and len(each) <= most for each in value)
