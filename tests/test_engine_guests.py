"""Streams between guests: what flows through a run goes from Wasm to Wasm, by way of the service `stream`."""

from __future__ import annotations

from pathlib import Path

import msgpack

from bridge_guests import home, imports, opened, write
from graphs import Builder, Listener, nothing_left
from guests import assemble, text_block, wat
from innkeeper.workflow.engine.run import WorkflowRun

__all__ = ["home"]

MOST = 300


def _answers(outputs: object) -> str:
    packed = msgpack.packb({"outputs": outputs})
    return f"""{text_block("its answer", packed, "b")}
      (call $output_set (local.get $b) (i64.const {len(packed)}))"""


# The source writes a word so often, and the text of each answer that is read ends in "end" and true or false.
GUEST = wat(
    f"""
    (func (export "source") (local $b i64) (local $n i32)
      {text_block("a word", msgpack.packb({"slot": "words", "item": "word"}), "b")}
      (loop
        (drop (call $innkeeper_stream_write (local.get $b)))
        (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {MOST}))))
      {_answers({"count": MOST})})
    (func (export "fails") (local $b i64)
      {text_block("a word", msgpack.packb({"slot": "words", "item": "word"}), "b")}
      (loop
        (drop (call $innkeeper_stream_write (local.get $b)))
        (br_if 0 (i64.lt_u (local.tee $b (local.get $b)) (i64.const 0))))
      (unreachable))
    (func (export "sink") (local $b i64) (local $answer i64)
      {text_block("what it asks", msgpack.packb({"slot": "words"}), "b")}
      (loop
        (local.set $answer (call $innkeeper_stream_read (local.get $b)))
        ;; The last byte of the answer says whether it was the end.
        (br_if 0 (i32.ne (i32.const 0xc3) (call $load_u8
          (i64.sub (i64.add (local.get $answer) (call $length (local.get $answer))) (i64.const 1))))))
      {_answers({"read": "all"})})""",
    "output_set length alloc store_u8 load_u8",
    functions=imports("stream"),
)

_STREAM = '{dataFlowType = "STRING", isStream = true}'
MANIFEST = f"""
[[nodes]]
type = "Source"
function = "source"
outputs.words = {_STREAM}
outputs.count = {{dataFlowType = "INTEGER"}}
[[nodes]]
type = "Fails"
function = "fails"
outputs.words = {_STREAM}
[[nodes]]
type = "Sink"
function = "sink"
inputs.words = {_STREAM}
outputs.read = {{dataFlowType = "STRING"}}
"""


async def test_guests_write_and_read_each_at_its_own_pace_to_the_end(home: Path) -> None:
    write(home, "words", assemble(GUEST), manifest=MANIFEST)
    async with opened(home) as (host, bridge):
        build = Builder(host).add("s", "words:Source").add("a", "words:Sink").add("b", "words:Sink")
        build.edge("s.words -> a.words", "s.words -> b.words").output(count="s.count", a="a.read", b="b.read")
        heard = Listener()
        run = WorkflowRun(build.graph(), sink=heard, streams=bridge.streams)
        outcome = await run.execute()
    assert outcome.first_error is None
    assert outcome.outputs == {"count": MOST, "a": "all", "b": "all"}
    assert outcome.nodes["s"].chunks == {"words": MOST}
    yields = heard.wire("NODE_YIELD")
    assert len(yields) == MOST + 1
    assert yields[0]["yieldedContent"] == {"type": "text_chunk", "content": "word"}
    nothing_left(run)


async def test_a_guest_that_traps_ends_those_that_wait_for_its_stream(home: Path) -> None:
    write(home, "words", assemble(GUEST), manifest=MANIFEST)
    async with opened(home) as (host, bridge):
        build = Builder(host).add("s", "words:Fails").add("a", "words:Sink").edge("s.words -> a.words")
        run = WorkflowRun(build.graph(), streams=bridge.streams)
        outcome = await run.execute()
    assert {node: each.status for node, each in outcome.nodes.items()} == {"s": "error", "a": "skipped"}
    nothing_left(run)
