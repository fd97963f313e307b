"""A run that is watched, as lines: as many as fit, what runs and what failed first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from innkeeper.cli.kept_runs import duration_text
from innkeeper.cli.output import printable
from innkeeper.cli.watch_tree import Branch, Tree, Watched, branches

_SIGNS = {
    "running": "▸",
    "complete": "✓",
    "error": "✗",
    "skipped": "-",
    "bypassed": "~",
    "interrupted": "■",
    "queued": "…",
}
STYLES: Mapping[str, str] = {
    "running": "cyan",
    "complete": "green",
    "error": "red",
    "skipped": "dim",
    "bypassed": "dim",
    "interrupted": "yellow",
}
"""How statuses are coloured, in rich's words."""

_NAME, _NOTE, _TAIL = 60, 100, 80


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        text: safe text.
        status: what it is about, for its colour; "" for none.
    """

    text: str
    status: str = ""


def lines_of(tree: Tree, title: str, now: float | None, most: int) -> list[Line]:
    """A run as lines.

    Args:
        tree: what is known of it.
        title: what it is called.
        now: seconds since 1970; None: nobody watches any more.
        most: how many lines there is room for, at least 3.
    """
    counts = tree.counts()
    head = Line(
        f"{_SIGNS.get(tree.status, '?')} {printable(title, _NAME)}: {printable(tree.status, _NAME)}{_counted(counts)}",
        tree.status,
    )
    streams = [
        Line(
            f"  {printable(key, _NAME)}: {flow.chunks:,} chunks{' (over)' if flow.ended else ''} "
            f"{printable(flow.tail[-_TAIL:])}".rstrip(),
            "running" if not flow.ended else "",
        )
        for key, flow in tree.streams.items()
    ]
    room = most - 1 - min(len(streams), max(1, most // 3))
    nodes = list(_nodes(branches(tree), 1, now, collapse=False))
    if len(nodes) > room:
        nodes = list(_nodes(branches(tree), 1, now, collapse=True))
    if len(nodes) > room:
        # What goes on and what went wrong is what somebody looks for.
        wanted = [line for line in nodes if line.status in ("running", "error")]
        first = wanted[max(0, len(wanted) - max(0, room - 1)) :]
        nodes = [*first, Line(f"  and {len(nodes) - len(first):,} more lines")]
    left = most - 1 - len(nodes)
    return [head, *nodes, *streams[: max(0, left)]]


def _counted(counts: Counter[str]) -> str:
    said = [f"{counts[status]:,} {status}" for status in _SIGNS if counts[status]]
    return f" ({', '.join(said)})" if said else ""


def _nodes(branch: Branch, depth: int, now: float | None, *, collapse: bool) -> Iterator[Line]:
    for inner in branch.inside.values():
        if inner.inside and collapse and not inner.busy:
            status = inner.node.status if inner.node is not None else "complete"
            yield Line(
                f"{'  ' * depth}{_SIGNS.get(status, '?')} {printable(inner.name, _NAME)}{_counted(inner.counts)}",
                status,
            )
            continue
        yield _line(inner, depth, now)
        yield from _nodes(inner, depth + 1, now, collapse=collapse)


def _line(branch: Branch, depth: int, now: float | None) -> Line:
    node = branch.node
    if node is None:
        return Line(f"{'  ' * depth}{printable(branch.name, _NAME)}{_counted(branch.counts)}")
    text = f"{'  ' * depth}{_SIGNS.get(node.status, '?')} {printable(branch.name, _NAME)}{_took(node, now)}"
    if branch.inside:
        text += _counted(branch.counts)
    if node.note:
        text += f" {printable(node.note, _NOTE)}"
    return Line(text, node.status)


def _took(node: Watched, now: float | None) -> str:
    if node.took is not None:
        return f" {duration_text(node.took)}"
    if node.status == "running" and node.began is not None and now is not None:
        return f" {duration_text(now - node.began)}"
    return ""
