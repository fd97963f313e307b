"""Trees of chats: bytes, changed examples, random trees with circles and strangers in them, and edits of what was read.

Whatever it is: a tree in which every invariant holds, before and after each edit, or BrokenTreeError with a sentence
that can be printed. What is read is written and read again without a loss.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Sequence
from typing import Any

from fuzz.mutation import assert_printable, mutated, outline, plain, reshaped
from fuzz.target import MIB, Target

from innkeeper.bridge.codec import parse_json
from innkeeper.server.answers import AnswerError
from innkeeper.server.chats import edits
from innkeeper.server.chats.encoding import decoded, encoded
from innkeeper.server.chats.exports import exported
from innkeeper.server.chats.folder import Stamp
from innkeeper.server.chats.invariants import BrokenTreeError, check
from innkeeper.server.chats.model import ChatHistoryTree, ChatMessageNode
from innkeeper.server.chats.places import Kept

_KEYS = ("sessionId", "version", "nodes", "rootNodeIds", "activeLeafId", "metadata", "assets", "id", "parentId",
         "role", "content", "status", "isEnabled", "createdAt", "children", "attachments", "parent_id",
         "model_fields")  # fmt: skip
_WORDS = (
    *(f'"{key}"'.encode() for key in _KEYS),
    b'"user"',
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"-1",
    b'"n0"',
    b'"n1"',
    b"\xff",
    b"\\ud800",
)
_STEPS = 6


class Fuzz(Target):
    """An input is the bytes of a file."""

    guided = True
    address_space = 1536 * MIB
    hang = 20.0

    def seeds(self) -> Sequence[bytes]:
        rng = random.Random(1)
        return tuple(json.dumps(_tree(rng, count, 0)).encode() for count in (0, 1, 3, 8))

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(6):
            case 0:
                return mutated(rng, rng.choice(pool), pool, _WORDS)
            case 1:
                value: Any = _tree(rng, rng.randrange(6), 0)
                for _ in range(rng.choice((1, 2, 3))):
                    value = reshaped(rng, value)
                return json.dumps(value).encode("utf-8", "replace")
            case 2:
                return json.dumps(_tree(rng, rng.randrange(1, 8), rng.randrange(1, 3))).encode()
            case _:
                value = _tree(rng, rng.randrange(12), 0)
                value[rng.choice(("theirs", "parent_id", "assets"))] = plain(rng, 3)
                return json.dumps(value).encode("utf-8", "replace")

    async def check(self, data: bytes) -> str:
        before = time.thread_time()
        try:
            tree = decoded(data)
        except BrokenTreeError as error:
            assert_printable(error.message, 4_000)
            return f"refused {outline(error.message)}"
        check(tree)
        assert parse_json(encoded(tree)) == parse_json(data.removeprefix(b"\xef\xbb\xbf"))
        rng = random.Random(hashlib.sha256(data).digest())
        done = []
        for count in range(_STEPS):
            step, after = _edited(rng, tree, f"new-{count}")
            if after is not None:
                check(after)
                assert encoded(decoded(encoded(after))) == encoded(after)
                tree = after
            done.append(f"{step}{after is not None:d}")
        kept = Kept(tree, encoded(tree), Stamp(1, 2, 3))
        for form in ("json", "csv", "text", "markdown"):
            exported(kept, form)  # type: ignore[arg-type]
        assert time.thread_time() - before < 8
        return f"{min(len(tree.nodes), 6)} {' '.join(sorted(set(done)))}"


def _edited(rng: random.Random, tree: ChatHistoryTree, fresh: str) -> tuple[str, ChatHistoryTree | None]:
    names = [*tree.nodes, "stranger"]
    some = [rng.choice(names) for _ in range(rng.randint(1, 3))]
    step = rng.choice(("add", "prune", "delete", "graft", "enable", "activate"))
    try:
        match step:
            case "add":
                above = rng.choice((None, *names))
                node = {"id": fresh, "parentId": above, "role": "user", "content": fresh}
                return step, edits.add(tree, ChatMessageNode.model_validate(node))
            case "prune":
                return step, edits.prune(tree, some)
            case "delete":
                return step, edits.delete(tree, some)
            case "graft":
                return step, edits.graft(tree, some[0], rng.choice((None, *names)))
            case "enable":
                return step, edits.enable(tree, some, False)
            case _:
                return step, edits.activate(tree, some[0])
    except AnswerError as refused:
        assert refused.status in (404, 409)
        return step, None


def _tree(rng: random.Random, count: int, wrong: int) -> dict[str, Any]:
    """A tree of so many messages, in which so many things are wrong."""
    parents = [rng.choice((None, *range(at))) if at else None for at in range(count)]
    nodes: dict[str, Any] = {
        f"n{at}": {
            "id": f"n{at}",
            "parentId": None if above is None else f"n{above}",
            "role": rng.choice(("user", "assistant", "system")),
            "content": rng.choice(("", "hello", "=1+1", "\u2603 \ud83d\ude00")),
            "children": [f"n{below}" for below in range(count) if parents[below] == at],
        }
        for at, above in enumerate(parents)
    }
    roots = [f"n{at}" for at, above in enumerate(parents) if above is None]
    active = rng.choice((None, *nodes))
    tree = {
        "sessionId": "s",
        "version": 1,
        "nodes": nodes,
        "rootNodeIds": roots,
        "activeLeafId": active,
        "metadata": {},
    }
    for _ in range(wrong if nodes else 0):
        node, other = rng.choice([*nodes.values()]), rng.choice((*nodes, "stranger"))
        match rng.randrange(5):
            case 0:
                node["parentId"] = other
            case 1:
                node["children"].append(other)
            case 2:
                roots.append(other)
            case 3:
                tree["activeLeafId"] = other
            case _:
                node["id"] = other
    return tree
