"""Backups: archives that anybody may have made, as their unpacked bytes, with headers whose checksums fit.

Whatever it is: files whose names lead down and whose digests are those that the archive lists, or RejectedError with a
line that can be printed, in bounded time and memory.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import time
from collections.abc import Sequence

from fuzz.mutation import assert_printable, mutated, outline, text
from fuzz.target import MIB, Target

from innkeeper.errors import RejectedError
from innkeeper.storage.backup.header import BLOCK, padded, write_header
from innkeeper.storage.backup.names import why_not
from innkeeper.storage.backup.reading import open_archive
from innkeeper.storage.backup.writing import FIRST, LAST

_SAID = b'{"format": 1}'
_NAMES = (
    "plugins/a", "plugins/a/b", "innkeeper.toml", "state/innkeeper.db", "../x", "/x", "a//b", "./a", "a/..", "",
    "x" * 120, "x" * 1100, "\u6574/\u7406", "a\nb", FIRST, LAST,
)  # fmt: skip
_WORDS = (
    b"ustar\x0000", b"path=", b"size=", b"12 path=../a\n", b"30 size=99999999999999999\n", b"77777777777\0", b"\0" * 8,
    b"x", b"g", b"2", b"5", b"../", b"/", bytes(BLOCK),
)  # fmt: skip


class Fuzz(Target):
    """An input is an archive before it is packed."""

    guided = True
    address_space = 1536 * MIB
    hang = 20.0

    def seeds(self) -> Sequence[bytes]:
        return (_archive([("plugins/a", b"wasm"), ("x" * 150, b"long")]), _archive([]))

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(6):
            case 0 | 1:
                return mutated(rng, rng.choice(pool), pool, _WORDS)
            case 2 | 3:
                return _resealed(rng, mutated(rng, rng.choice(pool), pool, _WORDS))
            case _:
                files = [
                    (_name(rng), rng.randbytes(rng.choice((0, 1, 511, 512, 513)))) for _ in range(rng.randrange(5))
                ]
                return _archive(files, rng)

    async def check(self, data: bytes) -> str:
        packed = io.BytesIO(gzip.compress(data, 1))
        before = time.thread_time()
        found: dict[str, int] = {}
        try:
            archive = open_archive(packed)
            for name, pieces in archive.members():
                assert not why_not(name)
                assert name not in found
                found[name] = sum(map(len, pieces))
        except RejectedError as error:
            assert time.thread_time() - before < 8
            assert_printable(error.message, 2000)
            return f"refused {outline(error.message)}"
        assert time.thread_time() - before < 8
        assert sum(found.values()) <= len(data)
        listed = f"{LAST}\0".encode() in data or LAST.encode() in data
        assert listed
        return f"read {len(found)}"


def _name(rng: random.Random) -> str:
    name = rng.choice(_NAMES) if rng.random() < 0.8 else text(rng)
    return name.encode("utf-8", "replace").decode()


def _archive(files: Sequence[tuple[str, bytes]], rng: random.Random | None = None) -> bytes:
    sums = b"".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode() for name, data in files)
    if rng is not None and rng.random() < 0.3:
        sums = mutated(rng, sums, (sums,), _WORDS)
    members = [(FIRST, _SAID), *files, (LAST, sums)]
    parts = [write_header(name, len(data), 0) + padded(data) for name, data in members]
    if rng is not None and rng.random() < 0.2:
        rng.shuffle(parts)
    return b"".join(parts) + bytes(2 * BLOCK)


def _resealed(rng: random.Random, data: bytes) -> bytes:
    """The same with checksums that fit, for some of its blocks: else a change of a header says no more than that."""
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    for at, block in enumerate(blocks):
        if len(block) == BLOCK and b"ustar" in block and rng.random() < 0.9:
            total = sum(block) - sum(block[148:156]) + 8 * 32
            blocks[at] = block[:148] + f"{total:06o}\0 ".encode() + block[156:]
    return b"".join(blocks)
