"""A remembered call is what the call would have been: nothing that a guest could tell apart has one result."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from guests import assemble, wat
from innkeeper import GuestError, Host, LimitError, Plugin, Result, UsageError
from innkeeper.bridge.bridge import bridge_of
from innkeeper.bridge.host import open_host
from innkeeper.bridge.memo.entry import MOST, Entry, read_entry, write_entry
from innkeeper.bridge.memo.key import disk_key
from innkeeper.bridge.memo.memory import Memory
from innkeeper.bridge.memo.recent import CallKey, Recent
from innkeeper.plugins import home as home_module
from innkeeper.plugins.attendant import PluginCall
from innkeeper.plugins.owner import acting_for
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.usage import Usage
from innkeeper.storage.run_model import USER

ENV = "input_offset input_length length output_set config_get log_info error_set alloc store_u64"

ECHO = """(func (export "echo") (call $output_set (call $input_offset) (call $input_length)))
  (func (export "other") (call $output_set (call $input_offset) (call $input_length)))"""


def mixed(mark: str = "") -> bytes:
    """A guest with functions that show all that a guest can tell."""
    body = (
        ECHO
        + """
      (memory (export "memory") 1)
      (func (export "logs") (call $log_info (call $input_offset))
        (call $output_set (call $input_offset) (call $input_length)))
      (func (export "config") (local $b i64) (local.set $b (call $config_get (call $input_offset)))
        (call $output_set (local.get $b) (call $length (local.get $b))))
      (func $number (param $n i64) (local $b i64) (local.set $b (call $alloc (i64.const 8)))
        (call $store_u64 (local.get $b) (local.get $n)) (call $output_set (local.get $b) (i64.const 8)))
      (func (export "grown") (call $number (i64.extend_i32_s (memory.grow (i32.const 100)))))
      (func (export "time") (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 8)))
        (call $number (i64.load (i32.const 8))))
      (func (export "random") (drop (call $random_get (i32.const 8) (i32.const 8)))
        (call $number (i64.load (i32.const 8))))
      (func (export "fails") (result i32) (call $error_set (call $input_offset)) (i32.const 1))
      (func (export "code") (result i32) (i32.const 7))
      (func (export "traps") (unreachable))
      (func (export "spins") (loop (br 0)))"""
    )
    mark = f'(global (export "mark{mark}") i32 (i32.const 0))' if mark else ""
    return assemble(wat(body + mark, ENV, "clock_time_get random_get"))


GUEST = mixed()


async def _echoes(data: bytes) -> bytes:
    return data


def asking(name: str, body: str = "") -> bytes:
    """A guest that imports one function of the host, and may not even call it."""
    function = HostFunction(name, _echoes, (Value.BYTES,), Value.BYTES)
    return assemble(wat(ECHO + body, "input_offset input_length output_set", functions=[function]))


def write(home: Path, name: str, wasm: bytes, *, requests: str = "", grants: str = "", more: str = "") -> None:
    """A plugin of the home, with what it requests and what it is granted."""
    for folder in ("plugins", "manifests"):
        (home / folder).mkdir(exist_ok=True)
    (home / "plugins" / f"{name}.wasm").write_bytes(wasm)
    manifest = f'id = "{name}"\nversion = "1.0.0"\ninstance = "shared"\n'
    if requests:
        manifest += f'[[capabilities]]\nname = "{requests}"\nreason = "it asks"\noptional = true\n'
    (home / "plugins" / f"{name}.toml").write_text(manifest)
    given = f'capabilities = ["{grants}"]\n' if grants else ""
    (home / "manifests" / f"{name}.toml").write_text(f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\n{given}{more}')


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "innkeeper.toml").write_text("[memo]\ndisk = 0\n")
    return folder


@asynccontextmanager
async def opened(home: Path, **more: Any) -> AsyncIterator[Host]:
    async with open_host(home, watch=False, **more) as host:
        assert host.problems == []
        yield host


def memory(host: Host) -> Memory:
    found = bridge_of(host).remembered
    assert found is not None
    return found


async def remembered(plugin: Plugin, function: str = "echo", data: bytes = b"in", **more: Any) -> bool:
    result = await plugin.call(function, data, memo=True, **more)
    return result.usage.remembered


async def test_an_equal_call_runs_no_guest_and_its_result_is_the_same(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        assert plugin.pure
        first = await plugin.call("logs", b"in", memo=True)
        second = await plugin.call("logs", b"in", memo=True)
        assert not first.usage.remembered
        assert second.output == b"in"
        assert second.usage == replace(first.usage, remembered=True)
        assert second.usage.log == [("info", "in")]
        assert (memory(host).hits, memory(host).misses) == (1, 1)


async def test_nothing_is_remembered_unless_somebody_asks(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        for _ in range(2):
            assert not (await plugin.call("echo", b"in")).usage.remembered
        assert not await remembered(plugin)
        assert not (await plugin.call("echo", b"in")).usage.remembered


async def test_whoever_changes_a_result_changes_his_own(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        for _ in range(3):
            result = await plugin.call("logs", b"in", memo=True)
            assert result.usage.log == [("info", "in")]
            result.usage.log.clear()
            result.usage.cpu = -1.0
            result.output = b"another"


async def test_whatever_a_guest_can_tell_apart_is_another_call(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        other = await host.load(mixed("b"))
        limits = plugin.limits
        assert not await remembered(plugin)
        assert not await remembered(plugin, "other")
        assert not await remembered(plugin, data=b"in\0")
        assert not await remembered(plugin, config={"key": "value"})
        assert not await remembered(plugin, config={"key": "value2"})
        assert not await remembered(plugin, config={"keyvalue": "2"})
        assert not await remembered(other)
        for name, value in {"memory": 1 << 20, "log": 10, "log_line": 9, "wall": 2.0, "output": 1000}.items():
            assert not await remembered(plugin, limits=replace(limits, **{name: value}))
        # Equal parts are equal, whatever object they are.
        assert await remembered(plugin, data=bytes(bytearray(b"in")), limits=replace(limits), config={})


async def test_where_memory_ends_is_part_of_the_call(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        small = replace(plugin.limits, memory=1 << 20)
        for _ in range(2):
            assert (await plugin.call("grown", memo=True)).output == (1).to_bytes(8, "little")
            assert (await plugin.call("grown", memo=True, limits=small)).output == b"\xff" * 8


async def test_the_configuration_that_a_guest_reads_is_part_of_the_call(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST, config={"key": "its own"})
        for _ in range(2):
            for value in ("one", "two"):
                assert (await plugin.call("config", b"key", config={"key": value}, memo=True)).output == value.encode()
            assert (await plugin.call("config", b"key", memo=True)).output == b"its own"


async def test_a_configuration_that_a_program_changes_is_another_one(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST, config={"key": "one"})
        for value in ("one", "two", "one"):
            plugin.config["key"] = value
            for _ in range(2):
                assert (await plugin.call("config", b"key", memo=True)).output == value.encode()


async def test_a_configuration_that_changes_while_a_call_is_made_is_not_the_one_that_is_kept(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST, config={"key": "one"})
        version = plugin._present

        async def proceed(options: CallOptions) -> Result:
            plugin.config["key"] = "two"
            return Result(options.config["key"].encode(), Usage())

        call = PluginCall(version, "config", b"key", version.options, None, False)
        attending = memory(host).attending(costly=False)
        assert (await attending.attend(call, proceed)).output == b"one"
        assert (await attending.attend(call, proceed)).output == b"two"


@pytest.mark.parametrize("function", ["fails", "code", "traps", "spins"])
async def test_what_failed_is_never_remembered(function: str, home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST, limits=replace(host.home.configuration.defaults, cpu=0.01))
        for _ in range(2):
            with pytest.raises((GuestError, LimitError)) as caught:
                await plugin.call(function, b"no good", memo=True)
            assert not caught.value.usage.remembered
        assert (memory(host).hits, len(memory(host)._recent)) == (0, 0)


async def test_an_input_above_its_limit_fails_though_the_result_is_remembered(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        await plugin.call("echo", b"long", memo=True)
        for _ in range(2):
            with pytest.raises(LimitError):
                await plugin.call("echo", b"long", memo=True, limits=replace(plugin.limits, input=3))


async def test_a_guest_that_stays_is_never_remembered(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST, instance="shared")
        assert not plugin.pure
        for _ in range(2):
            assert not await remembered(plugin)


@pytest.mark.parametrize("namespace", ["extism:host/user", "env"])
async def test_who_imports_a_function_of_the_program_is_never_remembered(namespace: str, home: Path) -> None:
    function = HostFunction("innkeeper_log_write", _echoes, (Value.BYTES,), Value.BYTES, namespace)
    guest = assemble(wat(ECHO, "input_offset input_length output_set", functions=[function]))
    async with opened(home) as host:
        plugin = await host.load(guest, functions=[function])
        assert not plugin.pure
        for _ in range(2):
            assert not await remembered(plugin)
        # What it does not import it cannot ask.
        assert (await host.load(GUEST, functions=[function])).pure


async def test_a_plugin_of_several_modules_is_never_remembered(home: Path) -> None:
    async with opened(home) as host:
        text = f'(import "lib" "f" (func $f)) {ECHO}'
        guest = assemble(wat(text, "input_offset input_length output_set"))
        lib = assemble('(module (func (export "f")))')
        plugin = await host.load(guest, modules={"lib": lib})
        assert not plugin.pure
        for _ in range(2):
            assert not await remembered(plugin)


@pytest.mark.parametrize("name", ["clock", "random"])
async def test_what_wasi_shows_of_the_world_is_never_remembered(name: str, home: Path) -> None:
    write(home, "granted", GUEST, requests=name, grants=name)
    write(home, "asked", GUEST, requests=name)
    function = {"clock": "time"}.get(name, name)
    async with opened(home) as host:
        granted, asked = host.plugins["granted"], host.plugins["asked"]
        assert (granted.pure, asked.pure) == (False, True)
        assert len({(await granted.call(function, memo=True)).output for _ in range(3)}) == 3
        # Without the grant there is one time, and one row of random numbers, for guests that really run.
        assert len({(await asked.call(function)).output for _ in range(3)}) == 1
        assert [await remembered(asked, function) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("grants", ["", "kv:notes"])
async def test_who_can_ask_a_service_is_never_remembered_granted_or_refused(grants: str, home: Path) -> None:
    write(home, "notes", asking("innkeeper_kv_get"), requests="kv:notes", grants=grants)
    async with opened(home) as host:
        plugin = host.plugins["notes"]
        assert not plugin.pure
        for _ in range(2):
            assert not await remembered(plugin)


async def test_who_was_granted_something_is_never_remembered_though_it_imports_nothing(home: Path) -> None:
    write(home, "notes", GUEST, requests="kv:notes", grants="kv:notes")
    async with opened(home) as host:
        assert not host.plugins["notes"].pure


async def test_streams_need_no_grant_and_are_never_remembered(home: Path) -> None:
    write(home, "reads", asking("innkeeper_stream_read"))
    path = home / "plugins" / "reads.toml"
    node = (
        '[[nodes]]\ntype = "Read"\nfunction = "echo"\n[nodes.inputs.text]\ndataFlowType = "STRING"\nisStream = true\n'
    )
    path.write_text(path.read_text() + node)
    async with opened(home) as host:
        assert not host.plugins["reads"].pure


async def test_a_guest_that_logs_and_reads_its_configuration_through_the_bridge_is_remembered(home: Path) -> None:
    for name in ("innkeeper_log_write", "innkeeper_config_get"):
        write(home, name.replace("_", "-"), asking(name))
    async with opened(home) as host:
        for plugin in host.plugins.values():
            assert plugin.pure
            assert [await remembered(plugin) for _ in range(2)] == [False, True]


async def test_a_plugin_that_gets_a_capability_meanwhile_is_remembered_no_more(home: Path) -> None:
    write(home, "notes", GUEST, requests="clock")
    async with opened(home) as host:
        plugin = host.plugins["notes"]
        assert [await remembered(plugin, "time") for _ in range(2)] == [False, True]
        write(home, "notes", GUEST, requests="clock", grants="clock")
        await host.reload()
        assert not plugin.pure
        assert not await remembered(plugin, "time")
        write(home, "notes", GUEST, requests="clock")
        await host.reload()
        assert await remembered(plugin, "time")


async def test_other_bytes_configuration_or_limits_in_a_grant_are_another_call(home: Path) -> None:
    write(home, "notes", GUEST)
    async with opened(home) as host:
        plugin = host.plugins["notes"]
        assert not await remembered(plugin)
        for wasm, more in ((mixed("b"), ""), (GUEST, '[config]\nkey = "b"\n'), (GUEST, '[limits]\nmemory = "1MiB"\n')):
            write(home, "notes", wasm, more=more)
            await host.reload()
            assert [await remembered(plugin) for _ in range(2)] == [False, True]


async def test_a_plugin_that_is_gone_answers_nothing_that_was_remembered(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        await remembered(plugin)
        await plugin.aclose()
        with pytest.raises(UsageError, match="closed"):
            await remembered(plugin)


async def test_owners_have_nothing_in_common(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        assert not await remembered(plugin)
        with acting_for("ada"):
            assert [await remembered(plugin) for _ in range(2)] == [False, True]
        await memory(host).erase("ada")
        assert await remembered(plugin)
        with acting_for("ada"):
            assert not await remembered(plugin)


async def test_large_inputs_and_outputs_are_not_remembered(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        for size, expected in ((MOST, True), (MOST + 1, False)):
            data = bytes(size)
            assert [await remembered(plugin, data=data) for _ in range(2)] == [False, expected]


async def test_memory_is_bounded_and_what_was_used_last_stays(home: Path) -> None:
    (home / "innkeeper.toml").write_text("[memo]\ndisk = 0\nmemory = 100000\n")
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        kept = bytes(9000)
        await remembered(plugin, data=kept)
        for number in range(50):
            await remembered(plugin, data=number.to_bytes(2, "big") + bytes(9000))
            assert await remembered(plugin, data=kept)
            assert memory(host)._recent.size <= 100_000
        assert not await remembered(plugin, data=bytes(2) + bytes(9000))


async def test_a_memory_without_room_is_none(home: Path) -> None:
    (home / "innkeeper.toml").write_text("[memo]\ndisk = 0\nmemory = 0\n")
    async with opened(home) as host:
        assert bridge_of(host).remembered is None
        plugin = await host.load(GUEST)
        assert [await remembered(plugin) for _ in range(2)] == [False, False]


async def test_results_are_forgotten_in_memory_too_after_their_days(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        now = 1_000_000.0
        memory(host)._now = lambda: now
        assert [await remembered(plugin) for _ in range(2)] == [False, True]
        now += 30 * 86_400 + 1
        assert [await remembered(plugin) for _ in range(2)] == [False, True]


async def test_whoever_is_cancelled_is_given_nothing(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        await remembered(plugin)
        with trio.CancelScope() as scope:
            scope.cancel()
            await remembered(plugin)
        assert scope.cancelled_caught


async def test_remembered_calls_let_other_tasks_run(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        passes = 0

        async def count() -> None:
            nonlocal passes
            while True:
                await trio.lowlevel.checkpoint()
                passes += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for _ in range(2000):
                await remembered(plugin)
            nursery.cancel_scope.cancel()
        assert passes >= 5


async def test_erasing_forgets_what_is_remembered_and_what_is_under_way(home: Path) -> None:
    async with opened(home) as host:
        plugin = await host.load(GUEST)
        await remembered(plugin)
        assert await memory(host).erase(USER) == 0
        assert not await remembered(plugin)

        async def proceed(options: CallOptions) -> Result:
            await memory(host).erase(USER)
            return Result(b"begun before", Usage())

        version = plugin._present
        call = PluginCall(version, "echo", b"under way", version.options, None, False)
        result = await memory(host).attending(costly=False).attend(call, proceed)
        assert result.output == b"begun before"
        assert not await remembered(plugin, data=b"under way")


@given(
    data=st.binary(max_size=200),
    function=st.sampled_from(["echo", "logs", "config", "grown", "time", "random", "fails", "code", "traps"]),
    config=st.dictionaries(st.text("abk", min_size=1, max_size=3), st.text(max_size=5), max_size=3),
)
@settings(deadline=None, max_examples=60)
def test_with_and_without_memory_a_guest_does_the_same(data: bytes, function: str, config: dict[str, str]) -> None:
    async def outcome(plugin: Plugin, memo: bool) -> tuple[object, ...]:
        try:
            result = await plugin.call(function, data, config=config, memo=memo)
        except GuestError as error:
            return str(error), error.code, error.usage.log
        return result.output, result.usage.log, result.usage.log_dropped, result.usage.memory

    async def check() -> None:
        async with open_host(home, watch=False, catalogue=False) as host:
            plugin = await host.load(GUEST)
            without = await outcome(plugin, False)
            assert [await outcome(plugin, True) for _ in range(3)] == [without] * 3

    with TemporaryDirectory() as home:
        Path(home, "innkeeper.toml").write_text("[memo]\ndisk = 0\n")
        trio.run(check)


@given(
    st.binary(max_size=100),
    st.lists(st.tuples(st.sampled_from(["info", "warn"]), st.text(max_size=20)), max_size=5),
    st.floats(0, 1e9),
    st.integers(0, 1 << 62),
)
@settings(deadline=None)
def test_what_is_written_is_read_again(output: bytes, log: list[tuple[str, str]], cpu: float, memory: int) -> None:
    entry = Entry.of(Result(output, Usage(cpu=cpu, memory=memory, log=log)), 5.0)
    assert entry is not None
    assert read_entry("key", write_entry("key", entry)) == entry
    assert read_entry("another key", write_entry("key", entry)) is None


@given(st.data())
@settings(deadline=None)
def test_a_damaged_entry_is_none(data: st.DataObject) -> None:
    entry = Entry.of(Result(b"output", Usage(log=[("info", "line")])), 5.0)
    assert entry is not None
    written = write_entry("key", entry)
    at = data.draw(st.integers(0, len(written) - 1))
    bit = data.draw(st.integers(0, 7))
    assert read_entry("key", written[:at] + bytes([written[at] ^ (1 << bit)]) + written[at + 1 :]) is None
    assert read_entry("key", written[:at]) is None


def test_no_two_calls_have_the_same_bytes_to_be_hashed() -> None:
    whole, other = b"b" * 32, b"b" * 31 + b"a"
    calls = [("o", whole, "ab", b"c"), ("o", whole, "a", b"bc"), ("o", whole, "abc", b""), ("o", other, "b", b"c")]
    calls += [("", b"o" + whole, "ab", b"c"), ("ob", whole[1:], "ab", b"c")]
    keys = {disk_key(*call, "here") for call in calls} | {disk_key(*calls[0], "elsewhere")}
    assert len(keys) == 7


def test_every_part_of_a_usage_is_remembered() -> None:
    usage = Usage(1.0, 2.0, 3, 4, 5, 6, 7, 8, [("info", "line")])
    entry = Entry.of(Result(b"", usage), 5.0)
    assert entry is not None
    read = read_entry("key", write_entry("key", entry))
    assert read is not None
    assert read.result().usage == replace(usage, remembered=True)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60))
@settings(deadline=None)
def test_the_size_of_what_is_kept_is_always_known(steps: list[tuple[int, int]]) -> None:
    recent = Recent(5000)
    for key, size in steps:
        entry = Entry.of(Result(bytes(size), Usage()), 0.0)
        assert entry is not None
        if size % 5:
            recent.put(CallKey("o", b"", "f", bytes(key)), entry)
        else:
            recent.drop(CallKey("o", b"", "f", bytes(key)))
        entries = [(CallKey._make(kept), Entry._make(each)) for kept, each in recent._entries.items()]
        assert recent.size == sum(each.size + kept.size for kept, each in entries) <= 5000


def test_what_is_kept_in_memory_is_nothing_that_the_collector_looks_at() -> None:
    recent = Recent(1 << 20)
    for number in range(100):
        entry = Entry.of(Result(bytes(number), Usage(cpu=float(number), log=[("info", str(number))])), 0.0)
        assert entry is not None
        recent.put(CallKey("o", bytes(32), "f", bytes(number)), entry)
    for _ in range(4):
        gc.collect()
    assert not [each for pair in recent._entries.items() for each in pair if gc.is_tracked(each)]
