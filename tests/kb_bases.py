"""Entries, vectors and files for tests of knowledge bases."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.errors import UsageError
from innkeeper.knowledge.joined.guests import GuestBases
from innkeeper.knowledge.joined.opening import Knowledge, Surroundings
from innkeeper.knowledge.library import Library
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.knowledge.opening import SEARCH
from innkeeper.knowledge.retrieval.kept import KeptSearch
from innkeeper.knowledge.retrieval.legs import TextLegs
from innkeeper.knowledge.store.values import Change, Vector
from innkeeper.storage.database import Database
from innkeeper.storage.knowledge_model import Place

WORLD = Place("default_user", "world")


def document(id: str, value: str = "", **more: Any) -> dict[str, Any]:
    return {"id": id, "content": {"value": value}, **more}


def change(id: str, value: str | None = "", expect: int | None = None, **more: Any) -> Change:
    return Change(id, None if value is None else document(id, value), expect, **more)


def many(count: int, value: str, prefix: str = "e") -> list[Change]:
    return [change(f"{prefix}{number:06}", f"{value} of {number}") for number in range(count)]


def vector(text: str, model: str = "m/4", dimension: int = 4) -> Vector:
    """One that hangs on its text."""
    seed = hashlib.sha256(f"{model} {text}".encode()).digest()
    return Vector(model, dimension, struct.pack(f"<{dimension}e", *(seed[at] / 255 for at in range(dimension))))


def numbers(rows: Sequence[Sequence[float]]) -> Any:
    """Vectors as models give them."""
    import numpy as np

    return np.array(rows, np.float32)


def library(db: Database, **options: Any) -> Library:
    return Library(db, TextLegs(), indexes={SEARCH: KeptSearch}, **options)


def knowing(db: Database, home: Path | None = None, **options: Any) -> Knowledge:
    """The knowledge bases of a home, without a model unless one is named."""
    around = {name: options.pop(name) for name in list(options) if name not in ("now", "quota")}
    return Knowledge(db, Surroundings(home or db.location.folder / "home", **{"default": "", **around}), **options)


def guests(db: Database, home: Path | None = None, **options: Any) -> GuestBases:
    """What the service `kb` asks."""
    return knowing(db, home, **options).guests


@dataclass(frozen=True)
class FileRead:
    """Implements `FileState`."""

    info: dict[str, Any]
    documents: list[dict[str, Any]]
    digest: str
    read_only: bool


class JsonFiles:
    """Implements `BaseFiles`, without the care that the real one takes."""

    def __init__(self) -> None:
        self.writes = 0

    def read(self, path: Path) -> FileRead:
        if not path.is_file():
            raise UsageError(f"{path.name}: is not a regular file")
        data = path.read_bytes()
        try:
            found = json.loads(data)
        except ValueError as error:
            line = getattr(error, "lineno", 0)
            raise KnowledgeError(Problem("entries", "is no JSON", line=line), source=path.name) from None
        info = {key: value for key, value in found.items() if key != "entries"}
        newer = info.get("schema_version") == "9.0"
        return FileRead(info, found["entries"], hashlib.sha256(data).hexdigest(), newer)

    def write(self, path: Path, info: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> str:
        self.writes += 1
        data = json.dumps({**info, "entries": documents}, ensure_ascii=False, indent=1).encode()
        new = path.with_suffix(".new")
        new.write_bytes(data)
        os.replace(new, path)
        return hashlib.sha256(data).hexdigest()
