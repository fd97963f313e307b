"""The bytes of a session's file and back. Both compute: not for trio's thread."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import ValidationError

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import DataBounds, MalformedError, scan_json
from innkeeper.server.chats import bounds
from innkeeper.server.chats.invariants import BrokenTreeError, check
from innkeeper.server.chats.model import ChatHistoryTree, ChatMessageNode

_SHELL: Final = 50_000
"""Values that all but the messages may be."""

_ABOVE: Final = 2
"""Containers in which each message lies: the tree, and its messages."""

_MESSAGE: Final = DataBounds(bounds.FILE.size, bounds.FILE.depth - _ABOVE, bounds.FILE.elements)
_AROUND: Final = DataBounds(bounds.FILE.size, bounds.FILE.depth, _SHELL)


def decoded(data: bytes) -> ChatHistoryTree:
    """The tree of a file, in which every invariant holds.

    Raises:
        BrokenTreeError: it is none; the sentence says why, and shows nothing of what was said.
    """
    try:
        value = parse_json(data.removeprefix(b"\xef\xbb\xbf"), bounds.FILE)
    except MalformedError as error:
        raise BrokenTreeError(f"the chat is not JSON that can be read: {error}") from None
    return tree_of(value)


def tree_of(value: Any) -> ChatHistoryTree:
    """The tree that plain data is.

    Raises:
        BrokenTreeError: as `decoded`.
    """
    if not isinstance(value, dict) or not isinstance(value.get("nodes"), dict):
        raise BrokenTreeError("the chat should be an object with 'nodes'")
    found = value["nodes"]
    if len(found) > bounds.MOST_NODES:
        raise BrokenTreeError(f"the chat has {len(found):,} messages; at most {bounds.MOST_NODES:,} are kept")
    try:
        tree = ChatHistoryTree.model_validate({**value, "nodes": {}})
        # One by one: a call for all of them would keep the interpreter's lock for their whole time.
        nodes = {name: ChatMessageNode.model_validate(each) for name, each in found.items()}
    except ValidationError as error:
        raise BrokenTreeError(f"the chat does not fit: {_said(error)}") from None
    tree = tree.model_copy(update={"nodes": nodes})
    check(tree)
    return tree


def encoded(tree: ChatHistoryTree) -> bytes:
    """The bytes of a tree's file. What a message is as text is made once for all trees that share it.

    Raises:
        BrokenTreeError: they are more than could be read again.
    """
    shell = tree.model_dump(by_alias=True, exclude_unset=True, exclude={"nodes"})
    head = json.dumps(shell, ensure_ascii=False, allow_nan=False, separators=(",", ":"))[:-1]
    pieces = [head.encode(), b',"nodes":{']
    size, values, comma = len(pieces[0]) + 12, 0, b""
    try:
        scan_json(head + "}", _AROUND)
        for name, node in tree.nodes.items():
            written = node.written()
            key = json.dumps(name, ensure_ascii=False).encode()
            size += len(written.text) + len(key) + 2
            # Its name is a value, too.
            values += written.values + 1
            if size > bounds.FILE.size:
                raise MalformedError(f"it has more than {bounds.FILE.size:,} bytes")
            if values > bounds.FILE.elements - _SHELL:
                raise MalformedError(f"it has more than {bounds.FILE.elements:,} values")
            if written.values > bounds.FILE.depth - _ABOVE:
                # Only what has so many values can lie so deep.
                scan_json(written.text.decode(), _MESSAGE)
            pieces += (comma, key, b":", written.text)
            comma = b","
    except MalformedError as error:
        raise BrokenTreeError(f"the chat would be too much: {error}; begin another, or prune it") from None
    pieces.append(b"}}")
    return b"".join(pieces)


def _said(error: ValidationError) -> str:
    lines = [
        f"{'.'.join(str(part)[:64] for part in each['loc'][:6]) or 'it'}: {each['msg']}"
        for each in error.errors(include_input=False, include_url=False, include_context=False)[:5]
    ]
    return "; ".join(lines)
