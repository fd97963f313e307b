"""A chat as a file for somebody else. All of it computes: not for trio's thread."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from innkeeper.server.chats.edits import path_to
from innkeeper.server.chats.model import ChatHistoryTree, ChatMessageNode
from innkeeper.server.chats.places import Kept

Format = Literal["json", "csv", "text", "txt", "markdown"]

COLUMNS: Final = (
    "id", "parentId", "depth", "role", "isEnabled", "active", "status", "createdAt", "updatedAt", "content",
)  # fmt: skip
"""Columns of the table, which has every message of every branch."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Exported:
    """A file.

    Attributes:
        data: its bytes.
        media_type: what they are.
        ending: of its name.
    """

    data: bytes
    media_type: str
    ending: str


def exported(kept: Kept, form: Format) -> Exported:
    """A chat in a format: as JSON the very bytes of its file; as a table all of its messages; as text and Markdown the
    messages that count, from the first to the active leaf."""
    if form == "json":
        return Exported(kept.data, "application/json", "json")
    if form == "csv":
        return Exported(_table(kept.tree), "text/csv; charset=utf-8", "csv")
    if form == "markdown":
        return Exported(_told(kept.tree, "## {role}\n\n{content}\n"), "text/markdown; charset=utf-8", "md")
    return Exported(_told(kept.tree, "{role}: {content}\n"), "text/plain; charset=utf-8", "txt")


def in_order(tree: ChatHistoryTree) -> Iterator[tuple[int, ChatMessageNode]]:
    """Every message with its depth, each before its answers."""
    waiting = [(0, root) for root in reversed(tree.root_node_ids)]
    while waiting:
        depth, name = waiting.pop()
        node = tree.nodes[name]
        yield depth, node
        waiting += ((depth + 1, child) for child in reversed(node.children))


def _table(tree: ChatHistoryTree) -> bytes:
    active = {node.id for node in path_to(tree, tree.active_leaf_id)}
    out = io.StringIO(newline="")
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for depth, node in in_order(tree):
        table.writerow(
            _harmless(value)
            for value in (
                node.id,
                node.parent_id or "",
                depth,
                node.role,
                "true" if node.is_enabled else "false",
                "true" if node.id in active else "false",
                node.status or "",
                node.created_at or "",
                node.updated_at or "",
                node.content,
            )
        )
    return out.getvalue().encode()


def _harmless(value: str | int | float) -> str | int | float:
    """Spreadsheets execute a cell that begins like a formula; an apostrophe makes it text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _told(tree: ChatHistoryTree, line: str) -> bytes:
    said = [
        line.format(role=node.role, content=node.content)
        for node in path_to(tree, tree.active_leaf_id)
        if node.is_enabled
    ]
    return "\n".join(said).encode()
