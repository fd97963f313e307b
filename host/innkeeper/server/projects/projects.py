"""The projects of a user: folders with a project.json below `user://projects`. A folder's name is the project's id."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.files.bounds import MOST_PROJECT
from innkeeper.knowledge.files.decoding import decode_object
from innkeeper.knowledge.files.project import FILE, project_of_document
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.server.files.bin import RecycleBin
from innkeeper.server.files.logical import USER, LogicalPath
from innkeeper.server.files.names import safe_name, shown
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.roots import PROJECTS
from innkeeper.server.files.tree import STAGING, Tree
from innkeeper.server.files.versions import check_match
from innkeeper.server.projects.documents import Document, moment, store, version_of
from innkeeper.server.projects.index import Index
from innkeeper.server.projects.templates import EMPTY, Templates
from innkeeper.server.projects.workflows import MOST_TITLE, Workflows

SCHEMA: Final = "2.0"
"""The version of the structure of project.json that is written."""

MOST_PROJECTS: Final = 1000
"""Projects of one user: all of them are read to list them."""

MOST_ID: Final = 200
"""Bytes of a project's id: others make names of it that have a little more."""

MOST_LISTED: Final = 256 * 1024
"""Bytes of a project.json that is read for a list."""

FOLDERS: Final = ("workflows", "characters", "knowledgebases", "scenes", "ui", "scripts", "assets", "settings")
"""What a new project has."""

_KEPT: Final = frozenset(("id", "createdAt", "updatedAt", "schemaVersion", "templateUsed"))
"""What only the server says of a project."""


class Projects:
    """The projects of a user. Its methods block, for a thread, and raise FileError."""

    def __init__(self, tree: Tree, templates: Templates, index: Index) -> None:
        """Args:
        tree: the user's files.
        templates: what new projects begin with.
        index: what is known of workflows.
        """
        self._tree = tree
        self._templates = templates
        self._index = index

    def page(self, after: str = "", most: int = MOST_PROJECTS) -> tuple[list[tuple[str, dict[str, Any], str]], bool]:
        """Of each project its id, what project.json says, and what is wrong with that (a sentence, or ""); in the order
        of ids, and whether there are more (bool).

        Args:
            after: only ids that come later.
            most: projects.
        """
        try:
            rows, more = self._tree.page(PROJECTS, after, most)
        except FileError as problem:
            if problem.reason != "missing":
                raise
            return [], False
        found: list[tuple[str, dict[str, Any], str]] = []
        for row in rows:
            try:
                if row.kind == "directory":
                    found.append((row.name, self._read(row.name, MOST_LISTED).value, ""))
            except FileError as problem:
                # A folder without project.json is none.
                if problem.reason != "missing":
                    found.append((row.name, {}, problem.message))
        return found, more

    def get(self, id: str) -> Document:
        """What project.json of a project says; its `id` is that under which it is found here."""
        return self._read(id).known_as(self.folder(id).name)

    def create(self, given: Mapping[str, Any], now: float, template: str = EMPTY) -> Document:
        """Makes a project, all of it or nothing.

        Args:
            given: `name`, and what else project.json shall say.
            now: seconds since 1970.
            template: the id of what it begins with.
        """
        name = _named(given.get("name"))
        path = PROJECTS.child(safe_name(name, most=MOST_ID))
        chosen = self._templates.get(template)
        value: dict[str, Any] = {
            "id": path.name,
            "name": name,
            "description": "",
            "version": "1.0.0",
            "createdAt": moment(now),
            "updatedAt": moment(now),
            "templateUsed": chosen.id,
            "preferredView": "editor",
            "schemaVersion": SCHEMA,
        }
        said = {key: each for key, each in chosen.document.items() if key not in (*_KEPT, "name")}
        value |= said | {key: each for key, each in given.items() if key not in (*_KEPT, "name")}
        _check(value)
        self._tree.make(PROJECTS, parents=True)
        if len(self._tree.page(PROJECTS, most=MOST_PROJECTS)[0]) >= MOST_PROJECTS:
            raise FileError("full", f"there are {MOST_PROJECTS:,} projects: delete one")
        if self._tree.exists(path):
            raise FileError("taken", f"there is a project {shown(path.name)} already: choose another name")
        # Beside all projects until it is whole.
        new = LogicalPath(USER, (STAGING, os.urandom(16).hex()))
        self._tree.make(new, parents=True)
        try:
            for folder in FOLDERS:
                self._tree.make(LogicalPath(USER, (*new.parts, folder)))
            for names, data in self._templates.files(chosen):
                place = LogicalPath(USER, (*new.parts, *names))
                self._tree.make(place.parent, parents=True)
                self._tree.write(place, data)
            made = store(self._tree, LogicalPath(USER, (*new.parts, FILE)), value, most=MOST_PROJECT)
            self._tree.move(new, path)
        except BaseException:
            self._tree.remove(new)
            raise
        return replace(made, path=path.child(FILE))

    def change(self, id: str, changes: Mapping[str, Any], now: float, if_match: str | None = None) -> Document:
        """Changes what project.json says. What is not named stays, also what this host does not know.

        Args:
            id: of the project; it stays, whatever the project is called.
            changes: values by key. What only the server says is passed over.
            now: seconds since 1970.
            if_match: the ETags of which it must have one, as in If-Match; None: any.
        """
        if "name" in changes:
            _named(changes["name"])
        with self._tree.locked(self.folder(id)):
            old = self._read(id)
            check_match(if_match, old.etag)
            _check_writable(old.value)
            value = old.value | {key: each for key, each in changes.items() if key not in _KEPT}
            value["updatedAt"] = moment(now)
            _check(value)
            made = store(self._tree, old.path, value, most=MOST_PROJECT)
        return made.known_as(self.folder(id).name)

    def delete(self, id: str, now: float, if_match: str | None = None) -> None:
        """Puts a project into the recycle bin, with all that is in it."""
        with self._tree.locked(self.folder(id)):
            if not self._tree.exists(self.folder(id).child(FILE)):
                raise _missing(id)
            if if_match is not None:
                check_match(if_match, self._read(id).etag)
            RecycleBin(self._tree).put(self.folder(id), now)

    def workflows(self, id: str) -> Workflows:
        """The workflows of a project that is there."""
        if not self._tree.exists(self.folder(id).child(FILE)):
            raise _missing(id)
        return Workflows(self._tree, self.folder(id).child("workflows"), self._index)

    def folder(self, id: str) -> LogicalPath:
        """Where a project lies, if there is one."""
        try:
            return PROJECTS.child(id)
        except FileError:
            # A text that cannot be an id is one that no project has.
            raise _missing(id) from None

    def path(self, id: str) -> Path:
        """The folder of a project on the disk, for what reads its knowledge bases."""
        self._read(id)
        return self._tree.base / self._tree.beneath.decode() / Path(*self.folder(id).parts)

    def _read(self, id: str, most: int = MOST_PROJECT) -> Document:
        path = self.folder(id).child(FILE)
        try:
            data = self._tree.read(path, most)
        except FileError as problem:
            if problem.reason in ("missing", "unfit"):
                raise _missing(id) from None
            raise
        try:
            return Document(path, decode_object(data, FILE, most=MOST_PROJECT), version_of(data), data)
        except InnkeeperError as error:
            raise FileError("broken", f"the project {shown(id)} cannot be read: {error.message}") from None


def _named(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > MOST_TITLE:
        raise FileError("broken", f"a project has a name: a text of 1 to {MOST_TITLE} characters")
    return name


def _check(value: dict[str, Any]) -> None:
    """Makes sure that references to knowledge bases are such, and lead nowhere else."""
    try:
        project_of_document(Path("/"), value)
    except KnowledgeError as error:
        said = [str(problem) for problem in error.problems[:20]]
        raise FileError("broken", "the references to knowledge bases have mistakes", said) from None


def _check_writable(value: Mapping[str, Any]) -> None:
    version = value.get("schemaVersion")
    major = version.partition(".")[0] if isinstance(version, str) else ""
    if major.isdecimal() and len(major) < 10 and int(major) > int(SCHEMA.partition(".")[0]):
        sentence = (
            f"project.json has schemaVersion {shown(str(version))}, which is newer than this host: it is only read"
        )
        raise FileError("unfit", sentence)


def _missing(id: str) -> FileError:
    return FileError("missing", f"there is no project {shown(id)}")
