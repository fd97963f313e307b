"""A file of JSON as it was decoded, before anybody says what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from innkeeper.knowledge.files.scanning import Lines
from innkeeper.knowledge.model.problems import Problem


@dataclass(slots=True)
class RawEntry:
    """An element of `entries`, whatever it is.

    Attributes:
        value: plain data.
        at, end: where it stands in the text.
        problems: why its data are not what its author wrote: a key twice, a number that JSON or 64 bits do not have.
    """

    value: Any
    at: int
    end: int
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class Raw:
    """A file of JSON as it was decoded.

    Attributes:
        text: of the file.
        top: the object's keys without `entries`; None where the file is an array, or something else.
        entries: the elements of `entries`, or of the array; None where `entries` is absent or no array.
        other: what `entries` is if it is no array, or the document if it is neither object nor array.
        entries_at: how many keys stood before `entries`; None without it, or where the file is an array.
        lines: of the text.
        at: where each key's value of the top level stands.
        problems: what is wrong with the top level.
    """

    text: str
    lines: Lines
    top: dict[str, Any] | None = None
    entries: list[RawEntry] | None = None
    other: Any = None
    entries_at: int | None = None
    at: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
