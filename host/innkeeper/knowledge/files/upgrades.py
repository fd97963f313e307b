"""Older structures of a base's file become the newest, step by step; newer ones are read as far as they are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from innkeeper.knowledge.model.base import SCHEMA_VERSION

FIRST: Final = "1.0"
"""What a file is that does not say."""

_VERSION = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """From one version to the next.

    Attributes:
        to: the version that comes out.
        top: a new top level, without `entries`.
        entry: a new document of an entry; whatever does not fit the model goes through as it is.
    """

    to: str
    top: Callable[[Mapping[str, Any]], Document]
    entry: Callable[[Mapping[str, Any]], Document]


def _as_it_is(document: Mapping[str, Any]) -> Document:
    return dict(document)


STEPS: Final[Mapping[str, Step]] = {
    # 1.1 only adds: `role`, `depth_offset`, NOT_ANY and NOT_ALL. What a file of 1.0 has means the same in it.
    "1.0": Step("1.1", _as_it_is, _as_it_is),
}
"""By the version that goes in."""


def parse_version(text: object) -> tuple[int, int] | None:
    """A version of the structure as two numbers, or None if it is none."""
    found = _VERSION.fullmatch(text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None


def is_newer(version: str) -> bool:
    """Whether a file of this version has what this host may not know (bool)."""
    mine, its = parse_version(SCHEMA_VERSION), parse_version(version)
    return mine is not None and its is not None and its > mine


def chain(version: str, steps: Mapping[str, Step] = STEPS) -> list[Step]:
    """The steps from a version to the newest one; none for the newest, a newer one, and one of which nobody knows."""
    found: list[Step] = []
    while version in steps and len(found) < len(steps):
        found.append(steps[version])
        version = steps[version].to
    return found


def upgrade_top(document: Mapping[str, Any], steps: list[Step]) -> Document:
    """The top level of a base after these steps; `schema_version` stands where it stood."""
    found = dict(document)
    for step in steps:
        found = {**step.top(found), "schema_version": step.to}
    return found


def upgrade_entry(document: Mapping[str, Any], steps: list[Step]) -> Document:
    """An entry after these steps."""
    found = dict(document)
    for step in steps:
        found = step.entry(found)
    return found
