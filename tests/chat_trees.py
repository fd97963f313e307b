"""Trees of chats for tests: small ones by hand, and any by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from innkeeper.server.chats.encoding import tree_of
from innkeeper.server.chats.model import ChatHistoryTree


def tree(parents: dict[str, str | None], active: str | None = None, **more: Any) -> ChatHistoryTree:
    """A tree of messages by the ones that they answer; answers in the order in which they are named."""
    return tree_of(raw(parents, active, **more))


def raw(parents: dict[str, str | None], active: str | None = None, **more: Any) -> dict[str, Any]:
    """The same as plain data."""
    nodes = {
        name: {
            "id": name,
            "parentId": parent,
            "role": "user",
            "content": f"says {name}",
            "isEnabled": True,
            "children": [child for child, above in parents.items() if above == name],
        }
        for name, parent in parents.items()
    }
    return {
        "sessionId": "s",
        "version": 1,
        "nodes": nodes,
        "rootNodeIds": [name for name, parent in parents.items() if parent is None],
        "activeLeafId": active,
        "metadata": {},
        **more,
    }


def shape(tree: ChatHistoryTree) -> dict[str | None, list[str]]:
    """Answers by the message that they answer; the roots under None."""
    found: dict[str | None, list[str]] = {name: list(node.children) for name, node in tree.nodes.items()}
    return {None: list(tree.root_node_ids), **found}


@st.composite
def trees(draw: st.DrawFn, most: int = 12) -> ChatHistoryTree:
    """Any tree of up to `most` messages."""
    count = draw(st.integers(0, most))
    parents: dict[str, str | None] = {}
    for at in range(count):
        above = draw(st.integers(-1, at - 1))
        parents[f"n{at}"] = None if above < 0 else f"n{above}"
    active = draw(st.none() | st.sampled_from(sorted(parents))) if parents else None
    return tree(parents, active)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
"""Any plain data."""
