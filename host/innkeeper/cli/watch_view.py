"""A run that is watched, as lines: as many as fit, what runs and what failed first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

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
    root = branches(tree)
    # Thousands of nodes are drawn again and again: only what is shown becomes text.
    rows = list(islice(_rows(root, 1, collapse=False), room + 1))
    if len(rows) > room:
        rows = list(_rows(root, 1, collapse=True))
    more = []
    if len(rows) > room:
        # What goes on and what went wrong is what somebody looks for.
        wanted = [row for row in rows if row.status in ("running", "error")]
        first = wanted[max(0, len(wanted) - max(0, room - 1)) :]
        more = [Line(f"  and {len(rows) - len(first):,} more lines")]
        rows = first
    nodes = [*(_line(row, now) for row in rows), *more]
    left = most - 1 - len(nodes)
    return [head, *nodes, *streams[: max(0, left)]]


def _counted(counts: Counter[str]) -> str:
    said = [f"{counts[status]:,} {status}" for status in _SIGNS if counts[status]]
    return f" ({', '.join(said)})" if said else ""


@dataclass(frozen=True, slots=True)
class _Row:
    """A branch that has a line; `closed` where that line stands for all that is in it."""

    branch: Branch
    depth: int
    closed: bool = False

    @property
    def status(self) -> str:
        node = self.branch.node
        return node.status if node is not None else "complete" if self.closed else ""


def _rows(branch: Branch, depth: int, *, collapse: bool) -> Iterator[_Row]:
    for inner in branch.inside.values():
        if inner.inside and collapse and not inner.busy:
            yield _Row(inner, depth, closed=True)
            continue
        yield _Row(inner, depth)
        yield from _rows(inner, depth + 1, collapse=collapse)


def _line(row: _Row, now: float | None) -> Line:
    node, status = row.branch.node, row.status
    sign = f"{_SIGNS.get(status, '?')} " if status else ""
    text = f"{'  ' * row.depth}{sign}{printable(row.branch.name, _NAME)}"
    if node is not None and not row.closed:
        text += _took(node, now)
    if row.branch.inside:
        text += _counted(row.branch.counts)
    if node is not None and node.note and not row.closed:
        text += f" {printable(node.note, _NOTE)}"
    return Line(text, status)


def _took(node: Watched, now: float | None) -> str:
    if node.took is not None:
        return f" {duration_text(node.took)}"
    if node.status == "running" and node.began is not None and now is not None:
        return f" {duration_text(now - node.began)}"
    return ""
