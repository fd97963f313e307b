"""Whatever a guest passes: an errno or an exit, and no byte outside of its memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.wasi import FUNCTIONS, Errno, Preopen, ProcExit, WasiRights
from test_wasi_guest import Guest

SIZE = 1 << 16
MEMORIES = st.binary(min_size=0, max_size=512)
I32 = st.integers(0, 8) | st.integers(0, 2048) | st.integers(SIZE - 64, SIZE + 1) | st.integers(0, 2**32 - 1)
I64 = st.integers(0, 8) | st.integers(0, 2048) | st.integers(2**63 - 2, 2**63 + 1) | st.integers(0, 2**64 - 1)
STRATEGIES = {Value.I32: I32, Value.I64: I64}


def run(guest: Guest, calls: list[tuple[str, tuple[int, ...]]]) -> None:
    async def main() -> None:
        for name, arguments in calls:
            if name == "proc_exit":
                with pytest.raises(ProcExit):
                    await guest.call(name, *arguments)
            else:
                assert await guest.call(name, *arguments) in Errno

    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        guest.wasi.close()


def arguments_of(name: str) -> st.SearchStrategy[tuple[str, tuple[int, ...]]]:
    parameters = FUNCTIONS[name].parameters
    return st.tuples(st.just(name), st.tuples(*[STRATEGIES[parameter] for parameter in parameters]))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@given(data=st.data(), memory=MEMORIES, at=st.integers(0, 4096))
@settings(deadline=None, max_examples=25)
def test_any_arguments_to_a_function_give_an_errno(name: str, data: st.DataObject, memory: bytes, at: int) -> None:
    guest = Guest(size=SIZE)
    guest.memory.data[at : at + len(memory)] = memory
    run(guest, [data.draw(arguments_of(name))])
    assert len(guest.memory.data) == SIZE


NAMES = ["a", "b", "sub", "sub/a", ".", "..", "../x", "/etc", "sub/../a", "link", "link/x", "a/"]


@given(st.lists(st.sampled_from(sorted(FUNCTIONS)).flatmap(arguments_of), max_size=20), st.data())
@settings(deadline=None, max_examples=60)
def test_any_calls_on_a_granted_folder_give_an_errno_and_touch_nothing_beside_it(
    calls: list[tuple[str, tuple[int, ...]]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        outside = Path(name)
        inside = outside / "inside"
        (inside / "sub").mkdir(parents=True)
        (inside / "a").write_bytes(b"text")
        (inside / "link").symlink_to("..")
        guest = Guest(WasiRights(files=(Preopen("/", inside, writable=True, quota=10_000),)), size=SIZE)
        # Paths lie at the small offsets that are drawn often, so that many of the calls do something.
        path = data.draw(st.sampled_from(NAMES)).encode()
        guest.memory.data[: len(path)] = path
        descriptors = sorted(os.listdir("/dev/fd"))
        run(guest, [*calls, ("path_open", (3, 0, 0, len(path), 1, 66, 0, 0, 100))])
        assert sorted(os.listdir("/dev/fd")) == descriptors
        assert os.listdir(outside) == ["inside"]
        assert len(guest.memory.data) == SIZE
