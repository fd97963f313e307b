"""Reloading under load, and in bad moments: many files, files that never rest, a host that closes, Ctrl-C."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import wat2wasm

import innkeeper
from fakes import module
from innkeeper import RejectedError, UsageError
from innkeeper.plugins import home as home_module
from innkeeper.plugins import reload as reload_module
from innkeeper.plugins.catalogue import read_catalogue
from innkeeper.plugins.changes import Change
from innkeeper.plugins.home import Home, open_home
from innkeeper.plugins.reading import read_home
from innkeeper.plugins.roster import STAYS
from reload_homes import LONG, Inn, answer, manifest


@pytest.fixture
def inn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inn:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return Inn(tmp_path / "home")


@pytest.mark.parametrize("watch", [True, False])
async def test_two_hundred_plugins_that_change_at_once_are_all_picked_up(inn: Inn, watch: bool) -> None:
    for number in range(200):
        inn.put(f"plugins/p{number}.wasm", inn.plugin(f"old {number}"))
    async with inn.host(watch=watch) as host:
        for plugin in host.plugins.values():
            await answer(plugin)
        for number in range(200):
            inn.put(f"plugins/p{number}.wasm", inn.plugin(f"new {number}"))
        if watch:
            await inn.until("changed", count=200)
        else:
            assert len(await host.reload()) == 200
        for number in range(200):
            assert await answer(host.plugins[f"p{number}"]) == f"new {number}"
        assert len(inn.engine.made) == 400
        assert inn.engine.open == 200


async def test_no_more_versions_are_compiled_at_once_than_the_bound(inn: Inn) -> None:
    for number in range(10):
        inn.put(f"plugins/p{number}.wasm", inn.plugin(f"old {number}"))
    async with inn.host() as host, trio.open_nursery() as nursery:
        for plugin in host.plugins.values():
            await answer(plugin)
        inn.engine.compiling = trio.Event()
        for number in range(10):
            inn.put(f"plugins/p{number}.wasm", inn.plugin(f"new {number}"))
        nursery.start_soon(host.reload)
        await inn.engine.until_asked(12)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(inn.engine.loads) == 12
        inn.engine.compiling.set()
        await host.reload()
        assert len(inn.engine.loads) == 20


async def test_a_file_that_never_rests_takes_neither_the_host_nor_its_memory(
    inn: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload_module, "INTERVAL", 0.01)
    monkeypatch.setattr(reload_module, "_SLOWEST", 0.01)
    versions = [inn.plugin(f"{number:04}") for number in range(40)]
    path = inn.put("plugins/p.wasm", versions[0])
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.wait(0.002):
            number += 1
            path.write_bytes(versions[number % 40] if number % 7 else b"broken %d" % number)

    async with inn.host(watch=True) as host, trio.open_nursery() as nursery:
        plugin = host.plugins["p"]
        await answer(plugin)
        nursery.start_soon(trio.to_thread.run_sync, write)
        try:
            sizes = []
            for round_ in range(2):
                seen = len(inn.said)
                await inn.until("changed", "problem", count=seen + 15)
                assert len(await answer(plugin)) == 4
                # One version in service, and at the most one on its way.
                assert inn.engine.open <= 2
                inn.engine.loads.clear()
                inn.engine.made[:] = [program for program in inn.engine.made if not program.closed]
                gc.collect()
                if round_ == 0:
                    tracemalloc.start()
                sizes.append(tracemalloc.get_traced_memory()[0])
            assert sizes[1] - sizes[0] < 1_000_000
        finally:
            tracemalloc.stop()
            over.set()


async def test_a_look_that_fails_is_tried_again(
    inn: Inn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reload_module, "_AFTER_FAILURE", 0.01)
    real, failed = reload_module.look, list[int]()

    def fail_twice(*given: Any, **more: Any) -> Any:
        if len(failed) < 2:
            failed.append(1)
            raise OSError("the disk is on fire")
        return real(*given, **more)

    async with inn.host(watch=True) as host:
        monkeypatch.setattr(reload_module, "look", fail_twice)
        inn.put("plugins/p.wasm", inn.plugin("one"))
        await inn.until("added")
        assert await answer(host.plugins["p"]) == "one"
    assert [record.message for record in caplog.records].count("looking at the plugins failed; trying again") == 2


async def test_a_version_that_cannot_be_put_in_service_stops_nothing(
    inn: Inn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is on fire")

    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with innkeeper.open_host(inn.path, engine=inn.engine, watch=False) as host:
        await answer(host.plugins["p"])
        with monkeypatch.context() as patch:
            patch.setattr(reload_module, "retire", fail)
            path.write_bytes(inn.plugin("two"))
            await host.reload()
        assert "putting plugins/p.wasm in service failed" in caplog.text
        path.write_bytes(inn.plugin("three"))
        await host.reload()
        assert await answer(host.plugins["p"]) == "three"


async def test_a_listener_that_fails_stops_nothing(inn: Inn, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Change) -> None:
        raise KeyError("mine")

    async with innkeeper.open_host(inn.path, engine=inn.engine, watch=False, on_change=fail) as host:
        for name in ("a", "b"):
            inn.put(f"plugins/{name}.wasm", inn.plugin(name))
        assert len(await host.reload()) == 2
        assert await answer(host.plugins["b"]) == "b"
    assert "on_change failed" in caplog.text


async def test_a_listener_sees_the_host_as_it_is_told(inn: Inn) -> None:
    found: list[list[str]] = []
    async with innkeeper.open_host(
        inn.path, engine=inn.engine, watch=False, on_change=lambda _: found.append(list(host.plugins))
    ) as host:
        inn.put("plugins/a.wasm", inn.plugin("a"))
        await host.reload()
    assert found == [["a"]]


# --- bad moments ----------------------------------------------------------------------------------------------------


async def test_a_host_that_closes_while_a_version_is_compiled_leaves_nothing_behind(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    refused = trio.Event()

    async def reload(host: innkeeper.Host) -> None:
        with pytest.raises(UsageError, match="the host is closed"):
            await host.reload()
        refused.set()

    async with trio.open_nursery() as nursery:
        async with inn.host(watch=True) as host:
            await answer(host.plugins["p"])
            inn.engine.compiling = trio.Event()
            path.write_bytes(inn.plugin("two"))
            nursery.start_soon(reload, host)
            await inn.engine.until_asked(2)
        with trio.fail_after(LONG):
            await refused.wait()
    with pytest.raises(UsageError, match="the host is closed"):
        await host.reload()


async def test_a_host_closes_though_a_folder_does_not_answer(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        asked.set()
        answers.wait(LONG)

    try:
        async with inn.host(watch=True):
            monkeypatch.setattr(reload_module, "look", hang)
            await trio.to_thread.run_sync(asked.wait, LONG)
            assert asked.is_set()
    finally:
        answers.set()


async def test_who_gives_up_waiting_for_a_reload_takes_it_from_nobody(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host() as host:
        await answer(host.plugins["p"])
        inn.engine.compiling = trio.Event()
        path.write_bytes(inn.plugin("two"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.reload)
            await inn.engine.until_asked(2)
            nursery.cancel_scope.cancel()
        inn.engine.compiling.set()
        await host.reload()
        assert await answer(host.plugins["p"]) == "two"
        assert len(inn.engine.loads) == 2


async def test_many_reloads_at_once_are_one_after_the_other(inn: Inn) -> None:
    path = inn.put("plugins/p.wasm", inn.plugin("one"))
    async with inn.host(watch=True) as host:
        await answer(host.plugins["p"])
        path.write_bytes(inn.plugin("two"))
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(host.reload)
        assert await answer(host.plugins["p"]) == "two"
        assert len(inn.texts("changed")) == 1
        assert len(inn.engine.loads) == 2


async def test_a_host_without_a_catalogue_has_nothing_to_follow(inn: Inn) -> None:
    inn.put("plugins/p.wasm", inn.plugin("one"))
    async with innkeeper.open_host(inn.path, engine=inn.engine, catalogue=False) as host:
        assert await host.reload() == []
        assert list(host.plugins) == []


CHILD = """
import sys
import trio
import innkeeper

home = sys.argv[1]

async def main():
    async with innkeeper.open_host(home, watch=True) as host:
        plugin = host.plugins["p"]
        await plugin.call("say")
        print("ready", flush=True)
        number = 0
        while True:
            number += 1
            with open(f"{home}/plugins/p.wasm", "r+b") as file:
                file.seek(-1, 2)
                file.write(bytes([number % 256]))
            await host.reload()
            await plugin.call("say")

try:
    trio.run(main)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.1, "any"])
def test_ctrl_c_in_the_midst_of_a_reload_ends_the_program_in_good_order(inn: Inn, delay: float | str) -> None:
    wasm = bytes(wat2wasm('(module (func (export "say")))'))
    inn.put("plugins/p.wasm", wasm + b"\0\x06\x04salt\0")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(inn.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        threading.Event().wait(random.random() * 0.05 if isinstance(delay, str) else delay)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=LONG)
    assert (out, err, child.returncode) == (b"interrupted\n", b"", 0)


async def test_a_real_guest_that_computes_finishes_on_the_old_bytes(inn: Inn) -> None:
    def wat(number: int) -> bytes:
        return bytes(
            wat2wasm(
                '(module (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))'
                '(import "extism:host/env" "store_u8" (func $store (param i64 i32)))'
                '(import "extism:host/env" "output_set" (func $set (param i64 i64)))'
                '(import "extism:host/env" "input_length" (func $length (result i64)))'
                '(func (export "say") (local $at i64) (local $left i64)'
                "(if (i64.ne (call $length) (i64.const 0)) (then (local.set $left (i64.const 100000000))"
                "(loop $again (local.set $left (i64.sub (local.get $left) (i64.const 1)))"
                "(br_if $again (i64.ne (local.get $left) (i64.const 0))))))"
                "(local.set $at (call $alloc (i64.const 1)))"
                f"(call $store (local.get $at) (i32.const {number}))"
                "(call $set (local.get $at) (i64.const 1))))"
            )
        )

    path = inn.put("plugins/p.wasm", wat(1))
    inn.grant("p", wat(1), '[limits]\ncpu = "60s"\nwall = "600s"')
    async with innkeeper.open_host(inn.path, watch=False) as host:
        plugin, found = host.plugins["p"], list[bytes]()
        await plugin.call("say")

        async def long_call() -> None:
            found.append((await plugin.call("say", b"long")).output)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(long_call)
            await trio.sleep(0.01)
            path.write_bytes(wat(2))
            await host.reload()
            assert (await plugin.call("say")).output == b"\2"
        assert found == [b"\1"]


# --- whatever happens to the files ----------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "deep/a"]),
        st.sampled_from(
            ["one", "two", "broken", "unfit", "gone", "manifest", "other id", "no manifest", "grant", "no grant"]
        ),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_what_is_read_again_is_what_is_read_from_the_beginning(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    inn = Inn(tmp_path_factory.mktemp("home"))
    (inn.path / "plugins/deep").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home_module, "_PACKAGE", inn.path / "package")
        home = open_home(inn.path)
        follow_and_compare(inn, home, steps)


def follow_and_compare(inn: Inn, home: Home, steps: list[tuple[str, str]]) -> None:
    known = read_home(home)

    async def follow() -> None:
        async with innkeeper.open_host(inn.path, engine=inn.engine, watch=False) as host:
            for name, step in steps:
                do(inn, name, step)
                await host.reload()
                fresh = read_catalogue(home)
                for plugin_id, entry in fresh.entries.items():
                    plugin = host.plugins[plugin_id]
                    if entry.module.wasm == module("say"):
                        # It does not compile: what was there before stays, unless nobody had called it.
                        assert plugin.grant is None or plugin.grant.sha256 == plugin.digest
                        with suppress(RejectedError):
                            await answer(plugin)
                        continue
                    assert plugin.digest == entry.module.digest
                    assert (plugin.grant, plugin.grant_state) == (entry.grant, entry.grant_state)
                    assert plugin.limits == entry.limits
                    # Who calls it makes its next version one that is compiled first.
                    assert await answer(plugin) in ("one", "two")
                assert set(fresh.entries) <= set(host.plugins)
                # What is in service without being in the catalogue is there for its file, and has no grant but one
                # for its bytes.
                for plugin_id in set(host.plugins) - set(fresh.entries):
                    plugin = host.plugins[plugin_id]
                    assert plugin.path is not None
                    assert plugin.path.exists()
                    assert plugin.grant is None or plugin.grant.sha256 == plugin.digest
                    assert any(problem.endswith(STAYS) for problem in host.problems)
                assert len(set(host.problems)) == len(host.problems)
        assert inn.engine.open == 0
        assert inn.engine.live == 0

    trio.run(follow)
    assert read_home(home, known).files.keys() == read_home(home).files.keys()


def do(inn: Inn, name: str, step: str) -> None:
    path = inn.path / f"plugins/{name}.wasm"
    actions: dict[str, Callable[[], object]] = {
        "one": lambda: path.write_bytes(inn.plugin("one")),
        "two": lambda: path.write_bytes(inn.plugin("two")),
        "unfit": lambda: path.write_bytes(module("say")),
        "broken": lambda: path.write_bytes(b"broken"),
        "gone": lambda: path.unlink(missing_ok=True),
        "manifest": lambda: path.with_suffix(".toml").write_text(manifest(path.stem, "T")),
        "other id": lambda: path.with_suffix(".toml").write_text(manifest("other", "T")),
        "no manifest": lambda: path.with_suffix(".toml").unlink(missing_ok=True),
        "grant": lambda: inn.grant(path.stem, inn.plugin("one"), '[config]\nk = "v"\n'),
        "no grant": lambda: (inn.path / f"manifests/{path.stem}.toml").unlink(missing_ok=True),
    }
    actions[step]()
