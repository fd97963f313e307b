"""The bytes of a session's file and back. Both compute: not for trio's thread."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import MalformedError, scan_json
from innkeeper.server.chats import bounds
from innkeeper.server.chats.invariants import BrokenTreeError, check
from innkeeper.server.chats.model import ChatHistoryTree, ChatMessageNode


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
    """The bytes of a tree's file.

    Raises:
        BrokenTreeError: they are more than a file may have.
    """
    shell = tree.model_dump(by_alias=True, exclude_unset=True, exclude={"nodes"})
    head = json.dumps(shell, ensure_ascii=False, allow_nan=False, separators=(",", ":"))[:-1].encode()
    pieces, size = [head, b',"nodes":{'], len(head)
    comma = b""
    for name, node in tree.nodes.items():
        text = encoded_node(node)
        size += len(text) + len(name) + 4
        if size > bounds.FILE.size:
            break
        pieces += (comma, json.dumps(name, ensure_ascii=False).encode(), b":", text)
        comma = b","
    pieces.append(b"}}")
    data = b"".join(pieces)
    if size > bounds.FILE.size or len(data) > bounds.FILE.size:
        raise BrokenTreeError(f"the chat would have more than {bounds.FILE.size:,} bytes; begin another, or prune it")
    try:
        # What could not be read again is not written.
        scan_json(data.decode(), bounds.FILE)
    except MalformedError as error:
        raise BrokenTreeError(f"the chat would be too much: {error}; begin another, or prune it") from None
    return data


def encoded_node(node: ChatMessageNode) -> bytes:
    """The bytes of one message."""
    return node.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _said(error: ValidationError) -> str:
    lines = [
        f"{'.'.join(str(part)[:64] for part in each['loc'][:6]) or 'it'}: {each['msg']}"
        for each in error.errors(include_input=False, include_url=False, include_context=False)[:5]
    ]
    return "; ".join(lines)
