"""Lorebooks of SillyTavern, NovelAI, Agnai and RisuAI: bytes, changed examples, and objects with the right keys.

Whatever it is: a base of sound entries and a list of the rest, nothing, or KnowledgeError with lines that can be
printed, in bounded time. A world book and a `character_book` that are read whole come out as they went in, and a base
of any of them survives the way through a world book.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import Any

from fuzz.mutation import assert_printable, mutated, outline, plain, reshaped, text
from fuzz.target import MIB, Target

from innkeeper.knowledge.interchange.book_files import character_book, world_book
from innkeeper.knowledge.interchange.books import read_world_book
from innkeeper.knowledge.interchange.detect import Imported, read_lorebook
from innkeeper.knowledge.interchange.reading import read_json
from innkeeper.knowledge.interchange.world_fields import BOOK_EXTENSIONS, TEMPLATE
from innkeeper.knowledge.model.problems import KnowledgeError

_ENTRY = {**TEMPLATE, "uid": 3, "key": ["dragon", "/re(d+)/i"], "keysecondary": ["cave"], "comment": "Ignis",
          "content": "@@depth 3\nA {{char}}.", "group": "a,b", "extensions": {"x": 1},
          "characterFilter": {"isExclude": False, "names": ["A"], "tags": []}}  # fmt: skip
_BOOK_ENTRY = {"id": 1, "keys": ["a"], "secondary_keys": ["b"], "content": "c", "name": "n", "insertion_order": 5,
               "enabled": True, "use_regex": True, "position": "before_char",
               "extensions": {"position": 4, "depth": 2, "selectiveLogic": 3, "role": None}}  # fmt: skip
_BOOKS: tuple[dict[str, Any], ...] = (
    {"entries": {"3": _ENTRY, "x": {"key": ["a"]}}, "name": "B", "originalData": {}},
    {"name": "B", "scan_depth": 3, "extensions": {}, "entries": [_BOOK_ENTRY]},
    {"spec": "lorebook_v3", "data": {"entries": [_BOOK_ENTRY]}},
    {"lorebookVersion": 5, "entries": [{"text": "t", "keys": ["k"], "id": "i", "contextConfig": {"prefix": "p"}}]},
    {"kind": "memory", "entries": [{"name": "n", "entry": "e", "keywords": ["a*", "b?"], "priority": 1, "weight": 2}]},
    {"type": "risu", "data": [{"key": "a, b", "content": "c", "mode": "folder"}, {"key": "/x/", "useRegex": True}]},
    {"entries": {"0": {"content": "c", "extensions": {"innkeeper": {"native": True, "around": ["a", "b"], "entry": {
        "id": {"made": "0", "own": "n"}, "content": {"in": {"value": {"made": "c", "own": "d"}}}}}}}}},
)  # fmt: skip
_OTHER = ("entries", "extensions", "innkeeper", "sillytavern", "_source", "residue", "made", "own", "in", "digest",
          "native", "around", "bare", "key", "kb_id", "name", "data", "spec")  # fmt: skip
_KEYS = tuple(sorted({*TEMPLATE, *BOOK_EXTENSIONS, *_OTHER}))
_WORDS = (
    *(f'"{key}"'.encode() for key in _KEYS),
    *(b"NaN", b"1e999", b"[" * 60, b"\\ud800", b"\\u0000", b"9" * 500, b"{}", b"[]", b"null", b"\xff", b"true", b"-1"),
)


class Fuzz(Target):
    """An input is the bytes of a file."""

    guided = True
    address_space = 1536 * MIB
    hang = 20.0

    def seeds(self) -> Sequence[bytes]:
        return tuple(json.dumps(book).encode() for book in _BOOKS)

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(8):
            case 0 | 1:
                return mutated(rng, rng.choice(pool), pool, _WORDS)
            case 2:
                return json.dumps(plain(rng, 4)).encode("utf-8", "replace")
            case 3:
                return json.dumps(_odd(rng)).encode("utf-8", "replace")
            case _:
                value: Any = rng.choice(_BOOKS)
                for _ in range(rng.choice((1, 1, 2, 3, 5))):
                    value = reshaped(rng, value)
                return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")

    async def check(self, data: bytes) -> str:
        before = time.thread_time()
        try:
            found = read_lorebook(data, "book.json")
        except KnowledgeError as error:
            assert_printable(error.message, 25_000)
            said = f"refused {outline(error.message)}"
        else:
            said = "nothing" if found is None else _checked(found, data)
        assert time.thread_time() - before < 8
        return said


def _checked(found: Imported, data: bytes) -> str:
    assert len({item.entry.id for item in found.base.items}) == len(found.base.items)
    book = json.loads(json.dumps(world_book(found.base), allow_nan=False))
    assert len(book["entries"]) == len(found.base.items)
    raw = read_json(data, "book.json")
    if found.kind == "world_info" and not found.problems and "innkeeper" not in data.decode("utf-8", "replace"):
        assert _same(book, raw), "a world book came out otherwise"
    if found.kind == "character_book" and not found.problems and isinstance(raw["entries"], list):
        assert b"innkeeper" in data or _same(character_book(found.base), raw), "a character_book came out otherwise"
    back, problems = read_world_book(book, "other", "other")
    assert len(back.items) + len(problems) >= len(found.base.items)
    return f"{found.kind} {len(found.base.items)} {len(found.problems)} {outline(str(found.problems[:1]))}"


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _odd(rng: random.Random) -> dict[str, Any]:
    entries = [
        {rng.choice(_KEYS) if rng.random() < 0.9 else text(rng): plain(rng, 2) for _ in range(rng.randrange(8))}
        for _ in range(rng.randrange(4))
    ]
    shape = rng.choice(_BOOKS)
    if isinstance(shape.get("entries"), dict):
        return {**shape, "entries": {rng.choice((str(at), text(rng))): entry for at, entry in enumerate(entries)}}
    return {**shape, rng.choice(("entries", "data")): entries}
