"""Files of cards, as commands read and write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.interchange.cards import Card

ENDINGS = (".json", ".png", ".charx")


def read_card_file(file: str) -> tuple[bytes, Card]:
    """The bytes of a file, and the card in it. Blocks, for a thread or before trio runs.

    Raises:
        KnowledgeError: it is no card, or one that cannot be read.
        UsageError: it cannot be read.
    """
    from innkeeper.knowledge.interchange.cards import read_card

    data = read_file_bytes(file)
    return data, read_card(data, os.path.basename(file))


def read_file_bytes(file: str) -> bytes:
    """The bytes of a file that can be a card's or a picture's.

    Raises:
        UsageError: it cannot be read, is no regular file, or is too large.
    """
    from innkeeper.knowledge.files.reading import read_bounded
    from innkeeper.knowledge.interchange.charx import MOST_CHARX

    path = Path(os.path.abspath(file))
    return read_bounded(path, path.name, most=MOST_CHARX)


def looks_like_card(file: str) -> bool:
    """Whether a file is a card rather than a knowledge base (bool): a picture, a CHARX, or JSON of a card."""
    from innkeeper.knowledge.files.detection import is_archive, looks_like_json
    from innkeeper.knowledge.interchange.cards import is_card_container
    from innkeeper.knowledge.interchange.charx import has_card

    if not os.path.isfile(file):
        return False
    data = read_file_bytes(file)
    if is_archive(data):
        return has_card(data, os.path.basename(file))
    if looks_like_json(data):
        from innkeeper.knowledge.interchange.reading import read_json

        raw = read_json(data, os.path.basename(file))
        return isinstance(raw, dict) and "kb_id" not in raw
    return is_card_container(data) or not file.lower().endswith(".ckb")


def out_file(out: str, force: bool) -> Path:
    """The file that --out names.

    Raises:
        UsageError: it is there, has no such ending, or its folder is missing.
    """
    file = Path(os.path.abspath(out))
    if not file.name.lower().endswith(ENDINGS):
        raise UsageError(f"--out: {file.name!r} must end with {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    if os.path.lexists(file) and not force:
        raise UsageError(f"--out: {file.name} is there already: --force replaces it")
    if not file.parent.is_dir():
        raise UsageError(f"--out: there is no folder {file.parent.name!r} to write it into")
    return file
