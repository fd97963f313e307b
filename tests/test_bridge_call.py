"""The service `call`: another plugin's function, under its own rights; whatever it does is a value to the caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
import trio.testing

from bridge_guests import NODE, ask, asks, depends, guest, home, opened, refused, relay, write
from guests import assemble, nothing_is_held, text_block, wat
from innkeeper import Host
from innkeeper.bridge.call import MOST_DATA
from innkeeper.bridge.declared import misfit
from innkeeper.plugins.manifest import Dependency, Manifest
from innkeeper.plugins.runs import Run, RunContext
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import FiberEngine
from innkeeper.sandbox.limits import Limits

__all__ = ["home"]

CALLEE = assemble(
    wat(
        """(memory 1)
        (func (export "echo") (call $output_set (call $input_offset) (call $input_length)))
        (func (export "trap") (unreachable))
        (func (export "spin") (loop (br 0)))
        (func (export "refuse") (result i32) (call $error_set (call $input_offset)) (i32.const 7))
        (func (export "grow") (drop (memory.grow (i32.const 5000))) (unreachable))
        (func (export "large") (local $b i64)
          (local.set $b (call $alloc (i64.const 1100000)))
          (call $output_set (local.get $b) (i64.const 1100000)))
        (func (export "more") (param i32))
        (func (export "flood") (loop (call $log_info (call $input_offset)) (br 0)))""",
        "input_offset input_length output_set error_set alloc log_info",
    )
)


def caller(home: Path, name: str = "a", *, has: tuple[str, ...] = ("call:b",), **more: Any) -> None:
    write(home, name, relay("call"), has=has, **more)


async def invoke(host: Host, function: str, data: bytes = b"", *, plugin: str = "b", run: Any = None) -> Any:
    return await ask(host, "a", "call_invoke", run=run, plugin=plugin, function=function, data=data)


async def test_a_guest_gets_what_another_plugin_s_function_answers(home: Path) -> None:
    caller(home)
    write(home, "b", CALLEE)
    async with opened(home) as (host, _):
        depends(host, "a", b=">=1, <2")
        assert await invoke(host, "echo", b"\0hello") == {"ok": b"\0hello"}
        assert await invoke(host, "echo") == {"ok": b""}
        data = bytes(MOST_DATA)
        assert await invoke(host, "echo", data) == {"ok": data}


async def test_only_what_is_declared_requested_and_granted_can_be_called(home: Path) -> None:
    for name in ("b", "c"):
        write(home, name, CALLEE)
    write(home, "a", relay("call"), has=["call:b", "call:c/echo"], granted=["call:b/echo", "call:c"])
    write(home, "none", relay("call"), has=["call:b"], granted=[])
    async with opened(home, sound=False) as (host, _):
        # Granted, and not declared.
        assert refused(await invoke(host, "echo"), "denied")["capability"] == "call"
        depends(host, "a", b="", c="*")
        depends(host, "none", b="")
        assert await invoke(host, "echo", b"x") == {"ok": b"x"}
        assert await invoke(host, "echo", b"x", plugin="c") == {"ok": b"x"}
        for plugin, function in (("b", "trap"), ("c", "trap"), ("a", "echo"), ("b/echo", "x"), ("b", "echo/x")):
            answer = await ask(host, "a", "call_invoke", plugin=plugin, function=function)
            assert answer["error"]["kind"] == "denied", (plugin, function)
        answer = await ask(host, "none", "call_invoke", plugin="b", function="echo")
        refused(answer, "denied")


async def test_what_is_not_there_or_does_not_fit_is_not_found(home: Path) -> None:
    caller(home, has=("call:b", "call:gone"))
    write(home, "b", CALLEE, version="2.1.0")
    async with opened(home) as (host, _):
        depends(host, "a", b=">=2", gone="")
        refused(await invoke(host, "echo", plugin="gone"), "not_found")
        refused(await invoke(host, "no such"), "not_found")
        assert refused(await invoke(host, "more"), "callee")["cause"] == "usage"
        depends(host, "a", b="<2")
        assert "'2.1.0'" in refused(await invoke(host, "echo"), "not_found")["message"]
        depends(host, "a", b=">=2")
        assert await invoke(host, "echo") == {"ok": b""}
        (home / "plugins" / "b.wasm").unlink()
        (home / "plugins" / "b.toml").unlink()
        await host.reload()
        refused(await invoke(host, "echo"), "not_found")


ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "trap": ("trap", {"cause": "guest", "code": None}),
    "an error of its own": ("refuse", {"cause": "guest", "code": 7}),
    "an endless loop": ("spin", {"cause": "limit", "limit": "cpu"}),
    "an endless log": ("flood", {"cause": "limit"}),
    "a large answer": ("large", {"cause": "limit", "limit": "output"}),
}


@pytest.mark.parametrize("end", ENDS)
async def test_however_the_other_ends_the_caller_gets_a_value_and_lives(home: Path, end: str) -> None:
    function, expected = ENDS[end]
    caller(home)
    write(home, "b", CALLEE, grant="[limits]\ncpu = 0.05\nsystem_calls = 5000\n")
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        error = refused(await invoke(host, function, "\x1b[2J said by b \x9b".encode()), "callee")
        assert {key: error[key] for key in expected} == expected
        if function == "refuse":
            assert error["message"] == "\\x1b[2J said by b \\x9b"


async def test_a_module_that_this_host_does_not_run_is_a_value_that_names_no_file(home: Path) -> None:
    caller(home)
    write(home, "b", assemble('(module (import "x" "y" (func)) (func (export "echo")))'))
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        assert refused(await invoke(host, "echo"), "callee")["cause"] == "rejected"


async def test_the_other_runs_under_its_own_rights_and_lends_none(home: Path) -> None:
    write(home, "a", relay("call", "kv"), has=["call:b", "call:c", "kv"])
    write(home, "b", relay("kv"), has=["kv"])
    write(home, "c", relay("kv"), has=["kv"], granted=[])
    put, get = msgpack.packb({"key": "k", "value": b"b's"}), msgpack.packb({"key": "k"})
    async with opened(home) as (host, _):
        depends(host, "a", b="", c="")
        assert "ok" in await ask(host, "a", "kv_put", key="k", value=b"a's")
        assert "ok" in msgpack.unpackb((await invoke(host, "kv_put", put))["ok"])
        assert (await ask(host, "a", "kv_get", key="k"))["ok"]["value"] == b"a's"
        assert msgpack.unpackb((await invoke(host, "kv_get", get))["ok"])["ok"]["value"] == b"b's"
        # The caller has what the other lacks.
        refused(msgpack.unpackb((await invoke(host, "kv_get", get, plugin="c"))["ok"]), "denied")


async def test_the_other_has_the_run_s_variables_by_its_own_right_and_never_the_caller_s_streams(home: Path) -> None:
    write(home, "a", relay("call", "stream"), has=["call:b"], manifest=NODE)
    write(home, "b", relay("vars", "stream"), has=["vars"], manifest=NODE)
    run = Run("r")
    context = RunContext(run, "n")
    async with opened(home) as (host, bridge):
        depends(host, "a", b="")
        channel = bridge.streams.connect(run, reader=("n", "words"))
        channel.put(msgpack.packb("for a alone"))
        stolen = await invoke(host, "stream_read", msgpack.packb({"slot": "words", "wait": 0.0}), run=context)
        refused(msgpack.unpackb(stolen["ok"]), "not_found")
        closed = await invoke(host, "stream_close", msgpack.packb({"slot": "words", "end": "read"}), run=context)
        refused(msgpack.unpackb(closed["ok"]), "not_found")
        answer = await ask(host, "a", "stream_read", run=context, slot="words")
        assert answer["ok"]["items"] == ["for a alone"]
        wrote = await invoke(host, "vars_set", msgpack.packb({"key": "k", "value": 1}), run=context)
        assert msgpack.unpackb(wrote["ok"]) == {"ok": {"version": 1}}
        assert (await bridge.variables.get(run, "k")) is not None
        refused(msgpack.unpackb((await invoke(host, "vars_list", msgpack.packb({})))["ok"]), "not_found")


def unwrapped(answer: bytes) -> tuple[int, dict[str, Any]]:
    """How many calls lie inside of each other, and the error of the innermost."""
    depth, found = 0, msgpack.unpackb(answer)
    while "ok" in found:
        depth, found = depth + 1, msgpack.unpackb(found["ok"])
    return depth, found["error"]


async def test_a_plugin_that_calls_itself_for_ever_comes_to_an_end_at_the_depth(home: Path) -> None:
    again = asks("again", "call_invoke", plugin="a", function="again")
    write(home, "a", guest(again, "call"), has=["call:a"])
    async with opened(home) as (host, _):
        depends(host, "a", a="")
        depth, error = unwrapped((await host.plugins["a"].call("again")).output)
        assert (depth, error["kind"], error["cause"], error["limit"]) == (8, "callee", "limit", "nesting")


async def test_a_depth_beyond_the_host_s_own_stack_is_a_value_as_well(home: Path) -> None:
    again = asks("again", "call_invoke", plugin="a", function="again")
    write(home, "a", guest(again, "call"), has=["call:a"], grant="[limits]\nnesting = 80\n")
    async with opened(home) as (host, _):
        depends(host, "a", a="")
        depth, error = unwrapped((await host.plugins["a"].call("again")).output)
        assert depth >= 8
        assert error["kind"] in ("callee", "failed")
        depth_again, _ = unwrapped((await host.plugins["a"].call("again")).output)
        assert depth_again == depth


async def test_a_circle_of_plugins_comes_to_an_end_as_well(home: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        again = asks("again", "call_invoke", plugin=other, function="again")
        write(home, name, guest(again, "call"), has=[f"call:{other}"])
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        depends(host, "b", a="")
        depth, error = unwrapped((await host.plugins["a"].call("again")).output)
        assert (depth, error["limit"]) == (8, "nesting")


async def test_a_circle_through_a_guest_that_stays_is_an_error_and_ends_nobody(home: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        body = asks("again", "call_invoke", plugin=other, function="again") + '(func (export "well"))'
        kept = 'instance = "shared"\n'
        write(home, name, guest(body, "call"), has=[f"call:{other}"], manifest=kept, grant=kept)
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        depends(host, "b", a="")
        depth, error = unwrapped((await host.plugins["a"].call("again")).output)
        assert (depth, error["kind"], error["cause"]) == (1, "callee", "usage")
        assert "within its own call" in error["message"]
        for plugin in host.plugins.values():
            await plugin.call("well")


async def test_two_guests_that_stay_and_wait_for_each_other_come_free_at_their_limits(home: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        body = asks("again", "call_invoke", plugin=other, function="well") + '(func (export "well"))'
        kept = 'instance = "shared"\n'
        grant = f"{kept}[limits]\nhost_call = 2.0\n"
        write(home, name, guest(body, "call"), has=[f"call:{other}"], manifest=kept, grant=grant)
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        depends(host, "b", a="")
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for plugin in host.plugins.values():
                    nursery.start_soon(plugin.call, "again")
            for plugin in host.plugins.values():
                await plugin.call("well")


async def test_the_other_takes_no_longer_than_the_caller_has_and_the_caller_lives_to_say_so(home: Path) -> None:
    caller(home, grant="[limits]\nhost_call = 2.0\n")
    write(home, "b", CALLEE, grant="[limits]\ncpu = 30.0\n")
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        error = refused(await invoke(host, "spin"), "callee")
        assert (error["cause"], error["limit"]) == ("limit", "wall")


async def test_who_is_cancelled_cancels_what_it_calls(home: Path) -> None:
    caller(home)
    write(home, "b", CALLEE, grant="[limits]\ncpu = 30.0\n")
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        assert "ok" in await invoke(host, "echo")
        with trio.fail_after(10), trio.move_on_after(0.2) as scope:
            await invoke(host, "spin")
        assert scope.cancelled_caught
        # Both guests are gone, and both plugins still there.
        assert isinstance(host.engine, FiberEngine)
        await nothing_is_held(host.engine)
        assert await invoke(host, "echo", b"x") == {"ok": b"x"}


async def test_what_the_other_logs_is_in_the_caller_s_log_under_its_name_and_never_crowds_it_out(home: Path) -> None:
    write(home, "a", relay("call", "log"), has=["call:b"])
    write(home, "b", relay("log", more=LOUD, env="log_info"), grant="[limits]\nsystem_calls = 5000\n")
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        data = msgpack.packb({"message": "hello", "level": "warn"})
        result = await host.plugins["a"].call(
            "call_invoke", msgpack.packb({"plugin": "b", "function": "log_write", "data": data})
        )
        assert result.usage.log == [("warn", "b: hello")]
        result = await host.plugins["a"].call(
            "call_invoke", msgpack.packb({"plugin": "b", "function": "loud", "data": b"x" * 1000})
        )
        kept = sum(len(text) for _, text in result.usage.log)
        assert Limits().log // 5 < kept < Limits().log // 3
        assert result.usage.log_dropped > 0
        assert msgpack.unpackb(result.output)["error"]["cause"] == "limit"


LOUD = '(func (export "loud") (loop (call $log_info (call $input_offset)) (br 0)))'


@pytest.mark.parametrize("chain", [1, 2])
async def test_a_full_crowd_that_calls_plugins_gets_through(home: Path, chain: int) -> None:
    caller(home)
    if chain == 2:
        caller(home, "b", has=("call:c",))
    write(home, "c" if chain == 2 else "b", CALLEE)
    inner = msgpack.packb({"plugin": "c", "function": "echo", "data": b"x"})
    answers: list[Any] = []
    async with opened(home, bounds=Bounds(calls_per_plugin=4)) as (host, _):
        depends(host, "a", b="")
        depends(host, "b", c="")

        async def one() -> None:
            if chain == 1:
                answers.append(await invoke(host, "echo", b"x"))
            else:
                answers.append(msgpack.unpackb((await invoke(host, "call_invoke", inner))["ok"]))

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(one)
    assert answers == [{"ok": b"x"}] * 200


async def test_where_every_guest_waits_for_another_some_are_told_and_nobody_hangs(home: Path) -> None:
    read, call = (msgpack.packb(each) for each in ({"slot": "words"}, {"plugin": "b", "function": "echo"}))
    body = f"""(func (export "stream_read") (local $b i64)
      {text_block("waits for a stream to end", read, "b")}
      (drop (call $innkeeper_stream_read (local.get $b)))
      {text_block("then calls", call, "b")}
      (local.set $b (call $innkeeper_call_invoke (local.get $b)))
      (call $output_set (local.get $b) (call $length (local.get $b))))"""
    write(home, "a", guest(body, "stream", "call"), has=["call:b"], manifest=NODE)
    write(home, "b", CALLEE)
    run = Run("r")
    answers: list[Any] = []
    async with opened(home, bounds=Bounds(live_guests=8)) as (host, bridge):
        depends(host, "a", b="")

        async def one(node: str) -> None:
            result = await host.plugins["a"].call("stream_read", run=RunContext(run, node))
            answers.append(msgpack.unpackb(result.output))

        for number in range(100):
            bridge.streams.connect(run, reader=(str(number), "words"))
        # Far below the ten seconds at which calls that wait for each other would be ended.
        with trio.fail_after(8):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(one, str(number))
                engine = host.engine
                assert isinstance(engine, FiberEngine)
                while engine.live.taken < 8:  # noqa: ASYNC110 (the engine tells nobody)
                    await trio.sleep(0.005)
                await trio.testing.wait_all_tasks_blocked(0.01)
                bridge.streams.end(run)
    assert len(answers) == 100
    assert sum(answer == {"ok": b""} for answer in answers) >= 4
    assert all(answer == {"ok": b""} or refused(answer, "busy") for answer in answers)


async def test_arguments_that_are_none_are_refused_before_anything_is_looked_for(home: Path) -> None:
    caller(home)
    write(home, "b", CALLEE)
    async with opened(home) as (host, _):
        depends(host, "a", b="")
        for more in (
            {"data": "text"},
            {"plugin": ""},
            {"plugin": "p" * 65},
            {"function": ""},
            {"function": "f" * 129},
            {"rights": "all"},
            {"data": bytes(MOST_DATA + 1)},
        ):
            arguments = {"plugin": "b", "function": "echo", **more}
            refused(await ask(host, "a", "call_invoke", **arguments), "invalid")


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [
        ("", "1.0.0", True),
        ("*", "whatever", True),
        (">=1.2, <2", "1.2.0", True),
        (">=1.2, <2", "2.0", False),
        (">=1.2", "2.0.0-beta.1", True),
        ("==1.*", "1.9", True),
        ("~=1.4", "1.3", False),
        ("1.2", "1.2", False),
        (">=1", "whatever", False),
        (">=x", "1", False),
        (">=1, " * 50, "1", False),
    ],
)
def test_a_version_is_in_the_declared_range_or_the_sentence_says_why_not(wanted: str, version: str, fits: bool) -> None:
    said = misfit(Dependency("b", wanted), Manifest("b", version, "b"))
    assert (said is None) == fits
    assert said is None or repr(wanted) in said or len(wanted) > 200
    assert misfit(Dependency("b", ">=1"), None) is not None
    assert misfit(Dependency("b", ""), None) is None
