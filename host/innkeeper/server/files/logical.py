"""Logical paths: `user://projects/inn/project.json`, `shared://library/...`. None is a path of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from innkeeper.server.files.names import checked_name, shown
from innkeeper.server.files.problems import FileError

USER: Final = "user://"
ROOTS: Final = (
    USER,
    "shared://library",
    "shared://templates",
    "system://public",
    "system://data",
    "system://logs",
    "system://config",
)
"""Where logical paths begin. There is none for the folder of the program."""

MOST_PATH: Final = 4096
"""Characters of a logical path."""

MOST_DEPTH: Final = 32
"""Names in a path: each step of the way there is a descriptor that is open meanwhile."""


@dataclass(frozen=True, slots=True)
class LogicalPath:
    """Where something lies.

    Attributes:
        root: one of `ROOTS`.
        parts: names from there on, each checked; none: the root itself.
    """

    root: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        below = "/".join(self.parts)
        return f"{self.root}{below}" if self.root == USER or not below else f"{self.root}/{below}"

    @property
    def name(self) -> str:
        """Its last name, or that of the root (str)."""
        return self.parts[-1] if self.parts else self.root.rpartition("//")[2] or "user"

    @property
    def parent(self) -> LogicalPath:
        """The folder in which it lies; of a root the root itself."""
        return LogicalPath(self.root, self.parts[:-1])

    def child(self, name: str) -> LogicalPath:
        """What lies in it.

        Raises:
            FileError: "name": it cannot be a name, or the path gets too deep.
        """
        return LogicalPath(self.root, _bounded((*self.parts, checked_name(name))))


def logical_path(text: str) -> LogicalPath:
    """The path that a text means. One slash after the scheme will do, since proxies make one of two.

    Raises:
        FileError: "name": it means none.
    """
    if len(text) > MOST_PATH:
        raise FileError("name", f"the path is longer than {MOST_PATH:,} characters")
    scheme, colon, rest = text.partition(":/")
    rest = rest.removeprefix("/").removesuffix("/")
    names = rest.split("/") if rest else []
    root = f"{scheme}://" if colon and scheme == "user" else f"{scheme}://{names.pop(0) if names else ''}"
    if not colon or root not in ROOTS:
        raise FileError("name", f"the path {shown(text)} must begin with one of {', '.join(ROOTS)}")
    return LogicalPath(root, _bounded(tuple(checked_name(name) for name in names)))


def _bounded(parts: tuple[str, ...]) -> tuple[str, ...]:
    if len(parts) > MOST_DEPTH:
        raise FileError("name", f"the path has more than {MOST_DEPTH} folders inside of each other")
    return parts
