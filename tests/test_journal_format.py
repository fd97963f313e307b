"""A journal as bytes: nothing is lost on the way, and whatever somebody sends is checked before it is believed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.bridge.journal.format import read_journal, write_journal
from innkeeper.bridge.journal.model import (
    EXCEPTION,
    OUTPUT,
    AskedFunction,
    Ending,
    Given,
    HostCall,
    Journal,
    Printed,
    Raised,
    Wrote,
)
from innkeeper.bridge.journal.pieces import pieces
from innkeeper.bridge.scan import CHUNK
from innkeeper.errors import UsageError
from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.present import Logged
from innkeeper.sandbox.wasi import WASI_MODULE

KV = AskedFunction("extism:host/user", "innkeeper_kv_get", (Value.BYTES, Value.F64), Value.BYTES)
CLOCK = AskedFunction(WASI_MODULE, "clock_time_get")
PLAIN = Journal(
    at=1.0,
    host="innkeeper 1",
    plugin="notes",
    version="1.0.0",
    digest="0" * 64,
    function="run",
    run="r1",
    node="n1",
    config={"key": "value"},
    limits={"memory": 65536, "cpu": 1.5},
    rights=("kv", "clock"),
    real=True,
    why_not="",
    input=b"\0in",
    functions=(KV, CLOCK),
    calls=(HostCall(0, [b"key", 0.5], Given(b"answer")), HostCall(1, [0, 0], Wrote(0, ((0, 0, b"8 bytes."),)))),
    log=(("info", "a line"),),
    log_dropped=3,
    usage={"cpu": 0.25, "memory": 65536},
    ending=Ending(OUTPUT, output=b"out"),
)

_int64 = st.integers(-(1 << 63), (1 << 64) - 1)
_asked = st.lists(_int64 | st.binary() | st.floats(allow_nan=False))
_lines = st.lists(st.tuples(st.sampled_from(("info", "error")), st.text(max_size=50)), max_size=5).map(tuple)
_logged = st.builds(Logged, _lines, st.integers(0, 1 << 40), st.integers(0, 1 << 40))
_of_host = st.builds(
    HostCall,
    st.just(0),
    _asked,
    st.none()
    | st.builds(Raised)
    | st.builds(Given, st.none() | _int64 | st.binary() | st.floats(allow_nan=False), st.none() | _logged),
)
_written = st.lists(st.tuples(st.integers(0, 200), st.integers(-(1 << 31), 1 << 32), st.binary())).map(tuple)
_of_wasi = st.builds(
    HostCall,
    st.just(1),
    st.lists(_int64 | st.binary() | st.none() | st.lists(st.integers(0, 1 << 32))),
    st.none() | st.builds(Printed, st.sampled_from((1, 2))) | st.builds(Wrote, st.integers(0, 76), _written),
)
_journals = st.builds(
    replace,
    st.just(PLAIN),
    config=st.dictionaries(st.text(), st.text()),
    input=st.binary(),
    calls=st.lists(_of_host | _of_wasi, max_size=20).map(tuple),
    log=st.lists(st.tuples(st.sampled_from(("info", "error")), st.text(max_size=200))).map(tuple),
    ending=st.builds(
        Ending,
        st.sampled_from((OUTPUT, EXCEPTION, "guest", "limit")),
        st.text(),
        st.binary(),
        st.none() | st.text(),
        st.none() | st.integers(0, 1 << 31),
    ),
)


@settings(deadline=None, max_examples=100)
@given(_journals)
def test_a_journal_is_the_same_after_having_been_bytes(journal: Journal) -> None:
    assert read_journal(write_journal(journal)) == journal


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_bytes_that_were_changed_are_a_journal_or_an_error_of_the_user(data: st.DataObject) -> None:
    written = bytearray(write_journal(PLAIN))
    for _ in range(data.draw(st.integers(1, 4))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(written[: data.draw(st.integers(0, len(written)))])
    for each in (bytes(written), cut):
        with suppress(UsageError):
            assert write_journal(read_journal(each))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(UsageError, match="is not a journal"):
        read_journal(data)


def changed(**more: Any) -> bytes:
    found = msgpack.unpackb(write_journal(PLAIN))
    return bytes(msgpack.packb({**found, **more}))


WRONG: dict[str, dict[str, Any]] = {
    "another version": {"innkeeper_journal": 2},
    "something more": {"secret": 1},
    "a time that is none": {"at": float("inf")},
    "a digest with a path": {"digest": "../" + "0" * 61},
    "a limit of nothing": {"limits": {"memory": 0}},
    "a limit that there is not": {"limits": {"everything": 1}},
    "a limit of a truth": {"limits": {"memory": True}},
    "configuration that is no text": {"config": {"a": 1}},
    "a function of a strange type": {"functions": [["a", "b", ["v128"], None]]},
    "a function twice": {"functions": [["a", "b", [], None]] * 2, "calls": []},
    "a function of WASI that there is not": {"functions": [[WASI_MODULE, "proc_exit", [], None]], "calls": []},
    "a call of a function that is not listed": {"calls": [[9, [], None]]},
    "a call of a function before the first": {"calls": [[-1, [], None]]},
    "a map for an argument": {"calls": [[0, [{}], None]]},
    "nothing for an argument of a host function": {"calls": [[0, [None], None]]},
    "a nest of lists": {"calls": [[1, [[[1]]], None]]},
    "an answer of WASI's for a host function": {"calls": [[0, [], ["wrote", 0, []]]]},
    "an answer of a host function for WASI": {"calls": [[1, [], ["given", b""]]]},
    "lines that are none": {"calls": [[0, [], ["given", b"", [["info"]], 0, 0]]]},
    "room below none": {"calls": [[0, [], ["given", b"", [], 0, -1]]]},
    "dropped bytes of a truth": {"calls": [[0, [], ["given", b"", [], True, 0]]]},
    "half of what was logged": {"calls": [[0, [], ["given", b"", []]]]},
    "an error number that there is not": {"calls": [[1, [], ["wrote", 1 << 20, []]]]},
    "a place below the first": {"calls": [[1, [], ["wrote", 0, [[-1, 0, b""]]]]]},
    "a stream that there is not": {"calls": [[1, [], ["printed", 3]]]},
    "an outcome that there is not": {"ending": ["fine", "", b"", None, None]},
    "an outcome that lacks something": {"ending": ["output"]},
}


@pytest.mark.parametrize("more", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(more: dict[str, Any]) -> None:
    read_journal(changed())
    with pytest.raises(UsageError, match="is not a journal"):
        read_journal(changed(**more))


def test_a_bomb_is_refused_before_it_is_built() -> None:
    with pytest.raises(UsageError, match=r"elements|deep"):
        read_journal(b"\xdd\x00\x40\x00\x00" + b"\x80" * (1 << 22))
    with pytest.raises(UsageError, match="is not a journal"):
        read_journal(b"\x91" * 100_000 + b"\xc0")


def test_texts_that_are_none_are_made_some() -> None:
    journal = replace(PLAIN, log=(("info", "half \ud800 of one"),), ending=Ending("guest", "x" * 100_000))
    read = read_journal(write_journal(journal))
    assert read.log == (("info", "half ? of one"),)
    assert len(read.ending.message) == 4096


def test_what_cannot_be_written_is_an_error_of_whoever_made_it() -> None:
    with pytest.raises(ValueError, match="serialize"):
        write_journal(replace(PLAIN, calls=(HostCall(0, [object()], None),)))


_plain = st.recursive(
    st.none() | _int64 | st.text() | st.sampled_from([b"", b"x" * CHUNK, b"x" * (CHUNK + 1), b"x" * 0x10000]),
    lambda inner: st.lists(inner, max_size=5) | st.lists(st.integers(), min_size=60, max_size=70).map(list),
    max_leaves=10,
)


@given(_plain)
@settings(deadline=None)
def test_what_is_packed_in_pieces_is_what_is_packed_at_once(value: Any) -> None:
    packer = msgpack.Packer(use_bin_type=True)
    try:
        whole = msgpack.packb(value)
    except OverflowError:
        return
    assert b"".join(pieces(packer, value)) == whole


def test_no_piece_of_the_longest_journal_keeps_the_interpreter_busy() -> None:
    large = [b"x" * (16 << 20), 1]
    value = [[0, large, ["given", b"y" * CHUNK]], *[[0, [1, 2], ["wrote", 0, [[0, 0, b"z" * 300]] * 2000]]] * 3]
    packed = [each for each in pieces(msgpack.Packer(), value) if each is not large[0]]
    # A list of 64 that are not large themselves is the largest.
    assert max(map(len, packed)) <= 65 * CHUNK
    assert len(packed) > 6000
