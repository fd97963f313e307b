"""Trees of files for tests, and what lies on the disk around them."""

from __future__ import annotations

from pathlib import Path

from innkeeper.sandbox.wasi.tree_quota import TreeQuota
from innkeeper.server.files.logical import LogicalPath, logical_path
from innkeeper.server.files.tree import Tree

ROOMY = 1 << 30, 100_000


def a_tree(folder: Path, most: tuple[int, int] = ROOMY) -> Tree:
    """The tree of a user of a home."""
    base = folder / "files"
    bare = Tree(base, "users/ada")
    return Tree(base, "users/ada", TreeQuota(bare.opened, most))


def at(text: str) -> LogicalPath:
    """A path of a user."""
    return logical_path(f"user://{text}")


def all_below(folder: Path) -> dict[str, bytes | None]:
    """What lies below a folder, by path: the bytes of files, None for others. Follows no link."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = path.read_bytes() if path.is_file() and not path.is_symlink() else None
    return found
