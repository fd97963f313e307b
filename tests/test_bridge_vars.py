"""The service `vars`: what nodes of a run share, bounded, ended with the run, and seen by nobody else."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_guests import ask, home, opened, refused, relay, write
from innkeeper.bridge.run_variables import QUOTA, MemoryVariables
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.storage.kv_model import ConflictError, OverQuotaError, Quota

__all__ = ["home"]


async def test_nodes_of_a_run_share_them_whatever_plugin_they_are_of(home: Path) -> None:
    for name in ("one", "two"):
        write(home, name, relay("vars"), has=["vars"])
    run = Run("r")
    first, second = RunContext(run, "a"), RunContext(run, "b")
    async with opened(home) as (host, _):
        value = {"list": [1, 2.5, None, True], "bytes": b"\xff", "text": "ü"}
        assert await ask(host, "one", "vars_set", run=first, key="k", value=value) == {"ok": {"version": 1}}
        assert await ask(host, "two", "vars_get", run=second, key="k") == {"ok": {"value": value, "version": 1}}
        assert await ask(host, "two", "vars_list", run=second) == {"ok": {"keys": ["k"]}}
        assert await ask(host, "two", "vars_delete", run=second, key="k") == {"ok": {"deleted": True}}
        assert await ask(host, "one", "vars_get", run=first, key="k") == {"ok": None}


async def test_another_run_sees_nothing_of_them_even_if_it_has_the_same_id(home: Path) -> None:
    write(home, "one", relay("vars"), has=["vars"])
    mine, other = RunContext(Run("same")), RunContext(Run("same"))
    async with opened(home) as (host, _):
        await ask(host, "one", "vars_set", run=mine, key="k", value="secret")
        assert await ask(host, "one", "vars_get", run=other, key="k") == {"ok": None}
        assert await ask(host, "one", "vars_list", run=other) == {"ok": {"keys": []}}
        assert await ask(host, "one", "vars_delete", run=other, key="k") == {"ok": {"deleted": False}}
        assert (await ask(host, "one", "vars_get", run=mine, key="k"))["ok"]["value"] == "secret"


async def test_outside_of_a_run_and_without_a_grant_there_are_none(home: Path) -> None:
    write(home, "one", relay("vars"), has=["vars"])
    write(home, "two", relay("vars"), has=["vars"], granted=[])
    async with opened(home) as (host, _):
        refused(await ask(host, "one", "vars_get", key="k"), "not_found")
        refused(await ask(host, "one", "vars_set", key="k", value=1), "not_found")
        refused(await ask(host, "one", "vars_delete", key="k"), "not_found")
        refused(await ask(host, "one", "vars_list"), "not_found")
        refused(await ask(host, "two", "vars_set", run=RunContext(Run("r")), key="k", value=1), "denied")


async def test_one_of_many_that_set_the_same_version_wins(home: Path) -> None:
    write(home, "one", relay("vars"), has=["vars"])
    context = RunContext(Run("r"))
    answers: list[Any] = []
    async with opened(home) as (host, _):

        async def one() -> None:
            answers.append(await ask(host, "one", "vars_set", run=context, key="k", value="x", expect=0))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one)
        assert sum(answer == {"ok": {"version": 1}} for answer in answers) == 1
        assert {refused(answer, "conflict")["current"] for answer in answers if "error" in answer} == {1}
        assert await ask(host, "one", "vars_delete", run=context, key="k", expect=1) == {"ok": {"deleted": True}}
        # A version never comes back.
        assert await ask(host, "one", "vars_set", run=context, key="k", value="y") == {"ok": {"version": 2}}


BOMBS = {
    "large": b"\xc5" + (65_400).to_bytes(2, "big") + bytes(65_400) + b"",
    "many": b"\xdc" + (3000).to_bytes(2, "big") + b"\xc0" * 3000,
    "promised": b"\xdd\xff\xff\xff\xff",
    "deep": b"\x91" * 40 + b"\xc0",
    "an extension": b"\xd4\x05\x00",
    "a key of bytes": b"\x81\xc4\x01a\xc0",
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_value_that_is_too_much_is_refused_and_nothing_is_kept(home: Path, bomb: str) -> None:
    write(home, "one", relay("vars"), has=["vars"])
    context = RunContext(Run("r"))
    value = BOMBS[bomb] if bomb != "large" else msgpack.packb(bytes(65_536))
    data = b"\x82" + msgpack.packb("key") + msgpack.packb("k") + msgpack.packb("value") + value
    async with opened(home) as (host, _):
        result = await host.plugins["one"].call("vars_set", data, run=context)
        refused(msgpack.unpackb(result.output), "invalid")
        assert await ask(host, "one", "vars_list", run=context) == {"ok": {"keys": []}}


async def test_a_run_that_fills_up_is_refused_until_it_makes_room(home: Path) -> None:
    write(home, "one", relay("vars"), has=["vars"])
    context = RunContext(Run("r"))
    async with opened(home) as (host, _):
        count = 0
        while True:
            answer = await ask(host, "one", "vars_set", run=context, key=f"{count:04}", value=bytes(65_000))
            if "error" in answer:
                break
            count += 1
        assert refused(answer, "quota")["quota"] == "bytes"
        assert count == QUOTA.bytes // 65_007
        # Another run is not in its way, and what is deleted is free again.
        assert "ok" in await ask(host, "one", "vars_set", run=RunContext(Run("r")), key="k", value=bytes(65_000))
        await ask(host, "one", "vars_delete", run=context, key="0000")
        assert "ok" in await ask(host, "one", "vars_set", run=context, key="again", value=bytes(65_000))


async def test_a_run_keeps_so_many_and_no_more_and_all_of_it_ends_with_the_run() -> None:
    variables = MemoryVariables()
    run = Run("r")
    for number in range(QUOTA.entries):
        await variables.set(run, f"k{number}", b"\xc0")
    with pytest.raises(OverQuotaError):
        await variables.set(run, "one more", b"\xc0")
    await variables.set(run, "k0", b"\xc3")
    assert len(variables._runs) == 1
    del run
    gc.collect()
    assert len(variables._runs) == 0


@pytest.mark.parametrize("key", ["", "k" * 257, "a\n", 1, b"a", "\u00fc" * 200])
async def test_a_key_that_is_none_is_refused(home: Path, key: Any) -> None:
    write(home, "one", relay("vars"), has=["vars"])
    async with opened(home) as (host, _):
        refused(await ask(host, "one", "vars_set", run=RunContext(Run("r")), key=key, value=1), "invalid")


_keys = st.sampled_from(["a", "ab", "b", "ü", "\U0001f600"])
_steps = st.lists(
    st.tuples(st.just("set"), _keys, st.binary(max_size=40), st.none() | st.integers(0, 5))
    | st.tuples(st.just("delete"), _keys, st.just(b""), st.none() | st.integers(0, 5)),
    max_size=30,
)


@settings(deadline=None, max_examples=200)
@given(_steps)
def test_whatever_is_set_and_deleted_the_count_is_right_and_the_bounds_hold(steps: list[Any]) -> None:
    async def main() -> None:
        quota = Quota(entries=3, bytes=60)
        variables, run, model = MemoryVariables(quota), Run("r"), dict[str, tuple[bytes, int]]()
        for what, key, value, expect in steps:
            before = model.get(key, (b"", 0))
            try:
                if what == "set":
                    model[key] = value, await variables.set(run, key, value, expect=expect)
                else:
                    assert await variables.delete(run, key, expect=expect) == (key in model)
                    model.pop(key, None)
                assert expect in (None, before[1])
            except ConflictError as error:
                conflicts = expect, error.current
                assert conflicts[1] == before[1] != conflicts[0]
            except OverQuotaError:
                after = {**model, key: (value, 0)}
                size = sum(len(name.encode()) + len(each[0]) for name, each in after.items())
                assert len(after) > quota.entries or size > quota.bytes
            assert sum(len(name.encode()) + len(each[0]) for name, each in model.items()) <= quota.bytes
            listed = await variables.list(run, prefix="", after="", limit=10)
            assert listed == sorted(model, key=str.encode)
            found = {name: await variables.get(run, name) for name in listed}
            assert {name: (each.value, each.version) for name, each in found.items() if each} == model

    trio.run(main)
