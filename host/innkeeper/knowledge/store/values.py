"""What is said to the store of knowledge bases, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from innkeeper.knowledge.model.entry import Entry, read_entry
from innkeeper.knowledge.model.problems import KnowledgeError

EDIT: Final = "edit"
IMPORT: Final = "import"
UNDO: Final = "undo"
FILE: Final = "file"
"""Reasons of steps; others are texts of whoever takes the step."""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_refuse)


@dataclass(frozen=True, slots=True)
class Vector:
    """What a model made of an entry's text.

    Attributes:
        model: `ModelIdentity.key`.
        dimension: numbers in it.
        data: half-precision floats, little-endian: 2 bytes for each number, all finite.
    """

    model: str
    dimension: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one entry.

    Attributes:
        id: of the entry.
        document: what it is from now on, with the same id in it; None: it is deleted.
        expect: the version that it must have, 0 where it must not be there; None: whatever there is.
        source: what `management_metadata.source` says afterwards; None: what the document says.
        position: where it stands among the others; None: where it is, and a new one at the end.
        vector: of its text, where somebody has made it; one of another text's would be believed.
    """

    id: str
    document: Mapping[str, Any] | None
    expect: int | None = None
    source: str | None = None
    position: float | None = None
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose step it is.

    Attributes:
        reason: `EDIT`, `IMPORT`, `UNDO`, `FILE`, or another short text.
        author: id of the plugin, or "" for a person.
    """

    reason: str = EDIT
    author: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a step did.

    Attributes:
        revision: of the base afterwards, and the version of each entry that the step changed.
        created, changed, deleted: how many entries.
    """

    revision: int
    created: int = 0
    changed: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as it is kept.

    Attributes:
        id: unique in its base.
        document: JSON.
        position: larger comes later; among equals the id decides.
        version: grows with each change, and is never given twice.
        enabled, source: as its document says.
        author: id of the plugin that wrote it last, or "".
        created, updated: seconds since 1970.
        digest: of the text that its vector is made of.
        terms: what `Legs.terms` made of it; b"" where nobody asked for it.
        vector: under the model of the base, half-precision floats; None where there is none or nobody asked for it.
    """

    id: str
    document: str
    position: float
    version: int
    enabled: bool
    source: str
    author: str
    created: float
    updated: float
    digest: str
    terms: bytes = b""
    vector: bytes | None = None

    def plain(self) -> dict[str, Any]:
        """The document as plain data; the caller's own.

        Raises:
            KnowledgeError: it is none: the database is damaged.
        """
        try:
            found = _JSON.decode(self.document)
        except (TypeError, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise KnowledgeError("is damaged in the database: write it anew, or take it back", source=self.id)
        return found

    def entry(self) -> Entry:
        """What this host reads in it.

        Raises:
            KnowledgeError: it was written by a newer version, or by somebody else.
        """
        entry, problems = read_entry(self.plain())
        if entry is None:
            raise KnowledgeError(problems, source=self.id)
        return entry


@dataclass(frozen=True, slots=True)
class BaseState:
    """What is known of a base.

    Attributes:
        owner, base: which.
        info: the top level of its file without `entries`, as plain data.
        model: the model of its vectors, or "".
        revision: grows by one with each step.
        entries, bytes: what it holds.
        agent_entries, agent_bytes: of that, what plugins wrote.
        history_bytes: what its history holds.
        legs: what made its terms; another than `Legs.key`: they are to be made again.
        embedded: grows whenever vectors were made for entries that did not change.
        folding: the batch that is being put in place, or "".
        file: absolute path of the file that it is bound to, or "".
        digest: of the file, when both were last in step; "" before.
        synced: the revision that was then.
        note: what is wrong with the file, or with how both were brought in step, as sentences.
        refused: digest of the file that could not be read.
        read_only: whether nothing changes it.
        approval: whether what plugins write waits for somebody's consent.
        created, updated: seconds since 1970.
    """

    owner: str
    base: str
    info: Mapping[str, Any]
    model: str
    revision: int
    entries: int
    bytes: int
    agent_entries: int
    agent_bytes: int
    history_bytes: int
    legs: str
    embedded: int
    folding: str
    file: str
    digest: str
    synced: int
    note: tuple[str, ...]
    refused: str
    read_only: bool
    approval: bool
    created: float
    updated: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a base's history.

    Attributes:
        revision: that it led to.
        at: seconds since 1970.
        reason, author: as in `Origin`.
        changes: how many entries it changed.
        info_before: what the base said of itself before, where the step changed that.
    """

    revision: int
    at: float
    reason: str
    author: str
    changes: int
    info_before: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What one step did to one entry.

    Attributes:
        revision: of the step.
        entry: its id.
        kind: "create", "change" or "delete".
        at: seconds since 1970.
        author: id of the plugin, or "".
        position: where it stood before.
        before: what it was before, as JSON; None where it was not there.
    """

    revision: int
    entry: str
    kind: str
    at: float
    author: str
    position: float
    before: str | None


@dataclass(frozen=True, slots=True)
class Overlaid:
    """What a session says of an entry in place of its base.

    Attributes:
        entry: its id.
        document: plain data; None: the session does not have the base's entry.
        version: grows with each change in the session.
        author: id of the plugin, or "".
        at: seconds since 1970.
    """

    entry: str
    document: Mapping[str, Any] | None
    version: int
    author: str
    at: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a plugin wants to change, and nobody has consented to yet.

    Attributes:
        number: names it.
        entry: id of the entry.
        document: what it would become; None: it would be deleted.
        expect: the version that it had when this was proposed; 0 where it was not there.
        author: id of the plugin.
        at: seconds since 1970.
    """

    number: int
    entry: str
    document: Mapping[str, Any] | None
    expect: int
    author: str
    at: float


@dataclass(frozen=True, slots=True)
class InStep:
    """That a step brings a base in step with its file.

    Attributes:
        digest: of the file that was read.
    """

    digest: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found.

    Attributes:
        entries: how many it looked at.
        embedded: how many of them have a vector under the model of their base.
        problems: sentences; none: text, keywords, full text, vectors and counts agree.
    """

    entries: int
    embedded: int
    problems: list[str] = field(default_factory=list)
