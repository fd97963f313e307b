"""Files of knowledge bases and archives of them: changed examples, pieces of JSON in any order, tables of contents that
lie.

Whatever they are: a base that is written and read again without a loss, or KnowledgeError with sentences that can be
printed, in bounded time and memory; and what an archive left on the disk is a whole base, or nothing.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from fuzz.mutation import assert_printable, mutated, outline, reshaped
from fuzz.target import MIB, Target

from innkeeper.errors import UsageError
from innkeeper.knowledge.files.encoding import base_pieces
from innkeeper.knowledge.files.known import decode_beginning
from innkeeper.knowledge.files.parsing import Read, Source, parse_base
from innkeeper.knowledge.files.reading import read_base
from innkeeper.knowledge.files.unpacking import opened_archive
from innkeeper.knowledge.files.upgrades import FIRST

_BASE = {
    "kb_id": "world",
    "schema_version": "1.0",
    "tags": ["a"],
    "entries": [
        {
            "id": "a",
            "displayName": "Anna 龙",
            "content": {"mime_type": "image/png", "value": "x", "path": "media/a.png"},
            "activation_criteria": {"keywords": ["a", "/b/i"], "key_groups": [{"keys": ["c"], "logic": "NOT_ANY"}]},
            "usage_metadata": {"priority": 7, "token_budget_impact": "critical", "prefix": {"text": "p"}},
        },
        {"id": "b", "variable_handling": {"defines_variables": {"x": [1, 2.5, None, True]}}},
    ],
    "kb_extensions": {"x": {}},
}
_WORDS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\ud800", b"\\ud83d\\ude00", b"NaN", b"1e999", b"9" * 30,
    b"9" * 5000, b"null", b"//", b"\n", b"\xff", b"\xef\xbb\xbf", b'"a":1,"a":2', b'"entries":', b'[{"id":"a"}]',
    b'"schema_version":"9.9",', b"[" * 70, b"PK\x01\x02", b"PK\x05\x06", b"../", b"media/", b"\x00",
)  # fmt: skip
_JSON, _ARCHIVE = b"\0", b"\1"


class Fuzz(Target):
    """The first byte says whether the rest is a file of JSON or an archive."""

    guided = True
    address_space = 1024 * MIB
    hang = 15.0

    def __init__(self) -> None:
        self._folder = Path()
        self._number = 0

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="innkeeper-fuzz-"))
        return self

    async def __aexit__(self, *exc: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def seeds(self) -> Sequence[bytes]:
        text = json.dumps(_BASE, ensure_ascii=False).encode()
        return (
            _JSON + text,
            _JSON + json.dumps(_BASE, indent=2).encode(),
            _JSON + json.dumps(_BASE["entries"]).encode(),
            _ARCHIVE + _packed(text, zipfile.ZIP_STORED),
            _ARCHIVE + _packed(text, zipfile.ZIP_DEFLATED),
        )

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(10):
            case 0:
                return _JSON + b"".join(rng.choice(_WORDS) for _ in range(rng.randrange(12)))
            case 1 | 2 | 3:
                return _JSON + json.dumps(reshaped(rng, _BASE)).encode()
            case _:
                return mutated(rng, rng.choice(pool), pool, _WORDS, start=1)

    async def check(self, data: bytes) -> str:
        kind, content = data[:1], data[1:]
        before = time.thread_time()
        try:
            read = self._archive(content) if kind == _ARCHIVE else _file(content)
            what = f"{len(read.base.items)} {len(read.problems)} {read.source.shape} {read.source.read_only}"
            problems = read.problems
            _written_and_read_again(read)
        except UsageError as error:
            what, problems = outline(str(error)), list(getattr(error, "problems", ()))
            assert_printable(error.message.replace("\n", " "), 60_000)
        for problem in problems:
            assert_printable(str(problem), 2000)
        assert time.thread_time() - before < 8
        return f"{kind!r} {what}"

    def _archive(self, content: bytes) -> Read:
        self._number += 1
        file, home = self._folder / "x.zip", self._folder / str(self._number)
        file.write_bytes(content)
        placed = False
        try:
            with opened_archive(file, strict=False) as opened:
                opened.place(home / "base")
                placed = True
                assert read_base(home / "base").base == opened.given.read.base
                return opened.given.read
        finally:
            left = sorted(each.name for each in home.iterdir()) if home.exists() else []
            assert left == ["base"] * placed, left
            shutil.rmtree(home, ignore_errors=True)


def _file(content: bytes) -> Read:
    beginning = decode_beginning(content)
    assert beginning is None or isinstance(beginning, dict)
    return _parsed(content, strict=False)


def _parsed(content: bytes, *, strict: bool) -> Read:
    here = Path("x.json")
    source = Source("file", here, here, None, "", "object", None, "", FIRST, False, False)
    return parse_base(content, source, label="x.json", base_id="x", strict=strict)


def _written_and_read_again(read: Read) -> None:
    documents = [item.document for item in read.base.items]
    text = b"".join(base_pieces(read.base.document, documents, read.source.entries_at))
    again = _parsed(text, strict=True)
    assert again.base.document == read.base.document
    assert [item.document for item in again.base.items] == documents


def _packed(text: bytes, method: int) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        archive.writestr("world/knowledge.json", text)
        archive.writestr("world/media/a.png", b"\x89PNG\r\n\x1a\n" + bytes(40))
    return data.getvalue()
