"""Changes of a tree: each makes another one of it, in which all that `invariants.check` says holds as before. The tree
that was given stays as it is; messages that do not change are shared by both. Nothing recurses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from innkeeper.server.answers import AnswerError
from innkeeper.server.chats import bounds
from innkeeper.server.chats.model import ChatHistoryTree, ChatMessageNode

Nodes = dict[str, ChatMessageNode]


def add(tree: ChatHistoryTree, node: ChatMessageNode) -> ChatHistoryTree:
    """Adds a message below the one that it answers; it becomes the active leaf.

    Raises:
        AnswerError: 404: that one is not there; 409: the id is taken; 413: the chat is full.
    """
    if len(tree.nodes) >= bounds.MOST_NODES:
        raise AnswerError(413, f"the chat has {bounds.MOST_NODES:,} messages already; begin another, or prune it")
    if node.id in tree.nodes:
        raise AnswerError(409, f"there is a message {node.id!r} already")
    nodes = dict(tree.nodes)
    roots = tree.root_node_ids
    if node.parent_id is None:
        roots = [*roots, node.id]
    else:
        parent = _of(tree, node.parent_id)
        nodes[parent.id] = _changed(parent, children=[*parent.children, node.id])
    nodes[node.id] = node
    return _made(tree, nodes, roots, node.id)


def prune(tree: ChatHistoryTree, ids: Sequence[str]) -> ChatHistoryTree:
    """Takes messages out with everything below them.

    Raises:
        AnswerError: 404: one is not there.
    """
    gone: set[str] = set()
    waiting = [_of(tree, name).id for name in ids]
    while waiting:
        name = waiting.pop()
        if name not in gone:
            gone.add(name)
            waiting += tree.nodes[name].children
    nodes = {name: node for name, node in tree.nodes.items() if name not in gone}
    for parent in _parents(tree, gone):
        node = nodes[parent]
        nodes[parent] = _changed(node, children=[child for child in node.children if child not in gone])
    return _made(tree, nodes, [root for root in tree.root_node_ids if root not in gone], _active(tree, nodes))


def delete(tree: ChatHistoryTree, ids: Sequence[str]) -> ChatHistoryTree:
    """Takes messages out and keeps what is below them: answers take the place of what they answered.

    Raises:
        AnswerError: 404: one is not there.
    """
    gone = {_of(tree, name).id for name in ids}
    nodes = {name: node for name, node in tree.nodes.items() if name not in gone}

    def closed(children: Iterable[str], parent: str | None) -> list[str]:
        found, waiting = [], list(children)[::-1]
        while waiting:
            name = waiting.pop()
            if name in gone:
                waiting += tree.nodes[name].children[::-1]
                continue
            found.append(name)
            if nodes[name].parent_id != parent:
                nodes[name] = _changed(nodes[name], parent_id=parent)
        return found

    for parent in _parents(tree, gone):
        nodes[parent] = _changed(nodes[parent], children=closed(tree.nodes[parent].children, parent))
    return _made(tree, nodes, closed(tree.root_node_ids, None), _active(tree, nodes))


def graft(tree: ChatHistoryTree, source: str, target: str | None) -> ChatHistoryTree:
    """Moves a message with everything below it to the end of the answers to another one, or of the roots.

    Raises:
        AnswerError: 404: one is not there; 409: the target lies below the source, or is it.
    """
    moved = _of(tree, source)
    above = target
    while above is not None:
        if above == source:
            raise AnswerError(409, "a message cannot be moved below itself")
        above = _of(tree, above).parent_id
    nodes = dict(tree.nodes)
    roots = [root for root in tree.root_node_ids if root != source]
    if moved.parent_id is not None:
        parent = nodes[moved.parent_id]
        nodes[parent.id] = _changed(parent, children=[child for child in parent.children if child != source])
    if target is None:
        roots.append(source)
    else:
        nodes[target] = _changed(nodes[target], children=[*nodes[target].children, source])
    nodes[source] = _changed(moved, parent_id=target)
    return _made(tree, nodes, roots, tree.active_leaf_id)


def enable(tree: ChatHistoryTree, ids: Sequence[str], enabled: bool) -> ChatHistoryTree:
    """Makes messages count, or not count, for what follows.

    Raises:
        AnswerError: 404: one is not there.
    """
    nodes = dict(tree.nodes)
    for name in ids:
        nodes[name] = _changed(_of(tree, name), is_enabled=enabled)
    return _made(tree, nodes, tree.root_node_ids, tree.active_leaf_id)


def change(tree: ChatHistoryTree, name: str, fields: Mapping[str, Any]) -> ChatHistoryTree:
    """Changes fields of a message, by the names of `ChatMessageNode`; not those that hold the tree together.

    Raises:
        AnswerError: 404: it is not there.
    """
    assert not fields.keys() & {"id", "parent_id", "children"}
    nodes = {**tree.nodes, name: _changed(_of(tree, name), **fields)}
    return _made(tree, nodes, tree.root_node_ids, tree.active_leaf_id)


def activate(tree: ChatHistoryTree, name: str | None) -> ChatHistoryTree:
    """Makes a message the one at which the chat goes on.

    Raises:
        AnswerError: 404: it is not there.
    """
    return _made(tree, tree.nodes, tree.root_node_ids, None if name is None else _of(tree, name).id)


def describe(tree: ChatHistoryTree, fields: Mapping[str, Any]) -> ChatHistoryTree:
    """Changes fields of the session's metadata, by the names of `TreeMetadata`."""
    return tree.model_copy(update={"metadata": tree.metadata.model_copy(update=dict(fields))})


def stamped(tree: ChatHistoryTree, version: int, at: str) -> ChatHistoryTree:
    """The tree with its next version and the time of the change."""
    metadata = tree.metadata.model_copy(update={"updated_at": at})
    return tree.model_copy(update={"version": version, "metadata": metadata})


def path_to(tree: ChatHistoryTree, name: str | None) -> list[ChatMessageNode]:
    """The messages from a root down to one, that one included."""
    found = []
    while name is not None:
        node = tree.nodes[name]
        found.append(node)
        name = node.parent_id
    return found[::-1]


def _of(tree: ChatHistoryTree, name: str) -> ChatMessageNode:
    node = tree.nodes.get(name)
    if node is None:
        raise AnswerError(404, f"the chat has no message {name[:128]!r}")
    return node


def _parents(tree: ChatHistoryTree, gone: set[str]) -> set[str]:
    """Messages that stay and have answers that go."""
    return {above for name in gone if (above := tree.nodes[name].parent_id) is not None and above not in gone}


def _active(tree: ChatHistoryTree, left: Nodes) -> str | None:
    """Where the chat goes on after messages were taken out: where it did, or at the newest leaf below the nearest
    message above that is still there, or else at the newest one at all."""
    name = tree.active_leaf_id
    if name is None or name in left:
        return name
    while name is not None and name not in left:
        name = tree.nodes[name].parent_id
    if name is None:
        name = next(reversed(left), None)
    while name is not None and (below := [child for child in left[name].children if child in left]):
        name = below[-1]
    return name


def _changed(node: ChatMessageNode, **fields: Any) -> ChatMessageNode:
    return node.model_copy(update=fields)


def _made(tree: ChatHistoryTree, nodes: Nodes, roots: list[str], active: str | None) -> ChatHistoryTree:
    return tree.model_copy(update={"nodes": nodes, "root_node_ids": roots, "active_leaf_id": active})
