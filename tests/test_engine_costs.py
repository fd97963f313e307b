"""What keeps a node cheap changes nothing: calls and answers are what msgpack says, and a run leaves nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import Builder
from innkeeper.errors import GuestError
from innkeeper.plugins.nodes import Slot
from innkeeper.workflow.engine.call import read_answer, write_call
from innkeeper.workflow.engine.run import WorkflowRun
from node_fakes import FakeHost

keys = st.text(min_size=1, max_size=40)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)
ANY = Slot.model_validate({"dataFlowType": "WILDCARD"})


@given(st.dictionaries(keys, values, max_size=4), st.dictionaries(keys, values, max_size=2))
def test_the_outputs_of_an_answer_are_the_bytes_that_the_guest_wrote(
    outputs: dict[str, Any], more: dict[str, Any]
) -> None:
    answer = msgpack.packb({"outputs": outputs, **{f"more {key}": value for key, value in more.items()}})
    found = read_answer("msgpack", answer, dict.fromkeys(outputs, ANY))
    assert found == {key: msgpack.packb(value) for key, value in outputs.items()}


MAPS = (b"\x81", b"\xde\0\1", b"\xdf\0\0\0\1")
TEXTS = st.binary(max_size=40) | st.text(max_size=300).map(str.encode)


@given(
    st.sampled_from(MAPS),
    st.sampled_from(MAPS),
    st.binary(max_size=31) | st.text(max_size=10).map(str.encode),
    TEXTS.map(lambda text: msgpack.packb(text, use_bin_type=False)) | st.binary(max_size=5) | values.map(msgpack.packb),
    st.just(b"") | st.binary(max_size=3),
    st.integers(0, 400),
)
def test_an_answer_with_one_output_is_taken_where_msgpack_takes_it(
    outer: bytes, inner: bytes, key: bytes, value: bytes, more: bytes, most: int
) -> None:
    answer = (outer + b"\xa7outputs" + inner + bytes([0xA0 | len(key)]) + key + value + more)[: most or None]
    try:
        expected = _plain(msgpack.unpackb(answer, ext_hook=_refused))["outputs"]
    except (ValueError, TypeError, KeyError, msgpack.UnpackException):
        with pytest.raises(GuestError):
            read_answer("msgpack", answer, {"": ANY})
        return
    found = read_answer("msgpack", answer, dict.fromkeys(expected, ANY))
    assert {name: msgpack.unpackb(each) for name, each in found.items()} == expected


def _refused(code: int, data: bytes) -> Any:
    raise ValueError("nodes have no extension types")


def _plain(value: Any) -> Any:
    """The value, where all keys in it are text."""
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ValueError("a key is not text")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _plain(each)
    return value


@given(
    st.dictionaries(keys, values, max_size=20),
    st.dictionaries(keys, st.lists(values, max_size=20), max_size=3),
    st.dictionaries(keys, values, max_size=3),
    st.text(max_size=5),
    st.text(max_size=5),
)
def test_a_call_is_the_map_that_a_node_expects(
    single: dict[str, Any], several: dict[str, list[Any]], config: dict[str, Any], run: str, node: str
) -> None:
    inputs: dict[str, Any] = {key: msgpack.packb(value) for key, value in single.items()}
    inputs |= {key: [msgpack.packb(each) for each in value] for key, value in several.items()}
    expected = {"inputs": {**single, **several}, "config": config, "run": {"id": run, "node": node}}
    assert write_call("msgpack", inputs, config, run, node) == msgpack.packb(expected)


async def test_what_a_run_had_is_gone_with_it_without_a_search_for_garbage() -> None:
    host = FakeHost()

    async def gives(inputs: Any, config: Any, run: Any) -> Any:
        return {}

    host.add("Gives", gives)
    build = Builder(host)
    build.add("a", "Gives")
    gc.collect()
    gc.disable()
    try:
        run = WorkflowRun(build.graph())
        outcome = await run.execute()
        gone = weakref.ref(run)
        del run
        assert gone() is None
    finally:
        gc.enable()
    assert outcome.nodes["a"].status == "complete"


def test_only_who_asks_for_it_has_an_interpreter_that_is_set_for_a_host() -> None:
    look = "print(gc.get_freeze_count() > 0, gc.get_threshold()[0] > 700)"
    code = f"import gc, innkeeper.composition.interpreter as it; {look}; it.settle_interpreter(); {look}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["False False", "True True"]
