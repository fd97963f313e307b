"""Bytes that come again are compared: the same object is found, no other bytes pass for them, and little is kept."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import innkeeper
from guests import Sandbox, assemble, number, opened
from innkeeper.errors import RejectedError, UsageError
from innkeeper.sandbox import admission, known
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation.compiler import Compiler
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.known import Known, look, remembered
from innkeeper.sandbox.leb import leb
from innkeeper.sandbox.limits import MIB

LIMIT = 64 * MIB


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[known._Memory]:
    """A memory that has seen nothing."""
    made = known._Memory()
    monkeypatch.setattr(known, "_memory", made)
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The modules whose sections were read."""
    seen: list[bytes] = []
    admit = admission.admit

    def watched(wasm: bytes, *, plugin: str | None, size_limit: int) -> object:
        seen.append(wasm)
        return admit(wasm, plugin=plugin, size_limit=size_limit)

    monkeypatch.setattr(admission, "admit", watched)
    return seen


def module(tail: bytes = b"", size: int = 0) -> bytes:
    """A valid module that ends with a custom section of `size` bytes, or of `tail`."""
    content = tail or bytes(size)
    name = b"\x01x" + content
    return assemble('(module (func (export "run")))') + b"\0" + leb(len(name)) + name


def seen(wasm: bytes, size_limit: int = LIMIT) -> Known:
    return look(wasm, plugin=None, size_limit=size_limit)


def test_the_same_bytes_are_the_same_module_whichever_object_they_are(read: list[bytes]) -> None:
    wasm = module(size=5000)
    first = seen(wasm)
    assert seen(wasm) is first
    assert seen(bytes(bytearray(wasm))) is first
    assert remembered(bytes(bytearray(wasm))) is first
    assert first.wasm is wasm
    assert first.digest == hashlib.sha256(wasm).hexdigest()
    assert read == [wasm]


def test_what_was_not_looked_at_is_not_known() -> None:
    assert remembered(module()) is None
    assert remembered(b"") is None


def test_other_bytes_with_the_same_length_head_middle_and_tail_are_another_module(read: list[bytes]) -> None:
    one = module(size=10_000)
    for at in (200, 3000, len(one) // 2 - 1, len(one) // 2 + 64, len(one) - 65):
        other = bytearray(one)
        other[at] ^= 0xFF
        a, b = seen(one), remembered(bytes(other))
        assert b is None
        assert known._sample(one) == known._sample(bytes(other))
        b = seen(bytes(other))
        assert (a.wasm, b.wasm) == (one, bytes(other))
        assert a.digest != b.digest
        assert b.digest == hashlib.sha256(other).hexdigest()
        # The one that was seen last has taken the other's place.
        assert remembered(one) is None
        assert remembered(bytes(other)) is b


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=300) | st.integers(0, 4).map(lambda n: bytes(150 * n)), max_size=20))
def test_what_is_found_is_what_was_asked_for(blobs: list[bytes]) -> None:
    memory = known._Memory()
    info = admission.admit(module(), plugin=None, size_limit=LIMIT)
    for blob in blobs:
        found = memory.find(blob)
        assert found is None or found.wasm == blob
        memory.keep(Known(blob, info, blob.hex()))
        found = memory.find(blob)
        assert found is not None
        assert found.wasm == blob
    assert memory._bytes == sum(len(entry.wasm) for entry in memory._kept.values())


def test_a_module_that_was_refused_is_not_remembered(read: list[bytes]) -> None:
    wrong = module()[:-1] + b"\xff\xff"
    for _ in range(2):
        with pytest.raises(RejectedError):
            seen(wrong)
    assert remembered(wrong) is None
    assert len(read) == 2


def test_a_few_are_kept_and_those_that_were_used_last(memory: known._Memory) -> None:
    modules = [module(index.to_bytes(4, "little") * 30) for index in range(known._MOST + 10)]
    for wasm in modules:
        seen(wasm)
        seen(modules[0])
    assert len(memory._kept) == known._MOST
    assert remembered(modules[0]) is not None
    assert remembered(modules[1]) is None
    assert remembered(modules[-1]) is not None
    assert memory._bytes == sum(len(entry.wasm) for entry in memory._kept.values())


def test_their_bytes_together_are_bounded_and_one_that_is_large_is_not_kept(memory: known._Memory) -> None:
    info = admission.admit(module(), plugin=None, size_limit=LIMIT)
    quarter = known._MOST_BYTES // 4
    for index in range(12):
        memory.keep(Known(bytes([index]) * (quarter - index), info, str(index)))
        assert memory._bytes == sum(len(entry.wasm) for entry in memory._kept.values()) <= known._MOST_BYTES
    assert len(memory._kept) == 4
    memory.keep(Known(bytes(quarter + 1), info, "large"))
    assert memory.find(bytes(quarter + 1)) is None
    assert len(memory._kept) == 4


def test_what_is_kept_again_is_counted_once(memory: known._Memory) -> None:
    wasm = module(size=1000)
    entry = seen(wasm)
    for _ in range(5):
        memory.keep(entry)
        memory.keep(Known(bytes(bytearray(wasm)), entry.info, entry.digest))
    assert (len(memory._kept), memory._bytes) == (1, len(wasm))


def test_a_limit_on_size_holds_for_what_is_remembered() -> None:
    wasm = module(size=1000)
    seen(wasm)
    with pytest.raises(RejectedError, match=r"bytes"):
        seen(wasm, size_limit=999)
    assert seen(wasm) is not None


async def test_an_engine_with_a_smaller_bound_refuses_what_another_one_knows(sandbox: Sandbox) -> None:
    wasm = module(size=1000)
    await sandbox.load(wasm)
    assert remembered(wasm) is not None
    async with open_engine(Bounds(workers=1, module_size=999)) as engine:
        with pytest.raises(RejectedError, match=r"bytes"):
            await engine.load(wasm)


async def test_imports_are_checked_for_what_is_remembered(sandbox: Sandbox) -> None:
    text = '(module (import "test" "ask" (func (param i64) (result i64))) (func (export "run")))'

    async def ask(value: int) -> int:
        return value

    function = HostFunction("ask", ask, [Value.I64], Value.I64, "test")
    await sandbox.load(text, [function])
    for functions in ((), [HostFunction("ask", ask, [Value.I32], Value.I64, "test")]):
        with pytest.raises(RejectedError, match="ask"):
            await sandbox.load(text, functions)


def test_many_threads_may_look_at_once(memory: known._Memory) -> None:
    modules = [module(index.to_bytes(4, "little") * 30) for index in range(known._MOST * 2)]
    digests = [hashlib.sha256(wasm).hexdigest() for wasm in modules]
    wrong: list[object] = []

    def work(start: int) -> None:
        try:
            for step in range(400):
                at = (start + step * (start + 1)) % len(modules)
                found = seen(bytes(bytearray(modules[at])))
                if (found.wasm, found.digest) != (modules[at], digests[at]):
                    wrong.append(at)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(memory._kept) <= known._MOST
    assert memory._bytes == sum(len(entry.wasm) for entry in memory._kept.values())


ASK = """(module
  (import "test" "ask" (func $ask (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (func (export "run") (local $block i64)
    (local.set $block (call $alloc (i64.const 8)))
    (call $store (local.get $block) (i64.const 3))
    (call $store (local.get $block) (call $length (call $ask (local.get $block))))
    (call $output (local.get $block) (i64.const 8))))"""
"""Gives the length of the block whose offset the host's `ask` returns for the offset of a block of 8 bytes."""


async def test_the_same_bytes_with_host_functions_of_other_types_share_no_code(sandbox: Sandbox) -> None:
    async def ask_bytes(data: bytes) -> bytes:
        assert data == (3).to_bytes(8, "little")
        return bytes(100)

    async def ask_number(value: int) -> int:
        return value

    async def ask_half(data: bytes) -> int:
        assert data == (3).to_bytes(8, "little")
        return 0

    def quick(value: int) -> int:
        return value

    given: list[tuple[HostFunction, int]] = [
        (HostFunction("ask", ask_bytes, [Value.BYTES], Value.BYTES, "test"), 100),
        (HostFunction("ask", ask_number, [Value.I64], Value.I64, "test"), 8),
        (HostFunction("ask", ask_half, [Value.BYTES], Value.I64, "test"), 0),
        (HostFunction("ask", quick, [Value.I64], Value.I64, "test", quick=True), 8),
        (HostFunction("ask", lambda data: bytes(7), [Value.BYTES], Value.BYTES, "test", quick=True), 7),
    ]
    programs = [(await sandbox.load(ASK, [function]), length) for function, length in (*given, *reversed(given))]
    assert len({program.digest for program, _ in programs}) == 1
    for program, length in programs:
        for _ in range(3):
            assert number(await sandbox.call(program)) == length


async def test_a_program_that_shares_code_is_closed_alone(sandbox: Sandbox) -> None:
    async def ask(value: int) -> int:
        return value

    function = HostFunction("ask", ask, [Value.I64], Value.I64, "test")
    first, second = await sandbox.load(ASK, [function]), await sandbox.load(ASK, [function])
    assert number(await sandbox.call(first)) == 8
    first.close()
    with pytest.raises(UsageError, match="unloaded"):
        await sandbox.call(first)
    assert number(await sandbox.call(second)) == 8
    assert number(await sandbox.call(await sandbox.load(ASK, [function]))) == 8


async def test_a_host_that_loads_a_file_again_neither_reads_nor_compiles_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[bytes]
) -> None:
    compiled: list[str] = []
    compile_ = Compiler.compile

    async def watched(self: Compiler, key: str, *arguments: Any, **more: Any) -> bytes:
        compiled.append(key)
        return await compile_(self, key, *arguments, **more)

    monkeypatch.setattr(Compiler, "compile", watched)
    # No cache on disk either: what comes again comes from the host itself.
    monkeypatch.setenv("INNKEEPER_CACHE", "off")
    file = tmp_path / "p.wasm"
    file.write_bytes(module(os.urandom(100)))
    async with innkeeper.open_host(tmp_path, catalogue=False) as host:
        first = await host.load(file)
        await first.call("run")
        assert len(compiled) == 1
        again = await host.load(file)
        await again.call("run")
        await (await host.load(file.read_bytes())).call("run")
        assert again.digest == first.digest
        assert (len(read), len(compiled)) == (1, 1)
        # Other bytes of the same length are another module.
        file.write_bytes(module(os.urandom(100)))
        other = await host.load(file)
        await other.call("run")
        assert other.digest != first.digest
        assert (len(read), len(compiled)) == (2, 2)


async def test_what_is_remembered_outlives_the_engine_and_serves_the_next_one(read: list[bytes]) -> None:
    wasm = module(os.urandom(100))
    for _ in range(2):
        async with opened() as sandbox:
            program = await sandbox.load(wasm)
            with trio.fail_after(60):
                await program.call("run", b"", CallOptions())
    assert read.count(wasm) == 1
