"""The workflows of a folder: files named after them, found by the id that stands in them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from innkeeper.errors import UsageError
from innkeeper.sandbox.limits import MIB
from innkeeper.server.files.bin import RecycleBin
from innkeeper.server.files.entries import Entry
from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.names import safe_name, shown
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.tree import Tree
from innkeeper.server.files.versions import check_match
from innkeeper.server.projects.documents import Document, moment, store, version_of
from innkeeper.server.projects.index import Index, Summary, summary_of
from innkeeper.workflow.formats.parts import PAYLOAD_BOUNDS, parsed, validated
from innkeeper.workflow.formats.stored import StoredWorkflow

END: Final = ".json"

MOST_FILES: Final = 1000
"""Workflows in one folder and those in it: all of them are looked at to find one."""

MOST_TITLE: Final = 200
"""Characters of the name of a workflow or a project."""

MOST_NEW: Final = 64 * MIB
"""Bytes of files that one search reads because they changed. What it has read is known to the next."""


class Workflows:
    """The workflows of a folder and of the folders in it, such as `workflows/skills/`. Its methods block, for a
    thread, and raise FileError."""

    def __init__(self, tree: Tree, folder: LogicalPath, index: Index) -> None:
        """Args:
        tree: in which the folder lies.
        folder: may be missing; then it has none.
        index: what is known already.
        """
        self._tree = tree
        self._folder = folder
        self._index = index

    def summaries(self) -> list[tuple[LogicalPath, Summary]]:
        """All of them, in the order of their files."""
        left = MOST_NEW
        found = []
        for path, entry in self._files():
            key = self._tree.beneath, str(path)
            known = self._index.get(key, entry.stamp)
            if known is None:
                left -= entry.size
                if left < 0:
                    raise FileError("busy", f"{self._folder}: many workflows changed, and are read now: try again")
                known = (self._read_summary(path),)
                self._index.put(key, entry.stamp, *known)
            if known[0] is not None:
                found.append((path, known[0]))
        return found

    def find(self, id: str) -> LogicalPath:
        """The file of a workflow.

        Args:
            id: any text; it is compared, and no part of a path.
        """
        found = [path for path, summary in self.summaries() if summary.id == id]
        if not found:
            raise FileError("missing", f"there is no workflow {shown(id)}")
        if len(found) > 1:
            names = " and ".join(str(path) for path in found[:2])
            raise FileError("taken", f"several files have the workflow {shown(id)}: {names}; delete one of them")
        return found[0]

    def get(self, id: str) -> Document:
        """A workflow as it is stored, with its id in it."""
        return self._read(self.find(id)).known_as(id)

    def create(self, given: Mapping[str, Any], now: float) -> Document:
        """Stores a new workflow, with an id of its own.

        Args:
            given: the workflow, as an editor has it.
            now: seconds since 1970.
        """
        value = {"id": str(uuid.uuid4()), **{key: given[key] for key in given if key != "id"}}
        path = self._named(checked(value))
        value |= {"createdAt": moment(now), "updatedAt": moment(now)}
        self._tree.make(self._folder, parents=True)
        if sum(1 for _ in self._files()) >= MOST_FILES:
            raise FileError("full", f"{self._folder}: it has {MOST_FILES:,} workflows, and takes no more")
        try:
            return store(self._tree, path, value, most=PAYLOAD_BOUNDS.size, replace=False)
        except FileError as problem:
            raise _named_so(problem, path) from None

    def replace(self, id: str, given: Mapping[str, Any], now: float, if_match: str | None = None) -> Document:
        """Stores a workflow in the place of what it was. Another name gives its file another name.

        Args:
            id: of the workflow; it stays.
            given: all of the workflow.
            now: seconds since 1970.
            if_match: the ETags of which it must have one, as in If-Match; None: any.
        """
        value = {"id": id, **given} | {"id": id, "updatedAt": moment(now)}
        name = checked(value)
        with self._tree.locked(self._folder):
            old = self._read(self.find(id))
            check_match(if_match, old.etag)
            if "createdAt" not in given and "createdAt" in old.value:
                value["createdAt"] = old.value["createdAt"]
            path = old.path
            if old.value.get("name") != name and (target := path.parent.child(safe_name(name, END))) != path:
                try:
                    # First the name, then what it holds: at no time are there two files of one id.
                    self._tree.move(path, target)
                except FileError as problem:
                    raise _named_so(problem, target) from None
                path = target
            return store(self._tree, path, value, most=PAYLOAD_BOUNDS.size)

    def delete(self, id: str, now: float, if_match: str | None = None) -> None:
        """Puts a workflow into the recycle bin.

        Args:
            id, now, if_match: as of `replace`.
        """
        with self._tree.locked(self._folder):
            path = self.find(id)
            if if_match is not None:
                check_match(if_match, self._read(path).etag)
            RecycleBin(self._tree).put(path, now)

    def read(self, path: LogicalPath) -> Document:
        """A workflow whose file is known."""
        return self._read(path)

    def _named(self, name: str) -> LogicalPath:
        return self._folder.child(safe_name(name, END))

    def _read(self, path: LogicalPath) -> Document:
        data = self._tree.read(path, PAYLOAD_BOUNDS.size)
        try:
            value = parsed(data)
        except UsageError as error:
            raise FileError("broken", f"{path}: {error.message}") from None
        if not isinstance(value, dict):
            raise FileError("broken", f"{path}: it is no workflow")
        return Document(path, value, version_of(data), data)

    def _read_summary(self, path: LogicalPath) -> Summary | None:
        try:
            return summary_of(self._read(path).value, path.name.removesuffix(END))
        except FileError as problem:
            if problem.reason not in ("broken", "large", "missing", "unfit"):
                raise
            return None

    def _files(self) -> Iterator[tuple[LogicalPath, Entry]]:
        """Files that may be workflows, in the order of folders and names; no more than `MOST_FILES`."""
        folders = [self._folder]
        count = 0
        for folder in folders:
            for entry in sorted(self._tree.entries(folder, END), key=lambda each: each.name):
                path = LogicalPath(folder.root, (*folder.parts, entry.name))
                if entry.kind == "directory" and folder == self._folder:
                    folders.append(path)
                elif entry.kind == "file" and entry.name.endswith(END) and entry.size <= PAYLOAD_BOUNDS.size:
                    count += 1
                    if count > MOST_FILES:
                        return
                    yield path, entry


def checked(value: Mapping[str, Any]) -> str:
    """The name of a workflow (str) that an editor wants to store. What this host does not know of it is left alone.

    Raises:
        FileError: it is no workflow: every problem with its place.
    """
    name = value.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > MOST_TITLE:
        raise FileError("broken", f"a workflow has a name: a text of 1 to {MOST_TITLE} characters")
    missing = [key for key in ("nodes", "edges") if not isinstance(value.get(key), list)]
    if missing:
        raise FileError("broken", f"a workflow has nodes and edges: {' and '.join(missing)} must be an array")
    try:
        validated(StoredWorkflow, {key: value[key] for key in ("nodes", "edges")})
    except UsageError as error:
        raise FileError("broken", "this is no workflow as an editor stores it", error.message.splitlines()) from None
    return name


def _named_so(problem: FileError, path: LogicalPath) -> FileError:
    if problem.reason != "taken":
        return problem
    return FileError("taken", f"there is a workflow of this name already: {path}")
