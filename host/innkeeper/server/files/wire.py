"""What the routes of files take and give, in ComfyTavern's names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from innkeeper.server.files.entries import Entry
from innkeeper.server.files.kinds import mime_type
from innkeeper.server.files.logical import MOST_PATH, LogicalPath
from innkeeper.server.files.names import MOST_NAME, why_no_name

MOST_AT_ONCE = 1000
"""Paths in one request, and entries in one answer."""

Path = Annotated[str, Field(min_length=1, max_length=MOST_PATH)]
Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]


class Wire(BaseModel):
    """A body of a request or an answer: camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class FamItem(Wire):
    """A file or folder.

    Attributes:
        id: its logical path.
        name, logical_path: of it.
        item_type: what it is; links and devices count as files, and cannot be read.
        size: bytes of a file.
        last_modified: milliseconds since 1970.
        mime_type: of a file, by its name.
        is_symlink: whether it is a link, which is never followed.
        is_writable: whether whoever asks may change it.
        error: why it cannot be used, a sentence.
    """

    id: str
    name: str
    logical_path: str
    item_type: Literal["file", "directory"]
    size: int | None = None
    last_modified: int
    mime_type: str | None = None
    is_symlink: bool = False
    is_writable: bool
    error: str | None = None


class CreateDir(Wire):
    """A folder to be made."""

    parent_logical_path: Path
    dir_name: Name


class Delete(Wire):
    """What is to be deleted.

    Attributes:
        logical_paths: of it.
        permanent: whether it is gone then; else what was a user's is in the recycle bin.
    """

    logical_paths: list[Path] = Field(min_length=1, max_length=MOST_AT_ONCE)
    permanent: bool = False


class Rename(Wire):
    """Another name for something."""

    logical_path: Path
    new_name: Name


class Move(Wire):
    """Another folder for some things."""

    source_paths: list[Path] = Field(min_length=1, max_length=MOST_AT_ONCE)
    target_parent_path: Path


class WriteJson(Wire):
    """A file of JSON to be written, in a folder that is made where it is missing."""

    logical_path: Path
    content: Any


class Outcome(Wire):
    """What became of one of several paths.

    Attributes:
        logical_path: as it was sent.
        status: of HTTP.
        error: what went wrong, a sentence.
    """

    logical_path: str
    status: int
    error: str | None = None


class Outcomes(Wire):
    """What became of each path."""

    results: list[Outcome]


class DeletedItem(Wire):
    """Something in the recycle bin.

    Attributes:
        id: of the entry.
        name: of the thing.
        original_path: where it was.
        deleted_at: milliseconds since 1970.
        item_type: what it is.
        size: bytes of a file.
    """

    id: str
    name: str
    original_path: str
    deleted_at: int
    item_type: Literal["file", "directory"]
    size: int | None = None


class Restore(Wire):
    """Where something is put back.

    Attributes:
        logical_path: None: where it was.
    """

    logical_path: Path | None = None


def item_of(path: LogicalPath, entry: Entry, *, writable: bool) -> FamItem:
    """A file or folder as clients see it.

    Args:
        path: where it lies.
        entry: what it is.
        writable: whether whoever asks may change things there.
    """
    error = {"link": "it is a link, which is not followed", "other": "it is no regular file"}.get(entry.kind)
    return FamItem(
        id=str(path),
        name=entry.name,
        logical_path=str(path),
        item_type="directory" if entry.kind == "directory" else "file",
        size=entry.size if entry.kind == "file" else None,
        last_modified=entry.modified // 1_000_000,
        mime_type=mime_type(entry.name) if entry.kind == "file" else None,
        is_symlink=entry.kind == "link",
        is_writable=writable and error is None,
        error=error,
    )


def listed(folder: LogicalPath, entry: Entry, *, writable: bool) -> FamItem:
    """An entry of a folder as clients see it; one with a name that nobody could send says so."""
    path = LogicalPath(folder.root, (*folder.parts, entry.name))
    item = item_of(path, entry, writable=writable)
    why = why_no_name(entry.name)
    return item.model_copy(update={"error": f"its name {why}", "is_writable": False}) if why else item
