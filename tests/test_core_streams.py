"""core:StreamLogger and core:StreamSuffixRelay: real guests between two channels, byte for byte."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_guests import home, opened
from innkeeper.bridge.channel import ITEMS, MOST_ITEM, SIZE, Channel
from innkeeper.errors import GuestError
from innkeeper.plugins.plugin import Plugin
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.usage import Result
from innkeeper.sandbox.wasm import parse

__all__ = ["home"]

PLUGIN = Path(__file__).parent.parent / "plugins" / "core-streams.wasm"
LOGGER, SUFFIX = "stream_logger", "stream_suffix_relay"


@dataclass
class Node:
    """A node of the plugin with a channel on each side, which the test holds."""

    plugin: Plugin
    context: RunContext
    before: Channel
    after: Channel
    got: list[bytes] = field(default_factory=list)

    async def call(self, function: str, limits: Limits | None = None, **inputs: Any) -> Result:
        data = msgpack.packb({"inputs": inputs, "config": {}, "run": {"id": "r", "node": "n"}})
        result = await self.plugin.call(function, data, run=self.context, limits=limits)
        self.after.end()
        assert msgpack.unpackb(result.output) == {"outputs": {}}
        return result

    async def feed(self, items: Sequence[bytes]) -> None:
        done = 0
        while done < len(items):
            done += self.before.put_all(items[done : done + ITEMS])
            if done < len(items):
                await self.before.changed()
        self.before.end()

    async def collect(self) -> None:
        while not (self.after.ended and self.after.empty):
            if self.after.empty:
                await self.after.changed()
            self.got += self.after.take(ITEMS, SIZE)

    async def passes(self, function: str, items: Sequence[bytes], **inputs: Any) -> list[bytes]:
        """What comes out where these go in."""
        self.got.clear()
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.feed, items)
                nursery.start_soon(self.collect)
                await self.call(function, **inputs)
        return list(self.got)


@asynccontextmanager
async def nodes(home: Path) -> AsyncIterator[Any]:
    (home / "plugins").mkdir(exist_ok=True)
    shutil.copy(PLUGIN, home / "plugins")
    async with opened(home) as (host, bridge):

        def made() -> Node:
            run = Run("r")
            before = bridge.streams.connect(run, reader=("n", "inputStream"))
            after = bridge.streams.connect(run, writer=("n", "outputStream"))
            return Node(host.plugins["core-streams"], RunContext(run, "n"), before, after)

        yield made


def test_the_tables_of_the_page_are_those_of_the_manifests() -> None:
    script = PLUGIN.parent.parent / "pdk-samples" / "node_table.py"
    spec = importlib.util.spec_from_file_location("node_table", script)
    assert spec is not None
    assert spec.loader is not None
    node_table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(node_table)
    page = (script.parent.parent / "docs" / "core-nodes.md").read_text("utf-8")
    assert page == node_table.written(page, "core-nodes.md"), "run python pdk-samples/node_table.py --write"
    assert "core:StreamSuffixRelay" in page


TEXTS = st.text(max_size=60)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXTS | st.binary(max_size=60)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=10
)
TEXT_CHUNKS = st.dictionaries(TEXTS, PLAIN, max_size=3).flatmap(
    lambda more: TEXTS.map(lambda text: {**more, "type": "text_chunk", "content": text})
)
ODD_CHUNKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_chunk", "custom", "usage_chunk"]) | PLAIN}, optional={"content": PLAIN}
)
CHUNKS = st.lists(PLAIN | TEXTS | TEXT_CHUNKS | ODD_CHUNKS, max_size=30)


def suffixed(chunk: Any, suffix: str) -> Any:
    if isinstance(chunk, str):
        return chunk + suffix
    if isinstance(chunk, dict) and chunk.get("type") == "text_chunk" and isinstance(chunk.get("content"), str):
        return {**chunk, "content": chunk["content"] + suffix}
    return chunk


def same(chunks: Sequence[bytes], expected: Sequence[Any]) -> None:
    # Compared as bytes of one writer: NaN is no NaN's equal.
    assert [msgpack.packb(msgpack.unpackb(chunk)) for chunk in chunks] == [msgpack.packb(each) for each in expected]


async def test_the_plugin_asks_for_the_stream_functions_it_uses_and_has_no_capability(home: Path) -> None:
    imports = {each.name for each in parse(PLUGIN.read_bytes()).imports if each.module == "extism:host/user"}
    assert imports == {"innkeeper_stream_read", "innkeeper_stream_write_all"}
    basics = parse((PLUGIN.parent / "core-basics.wasm").read_bytes()).imports
    assert not [each for each in basics if each.module == "extism:host/user"]


async def test_the_logger_passes_any_chunks_on_byte_for_byte(home: Path) -> None:
    async with nodes(home) as made:

        @settings(deadline=None, max_examples=40)
        @given(CHUNKS)
        def check(chunks: list[Any]) -> None:
            examples.append([msgpack.packb(each) for each in chunks])

        examples: list[list[bytes]] = []
        check()
        # A number that is longer than it need be, and lengths in forms that few writers use.
        examples.append([b"\xd3" + bytes(7) + b"\x01", b"\xdd\0\0\0\x01\xc0", b"\xdb\0\0\0\x01a", b"\xdf\0\0\0\0"])
        for items in examples:
            assert await made().passes(LOGGER, items) == items


async def test_the_relay_adds_its_suffix_to_text_alone(home: Path) -> None:
    async with nodes(home) as made:

        @settings(deadline=None, max_examples=60)
        @given(CHUNKS, TEXTS)
        def check(chunks: list[Any], suffix: str) -> None:
            examples.append((chunks, suffix))

        examples: list[tuple[list[Any], str]] = []
        check()
        for chunks, suffix in examples:
            out = await made().passes(SUFFIX, [msgpack.packb(each) for each in chunks], suffix=suffix)
            same(out, [suffixed(each, suffix) for each in chunks])


async def test_the_suffix_is_three_dashes_unless_somebody_says_otherwise_and_must_be_text(home: Path) -> None:
    async with nodes(home) as made:
        items = [msgpack.packb("a")]
        same(await made().passes(SUFFIX, items), ["a---"])
        same(await made().passes(SUFFIX, items, suffix=None), ["a---"])
        same(await made().passes(SUFFIX, items, suffix=""), ["a"])
        with pytest.raises(GuestError, match="input 'suffix' is a number, not text"):
            await made().call(SUFFIX, suffix=5)


async def test_the_log_has_each_chunk_shortened_and_in_one_line(home: Path) -> None:
    chunks = [
        'one\ntwo "\\\x01',
        {"type": "text_chunk", "content": "x" * 500},
        5,
        1.5,
        None,
        [True, {"a": b"123"}],
        "é" * 150,
    ]
    async with nodes(home) as made:
        node = made()
        node.before.put_all([msgpack.packb(each) for each in chunks])
        node.before.end()
        result = await node.call(LOGGER)
    lines = [text for level, text in result.usage.log if level == "info"]
    assert len(lines) == len(chunks)
    assert lines[0] == r'"one\ntwo \"\\\u0001"'
    assert lines[1].startswith('{"type": "text_chunk", "content": "xxx')
    assert lines[1].endswith("...")
    assert lines[2:6] == ["5", "1.5", "null", '[true, {"a": 3 bytes}]']
    assert all(len(line.encode()) <= 200 for line in lines)
    assert lines[6].rstrip(".") == '"' + "é" * 98


async def test_the_log_stays_within_its_bound_however_many_chunks_there_are(home: Path) -> None:
    items = [msgpack.packb(f"chunk {number} " + "x" * 100) for number in range(3000)]
    async with nodes(home) as made:
        node = made()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.feed, items)
                nursery.start_soon(node.collect)
                result = await node.call(LOGGER)
    assert node.got == items
    assert result.usage.log_dropped == 0
    assert result.usage.log[-1] == ("info", "the log has no room for further chunks")


@pytest.mark.parametrize("function", [LOGGER, SUFFIX])
async def test_a_relay_ends_well_where_nobody_reads_and_leaves_nobody_waiting(home: Path, function: str) -> None:
    async with nodes(home) as made:
        node = made()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.call, function)
                node.before.put_all([b"\xa1a"] * ITEMS)
                await trio.testing.wait_all_tasks_blocked(0.01)
                node.after.abandon()
                node.before.put_all([b"\xa1a"])


async def test_a_slow_reader_holds_a_relay_and_its_writer_back_and_loses_nothing(home: Path) -> None:
    async with nodes(home) as made:
        node = made()
        items = [msgpack.packb(f"{number}") for number in range(6 * ITEMS)]
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.call, LOGGER)
                nursery.start_soon(node.feed, items)
                await trio.testing.wait_all_tasks_blocked(0.05)
                # What was read of the stream is what lies before it, behind it and in the guest's one batch.
                assert node.before.room[0] == 0
                assert node.after.room[0] == 0
                nursery.start_soon(node.collect)
        assert node.got == items


async def test_chunks_of_every_size_pass(home: Path) -> None:
    sizes = [0, 31, 32, 255, 256, 65_535, 65_536, MOST_ITEM - 100]
    items = [msgpack.packb("x" * size) for size in sizes for _ in range(3)]
    items += [msgpack.packb([None] * 1900), msgpack.packb([[]] * 1500), msgpack.packb([[]] * 1500)]
    async with nodes(home) as made:
        assert await made().passes(LOGGER, items) == items
        texts = [msgpack.packb("x" * size) for size in sizes]
        same(await made().passes(SUFFIX, texts, suffix="é"), ["x" * size + "é" for size in sizes])


async def test_a_chunk_that_the_suffix_makes_too_large_fails_the_node_by_name(home: Path) -> None:
    async with nodes(home) as made:
        node = made()
        node.before.put(msgpack.packb("x" * (MOST_ITEM - 5)))
        node.before.end()
        with pytest.raises(GuestError, match=r"output 'outputStream'.*bytes"):
            await node.call(SUFFIX, suffix="x" * 4000)


async def test_a_node_without_streams_connected_says_which(home: Path) -> None:
    async with nodes(home) as made:
        node = made()
        with pytest.raises(GuestError, match=r"input 'inputStream': no stream is connected"):
            await node.plugin.call(LOGGER, msgpack.packb({"inputs": {}, "config": {}, "run": {}}))


async def test_a_hundred_thousand_chunks_pass_with_what_a_channel_holds_and_no_more(home: Path) -> None:
    count = 100_000
    most = 0
    passed = 0
    async with nodes(home) as made:
        node = made()

        async def collect() -> None:
            nonlocal most, passed
            while not (node.after.ended and node.after.empty):
                if node.after.empty:
                    await node.after.changed()
                taken = node.after.take(ITEMS, SIZE)
                most = max(most, len(taken))
                assert taken == [b"\xa5w%04d" % (number % 10_000) for number in range(passed, passed + len(taken))]
                passed += len(taken)

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.feed, [b"\xa5w%04d" % (number % 10_000) for number in range(count)])
                nursery.start_soon(collect)
                result = await node.call(LOGGER)
    assert passed == count
    assert most <= ITEMS
    # The guest frees what a batch took: both of its memories stay what they are after the first ones.
    assert result.usage.memory < 4 * SIZE
