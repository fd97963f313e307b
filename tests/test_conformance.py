"""Well-behaved guests do the same on both engines; what is not alike is on purpose, and docs/oracle.md says so."""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conformance import Engines, Outcome, both, outcome, outcomes
from conformance_differences import DIFFERENCES, Difference
from conformance_guests import GUESTS, Guest
from conformance_instructions import INSTRUCTIONS
from guests import assemble
from innkeeper.sandbox.interface import CallOptions, Program
from innkeeper.sandbox.limits import Limits

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = CallOptions(Limits(cpu=20.0, wall=60.0), plugin="guest")

Run = Callable[[Callable[[Engines], Awaitable[Any]]], Any]
"""Runs something with both engines, which stay open for all tests."""


@pytest.fixture(scope="module")
def engines() -> Iterator[Run]:
    opened: Future[tuple[Engines, trio.lowlevel.TrioToken]] = Future()
    ended = trio.Event()

    async def serve() -> None:
        try:
            async with both() as found:
                opened.set_result((found, trio.lowlevel.current_trio_token()))
                await ended.wait()
        except BaseException as error:
            if not opened.done():
                opened.set_exception(error)
            raise

    with ThreadPoolExecutor(1) as executor:
        served = executor.submit(trio.run, serve)
        found, token = opened.result()
        yield lambda work: trio.from_thread.run(work, found, trio_token=token)
        token.run_sync_soon(ended.set)
        served.result()


async def compared(engines: Engines, guest: Guest) -> tuple[list[Outcome], list[Outcome]]:
    return await outcomes(engines.fibers, guest), await outcomes(engines.extism, guest)


@pytest.mark.parametrize("guest", GUESTS, ids=str)
def test_a_well_behaved_guest_does_the_same_on_both_engines(engines: Run, guest: Guest) -> None:
    async def work(both: Engines) -> tuple[list[Outcome], list[Outcome]]:
        return await compared(both, guest)

    ours, theirs = engines(work)
    assert ours == theirs


def test_names_of_guests_are_their_own() -> None:
    names = [guest.name for guest in GUESTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: str(difference.guest))
def test_a_difference_is_what_the_table_says(engines: Run, difference: Difference) -> None:
    async def work(both: Engines) -> tuple[list[Outcome], list[Outcome]]:
        return await compared(both, difference.guest)

    ours, theirs = engines(work)
    assert ours != theirs
    assert difference.ours_shows(ours), ours
    assert difference.theirs_shows(theirs), theirs


def test_the_page_has_the_table_of_differences() -> None:
    lines = (ROOT / "docs/oracle.md").read_text(encoding="utf-8").split("\n")
    head = lines.index("| | Innkeeper | `--engine extism` |")
    rows = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line)
    assert rows == [difference.row for difference in DIFFERENCES], "\n".join(each.row for each in DIFFERENCES)


# --- any input ------------------------------------------------------------------------------------------------------

Compare = Callable[[str, bytes], None]
"""Calls a function on both engines with an input; both must end alike."""

_NAN, _THEIR_NAN = (b"\xcb" + sign + b"\xf8" + bytes(6) for sign in (b"\x7f", b"\xff"))
"""What is not a number, in msgpack: always the same here, with the processor's sign there."""


def comparing(engines: Run, wasm: bytes) -> Compare:
    programs: tuple[Program, Program] = engines(lambda both: _load(both, wasm))

    def compare(function: str, data: bytes) -> None:
        async def work(_: Engines) -> list[Outcome]:
            return [await outcome(program, function, data, OPTIONS) for program in programs]

        ours, theirs = engines(work)
        if theirs.output is not None:
            theirs = replace(theirs, output=theirs.output.replace(_THEIR_NAN, _NAN))
        assert ours == theirs

    return compare


async def _load(engines: Engines, wasm: bytes) -> tuple[Program, Program]:
    return (
        await engines.fibers.load(wasm, plugin="guest"),
        await engines.extism.load(wasm, plugin="guest"),
    )


@pytest.fixture(scope="module")
def instructions(engines: Run) -> Compare:
    return comparing(engines, assemble(INSTRUCTIONS))


@pytest.fixture(scope="module")
def basics(engines: Run) -> Compare:
    return comparing(engines, (ROOT / "plugins/core-basics.wasm").read_bytes())


@pytest.fixture(scope="module")
def messages(engines: Run) -> Compare:
    return comparing(engines, (ROOT / "plugins/core-messages.wasm").read_bytes())


WORDS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 100),
    st.floats(width=32).map(lambda value: int.from_bytes(struct.pack("<f", value), "little")),
    st.floats().map(lambda value: int.from_bytes(struct.pack("<d", value), "little")),
    st.sampled_from([0x80000000, 0x8000000000000000, 0xFFFFFFFF, 0x7F800000, 0x7FF0000000000000, 2**64 - 1]),
)


@settings(deadline=None, max_examples=150)
@given(WORDS, WORDS)
@example(0, 0)
@example(0x7FC00001, 0x7FF8000000000001)
def test_instructions_give_the_same_numbers(instructions: Compare, a: int, b: int) -> None:
    instructions("run", a.to_bytes(8, "little") + b.to_bytes(8, "little"))


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
LEAVES = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=12
)
MATRIX = st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=2, max_size=2)

NUMBER = st.floats(allow_nan=False) | st.integers(-100, 100) | VALUES
MODES = ["add", "subtract", "multiply", "divide", "power", "sqrt", "asin", "cos", "logarithm", "modulo", "round", "no"]
TEXTS = st.fixed_dictionaries({"text_inputs": st.lists(TEXT, max_size=6)}, optional={"separator": TEXT | VALUES})
NUMBERS = st.dictionaries(st.sampled_from(["a", "b", "value", "base", "exponent", "clamp"]), NUMBER, max_size=4)
MATRICES = st.dictionaries(st.sampled_from(["matrix", "a", "b"]), MATRIX | VALUES, min_size=1, max_size=3)

BASICS = st.one_of(
    st.tuples(st.just("text_merge"), TEXTS, st.none()),
    st.tuples(st.just("math_operation"), NUMBERS, st.sampled_from(MODES)),
    st.tuples(st.just("matrix_operation"), MATRICES, st.sampled_from(["multiply", "det", "transpose", "invert", "no"])),
)

RULE = st.fixed_dictionaries(
    {"pattern": st.sampled_from(["a", "(.)b", "[^x]+", "(", "\\s*"]) | TEXT, "replacement": TEXT},
    optional={"flags": st.sampled_from(["g", "gi", "u", "zz"]), "enabled": st.booleans(), "name": TEXT},
)
RULES = st.lists(RULE, max_size=3) | VALUES
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]) | TEXT, "content": TEXT}) | VALUES

MESSAGES = st.one_of(
    st.tuples(
        st.just("create_message"), st.fixed_dictionaries({}, optional={"role": TEXT | VALUES, "content": TEXT | VALUES})
    ),
    st.tuples(st.just("merge_messages"), st.fixed_dictionaries({"message_inputs": st.lists(MESSAGE, max_size=4)})),
    st.tuples(
        st.just("apply_regex"),
        st.fixed_dictionaries({"inputText": TEXT | VALUES}, optional={"regexRules": RULES, "inlineRegexRules": RULES}),
    ),
)


@settings(deadline=None, max_examples=80)
@given(BASICS)
@example(("math_operation", {"value": 2.0}, "asin"))
def test_nodes_of_core_basics_give_the_same(basics: Compare, call: tuple[str, dict[str, Any], str | None]) -> None:
    function, values, mode = call
    config = {} if mode is None else {"operationMode": mode}
    basics(function, msgpack.packb({"inputs": values, "config": config, "run": {"id": "r", "node": "n"}}))


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["text_merge", "math_operation", "matrix_operation"]), st.binary(max_size=60))
def test_nodes_of_core_basics_refuse_the_same_bytes(basics: Compare, function: str, data: bytes) -> None:
    basics(function, data)


@settings(deadline=None, max_examples=40)
@given(MESSAGES)
def test_nodes_of_core_messages_give_the_same(messages: Compare, call: tuple[str, dict[str, Any]]) -> None:
    function, values = call
    messages(function, json.dumps({"inputs": values, "config": {}, "run": {"id": "r", "node": "n"}}).encode())
