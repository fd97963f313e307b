"""What new projects begin with: templates that come with Innkeeper, and those that lie in `shared://templates`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.files.bounds import MOST_PROJECT
from innkeeper.knowledge.files.decoding import decode_object
from innkeeper.knowledge.files.project import FILE
from innkeeper.sandbox.limits import MIB
from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.names import shown, why_no_name
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.tree import Tree

EMPTY: Final = "empty"
SHARED: Final = LogicalPath("shared://templates")

MOST_FILES: Final = 1000
"""Files of a template."""

MOST_BYTES: Final = 256 * MIB
"""Bytes of one file of a template."""

_HERE: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Template:
    """What a project can begin with.

    Attributes:
        id: of the template: the name of its folder.
        name, description: for people.
        shared: whether it lies in `shared://templates`; else it came with Innkeeper.
        document: its project.json.
    """

    id: str
    name: str
    description: str
    shared: bool
    document: dict[str, Any]


class Templates:
    """The templates that there are. Its methods block, for a thread."""

    def __init__(self, shared: Tree) -> None:
        """Args:
        shared: the tree of `shared://templates`.
        """
        self._shared = shared

    def all(self) -> list[Template]:
        """All of them that can be used; one of the operator's goes before one of the same id."""
        found = {}
        for id_ in sorted(each.name for each in _HERE.iterdir() if (each / FILE).is_file()):
            found[id_] = _template(id_, (_HERE / id_ / FILE).read_bytes(), False)
        try:
            rows, _ = self._shared.page(SHARED)
        except FileError:
            rows = []
        for row in rows:
            if row.kind == "directory" and not why_no_name(row.name):
                try:
                    data = self._shared.read(SHARED.child(row.name).child(FILE), MOST_PROJECT)
                    found[row.name] = _template(row.name, data, True)
                except InnkeeperError:
                    continue
        return [found[id_] for id_ in sorted(found)]

    def get(self, id: str) -> Template:
        """A template. Raises FileError "missing"."""
        templates = self.all()
        for each in templates:
            if each.id == id:
                return each
        known = ", ".join(each.id for each in templates[:20])
        raise FileError("missing", f"there is no template {shown(id)}; there are: {known}")

    def files(self, template: Template) -> Iterator[tuple[tuple[str, ...], bytes]]:
        """Names and bytes of its files, but for project.json.

        Raises:
            FileError: it has too many.
        """
        paths = self._shared_files(SHARED.child(template.id)) if template.shared else _own_files(_HERE / template.id)
        for count, (names, data) in enumerate(paths):
            if count >= MOST_FILES:
                raise FileError("large", f"the template {shown(template.id)} has more than {MOST_FILES:,} files")
            if names != (FILE,):
                yield names, data

    def _shared_files(self, top: LogicalPath) -> Iterator[tuple[tuple[str, ...], bytes]]:
        folders = [top]
        while folders:
            folder = folders.pop()
            rows, more = self._shared.page(folder, most=MOST_FILES)
            if more:
                raise FileError("large", f"{folder}: it has more than {MOST_FILES:,} files")
            for row in rows:
                if why_no_name(row.name):
                    continue
                path = folder.child(row.name)
                if row.kind == "directory":
                    folders.append(path)
                elif row.kind == "file":
                    yield path.parts[len(top.parts) :], self._shared.read(path, MOST_BYTES)


def _own_files(top: Path) -> Iterator[tuple[tuple[str, ...], bytes]]:
    for above, _, names in sorted(os.walk(top)):
        for name in sorted(names):
            path = Path(above) / name
            yield path.relative_to(top).parts, path.read_bytes()


def _template(id_: str, data: bytes, shared: bool) -> Template:
    document = decode_object(data, FILE, most=MOST_PROJECT)
    name, description = document.get("name"), document.get("description")
    return Template(
        id_,
        name[:200] if isinstance(name, str) else id_,
        description[:2000] if isinstance(description, str) else "",
        shared,
        document,
    )
