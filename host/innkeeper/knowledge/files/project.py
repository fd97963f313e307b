"""project.json: which knowledge bases a project uses, where they are, and which model is its own.

A reference has one of two shapes: {id, type, path, name, source_id}, or {source_id, name, path} where a path means a
base of the project's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from innkeeper.knowledge.files.bounds import MOST_PROJECT, MOST_REFERENCES
from innkeeper.knowledge.files.decoding import decode_object, kind_of
from innkeeper.knowledge.files.reading import read_bounded
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.files.relative import why_not
from innkeeper.knowledge.files.writing import locked, write_json
from innkeeper.knowledge.model.bounds import MOST_ID, MOST_NAME
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

FILE: Final = "project.json"
REFERENCES: Final = "knowledgeBaseReferences"
MODEL: Final = "embeddingModel"
"""The key of a project's default model: `ModelIdentity.key`, or the model's id alone."""

OWN: Final = "knowledgebases"
"""The folder in which a project's own bases lie."""

_MOST_SOURCE = 4096


@dataclass(frozen=True, slots=True)
class Reference:
    """A base that a project names.

    Attributes:
        id: what nodes hold; unique in the project.
        name: for people.
        path: below the project, for a base of its own; else "".
        source_id: id, alias or path of a global base; "" for a base of its own.
        where: its place in project.json.
    """

    id: str
    name: str
    path: str
    source_id: str
    where: str


@dataclass(frozen=True, slots=True)
class Project:
    """A project, as far as knowledge bases go.

    Attributes:
        folder: absolute.
        document: all of project.json.
        references: in the order of the file.
        embedding_model: its default model, or "".
    """

    folder: Path
    document: dict[str, Any]
    references: list[Reference] = field(default_factory=list)
    embedding_model: str = ""

    def reference(self, id: str) -> Reference:
        """The reference that a node holds.

        Raises:
            KnowledgeError: there is none.
        """
        for each in self.references:
            if each.id == id:
                return each
        known = ", ".join(each.id for each in self.references[:20]) or "none"
        raise KnowledgeError(
            Problem(repr(id[:100]), f"is no reference of the project; there are: {known}"), source=FILE
        )


def read_project(path: str | os.PathLike[str]) -> Project:
    """A project. Blocks, for a thread.

    Args:
        path: its folder, or its project.json.

    Raises:
        KnowledgeError: project.json is broken; every mistake of its references at once.
        UsageError: it cannot be read.
    """
    folder = Path(os.path.abspath(path))
    if folder.name == FILE and not folder.is_dir():
        folder = folder.parent
    document = decode_object(read_bounded(folder / FILE, FILE, most=MOST_PROJECT), FILE, most=MOST_PROJECT)
    return project_of_document(folder, document)


def project_of_document(folder: Path, document: dict[str, Any]) -> Project:
    """A project with a project.json that is read already, or is to be written. Looks at no disk.

    Args:
        folder: of the project, absolute.
        document: what its project.json holds.

    Raises:
        KnowledgeError: every mistake of its references at once.
    """
    raw = document.get(REFERENCES)
    problems: list[Problem] = []
    references: list[Reference] = []
    if raw is not None and (not isinstance(raw, list) or len(raw) > MOST_REFERENCES):
        problems.append(Problem(REFERENCES, f"must be an array of at most {MOST_REFERENCES:,} references"))
        raw = []
    for number, each in enumerate(raw or ()):
        found = _reference(each, f"{REFERENCES}[{number}]")
        if isinstance(found, Reference):
            if any(found.id == other.id for other in references):
                found = Problem(f"{found.where}.id", f"is {found.id!r}, which another reference has", found.name)
            else:
                references.append(found)
        if isinstance(found, Problem):
            problems.append(found)
    model = document.get(MODEL)
    if model is not None and (not isinstance(model, str) or len(model) > MOST_NAME):
        problems.append(Problem(MODEL, f"is {kind_of(model)}: it must be the text of a model's id"))
    if problems:
        raise KnowledgeError(problems, source=FILE)
    return Project(folder, document, references, model or "")


def resolve(project: Project, reference: Reference, registry: Registry) -> Path:
    """Where the base of a reference is (Path): its folder, or its single file. Blocks, for a thread.

    A base of the project's own lies below the project, and no link leads to it. A global one is one that the home
    knows, whatever path the project writes.

    Raises:
        KnowledgeError: it is not there, or may not be; the message names the reference.
    """
    where = f"{reference.where} ({reference.id!r})"
    if reference.path:
        path = project.folder / reference.path
        if os.path.realpath(path) != os.path.join(os.path.realpath(project.folder), reference.path):
            raise KnowledgeError(
                Problem(f"{where}.path", "leads through a link, which is not followed here"), source=FILE
            )
        if not os.path.exists(path):
            sentence = f"is {reference.path!r}, and there is nothing: put the base there, or change the path"
            raise KnowledgeError(Problem(f"{where}.path", sentence), source=FILE)
        return path
    try:
        return registry.find(reference.source_id).path
    except KnowledgeError as error:
        raise KnowledgeError(Problem(f"{where}.source_id", error.message), source=FILE) from None


def add_reference(
    project: Project, base_id: str, *, name: str = "", path: str = "", reference_id: str = ""
) -> tuple[Project, Reference]:
    """Adds a reference to project.json, unless there is one to that base; everything else in the file stays. Blocks,
    for a thread.

    Args:
        project: it is read again, and nobody else changes it meanwhile.
        base_id: of the base.
        name: for people.
        path: of a base of the project's own, below the project; "": it is a global one.
        reference_id: what nodes shall hold; "": the base's id, or one that is free.

    Returns:
        the project and the reference.

    Raises:
        KnowledgeError: the path leads out of the project, or another reference has the id.
        UsageError: the file cannot be written.
    """
    with locked(project.folder):
        return _add_reference(read_project(project.folder), base_id, name, path, reference_id)


def _add_reference(
    project: Project, base_id: str, name: str, path: str, reference_id: str
) -> tuple[Project, Reference]:
    for each in project.references:
        if each.path == path if path else each.source_id == base_id:
            return project, each
    if path and (problem := why_not(path)):
        raise KnowledgeError(Problem("path", problem), source=FILE)
    taken = {each.id for each in project.references}
    if reference_id in taken:
        raise KnowledgeError(Problem(repr(reference_id), "is the id of another reference"), source=FILE)
    number, chosen = 1, reference_id or base_id
    while chosen in taken:
        number += 1
        chosen = f"{base_id[: MOST_ID - 5]}-{number}"
    raw = list(project.document.get(REFERENCES) or ())
    row: dict[str, Any]
    if raw and all("type" not in each for each in raw) and chosen == base_id:
        row = {"source_id": base_id, "name": name or base_id, **({"path": path} if path else {})}
    else:
        row = {
            "id": chosen,
            "type": "local" if path else "global",
            "path": path or None,
            "name": name or base_id,
            "source_id": None if path else base_id,
        }
    write_json(project.folder / FILE, {**project.document, REFERENCES: [*raw, row]})
    changed = read_project(project.folder)
    return changed, changed.reference(chosen)


def _reference(raw: Any, where: str) -> Reference | Problem:
    if not isinstance(raw, dict):
        return Problem(where, f"is {kind_of(raw)}: a reference is an object")
    texts = {key: raw.get(key) for key in ("id", "type", "path", "name", "source_id")}
    label = texts["id"] or texts["source_id"]
    entry = label[:100] if isinstance(label, str) else ""
    for key, value in texts.items():
        if value is not None and (not isinstance(value, str) or len(value) > _MOST_SOURCE):
            return Problem(f"{where}.{key}", f"is {kind_of(value)}: it must be a text", entry)
    kind = texts["type"] or ("local" if texts["path"] else "global")
    if kind not in ("local", "global"):
        return Problem(f"{where}.type", f"is {kind!r}: it must be 'local' or 'global'", entry)
    reference_id = texts["id"] or texts["source_id"] or ""
    if not 0 < len(reference_id) <= MOST_ID:
        return Problem(f"{where}.id", f"must be a text of 1 to {MOST_ID} characters", entry)
    name = (texts["name"] or reference_id)[:MOST_NAME]
    if kind == "global":
        if not texts["source_id"]:
            return Problem(f"{where}.source_id", "is missing: it must be the id of a global base", entry)
        return Reference(reference_id, name, "", texts["source_id"], where)
    path = (texts["path"] or "").removeprefix("./").rstrip("/")
    problem = why_not(path)
    if problem:
        return Problem(f"{where}.path", f"{problem}; it must be a folder or file below the project", entry)
    return Reference(reference_id, name, path, "", where)
