"""What is true of every tree that is kept."""

from __future__ import annotations

from innkeeper.errors import RejectedError
from innkeeper.server.chats import bounds
from innkeeper.server.chats.model import ChatHistoryTree


class BrokenTreeError(RejectedError):
    """What should be a chat is none."""


def check(tree: ChatHistoryTree) -> None:
    """Makes sure of every invariant. Computes without recursion, in time that grows with the tree: large ones not on
    trio's thread.

    1. A message stands under its own id, and there are at most `MOST_NODES`.
    2. Parents and children agree: each child names its parent, each parent names each child once.
    3. The roots are exactly the messages without a parent, each once.
    4. Every message is reached from a root: there is no cycle.
    5. The active leaf exists, or there is none.

    Raises:
        BrokenTreeError: one does not hold; the sentence names it.
    """
    nodes = tree.nodes
    if len(nodes) > bounds.MOST_NODES:
        raise BrokenTreeError(f"the chat has {len(nodes):,} messages; at most {bounds.MOST_NODES:,} are kept")
    for name, node in nodes.items():
        if name != node.id:
            raise BrokenTreeError(f"the message {name[:128]!r} calls itself {node.id!r}")
        if node.parent_id is not None and node.parent_id not in nodes:
            raise BrokenTreeError(f"the message {name!r} answers {node.parent_id!r}, which is not there")
    named: set[str] = set()
    for name, node in nodes.items():
        for child in node.children:
            found = nodes.get(child)
            if found is None:
                raise BrokenTreeError(f"the message {name!r} has the answer {child!r}, which is not there")
            if found.parent_id != name:
                raise BrokenTreeError(f"the message {name!r} has the answer {child!r}, which answers another one")
            if child in named:
                raise BrokenTreeError(f"the message {name!r} has the answer {child!r} twice")
            named.add(child)
    roots = tree.root_node_ids
    if len(set(roots)) != len(roots):
        raise BrokenTreeError("rootNodeIds names a message twice")
    for root in roots:
        if root not in nodes:
            raise BrokenTreeError(f"rootNodeIds names {root!r}, which is not there")
        if nodes[root].parent_id is not None:
            raise BrokenTreeError(f"rootNodeIds names {root!r}, which answers another message")
    for name, node in nodes.items():
        if node.parent_id is not None and name not in named:
            raise BrokenTreeError(f"the message {name!r} is no answer of the one that it names")
    if sum(node.parent_id is None for node in nodes.values()) != len(roots):
        raise BrokenTreeError("rootNodeIds leaves out a message that answers nothing")
    # Every message has one place at most, so that what is not reached lies on a cycle, or below one.
    reached, waiting = 0, list(roots)
    while waiting:
        reached += 1
        waiting += nodes[waiting.pop()].children
    if reached != len(nodes):
        raise BrokenTreeError(f"{len(nodes) - reached:,} messages answer each other in a circle")
    if tree.active_leaf_id is not None and tree.active_leaf_id not in nodes:
        raise BrokenTreeError(f"activeLeafId names {tree.active_leaf_id!r}, which is not there")
