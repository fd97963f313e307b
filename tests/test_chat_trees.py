"""Whatever is done to a tree, it is one afterwards; and its file is the tree, with all that was in it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from chat_trees import PLAIN, raw, shape, tree, trees
from innkeeper.server.answers import AnswerError
from innkeeper.server.chats import bounds, edits, encoding
from innkeeper.server.chats.encoding import decoded, encoded, tree_of
from innkeeper.server.chats.exports import in_order
from innkeeper.server.chats.invariants import BrokenTreeError, check
from innkeeper.server.chats.model import ChatHistoryTree, ChatMessageNode, TreeMetadata

TALK = {"a": None, "b": "a", "c": "a", "d": "c", "e": None}


def order(found: ChatHistoryTree) -> list[str]:
    return [node.id for _, node in in_order(found)]


def node(name: str, parent: str | None) -> ChatMessageNode:
    return ChatMessageNode.model_validate({"id": name, "parentId": parent, "role": "user", "content": ""})


# Each edit


def test_a_message_is_the_last_answer_to_its_parent_and_the_chat_goes_on_there() -> None:
    found = edits.add(tree(TALK, "d"), node("f", "a"))
    assert shape(found)["a"] == ["b", "c", "f"]
    assert found.active_leaf_id == "f"


def test_pruning_takes_everything_below_with_it_and_goes_on_beside_it() -> None:
    found = edits.prune(tree(TALK, "d"), ["c"])
    assert shape(found) == {None: ["a", "e"], "a": ["b"], "b": [], "e": []}
    assert found.active_leaf_id == "b"


def test_deleting_keeps_what_is_below_in_the_same_place() -> None:
    found = edits.delete(tree({**TALK, "f": "a"}, "c"), ["c", "a"])
    assert shape(found) == {None: ["b", "d", "f", "e"], "b": [], "d": [], "f": [], "e": []}
    assert found.nodes["d"].parent_id is None
    assert found.active_leaf_id == "f"


def test_grafting_moves_a_branch_to_the_end_of_another() -> None:
    found = edits.graft(tree(TALK, "d"), "c", "e")
    assert shape(found) == {None: ["a", "e"], "a": ["b"], "b": [], "c": ["d"], "d": [], "e": ["c"]}
    assert found.active_leaf_id == "d"
    assert shape(edits.graft(tree(TALK), "d", None))[None] == ["a", "e", "d"]


@pytest.mark.parametrize("target", ["a", "b", "d"])
def test_a_branch_is_not_grafted_below_itself(target: str) -> None:
    with pytest.raises(AnswerError, match="below itself") as refused:
        edits.graft(tree({"a": None, "b": "a", "d": "b"}), "a", target)
    assert refused.value.status == 409


def test_messages_are_switched_on_and_off_one_by_one() -> None:
    found = edits.enable(tree(TALK), ["a", "d"], False)
    assert [name for name, each in found.nodes.items() if not each.is_enabled] == ["a", "d"]
    assert all(each.is_enabled for each in edits.enable(found, ["a", "d"], True).nodes.values())


def test_what_is_not_there_is_said_and_nothing_is_done() -> None:
    before = tree(TALK, "d")
    kept = encoded(before)
    for wrong in (
        lambda: edits.prune(before, ["a", "x"]),
        lambda: edits.delete(before, ["a", "x"]),
        lambda: edits.graft(before, "x", "a"),
        lambda: edits.graft(before, "a", "x"),
        lambda: edits.enable(before, ["a", "x"], False),
        lambda: edits.change(before, "x", {"content": "!"}),
        lambda: edits.activate(before, "x"),
        lambda: edits.add(before, node("y", "x")),
    ):
        with pytest.raises(AnswerError) as refused:
            wrong()
        assert refused.value.status == 404
    assert encoded(before) == kept


def test_a_full_chat_takes_no_message_and_the_same_id_is_not_taken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnswerError, match="already"):
        edits.add(tree(TALK), node("a", None))
    monkeypatch.setattr(bounds, "MOST_NODES", len(TALK))
    with pytest.raises(AnswerError) as refused:
        edits.add(tree(TALK), node("f", None))
    assert refused.value.status == 413


# Any edits


@given(trees(), st.data())
def test_pruning_leaves_what_is_not_below(before: ChatHistoryTree, data: st.DataObject) -> None:
    assume(before.nodes)
    ids = data.draw(st.lists(st.sampled_from(sorted(before.nodes)), min_size=1))
    left = edits.prune(before, ids)
    check(left)
    above = {name: {each.id for each in edits.path_to(before, name)} for name in before.nodes}
    assert order(left) == [name for name in order(before) if not above[name] & set(ids)]


@given(trees(), st.data())
def test_deleting_keeps_the_order_and_who_stands_above_whom(before: ChatHistoryTree, data: st.DataObject) -> None:
    assume(before.nodes)
    ids = set(data.draw(st.lists(st.sampled_from(sorted(before.nodes)), min_size=1)))
    left = edits.delete(before, sorted(ids))
    check(left)
    assert order(left) == [name for name in order(before) if name not in ids]
    for name in left.nodes:
        assert [each.id for each in edits.path_to(left, name)] == [
            each.id for each in edits.path_to(before, name) if each.id not in ids
        ]


@given(trees(), st.data())
def test_grafting_moves_or_refuses_and_loses_nobody(before: ChatHistoryTree, data: st.DataObject) -> None:
    assume(before.nodes)
    names = sorted(before.nodes)
    source, target = data.draw(st.sampled_from(names)), data.draw(st.none() | st.sampled_from(names))
    below = target is not None and source in {each.id for each in edits.path_to(before, target)}
    if below:
        with pytest.raises(AnswerError):
            edits.graft(before, source, target)
        return
    after = edits.graft(before, source, target)
    check(after)
    assert sorted(after.nodes) == names
    assert shape(after)[target][-1] == source
    assert after.nodes[source].children == before.nodes[source].children


_STEP = st.sampled_from(["add", "prune", "delete", "graft", "off", "leaf"])
_EDITS = st.lists(st.tuples(_STEP, st.integers(0, 30), st.integers(0, 30)), max_size=30)


@given(trees(), _EDITS)
def test_after_any_edits_every_invariant_holds_and_the_file_is_the_tree(
    found: ChatHistoryTree, steps: list[tuple[str, int, int]]
) -> None:
    for count, (step, one, other) in enumerate(steps):
        names = [*found.nodes]
        first = names[one % len(names)] if names else None
        second = names[other % len(names)] if names else None
        before = encoded(found)
        kept = found
        if step == "add":
            found = edits.add(found, node(f"m{count}", first if other % 3 else None))
        elif first is None:
            continue
        elif step == "prune":
            found = edits.prune(found, [first])
        elif step == "delete":
            found = edits.delete(found, [first, second or first])
        elif step == "off":
            found = edits.enable(found, [first], False)
        elif step == "leaf":
            found = edits.activate(found, first)
        else:
            # One that would make a circle is refused; the tree stays.
            with suppress(AnswerError):
                found = edits.graft(found, first, second)
        found = edits.stamped(found, found.version + 1, "2026-01-01T00:00:00Z")
        check(found)
        assert encoded(kept) == before
        # What is remembered of a message's text is never that of an older one.
        assert json.loads(encoded(found)) == found.model_dump(by_alias=True, exclude_unset=True)
        assert encoded(decoded(encoded(found))) == encoded(found)


def test_a_tree_as_deep_as_it_may_be_is_edited_without_recursion() -> None:
    names = [f"n{at}" for at in range(bounds.MOST_NODES)]
    nodes = {
        name: {"id": name, "parentId": above, "role": "user", "content": "", "children": [below] if below else []}
        for name, above, below in zip(names, [None, *names], [*names[1:], None], strict=False)
    }
    deep = tree_of({"sessionId": "s", "version": 1, "nodes": nodes, "rootNodeIds": ["n0"], "activeLeafId": names[-1]})
    deep = decoded(encoded(deep))
    assert len(edits.prune(deep, ["n5000"]).nodes) == 5000
    assert edits.delete(deep, names[1:]).root_node_ids == ["n0"]
    assert edits.delete(deep, names[:-1]).root_node_ids == [names[-1]]
    with pytest.raises(AnswerError, match="below itself"):
        edits.graft(deep, "n0", names[-1])
    check(edits.graft(deep, "n9000", "n1"))


# The file

KNOWN = {
    to_camel(name) for part in (ChatHistoryTree, ChatMessageNode, TreeMetadata) for name in part.model_fields
}  # fmt: skip


@given(
    trees(most=4),
    st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=6), PLAIN, max_size=3),
    st.sampled_from(["parent_id", "is_enabled", "model_fields", "__dict__", "_written", "written", "swipes"]),
    PLAIN,
)
def test_fields_that_are_not_known_here_survive_reading_writing_and_editing(
    found: ChatHistoryTree, unknown: dict[str, Any], named: str, value: Any
) -> None:
    written = json.loads(encoded(found))
    extra = {key: each for key, each in {**unknown, named: value}.items() if key not in KNOWN}
    written.update(extra)
    written["metadata"].update(extra)
    for each in written["nodes"].values():
        each.update(extra)
    read = decoded(json.dumps(written).encode())
    assert json.loads(encoded(read)) == written
    for name in found.nodes:
        read = edits.enable(read, [name], False)
    again = json.loads(encoded(read))
    assert [{key: each[key] for key in extra} for each in again["nodes"].values()] == [extra] * len(found.nodes)


ONE = raw({"a": None})["nodes"]["a"]
BROKEN: list[tuple[str, Any]] = [
    ("no object", []),
    ("no nodes", {"sessionId": "s"}),
    ("a node of another name", raw({"a": None}) | {"nodes": {"b": ONE}}),
    ("a child that is not there", raw({"a": None}) | {"nodes": {"a": {**ONE, "children": ["x"]}}}),
    ("a parent that is not there", raw({"a": "x"})),
    ("a root too many", raw({"a": None, "b": "a"}) | {"rootNodeIds": ["a", "b"]}),
    ("a root too few", raw({"a": None}) | {"rootNodeIds": []}),
    ("a root twice", raw({"a": None}) | {"rootNodeIds": ["a", "a"]}),
    ("an unknown root", raw({"a": None}) | {"rootNodeIds": ["a", "x"]}),
    ("a circle", raw({"a": "b", "b": "a"})),
    ("a circle of one", raw({"a": "a"})),
    ("an active leaf that is not there", raw({"a": None}, "x")),
    ("a version that is no number", raw({"a": None}) | {"version": "1"}),
    ("a version below zero", raw({"a": None}) | {"version": -1}),
    ("a role that is none", raw({"a": None}) | {"nodes": {"a": {**ONE, "role": "root"}}}),
    ("an id with a control character", raw({"a\n": None})),
]  # fmt: skip


@pytest.mark.parametrize(("what", "value"), BROKEN, ids=[what for what, _ in BROKEN])
def test_what_is_no_tree_is_refused_with_a_sentence(what: str, value: Any) -> None:
    with pytest.raises(BrokenTreeError):
        decoded(json.dumps(value).encode())


def test_a_child_that_its_parent_names_twice_or_not_at_all_is_refused() -> None:
    value = raw({"a": None, "b": "a"})
    for children in ([], ["b", "b"]):
        value["nodes"]["a"]["children"] = children
        with pytest.raises(BrokenTreeError):
            tree_of(value)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,nodes0', max_size=60).map(str.encode))
def test_any_bytes_are_a_tree_or_refused(data: bytes) -> None:
    try:
        decoded(data)
    except BrokenTreeError:
        return


def test_a_tree_with_as_many_values_as_are_written_is_read_again() -> None:
    left = bounds.FILE.elements - encoding._SHELL - 30
    many = edits.change(tree({"a": None}), "a", {"metadata": {"x": [0] * left}})
    assert encoded(decoded(encoded(many))) == encoded(many)
    with pytest.raises(BrokenTreeError, match="values"):
        encoded(edits.change(many, "a", {"metadata": {"x": [0] * (left + 30)}}))


def test_a_tree_is_not_written_that_could_not_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    large = tree({"a": None})
    heavy = edits.change(large, "a", {"metadata": {"x": [0] * bounds.FILE.elements}})
    with pytest.raises(BrokenTreeError, match="too much"):
        encoded(heavy)
    with pytest.raises(BrokenTreeError, match=r"more than .* bytes"):
        encoded(edits.change(large, "a", {"metadata": {"x": "y" * bounds.FILE.size}}))
    deep: Any = 0
    for _ in range(bounds.FILE.depth):
        deep = [deep]
    with pytest.raises(BrokenTreeError, match="too much"):
        encoded(edits.change(large, "a", {"metadata": {"x": deep}}))
