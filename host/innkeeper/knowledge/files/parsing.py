"""The bytes of a file of JSON become a base: mistakes have their lines, and what is sound is told from what is not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from innkeeper.knowledge.files import detection
from innkeeper.knowledge.files.bounds import MOST_MISTAKES, MOST_PROBLEMS, MOST_SHOWN, MOST_WALKED
from innkeeper.knowledge.files.collecting import no_collections
from innkeeper.knowledge.files.decoding import Progress, decode, kind_of, name_of
from innkeeper.knowledge.files.names import slug
from innkeeper.knowledge.files.raw import Raw, RawEntry
from innkeeper.knowledge.files.scanning import places
from innkeeper.knowledge.files.upgrades import FIRST, chain, is_newer, parse_version, upgrade_entry, upgrade_top
from innkeeper.knowledge.model.base import SCHEMA_VERSION, Base, BaseInfo, Item
from innkeeper.knowledge.model.entry import Entry, problems_of
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.plugins.tables import visible

if TYPE_CHECKING:
    from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class Source:
    """Where a base was read.

    Attributes:
        kind: what was named.
        path: as it was named.
        file: of JSON; for an archive the archive.
        folder: below which its media lie; None for an archive.
        member: name of the file of JSON in the archive, or "".
        shape: "object", or "array" where the file has nothing but the entries.
        entries_at: how many keys stood before `entries`; None: it is the writer's choice.
        digest: sha256 of the bytes of JSON, in hexadecimal.
        schema_version: of the file as it lies there.
        upgraded: whether the base is of a newer structure than the file.
        read_only: whether the file is of a newer structure than this host knows, so that nobody may write it.
    """

    kind: Literal["folder", "file", "archive"]
    path: Path
    file: Path
    folder: Path | None
    member: str
    shape: Literal["object", "array"]
    entries_at: int | None
    digest: str
    schema_version: str
    upgraded: bool
    read_only: bool


class Read(NamedTuple):
    """A base that was read.

    Attributes:
        base: in the newest structure.
        source: where it was.
        problems: what was left out; none where reading was strict, unless the file is newer than this host.
    """

    base: Base
    source: Source
    problems: list[Problem]


def parse_base(
    data: bytes,
    source: Source,
    *,
    label: str,
    base_id: str,
    strict: bool = True,
    progress: Progress | None = None,
) -> Read:
    """A base from the bytes of its file of JSON. Blocks, for a thread.

    Args:
        data: the bytes.
        source: what is known of where they were; the rest is filled in.
        label: name of the file in messages.
        base_id: names a base whose file has nothing but entries.
        strict, progress: as of `read_base`.

    Raises:
        KnowledgeError: as `read_base`.
    """
    with no_collections():
        return _parsed(data, source, label, base_id, strict, progress)


def _parsed(data: bytes, source: Source, label: str, base_id: str, strict: bool, progress: Progress | None) -> Read:
    raw = decode(data, label, progress=progress)
    document = _document(raw, label, base_id)
    version = document.get("schema_version", FIRST)
    problems = list(raw.problems)
    if parse_version(version) is None:
        sentence = f'is not a version of this structure: write "{SCHEMA_VERSION}"'
        problems.append(_at_top(raw, "schema_version", sentence))
        version = FIRST
    steps = chain(version)
    document = upgrade_top(document, steps) if raw.top is not None else document
    info, found = _info(document, raw)
    problems += found
    if info is None or problems:
        raise KnowledgeError(problems, source=label)
    newer = is_newer(version)
    reader = _Entries(raw, steps, label)
    items = reader.read(raw.entries or (), progress)
    if reader.problems and strict and not newer:
        raise KnowledgeError(reader.problems, source=label)
    source = replace(
        source,
        shape="object" if raw.top is not None else "array",
        entries_at=raw.entries_at,
        digest=hashlib.sha256(data).hexdigest(),
        schema_version=version,
        upgraded=bool(steps) and raw.top is not None,
        read_only=newer,
    )
    return Read(Base(document, info, items), source, reader.problems)


def _document(raw: Raw, label: str, base_id: str) -> dict[str, Any]:
    if raw.top is None:
        if raw.entries is None:
            raise KnowledgeError(f"is {kind_of(raw.other)}: a base is an object or an array of entries", source=label)
        elsewhere = detection.other_document({}, [entry.value for entry in raw.entries[:1]])
        if elsewhere:
            raise KnowledgeError(elsewhere, source=label)
        # Nothing but entries: what the base is called is what its folder is called.
        return {"kb_id": slug(base_id), "schema_version": SCHEMA_VERSION}
    entries = raw.other if raw.entries is None else [entry.value for entry in raw.entries[:1]]
    elsewhere = detection.other_document(raw.top, entries)
    if elsewhere:
        raise KnowledgeError(elsewhere, source=label)
    if raw.entries is None:
        if raw.entries_at is None:
            sentence = 'is missing: a base is {"kb_id": "...", "entries": [...]}'
            raise KnowledgeError(Problem("entries", sentence), source=label)
        raise KnowledgeError(
            _at_top(raw, "entries", f"is {kind_of(raw.other)}: it must be an array of entries"), source=label
        )
    return raw.top


def _at_top(raw: Raw, key: str, sentence: str) -> Problem:
    return Problem(key, sentence, line=raw.lines.line(raw.at[key]) if key in raw.at else 0)


def _info(document: dict[str, Any], raw: Raw) -> tuple[BaseInfo | None, list[Problem]]:
    from pydantic import ValidationError

    try:
        return BaseInfo.model_validate(document), []
    except ValidationError as error:
        found = problems_of(error, "")
        keys = [str(each["loc"][0]) if each["loc"] else "" for each in _errors(error)]
        at = [raw.lines.line(raw.at[key]) if key in raw.at else 0 for key in keys]
        return None, [
            replace(problem, where=visible(problem.where, MOST_SHOWN), line=line)
            for problem, line in zip(found, at, strict=True)
        ]


class _Entries:
    """Reads entries, and says of each mistake in which line it is."""

    def __init__(self, raw: Raw, steps: list[Any], label: str) -> None:
        self._raw = raw
        self._label = label
        self._steps = steps
        self._walked = 0
        self._left_out = 0
        self.problems: list[Problem] = []

    def read(self, entries: Iterable[RawEntry], progress: Progress | None) -> list[Item]:
        items: list[Item] = []
        seen: dict[str, int] = {}
        for number, each in enumerate(entries):
            where = f"entries[{number}]"
            if progress is not None and number % 256 == 0:
                # As far as the text goes all is done; whoever wants to end it can.
                progress(len(self._raw.text), len(self._raw.text))
            problems = each.problems
            item = None
            if not problems:
                item, problems = self._item(each, where)
            if item is not None and (first := seen.setdefault(item.entry.id, number)) != number:
                sentence = f"is {item.entry.id!r}, the id of entries[{first}], too: an id is there once"
                problems = [Problem(f"{where}.id", sentence, item.entry.name[:100], self._raw.lines.line(each.at))]
            if problems:
                self._keep(problems)
            elif item is not None:
                items.append(item)
        if self._left_out:
            self.problems.append(Problem("", f"and {self._left_out:,} more problems"))
        return items

    def _keep(self, problems: list[Problem]) -> None:
        room = MOST_PROBLEMS - len(self.problems)
        self.problems += problems[: max(room, 0)]
        self._left_out += len(problems) - max(min(room, len(problems)), 0)
        if self._left_out > MOST_MISTAKES:
            shown = [*self.problems, Problem("", f"and more than {MOST_MISTAKES:,} more problems")]
            raise KnowledgeError(shown, source=self._label)

    def _item(self, raw: RawEntry, where: str) -> tuple[Item | None, list[Problem]]:
        from pydantic import ValidationError

        value = raw.value
        if not isinstance(value, dict):
            sentence = f"is {kind_of(value)}: an entry is an object"
            return None, [Problem(where, sentence, line=self._raw.lines.line(raw.at))]
        document = upgrade_entry(value, self._steps) if self._steps else value
        try:
            return Item(document, Entry.model_validate(document)), []
        except ValidationError as error:
            return None, self._located(error, raw, where)

    def _located(self, error: ValidationError, raw: RawEntry, where: str) -> list[Problem]:
        found = problems_of(error, where, name_of(raw.value))
        at = [raw.at] * len(found)
        self._walked += raw.end - raw.at
        if self._walked <= MOST_WALKED and len(self.problems) < MOST_PROBLEMS:
            at = places(self._raw.text, raw.at, raw.end, [tuple(each["loc"]) for each in _errors(error)])
        return [
            replace(problem, where=visible(problem.where, MOST_SHOWN), line=self._raw.lines.line(each))
            for problem, each in zip(found, at, strict=True)
        ]


def _errors(error: ValidationError) -> Any:
    return error.errors(include_url=False, include_context=False, include_input=False)
