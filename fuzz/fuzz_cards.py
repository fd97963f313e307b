"""Character cards: PNG files with changed chunks and lengths, JSON of all versions, and archives around them (CHARX).

Whatever it is: a card, or KnowledgeError with lines that can be printed, in bounded time and memory. A card that is
read is written as V2, V3, PNG and CHARX, and read again.
"""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

from fuzz.mutation import assert_printable, mutated, number, outline, plain, reshaped
from fuzz.target import MIB, Target

from innkeeper.knowledge.interchange.card_base import card_base, card_of_base
from innkeeper.knowledge.interchange.card_export import card_charx, card_document, card_png, with_book
from innkeeper.knowledge.interchange.cards import Card, read_card, written
from innkeeper.knowledge.interchange.png import SIGNATURE, blank, with_texts
from innkeeper.knowledge.model.problems import KnowledgeError

_CARD: dict[str, Any] = {
    "spec": "chara_card_v3", "spec_version": "3.0", "name": "A",
    "data": {
        "name": "A", "nickname": "B", "description": "d", "first_mes": "f", "alternate_greetings": ["g"], "tags": ["t"],
        "assets": [{"type": "icon", "uri": "embeded://a.png", "name": "main", "ext": "png"}],
        "group_only_greetings": [],
        "extensions": {"depth_prompt": {"prompt": "p", "depth": 4, "role": "system"}},
        "character_book": {"entries": [{"id": 0, "keys": ["k"], "content": "c", "extensions": {}}]},
    },
}  # fmt: skip
_KINDS = (b"tEXt", b"zTXt", b"iTXt", b"IDAT", b"IEND", b"IHDR", b"acTL", b"fdAT", b"aaAa")
_WORDS = (*_KINDS, b"chara\0", b"ccv3\0", SIGNATURE, b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"card.json",
          b"../", b"\0\0\0\0", b"\xff\xff\xff\xff", b'"data"', b'"spec"', b"null")  # fmt: skip


class Fuzz(Target):
    """An input is the bytes of a file."""

    guided = True
    address_space = 1536 * MIB
    hang = 20.0

    def seeds(self) -> Sequence[bytes]:
        return (json.dumps(_CARD).encode(), _png(_CARD), _charx(_CARD), b"\xff\xd8\xff" + _charx(_CARD))

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(8):
            case 0 | 1:
                return mutated(rng, rng.choice(pool), pool, _WORDS)
            case 2:
                return _chunked(rng)
            case 3:
                return _packed(rng)
            case _:
                value: Any = _CARD
                for _ in range(rng.choice((1, 2, 4))):
                    value = reshaped(rng, value)
                if rng.random() < 0.1:
                    value = plain(rng, 3)
                shape = rng.choice((_png, _charx, lambda card: json.dumps(card).encode("utf-8", "replace")))
                return shape(value)

    async def check(self, data: bytes) -> str:
        before = time.thread_time()
        try:
            card = read_card(data, "card")
        except KnowledgeError as error:
            assert_printable(error.message, 25_000)
            said = f"refused {outline(error.message)}"
        else:
            said = _checked(card)
        assert time.thread_time() - before < 8
        return said


def _checked(card: Card) -> str:
    for version in (2, 3):
        again = read_card(written(card_document(card, version)), "again")
        assert again.version == version
        assert (again.name, again.texts("tags")) == (card.name, card.texts("tags"))
    assert read_card(card_png(card), "again").version == 3
    assert read_card(card_charx(card), "again").version == 3
    try:
        base, problems = card_base(card, b"")
    except KnowledgeError as error:
        assert_printable(error.message, 25_000)
        return f"V{card.version} {card.container} {outline(error.message)}"
    kept, book = card_of_base(base)
    if kept is not None and not problems and card.book is not None and isinstance(card.book.get("entries"), list):
        assert json.dumps(with_book(kept, book), sort_keys=True) == json.dumps(card.document, sort_keys=True)
    return f"V{card.version} {card.container} {len(base.items)} {len(problems)}"


def _text(value: Any) -> bytes:
    return base64.b64encode(json.dumps(value).encode("utf-8", "replace"))


def _png(value: Any) -> bytes:
    return with_texts(blank(), [("ccv3", _text(value))], (), "x")


def _charx(value: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("card.json", json.dumps(value).encode("utf-8", "replace"))
        archive.writestr("a.png", blank())
    return out.getvalue()


def _chunked(rng: random.Random) -> bytes:
    """Chunks of any kind, length and content, most with the right checksum."""
    out = [SIGNATURE, blank()[8:33]]
    for _ in range(rng.randrange(6)):
        kind = rng.choice(_KINDS)
        inner = rng.choice((_text(_CARD), rng.randbytes(rng.randrange(40)), zlib.compress(_text(_CARD)), b"{}"))
        head = rng.choice((b"chara\0", b"CCV3\0", b"chara\0\0", b"chara\0\1\0\0\0", b"x" * 90 + b"\0", b""))
        body = kind + head + inner
        size = len(body) - 4 if rng.random() < 0.9 else number(rng, 32)
        checksum = zlib.crc32(body) if rng.random() < 0.95 else 0
        out.append(struct.pack(">I", size) + body + struct.pack(">I", checksum))
    out += [each for each in (blank()[-12:],) if rng.random() < 0.9]
    return b"".join(out)


def _packed(rng: random.Random) -> bytes:
    """An archive of members with odd names and sizes."""
    out = io.BytesIO()
    names = ("card.json", "card.json", "assets/a.png", "../a", "/a", "a\\b", "CARD.JSON", "a/../b", "con", "x" * 300)
    seen: set[str] = set()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for _ in range(rng.randrange(1, 5)):
            info = zipfile.ZipInfo(rng.choice(names))
            if info.filename in seen:
                continue
            seen.add(info.filename)
            info.external_attr = rng.choice((0, 0o100644, 0o120777, 0o040755, 0o010644)) << 16
            data = json.dumps(_CARD).encode() if info.filename.endswith("n") else bytes(rng.randrange(100))
            archive.writestr(info, data)
    made = out.getvalue()
    return mutated(rng, made, (), _WORDS) if rng.random() < 0.5 else made
