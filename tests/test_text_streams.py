"""text-streams:FromText and text-streams:ToText: real guests with a channel on one side."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_guests import home, opened
from innkeeper.bridge.channel import ITEMS, SIZE, Channel
from innkeeper.errors import GuestError
from innkeeper.plugins.plugin import Plugin
from innkeeper.plugins.runs import Run, RunContext

__all__ = ["home"]

PLUGIN = Path(__file__).parent.parent / "plugins" / "text-streams.wasm"


class Nodes:
    """The plugin's two nodes, one call at a time."""

    def __init__(self, plugin: Plugin, streams: Any) -> None:
        self.plugin = plugin
        self.streams = streams

    async def from_text(self, **inputs: Any) -> list[bytes]:
        """The chunks of a text."""
        run = Run("r")
        channel: Channel = self.streams.connect(run, writer=("n", "stream"))
        got: list[bytes] = []

        async def collect() -> None:
            while not (channel.ended and channel.empty):
                if channel.empty:
                    await channel.changed()
                got.extend(channel.take(ITEMS, SIZE))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collect)
                assert await self.call("from_text", run, inputs) == {}
                channel.end()
        return got

    async def to_text(self, chunks: list[Any]) -> Any:
        """The outputs for a stream of these."""
        run = Run("r")
        channel: Channel = self.streams.connect(run, reader=("n", "stream"))
        items = [msgpack.packb(each) for each in chunks]

        async def feed() -> None:
            done = 0
            while done < len(items):
                done += channel.put_all(items[done : done + ITEMS])
                if done < len(items):
                    await channel.changed()
            channel.end()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(feed)
                return await self.call("to_text", run, {})

    async def call(self, function: str, run: Run, inputs: dict[str, Any]) -> Any:
        data = msgpack.packb({"inputs": inputs, "config": {}, "run": {"id": "r", "node": "n"}})
        result = await self.plugin.call(function, data, run=RunContext(run, "n"))
        return msgpack.unpackb(result.output)["outputs"]


@asynccontextmanager
async def nodes(home: Path) -> AsyncIterator[Nodes]:
    (home / "plugins").mkdir(exist_ok=True)
    shutil.copy(PLUGIN, home / "plugins")
    async with opened(home) as (host, bridge):
        yield Nodes(host.plugins["text-streams"], bridge.streams)


def text(chunks: list[bytes]) -> str:
    return "".join(map(msgpack.unpackb, chunks))


async def test_a_text_comes_in_words_or_lines_with_the_blanks_behind_them(home: Path) -> None:
    async with nodes(home) as made:
        shown = " Who is\nat  the\ndoor? "
        words = [msgpack.unpackb(each) for each in await made.from_text(text=shown)]
        assert words == [" Who ", "is\n", "at  ", "the\n", "door? "]
        lines = [msgpack.unpackb(each) for each in await made.from_text(text=shown, pieces="lines")]
        assert lines == [" Who is\n", "at  the\n", "door? "]
        assert await made.from_text(text="") == []


async def test_the_pieces_of_any_text_are_the_text_and_come_together_again(home: Path) -> None:
    examples: list[tuple[str, str]] = []

    @settings(deadline=None, max_examples=60)
    @given(
        st.text(alphabet=st.sampled_from("aé界🏠 \n\t") | st.characters(codec="utf-8")),
        st.sampled_from(["words", "lines"]),
    )
    def check(text: str, pieces: str) -> None:
        examples.append((text, pieces))

    check()
    examples += [
        ("é" * 200_000, "words"),
        ("x" + "🏠" * 50_000, "lines"),
        ("a " * 30_000, "words"),
        (" " * 100_000, "words"),
    ]
    async with nodes(home) as made:
        for whole, pieces in examples:
            chunks = await made.from_text(text=whole, pieces=pieces)
            assert text(chunks) == whole
            assert all(chunks)
            again = await made.to_text([msgpack.unpackb(each) for each in chunks])
            assert again == {"text": whole, "chunks": len(chunks)}


async def test_what_is_no_text_counts_and_adds_nothing(home: Path) -> None:
    chunks: list[Any] = [
        "a", {"type": "text_chunk", "content": "b"}, {"type": "custom", "content": "no"}, {"type": "text_chunk"},
        {"content": "no"}, {"type": "text_chunk", "content": 5}, None, 7, ["no"], b"no", {}, "c",
    ]  # fmt: skip
    async with nodes(home) as made:
        assert await made.to_text(chunks) == {"text": "abc", "chunks": len(chunks)}
        assert await made.to_text([]) == {"text": "", "chunks": 0}


async def test_inputs_that_are_wrong_are_named(home: Path) -> None:
    async with nodes(home) as made:
        with pytest.raises(GuestError, match="input 'text' is a number, not text"):
            await made.call("from_text", Run("r"), {"text": 5})
        for pieces in ("word", 5, ["lines"]):
            with pytest.raises(GuestError, match="input 'pieces' is neither"):
                await made.call("from_text", Run("r"), {"text": "a", "pieces": pieces})


async def test_a_reader_that_leaves_ends_the_writer_well(home: Path) -> None:
    async with nodes(home) as made:
        run = Run("r")
        channel = made.streams.connect(run, writer=("n", "stream"))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(made.call, "from_text", run, {"text": "a " * 100_000})
                while channel.empty:
                    await channel.changed()
                channel.abandon()
