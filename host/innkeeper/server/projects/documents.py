"""Files of JSON that several may change: each has a version, and is replaced whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.tree import Tree


@dataclass(frozen=True, slots=True)
class Document:
    """What such a file holds.

    Attributes:
        path: where it lies.
        value: of its JSON; keys are in the order of the file.
        etag: its version: another one for other bytes.
        data: the bytes of `value`.
    """

    path: LogicalPath
    value: dict[str, Any]
    etag: str
    data: bytes

    def known_as(self, id: str) -> Document:
        """The same with the id under which it is found, should another stand in it."""
        if self.value.get("id") == id:
            return self
        value = {"id": id, **self.value} | {"id": id}
        return Document(self.path, value, self.etag, encoded(value))


def encoded(value: dict[str, Any]) -> bytes:
    """The bytes of a document, as people read it.

    Raises:
        FileError: "broken": it is no JSON.
    """
    try:
        return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()
    except (ValueError, TypeError, RecursionError):
        raise FileError("broken", "this cannot be written as JSON") from None


def version_of(data: bytes) -> str:
    """The ETag of a document's bytes (str)."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def store(tree: Tree, path: LogicalPath, value: dict[str, Any], *, most: int, replace: bool = True) -> Document:
    """Writes a document. Blocks.

    Args:
        tree, path: where.
        value: what it shall hold.
        most: bytes.
        replace: whether one that is there is replaced.

    Raises:
        FileError: it cannot be written, or is too large.
    """
    data = encoded(value)
    if len(data) > most:
        raise FileError("large", f"{path}: it would have {len(data):,} bytes, and may have at most {most:,}")
    tree.write(path, data, replace=replace)
    return Document(path, value, version_of(data), data)


def moment(now: float) -> str:
    """A time as documents have it (str): ISO 8601, in UTC, with milliseconds.

    Args:
        now: seconds since 1970.
    """
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
