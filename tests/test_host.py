"""Loading and calling plugins: compiled once, one shared guest at a time, calls inside of calls counted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from wasmtime import wat2wasm

import innkeeper
from fakes import FakeEngine, FakeGuest, module, ship
from innkeeper import BusyError, GuestError, Host, HostFunction, LimitError, Limits, RejectedError, UsageError, Value
from innkeeper.plugins import call_options
from innkeeper.plugins import home as home_module
from innkeeper.plugins.manifest import Instance
from innkeeper.sandbox.interface import Handler

pytestmark = pytest.mark.usefixtures("later")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "manifests").mkdir()
    return tmp_path


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@asynccontextmanager
async def opened(home: Path, engine: FakeEngine) -> AsyncIterator[Host]:
    async with innkeeper.open_host(home, engine=engine) as host:
        yield host
    assert engine.live == 0


async def shout(_: FakeGuest, data: bytes) -> bytes:
    return data.upper()


async def count(guest: FakeGuest, _: bytes) -> bytes:
    guest.state["count"] = guest.state.get("count", 0) + 1
    return str(guest.state["count"]).encode()


def entries(cache: Path) -> int:
    return len(list(cache.glob("*.cwasm")))


async def test_a_host_keeps_what_it_compiles_where_its_configuration_says(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INNKEEPER_CACHE")
    # The platform's folder, were it used.
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "platform"))
    toml = home / "innkeeper.toml"
    for text, count in (('cache = "off"', 0), (f'cache = "{home}/compiled"', 1)):
        toml.write_text(text)
        async with innkeeper.open_host(home) as host:
            await host.load(module("run"))
        assert entries(home / "compiled") == count
    toml.unlink()
    async with innkeeper.open_host(home) as host:
        await host.load(module("run"))
    if sys.platform == "linux":
        assert entries(home / "platform/innkeeper/compiled") == 1


async def test_trouble_with_the_cache_is_logged_where_nobody_shows_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INNKEEPER_CACHE", str(home / "link"))
    (home / "link").symlink_to(home / "plugins")
    async with innkeeper.open_host(home) as host:
        for function in ("run", "walk"):
            plugin = await host.load(module(function))
            await plugin.call(function)
    trouble = f"the cache is not used: {home}/link is a link; name the folder itself"
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("innkeeper", trouble)]


async def test_a_plugin_is_loaded_from_bytes_or_a_path_and_called(home: Path, engine: FakeEngine) -> None:
    wasm = engine.program({"shout": shout})
    (home / "My Plugin.wasm").write_bytes(wasm)
    async with opened(home, engine) as host:
        plugin = await host.load(wasm)
        assert (await plugin.call("shout", b"hello")).output == b"HELLO"
        assert plugin.id == f"sha256-{plugin.digest[:12]}"
        plugin = await host.load(home / "My Plugin.wasm", limits=Limits(memory=1 << 20))
        assert (plugin.id, plugin.path, plugin.limits.memory) == ("my-plugin", home / "My Plugin.wasm", 1 << 20)
        assert (await plugin.call("shout", memoryview(b"hello"))).output == b"HELLO"


async def test_the_manifest_gives_the_id_unless_the_caller_does(home: Path, engine: FakeEngine) -> None:
    wasm = engine.program({"shout": shout}, manifest='id = "own"\nversion = "1"\n')
    async with opened(home, engine) as host:
        assert (await host.load(wasm)).id == "own"
        assert (await host.load(wasm, plugin_id="other")).id == "other"


async def test_a_mistake_of_the_caller_is_a_usage_error(home: Path, engine: FakeEngine) -> None:
    wasm = engine.program({"shout": shout})
    async with opened(home, engine) as host:
        plugin = await host.load(wasm, plugin_id="demo")
        for call, sentence in (
            (lambda: host.load(home / "missing.wasm"), "missing.wasm: no such file"),
            (lambda: host.load(home), "is a folder, not a file"),
            (lambda: host.load(wasm, plugin_id="No Id"), "'No Id' is not an id"),
            (lambda: host.load(wasm, instance="twice"), "instance is 'twice'"),
            (lambda: host.load(wasm, limits=Limits(memory=1 << 40)), "limits above the host's own: memory"),
            (lambda: plugin.call("shotu"), "exports no function 'shotu'; did you mean 'shout'?"),
            (lambda: plugin.call("x"), "exports no function 'x'; it exports: shout"),
            (lambda: plugin.call("shout", "text"), "the input must be bytes, not str"),
            (lambda: plugin.call("shout", b"", limits=Limits(wall=1e9)), "limits above the host's own: wall"),
        ):
            with pytest.raises(UsageError) as caught:
                await call()
            assert sentence in str(caught.value)


async def test_of_very_many_functions_few_are_compared_with_one_that_is_not_there(
    home: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    monkeypatch.setattr(call_options, "nearest", lambda _, known: compared.append(len(known)) or "")
    async with opened(home, engine) as host:
        plugin = await host.load(engine.program({f"function{number}": shout for number in range(5000)}))
        with pytest.raises(UsageError, match="and 4990 more"):
            await plugin.call("functoin")
    assert compared == [100]


async def test_names_that_a_module_exports_are_shown_short_and_without_control_characters(
    home: Path, engine: FakeEngine
) -> None:
    async with opened(home, engine) as host:
        plugin = await host.load(engine.program({"a\x1b[2J" + "b" * 100_000: shout}))
        with pytest.raises(UsageError, match=r"exports no function 'x'; it exports: a\\x1b\[2Jbbb") as caught:
            await plugin.call("x")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


async def test_a_file_that_is_not_wasm_is_rejected_by_name(home: Path, engine: FakeEngine) -> None:
    (home / "x.wasm").write_bytes(b"not wasm")
    async with opened(home, engine) as host:
        with pytest.raises(RejectedError, match=r"x\.wasm: the file is not Wasm"):
            await host.load(home / "x.wasm")
        with pytest.raises(RejectedError):
            await host.load(module("unknown"))


async def test_the_manifest_beside_a_file_counts_wherever_the_file_lies(home: Path, engine: FakeEngine) -> None:
    (home / "x.wasm").write_bytes(engine.program({"shout": shout}))
    (home / "x.toml").write_text('id = "own"\nversion = "1"\n')
    async with opened(home, engine) as host:
        assert (await host.load(home / "x.wasm")).id == "own"
        (home / "x.toml").write_text(
            'id = "own"\nversion = "1"\n[[capabilities]]\nname = "later.thing"\nreason = "r"\noptional = false\n'
        )
        with pytest.raises(RejectedError, match=r"x\.wasm: needs the capability 'later.thing'"):
            await host.load(home / "x.wasm")
        (home / "x.toml").write_text("id = 1\n")
        with pytest.raises(RejectedError, match=r"x\.toml: id is 1: .*\n.*x\.toml: version is missing"):
            await host.load(home / "x.wasm")


async def test_a_plugin_that_is_not_there_is_refused_with_its_own_reason_and_no_other(
    home: Path, engine: FakeEngine
) -> None:
    for name in ("a/two", "b/two", "shout"):
        (home / f"plugins/{name}.wasm").parent.mkdir(exist_ok=True)
        (home / f"plugins/{name}.wasm").write_bytes(engine.program({"shout": shout}))
    (home / "plugins/inner.wasm").write_bytes(engine.program({"shout": shout}, manifest='id = "own"\nversion = "1"'))
    (home / "plugins/wrong.wasm").write_bytes(engine.program({"shout": shout}, manifest="id = 3"))
    (home / "manifests/two.toml").write_text("limit = 3")
    async with opened(home, engine) as host:
        for name, sentence in (
            ("two", "'two': plugins/a/two.wasm and plugins/b/two.wasm: have the same id 'two'"),
            ("wrong", "'wrong': plugins/wrong.wasm: manifest: id is 3"),
            ("inner", "'inner'; plugins/inner.wasm has the id 'own'"),
            ("shuot", "'shuot'; did you mean 'shout'?"),
        ):
            with pytest.raises(UsageError) as caught:
                host.plugin(name)
            assert str(caught.value).startswith(f"there is no plugin {sentence}")
        for name in ("a", "in", "plug", "have"):
            with pytest.raises(UsageError, match=f"^there is no plugin '{name}'$"):
                host.plugin(name)


async def test_a_plugin_of_the_home_is_compiled_at_its_first_call_and_once(home: Path, engine: FakeEngine) -> None:
    wasm = engine.program({"shout": shout})
    (home / "plugins/shout.wasm").write_bytes(wasm)
    async with opened(home, engine) as host:
        assert list(host.plugins) == ["shout"]
        assert engine.loads == []
        engine.compiling = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(host.plugins["shout"].call, "shout", b"x")
            await trio.testing.wait_all_tasks_blocked()
            engine.compiling.set()
        assert engine.loads == [wasm]


async def test_who_gives_up_while_a_plugin_compiles_takes_it_from_nobody(home: Path, engine: FakeEngine) -> None:
    (home / "plugins/shout.wasm").write_bytes(engine.program({"shout": shout}))
    engine.compiling = trio.Event()
    async with opened(home, engine) as host, trio.open_nursery() as nursery:
        impatient = trio.CancelScope()

        async def give_up() -> None:
            with impatient:
                await host.plugins["shout"].call("shout")

        nursery.start_soon(give_up)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(host.plugins["shout"].call, "shout")
        await trio.testing.wait_all_tasks_blocked()
        impatient.cancel()
        engine.compiling.set()


async def test_a_module_that_does_not_compile_is_compiled_once_and_rejected_each_time(
    home: Path, engine: FakeEngine
) -> None:
    (home / "plugins/bad.wasm").write_bytes(module("run"))
    async with opened(home, engine) as host:
        for _ in range(3):
            with pytest.raises(RejectedError) as caught:
                await host.plugins["bad"].call("run")
            assert caught.value.plugin == "bad"
            assert caught.value.message.startswith("plugins/bad.wasm: ")
    assert len(engine.loads) == 1


async def test_the_grant_gives_limits_and_configuration_and_a_call_may_add_to_it(
    home: Path, engine: FakeEngine
) -> None:
    async def show(guest: FakeGuest, _: bytes) -> bytes:
        return repr(sorted(guest.config.items())).encode()

    wasm = engine.program({"show": show})
    (home / "plugins/p.wasm").write_bytes(wasm)
    async with opened(home, engine) as host:
        digest = host.plugins["p"].digest
    (home / "manifests/p.toml").write_text(f'sha256 = "{digest}"\n[limits]\noutput = 30\n[config]\na = "1"\nb = "2"\n')
    async with opened(home, engine) as host:
        plugin = host.plugins["p"]
        assert (plugin.limits.output, plugin.config, plugin.grant_state) == (30, {"a": "1", "b": "2"}, "granted")
        assert (await plugin.call("show")).output == b"[('a', '1'), ('b', '2')]"
        assert (await plugin.call("show", config={"b": "3"})).output == b"[('a', '1'), ('b', '3')]"
        with pytest.raises(LimitError):
            await plugin.call("show", config={"c": "3"})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"k": "a\udcff"}, "the value of 'k' in the configuration has half of a surrogate pair"),
        ({"\ud83d": "a"}, "a key in the configuration has half of a surrogate pair"),
        ({"k": 1}, "the value of 'k' in the configuration must be text, not int"),
        ({b"k": "a"}, "a key in the configuration must be text, not bytes"),
    ],
)
async def test_configuration_that_no_guest_could_read_is_refused_before_anything_starts(
    home: Path, engine: FakeEngine, config: Any, words: str
) -> None:
    async with opened(home, engine) as host:
        wasm = engine.program({"shout": shout})
        with pytest.raises(UsageError) as caught:
            await host.load(wasm, config=config)
        assert caught.value.message == words
        plugin = await host.load(wasm, config={"k": "grüße \U0001f600"})
        with pytest.raises(UsageError) as caught:
            await plugin.call("shout", b"a", config=config)
        assert caught.value.message == words
        assert (await plugin.call("shout", b"a")).output == b"A"


async def test_a_node_is_found_by_its_type_and_a_near_miss_is_named(home: Path, engine: FakeEngine) -> None:
    text = 'id = "demo"\nversion = "1"\n[[nodes]]\ntype = "Shout"\nfunction = "shout"\n'
    (home / "plugins/demo.wasm").write_bytes(engine.program({"shout": shout}, manifest=text))
    async with opened(home, engine) as host:
        plugin, node = host.node("demo:Shout")
        assert (plugin.id, node.function, host.node_types()) == ("demo", "shout", ["demo:Shout"])
        with pytest.raises(UsageError, match=r"no plugin has the node type 'demo:Shuot'; did you mean demo:Shout\?"):
            host.node("demo:Shuot")


async def test_a_node_type_of_two_plugins_is_refused_by_both_names(
    home: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        text = f'id = "{name}"\nversion = "1"\nnamespace = "n"\n[[nodes]]\ntype = "T"\nfunction = "shout"\n'
        wasm = engine.program({"shout": shout}, manifest=text)
        ship(monkeypatch, wasm)
        (home / f"plugins/{name}.wasm").write_bytes(wasm)
    async with opened(home, engine) as host:
        with pytest.raises(UsageError, match="'n:T' is defined by the plugins a and b"):
            host.node("n:T")


async def test_a_closed_host_takes_no_more_calls(home: Path, engine: FakeEngine) -> None:
    async with opened(home, engine) as host:
        plugin = await host.load(engine.program({"shout": shout}))
    with pytest.raises(UsageError, match="closed"):
        await plugin.call("shout")


# --- shared guests --------------------------------------------------------------------------------------------------


async def test_a_shared_guest_keeps_its_state_and_runs_one_call_at_a_time(home: Path, engine: FakeEngine) -> None:
    running = most = 0

    async def step(guest: FakeGuest, _: bytes) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.testing.wait_all_tasks_blocked()
        running -= 1
        return await count(guest, b"")

    async with opened(home, engine) as host:
        plugin = await host.load(engine.program({"step": step}), instance="shared")
        found: list[bytes] = []

        async def call() -> None:
            found.append((await plugin.call("step")).output)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
        assert found == [b"1", b"2", b"3", b"4", b"5"]
        assert (most, engine.live) == (1, 1)


async def test_what_ends_a_shared_guest_ends_it_for_everyone_until_it_is_restarted(
    home: Path, engine: FakeEngine
) -> None:
    async def trap(_: FakeGuest, __: bytes) -> bytes:
        raise GuestError("the guest trapped: unreachable")

    async def hang(_: FakeGuest, __: bytes) -> bytes:
        await trio.sleep_forever()
        return b""

    async def bug(_: FakeGuest, __: bytes) -> bytes:
        raise KeyError("mine")

    async def refuse(_: FakeGuest, __: bytes) -> bytes:
        raise GuestError("not like this", code=1)

    functions = {"count": count, "trap": trap, "hang": hang, "bug": bug, "refuse": refuse}
    async with opened(home, engine) as host:
        plugin = await host.load(engine.program(functions), plugin_id="demo", instance="shared")

        async def cancelled() -> None:
            with trio.move_on_after(0.01):
                await plugin.call("hang")

        async def trapped() -> None:
            with pytest.raises(GuestError):
                await plugin.call("trap")

        async def too_long() -> None:
            with pytest.raises(LimitError):
                await plugin.call("hang", limits=Limits(wall=0.01))

        async def failed() -> None:
            with pytest.raises(KeyError):
                await plugin.call("bug")

        for ends, reason in (
            (trapped, "the guest trapped: unreachable"),
            (cancelled, "a call was cancelled"),
            (too_long, "the call took too long"),
            (failed, "a host function failed with KeyError"),
        ):
            assert (await plugin.call("count")).output == b"1"
            await ends()
            assert engine.live == 0
            for _ in range(2):
                with pytest.raises(GuestError) as caught:
                    await plugin.call("count")
                assert f"the plugin's shared guest has ended: {reason}; it must be restarted" in str(caught.value)
                assert (caught.value.plugin, caught.value.function) == ("demo", "count")
            await plugin.restart()

        assert (await plugin.call("count")).output == b"1"
        for mistake in (lambda: plugin.call("refuse"), lambda: plugin.call("nothing")):
            with pytest.raises((GuestError, UsageError)):
                await mistake()
        assert (await plugin.call("count")).output == b"2"


async def test_waiting_for_a_shared_guest_ends_at_the_deadline_by_name(home: Path, engine: FakeEngine) -> None:
    async def hang(_: FakeGuest, __: bytes) -> bytes:
        await trio.sleep_forever()
        return b""

    async with opened(home, engine) as host:
        plugin = await host.load(engine.program({"hang": hang}), instance="shared")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plugin.call, "hang")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(BusyError, match="runs one call at a time") as caught:
                await plugin.call("hang", limits=Limits(wall=0.01))
            assert caught.value.bound == "shared guest"
            nursery.cancel_scope.cancel()


# --- calls inside of calls ------------------------------------------------------------------------------------------


def asks(handler: Handler) -> HostFunction:
    return HostFunction("ask", handler, (Value.BYTES,), Value.BYTES)


async def ask(guest: FakeGuest, data: bytes) -> bytes:
    answer: bytes = await guest.host("ask", data)
    return answer


async def test_a_shared_plugin_called_from_within_its_own_call_is_an_error_that_says_so(
    home: Path, engine: FakeEngine
) -> None:
    async with opened(home, engine) as host:

        async def again(data: bytes) -> bytes:
            return (await first.call("ask", data)).output

        async def through_another(data: bytes) -> bytes:
            return (await second.call("ask", data)).output

        async def restart(_: bytes) -> bytes:
            await first.restart()
            return b""

        for handler in (again, through_another, restart):
            wasm = engine.program({"ask": ask}, salt=handler.__name__)
            first = await host.load(wasm, plugin_id="first", instance="shared", functions=[asks(handler)])
            second = await host.load(
                engine.program({"ask": ask}, salt="second"), plugin_id="second", functions=[asks(again)]
            )
            with pytest.raises(UsageError, match=r"plugin 'first'.* from within its own call"):
                await first.call("ask", b"x")


async def test_a_task_that_outlives_its_call_may_call_the_plugin_again(home: Path, engine: FakeEngine) -> None:
    async with opened(home, engine) as host, trio.open_nursery() as nursery:
        found: list[bytes] = []
        over = trio.Event()

        async def later() -> None:
            await over.wait()
            found.append((await plugin.call("count")).output)

        async def start(_: bytes) -> bytes:
            nursery.start_soon(later)
            return b""

        wasm = engine.program({"ask": ask, "count": count})
        plugin = await host.load(wasm, instance="shared", functions=[asks(start)])
        await plugin.call("ask")
        over.set()
        await trio.testing.wait_all_tasks_blocked()
        assert found == [b"1"]


async def test_plugins_that_call_plugins_are_counted_and_bounded(home: Path, engine: FakeEngine) -> None:
    deepest = 0
    async with opened(home, engine) as host:

        async def deeper(data: bytes) -> bytes:
            nonlocal deepest
            deepest = max(deepest, int(data))
            return (await plugin.call("ask", str(int(data) + 1).encode())).output

        plugin = await host.load(engine.program({"ask": ask}), plugin_id="demo", functions=[asks(deeper)])
        with pytest.raises(LimitError) as caught:
            await plugin.call("ask", b"0")
        assert (caught.value.limit, caught.value.value, caught.value.used) == ("nesting", 8, 9)
        assert deepest == 8
        deepest = 0
        with pytest.raises(LimitError):
            await plugin.call("ask", b"0", limits=Limits(nesting=2))
        assert deepest == 2
        # Calls beside each other are not inside of each other.
        wasm = engine.program({"shout": shout})
        flat = await host.load(wasm, limits=Limits(nesting=1))
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(flat.call, "shout")


# --- the package ----------------------------------------------------------------------------------------------------


def test_importing_the_package_costs_nothing_and_every_name_is_there() -> None:
    code = (
        "import sys, innkeeper\n"
        "heavy = {'trio', 'wasmtime', 'pydantic', 'click', 'rich', 'numpy', 'ctypes'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert all(getattr(innkeeper, name) is not None for name in innkeeper.__all__)\n"
        "assert set(innkeeper.__all__) <= set(dir(innkeeper))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ""})
    with pytest.raises(AttributeError):
        _ = innkeeper.nothing


_ASKING = """
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/user" "ask" (func $ask (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "ask") (result i32) (drop (call $ask (call $alloc (i64.const 1)))) (i32.const 0)))
"""


@pytest.mark.parametrize("instance", ["fresh", "shared"])
async def test_the_chain_of_calls_reaches_the_host_functions_of_real_guests(home: Path, instance: Instance) -> None:
    async with innkeeper.open_host(home) as host:

        async def again(_: bytes) -> bytes:
            await trio.lowlevel.checkpoint()
            return (await plugin.call("ask")).output

        wasm = bytes(wat2wasm(_ASKING))
        plugin = await host.load(wasm, plugin_id="demo", functions=[asks(again)], instance=instance)
        with pytest.raises(UsageError if instance == "shared" else LimitError) as caught:
            await plugin.call("ask")
        words = "from within its own call" if instance == "shared" else "plugins call plugins 9 deep, the limit is 8"
        assert words in str(caught.value)
        await plugin.restart()
        with pytest.raises(UsageError if instance == "shared" else LimitError):
            await plugin.call("ask")
