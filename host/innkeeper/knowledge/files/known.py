"""What is known of a base without reading its entries."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from innkeeper.knowledge.files.decoding import decode, skip_space
from innkeeper.knowledge.files.names import slug
from innkeeper.knowledge.files.reading import read_bounded
from innkeeper.knowledge.files.regular import open_regular
from innkeeper.knowledge.model.bounds import MOST_ID
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.storage.names import check_name

FOLDER: Final = "knowledge"
"""The folder of a home in which its bases lie."""

BEGINNING: Final = 64 << 10
"""Bytes in which a file says what it is, as a rule."""


@dataclass(frozen=True, slots=True)
class Known:
    """A base that can be found.

    Attributes:
        id: its own id, which grants name; "" where it cannot be read.
        alias: under which it is registered, or "".
        name: what people call it.
        path: the folder, or the single file; absolute.
        file: of JSON; `path` where it cannot be read.
        origin: "home" or "registry".
        entries: how many its file has; -1 where nobody counted.
        model: that it records, or "".
        version: `kb_version`, or "".
        problem: why it cannot be used, as a sentence, or "".
    """

    id: str
    alias: str
    name: str
    path: Path
    file: Path
    origin: str
    entries: int = 0
    model: str = ""
    version: str = ""
    problem: str = ""

    @property
    def label(self) -> str:
        """How messages name it: without the folders above it."""
        return f"{FOLDER}/{self.path.name}" if self.origin == "home" else f"{self.path.name} (registered)"


def read_head(path: Path, file: Path) -> Known:
    """A base by its whole file, without a look into its entries. Blocks, for a thread.

    Raises:
        KnowledgeError: it does not parse, or names no base.
        UsageError: it cannot be read.
    """
    data = read_bounded(file, file.name, follow=file == path)
    top, entries = decode_head(data, file.name)
    if top is None:
        base_id = slug(path.name if file != path else path.stem)
        return Known(base_id, "", base_id, path, file, "", entries)
    return _of_top(top, path, file, entries)


def read_beginning(path: Path, file: Path) -> Known | None:
    """As `read_head`, of what stands before the entries; None where that is not enough. Blocks on the disk."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if file == path else os.O_NOFOLLOW))
    opened = open_regular(descriptor)
    if opened is None:
        return None
    with opened:
        top = decode_beginning(opened.read(BEGINNING))
    return _of_top(top, path, file, -1) if top and {"kb_id", "kb_displayName"} <= top.keys() else None


def _of_top(top: dict[str, Any], path: Path, file: Path, entries: int) -> Known:
    own, name = top.get("kb_id"), top.get("kb_displayName")
    if not isinstance(own, str) or not 0 < len(own) <= MOST_ID:
        raise KnowledgeError(Problem("kb_id", "is missing, or no text"), source=file.name)
    check_base_id(own, file.name)
    model, version = top.get("embedding_model_id"), top.get("kb_version")
    return Known(
        own,
        "",
        name[:200] if isinstance(name, str) and name else own,
        path,
        file,
        "",
        entries,
        model if isinstance(model, str) else "",
        version if isinstance(version, str) else "",
    )


def check_base_id(base_id: str, source: str) -> None:
    """Makes sure that the id that a file gives its base is one under which a store can keep it.

    Raises:
        KnowledgeError: it is not.
    """
    try:
        check_name(base_id, "id of a base")
    except ValueError as error:
        raise KnowledgeError(Problem("kb_id", str(error)), source=source) from None


def decode_head(data: bytes, name: str) -> tuple[dict[str, Any] | None, int]:
    """What the file of a base says at its top, without `entries`, and how many of those there are; None for an array
    of entries. Nothing is kept of an entry, nor looked for in it. Blocks, for a thread.

    Raises:
        KnowledgeError: as `decode`.
    """
    raw = decode(data, name, light=True)
    return raw.top, len(raw.entries or ())


def decode_beginning(data: bytes) -> dict[str, Any] | None:
    """What stands before `entries` at the top of a base's file, out of the file's first bytes; None if they do not
    reach that far, or are no such thing: then the whole file has to be looked at."""
    text = data.decode("utf-8-sig", "ignore")
    decode, found = json.JSONDecoder().raw_decode, dict[str, Any]()
    at = text.find("{") + 1
    try:
        while at:
            at = skip_space(text, at)
            key, at = decode(text, at)
            at = skip_space(text, at)
            if not isinstance(key, str) or text[at : at + 1] != ":":
                return None
            if key == "entries":
                return found
            found[key], at = decode(text, skip_space(text, at + 1))
            at = skip_space(text, at)
            if text[at : at + 1] != ",":
                return None
            at += 1
    except (ValueError, RecursionError):
        pass
    return None
