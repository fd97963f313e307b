"""The bases of a project, for the runs of its workflows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from innkeeper.knowledge.files.project import FILE, read_project, resolve
from innkeeper.knowledge.files.reading import read_base
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.storage.knowledge_model import PROJECT, Place

_UP: Final = 3
"""Folders above a workflow in which its project may be: PROJECT/workflows/KIND/ is the deepest that is usual."""

MOST_OWN: Final = 64
"""Bases that one project may have of its own."""


@dataclass(frozen=True, slots=True)
class Referred:
    """What a reference stands for.

    Attributes:
        own: the base's own id, which grants name.
        base: its id in the store. A project's own bases have others than global ones: no project can put itself in the
            place of a base that plugins read elsewhere.
        name: for people.
    """

    own: str
    base: str
    name: str


def project_of(workflow: Path) -> Path | None:
    """The folder of the project that a workflow's file lies in, or None. Blocks."""
    for folder in list(workflow.absolute().parents)[: _UP + 1]:
        if (folder / FILE).is_file():
            return folder
    return None


async def project_bases(bases: Bases, owner: str, folder: Path) -> Mapping[str, Referred]:
    """What each reference of a project stands for; its own bases are taken up.

    Raises:
        KnowledgeError: project.json or a base has mistakes; each named.
        UsageError: a file cannot be read.
    """
    found, model = await trio.to_thread.run_sync(_read, folder, bases.registry)
    referred: dict[str, Referred] = {}
    bound: set[str] = set()
    for reference, (own, name, file, info, local) in found.items():
        base = PROJECT + hashlib.sha256(str(file).encode()).hexdigest()[:32] if local else own
        if local and base not in bound:
            bound.add(base)
            await bases.bind(Place(owner, base), file, {**info, "kb_id": own})
            # The model of a base comes first, then the project's.
            await bases.adopt(Place(owner, base), model)
        referred[reference] = Referred(own, base, name)
    return referred


_Read = dict[str, tuple[str, str, Path, Mapping[str, Any], bool]]


def _read(folder: Path, registry: Registry | None) -> tuple[_Read, str]:
    project = read_project(folder)
    found: _Read = {}
    known: dict[Path, tuple[str, Path, Mapping[str, Any]]] = {}
    own: set[Path] = set()
    for reference in project.references:
        path = resolve(project, reference, registry or Registry(folder, "there is no home"))
        if reference.path:
            own.add(path)
            if len(own) > MOST_OWN:
                raise KnowledgeError(Problem(reference.where, f"is one base too many: {MOST_OWN} are a project's own"))
        if path not in known:
            read = read_base(path, strict=False)
            known[path] = read.base.info.kb_id, read.source.file, read.base.document
        id, file, info = known[path]
        found[reference.id] = (id, reference.name, file, info, bool(reference.path))
    return found, project.embedding_model
