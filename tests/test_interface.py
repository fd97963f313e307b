"""What every engine promises to the rest of the host, held by the fake that tests use and by the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from wasmtime import wat2wasm

from fakes import FakeEngine, FakeGuest
from innkeeper.errors import GuestError, LimitError, RejectedError, UsageError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, Engine, Handler, HostFunction, Program, Session, Value
from innkeeper.sandbox.limits import Limits

_GUEST = """
(module
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/env" "config_get" (func $config_get (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/user" "ask" (func $ask (param i64) (result i64)))
  (memory (export "memory") 1)
  (global $count (mut i32) (i32.const 0))

  (func $input_block (result i64) (local $block i64) (local $i i64)
    (local.set $block (call $alloc (call $input_length)))
    (block $done
      (loop $next
        (br_if $done (i64.ge_u (local.get $i) (call $input_length)))
        (call $store_u8 (i64.add (local.get $block) (local.get $i)) (call $input_load_u8 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $next)))
    (local.get $block))
  (func $give (param $block i64) (call $output_set (local.get $block) (call $length (local.get $block))))

  (func (export "echo") (result i32) (call $give (call $input_block)) (i32.const 0))
  (func (export "fail") (result i32) (call $error_set (call $input_block)) (i32.const 3))
  (func (export "ask") (result i32) (call $give (call $ask (call $input_block))) (i32.const 0))
  (func (export "config") (result i32) (call $give (call $config_get (call $input_block))) (i32.const 0))
  (func (export "count") (result i32) (local $block i64)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (local.set $block (call $alloc (i64.const 1)))
    (call $store_u8 (local.get $block) (i32.add (i32.const 48) (global.get $count)))
    (call $give (local.get $block)) (i32.const 0))
  (func (export "trap") (result i32) unreachable))
"""


async def _echo(_: FakeGuest, data: bytes) -> bytes:
    return data


async def _fail(_: FakeGuest, data: bytes) -> bytes:
    raise GuestError(data.decode(), code=3)


async def _ask(guest: FakeGuest, data: bytes) -> bytes:
    answer: bytes = await guest.host("ask", data)
    return answer


async def _config(guest: FakeGuest, data: bytes) -> bytes:
    return guest.config[data.decode()].encode()


async def _count(guest: FakeGuest, _: bytes) -> bytes:
    guest.state["count"] = guest.state.get("count", 0) + 1
    return str(guest.state["count"]).encode()


async def _trap(_: FakeGuest, __: bytes) -> bytes:
    raise GuestError("the guest trapped")


@asynccontextmanager
async def _fake() -> AsyncIterator[tuple[Engine, bytes]]:
    engine = FakeEngine()
    functions = {"echo": _echo, "fail": _fail, "ask": _ask, "config": _config, "count": _count, "trap": _trap}
    wasm = engine.program(functions)
    yield engine, wasm
    assert engine.live == 0


@asynccontextmanager
async def _fibers() -> AsyncIterator[tuple[Engine, bytes]]:
    async with open_engine(Bounds()) as engine:
        yield engine, bytes(wat2wasm(_GUEST))


Opener = Callable[[], AbstractAsyncContextManager[tuple[Engine, bytes]]]

engines = pytest.mark.parametrize("opener", [_fake, _fibers])

_OPTIONS = CallOptions(limits=Limits(wall=60.0), config={"key": "value"}, plugin="demo")


async def _answer(question: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return question.upper()


def _ask_function(handler: Handler = _answer) -> HostFunction:
    return HostFunction("ask", handler, (Value.BYTES,), Value.BYTES)


@asynccontextmanager
async def _program(opener: Opener, handler: Handler = _answer) -> AsyncIterator[Program]:
    async with opener() as (engine, wasm):
        program = await engine.load(wasm, functions=[_ask_function(handler)], plugin="demo")
        yield program
        program.close()


@engines
async def test_a_call_gives_output_and_what_it_cost(opener: Opener) -> None:
    async with _program(opener) as program:
        assert len(program.digest) == 64
        result = await program.call("echo", b"\0bytes\xff", _OPTIONS)
        assert result.output == b"\0bytes\xff"
        assert (result.usage.bytes_in, result.usage.bytes_out) == (7, 7)


@engines
async def test_the_configuration_and_host_functions_reach_the_guest(opener: Opener) -> None:
    async with _program(opener) as program:
        assert (await program.call("config", b"key", _OPTIONS)).output == b"value"
        result = await program.call("ask", b"who?", _OPTIONS)
        assert (result.output, result.usage.host_calls) == (b"WHO?", 1)


@engines
async def test_each_call_gets_a_fresh_guest_and_a_session_keeps_one(opener: Opener) -> None:
    async with _program(opener) as program:
        assert [(await program.call("count", b"", _OPTIONS)).output for _ in range(3)] == [b"1", b"1", b"1"]
        session: Session = await program.open(_OPTIONS)
        assert [(await session.call("count", b"", _OPTIONS)).output for _ in range(3)] == [b"1", b"2", b"3"]
        await session.aclose()


@engines
async def test_a_failure_names_plugin_and_function(opener: Opener) -> None:
    async with _program(opener) as program:
        with pytest.raises(GuestError, match="no good") as failed:
            await program.call("fail", b"no good", _OPTIONS)
        assert (failed.value.plugin, failed.value.function, failed.value.code) == ("demo", "fail", 3)
        with pytest.raises(UsageError) as unknown:
            await program.call("nothing", b"", _OPTIONS)
        assert (unknown.value.plugin, unknown.value.function) == ("demo", "nothing")


@engines
async def test_input_and_output_are_bounded(opener: Opener) -> None:
    async with _program(opener) as program:
        for limit, limits in (("input", Limits(input=3)), ("output", Limits(output=3))):
            with pytest.raises(LimitError) as caught:
                await program.call("echo", b"1234", CallOptions(limits))
            assert (caught.value.limit, caught.value.value) == (limit, 3)


@engines
async def test_what_a_host_function_raises_comes_out_as_it_is(opener: Opener) -> None:
    class OwnError(Exception):
        pass

    async def raises(_: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        raise OwnError("mine")

    async with _program(opener, raises) as program:
        with pytest.raises(OwnError, match="mine"):
            await program.call("ask", b"", _OPTIONS)
        assert (await program.call("echo", b"on", _OPTIONS)).output == b"on"


@engines
async def test_a_call_is_cancelled_like_any_await(opener: Opener) -> None:
    async def forever(_: bytes) -> bytes:
        await trio.sleep_forever()
        return b""

    async with _program(opener, forever) as program:
        with trio.move_on_after(0.05) as scope:
            await program.call("ask", b"", _OPTIONS)
        assert scope.cancelled_caught
        with pytest.raises(LimitError) as caught:
            await program.call("ask", b"", CallOptions(Limits(wall=0.05)))
        assert caught.value.limit == "wall"


@engines
async def test_a_session_is_spent_after_a_trap(opener: Opener) -> None:
    async with _program(opener) as program:
        session = await program.open(_OPTIONS)
        with pytest.raises(GuestError):
            await session.call("trap", b"", _OPTIONS)
        with pytest.raises(GuestError, match="ended"):
            await session.call("count", b"", _OPTIONS)
        await session.aclose()


@engines
async def test_what_is_no_module_of_this_engine_is_rejected(opener: Opener) -> None:
    async with opener() as (engine, _):
        with pytest.raises(RejectedError):
            await engine.load(b"\0asm\1\0\0\0\xff", plugin="demo")


@engines
async def test_a_closed_program_takes_no_more_calls(opener: Opener) -> None:
    async with _program(opener) as program:
        program.close()
        with pytest.raises(UsageError):
            await program.call("echo", b"", _OPTIONS)
