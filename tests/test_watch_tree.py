"""What is known of a run that is watched, and the lines in which it is shown."""

from __future__ import annotations

import io
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from innkeeper.cli import watch_live, watch_tree
from innkeeper.cli.kept_runs import duration_text, time_text
from innkeeper.cli.output import columns_of
from innkeeper.cli.watch_live import Live
from innkeeper.cli.watch_tree import Tree, branches, chunk_text
from innkeeper.cli.watch_view import Line, lines_of
from innkeeper.printable import UNSAFE
from innkeeper.workflow.engine.events import RunEvent

HOSTILE = "\x1b[2J\x07\u202egnp\r\n"


def told(*events: tuple[str, dict[str, Any]]) -> Tree:
    tree = Tree()
    for seq, (kind, fields) in enumerate(events, 1):
        chunk = fields.pop("chunk", None)
        tree.take(RunEvent(seq, kind, fields, {}, None if chunk is None else msgpack.packb(chunk)))
    return tree


def shown(tree: Tree, most: int = 50) -> list[str]:
    return [line.text for line in lines_of(tree, "run", None, most)]


def begins(*ids: str) -> list[tuple[str, dict[str, Any]]]:
    return [("NODE_EXECUTING", {"nodeId": id}) for id in ids]


def completes(*ids: str) -> list[tuple[str, dict[str, Any]]]:
    return [("NODE_COMPLETE", {"nodeId": id}) for id in ids]


def test_nodes_of_groups_and_turns_stand_below_them() -> None:
    tree = told(
        ("EXECUTION_STATUS_UPDATE", {"status": "running"}), *begins("a", "g/x", "each", "each[0]/y", "each[1]/y"),
        *completes("a", "each[0]/y"),
    )  # fmt: skip
    assert shown(tree) == [
        "▸ run: running (3 running, 2 complete)",
        "  ✓ a",
        "  g (1 running)",
        "    ▸ x",
        "  ▸ each (1 running, 1 complete)",
        "    [0] (1 complete)",
        "      ✓ y",
        "    [1] (1 running)",
        "      ▸ y",
    ]


def test_why_a_node_failed_or_was_skipped_is_said() -> None:
    tree = told(
        ("NODE_ERROR", {"nodeId": "a", "errorDetails": {"message": f"it broke{HOSTILE}"}}),
        ("NODE_SKIPPED", {"nodeId": "b", "reason": "failed", "cause": "a"}),
        ("NODE_SKIPPED", {"nodeId": "c", "reason": "untaken", "cause": "if"}),
        ("NODE_BYPASSED", {"nodeId": "d"}),
        ("NODE_ERROR", {"nodeId": "e", "errorDetails": "text", "handled": True}),
        ("NODE_EXECUTING", {"nodeId": "f"}),
        ("NODE_RETRY", {"nodeId": "f", "attempt": 1}),
        ("EXECUTION_STATUS_UPDATE", {"status": "error"}),
    )
    assert [(node.status, node.note) for node in tree.nodes.values()] == [
        ("error", f"it broke{HOSTILE}"),
        ("skipped", "since a failed"),
        ("skipped", "since if was not taken"),
        ("bypassed", ""),
        ("error", "text (handled)"),
        ("interrupted", "attempt 1 of it failed; again"),
    ]
    assert not [letter for line in shown(tree) for letter in line if ord(letter) in UNSAFE]


def test_a_node_takes_the_time_that_its_events_say_whenever_somebody_watches() -> None:
    tree = Tree()
    tree.take(RunEvent(1, "NODE_EXECUTING", {"nodeId": "a"}, at=10.0))
    assert lines_of(tree, "run", 12.5, 9)[1].text == "  ▸ a 2.5 s"
    tree.take(RunEvent(2, "NODE_COMPLETE", {"nodeId": "a"}, at=13.0))
    assert lines_of(tree, "run", 20.0, 9)[1].text == "  ✓ a 3.0 s"
    # A clock that was set back makes no negative times.
    tree.take(RunEvent(3, "NODE_EXECUTING", {"nodeId": "b"}, at=20.0))
    tree.take(RunEvent(4, "NODE_ERROR", {"nodeId": "b"}, at=19.0))
    assert tree.nodes["b"].took == 0.0
    # Events that were kept before they had times.
    tree.take(RunEvent(5, "NODE_EXECUTING", {"nodeId": "c"}))
    tree.take(RunEvent(6, "NODE_COMPLETE", {"nodeId": "c"}))
    assert lines_of(tree, "run", 20.0, 9)[3].text == "  ✓ c"


def test_progress_is_shown() -> None:
    tree = told(*begins("a"), ("NODE_PROGRESS", {"nodeId": "a", "value": 3, "max": 10}))
    assert shown(tree)[1] == "  ▸ a 3 of 10"


def test_streams_show_their_ends() -> None:
    text = {"type": "text_chunk", "content": "word "}
    tree = told(
        *(("NODE_YIELD", {"sourceNodeId": "a", "slot": "out", "chunk": text}) for _ in range(100)),
        ("NODE_YIELD", {"sourceNodeId": "a", "slot": "out", "isLastChunk": True, "chunk": {"type": "custom"}}),
        ("WORKFLOW_INTERFACE_YIELD", {"interfaceOutputKey": "answer", "chunk": {"type": "custom", "content": 5}}),
    )
    assert tree.streams["a.out"].chunks == 100
    assert len(tree.streams["a.out"].tail) == watch_tree.MOST_TAIL
    lines = shown(tree)
    assert lines[1].startswith("  a.out: 100 chunks (over) word word")
    assert lines[2] == "  output answer: 1 chunks (5)"


@pytest.mark.parametrize("chunk", [None, b"", b"\xc1", msgpack.packb({1: 2}), msgpack.packb(b"x" * 100_000)])
def test_chunks_of_any_kind_have_a_text(chunk: bytes | None) -> None:
    assert len(chunk_text(chunk)) < 100


def test_what_runs_and_what_failed_is_shown_where_not_all_fits() -> None:
    ids = [f"n{at}" for at in range(100)]
    tree = told(
        *begins(*ids), *completes(*ids[:90]), ("NODE_ERROR", {"nodeId": "n95", "errorDetails": {"message": "odd"}})
    )
    lines = shown(tree, 20)
    assert len(lines) <= 20
    assert {line.split()[1] for line in lines[1:-1]} == {f"n{at}" for at in range(90, 100)}
    assert lines[-1] == "  and 90 more lines"


def test_groups_that_are_done_are_one_line_where_not_all_fits() -> None:
    ids = [f"g{at}/n{n}" for at in range(5) for n in range(20)]
    tree = told(*begins(*ids), *completes(*ids[20:]))
    lines = shown(tree, 30)
    assert "  ✓ g1 (20 complete)" in lines
    assert "    ▸ n3" in lines


def test_a_loop_of_very_many_turns_takes_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_tree, "MOST_NODES", 100)
    tree = Tree()
    for turn in range(1000):
        for kind in ("NODE_EXECUTING", "NODE_COMPLETE"):
            tree.take(RunEvent(turn + 1, kind, {"nodeId": f"each[{turn}]/x"}))
    assert len(tree.nodes) <= 100
    assert tree.counts()["complete"] == 1000


def test_what_runs_again_after_a_crash_runs_again_in_the_tree() -> None:
    tree = told(*begins("a"), *completes("a"), *begins("a"))
    assert tree.nodes["a"].status == "running"


ANY = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=3), max_size=2)
KINDS = st.sampled_from(
    [
        "EXECUTION_STATUS_UPDATE", "NODE_EXECUTING", "NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_BYPASSED",
        "NODE_YIELD", "WORKFLOW_INTERFACE_YIELD", "NODE_RETRY", "NODE_PROGRESS", "ANOTHER",
    ]
)  # fmt: skip
IDS = st.sampled_from(["a", "a/b", "a[0]/b", "a[1]/b/c", "/", "//", "[0]", "x[y]/z", HOSTILE]) | ANY
FIELDS = st.dictionaries(
    st.sampled_from(["nodeId", "status", "errorDetails", "slot", "sourceNodeId", "cause", "isLastChunk", "value"]), IDS
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(KINDS, FIELDS, st.none() | st.binary(max_size=30)), max_size=30), st.integers(3, 40))
def test_whatever_a_run_says_the_lines_fit_and_are_safe(
    events: list[tuple[str, dict[str, Any], bytes | None]], most: int
) -> None:
    tree = Tree()
    for seq, (kind, fields, chunk) in enumerate(events, 1):
        tree.take(RunEvent(seq, kind, fields, {}, chunk, float(seq)))
    lines = lines_of(tree, HOSTILE, 99.0, most)
    assert 1 <= len(lines) <= most
    assert not [letter for line in lines for letter in line.text if ord(letter) in UNSAFE]
    assert sum(branches(tree).counts.values()) == len(tree.nodes)


async def test_a_terminal_gets_pictures_and_the_last_one_stays() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, height=12)
    tree = Tree()
    with Live("mine", console) as live:
        for seq, (kind, fields) in enumerate([*begins("a", "b" * 200), *completes("a")], 1):
            event = RunEvent(seq, kind, fields)
            tree.take(event)
            live.event(tree, event)
        live.tick()
    last = out.getvalue()
    assert "mine" in last
    assert "✓ a" in last
    assert all(columns_of(line) < 400 for line in last.splitlines())


def test_pictures_that_take_long_are_drawn_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    drawn: list[float] = []

    def slow(*_: Any) -> list[Line]:
        nonlocal now
        drawn.append(now)
        now += 1.0
        return []

    monkeypatch.setattr(watch_live.time, "monotonic", lambda: now)
    monkeypatch.setattr(watch_live, "lines_of", slow)
    with Live("mine", Console(file=io.StringIO(), force_terminal=True)) as live:
        tree = told(*begins("a"))
        for _ in range(100):
            live.event(tree, RunEvent(1, "NODE_EXECUTING", {"nodeId": "a"}))
            now += 0.1
        assert drawn == pytest.approx([0.0, 5.1, 10.2])
    assert len(drawn) == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-1, "0 ms"), (0.0123, "12 ms"), (3.44, "3.4 s"), (307, "5:07 min"), (7800, "2:10:00 h")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize("at", [None, 1e300, float("nan"), float("inf")])
def test_times_that_are_none_have_a_dash(at: float | None) -> None:
    assert time_text(at) == "-"


def test_ids_with_very_many_strokes_are_shown() -> None:
    """Sixteen groups within each other, each with an id of all strokes."""
    tree = told(*begins("/".join(["/".join("a" * 128)] * 16)))
    assert len(shown(tree)) < 60
