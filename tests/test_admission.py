"""A file that is not run is refused in one sentence that says what it is and what would work."""

from __future__ import annotations

import gzip
import json

import pytest
import wasmtime

from innkeeper.errors import Kind, RejectedError
from innkeeper.sandbox import admission, proposals
from innkeeper.sandbox.admission import admit, explain_compile_error, functions_of, resolve
from innkeeper.sandbox.wasm import Signature, parse

LIMIT = 1 << 20


def refusal(wasm: bytes) -> str:
    with pytest.raises(RejectedError) as caught:
        admit(wasm, plugin="sample", size_limit=LIMIT)
    assert caught.value.kind is Kind.REJECTED
    assert caught.value.plugin == "sample"
    return checked(caught.value.message)


def checked(message: str) -> str:
    assert message.isprintable()
    assert len(message) < 1500
    return message


def text(wat: str) -> bytes:
    return bytes(wasmtime.wat2wasm(wat))


def test_a_plain_module_is_admitted_and_described() -> None:
    info = admit(
        text('(module (memory 1) (func (export "run") (result i32) (i32.const 0)))'), plugin=None, size_limit=LIMIT
    )
    assert info.exports["run"].signature == ((), ("i32",))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["the file is empty", "Extism PDK"]),
        (b"\0as", ["cut off"]),
        (b"\0asm\1\0", ["cut off"]),
        (b"\x7fELF\2\1\1" + bytes(60), ["ELF", "wasm32"]),
        (b"MZ" + bytes(80), ["Windows program"]),
        (b"\xcf\xfa\xed\xfe" + bytes(80), ["macOS program"]),
        (gzip.compress(b"x"), ["gzip", "gunzip"]),
        (b"PK\x03\x04" + bytes(40), ["zip archive", "unpack"]),
        (bytes(257) + b"ustar\x0000" + bytes(200), ["tar archive"]),
        (b"\n<!DOCTYPE html>\n<html><body>404", ["web page", "download"]),
        (b"<html lang='en'>", ["web page"]),
        (b"(module)", ["Wasm text", "wat2wasm"]),
        (b";; a (comment)\n\n (; and (; another ;)\n( module $x", ["not Wasm: it is text"]),
        (b";; a (comment)\n\n (; and another ;) (module $x", ["Wasm text", "wat2wasm"]),
        (b"(component)", ["Wasm text"]),
        (json.dumps({"nodes": []}).encode(), ["JSON"]),
        (b"[\n  {}\n]", ["JSON"]),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), ["PNG image"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", ["Git LFS", "git lfs pull"]),
        (b"#!/bin/sh\n", ["script"]),
        ("žluťoučký kůň\n".encode() * 1000, ["is text"]),
        (b"\xde\xad\xbe\xef" * 4, ["de ad be ef"]),
        (b"\0asm\x0d\0\1\0" + bytes(20), ["components are not supported yet", "core module with an Extism PDK"]),
        (b"\0asm\2\0\0\0", ["version 2, not 1"]),
        (b"\0asm\1\0\0\0\1\x40\1", ["damaged", "offset 10", "build it again"]),
        (b"\0asm\1\0\0\0" + bytes(LIMIT), ["1048584 bytes", "1048576 at most", "wasm-opt"]),
    ],
)
def test_files_that_are_no_core_module_are_told_apart(content: bytes, parts: list[str]) -> None:
    message = refusal(content)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("unit", [b"(;;)", b"(; ;; ;)", b";;\n", b" ", b"(", b"[", b"<", b"{ "])
def test_no_text_makes_telling_files_apart_slow(unit: bytes) -> None:
    assert "not Wasm" in refusal(unit * (60_000 // len(unit)))


@pytest.mark.parametrize(
    ("wat", "parts"),
    [
        ('(import "env" "extism_alloc" (func (param i64) (result i64)))', ["older Extism ABI", "1.0 or later"]),
        ('(import "wasi_unstable" "fd_write" (func))', ["WASI preview 0", "wasi_snapshot_preview1"]),
        ('(import "wasi:cli/environment@0.2.0" "get" (func))', ["WASI 0.2", "wasm32-wasip1"]),
        ('(import "wasix_32v1" "x" (func))', ["WASIX"]),
        ('(import "wasi_snapshot_preview2" "x" (func))', ["another version of WASI"]),
        ('(import "env" "emscripten_resize_heap" (func))', ["Emscripten", "-sSTANDALONE_WASM"]),
        ('(import "env" "invoke_vi" (func))', ["Emscripten"]),
        ('(import "__wbindgen_placeholder__" "__wbindgen_throw" (func))', ["wasm-bindgen", "PDK"]),
        ('(import "./hello_bg.js" "x" (func))', ["wasm-bindgen"]),
        ('(import "wbg" "x" (func))', ["wasm-bindgen"]),
        ('(import "gojs" "runtime.wasmExit" (func))', ["GOOS=wasip1", "c-shared"]),
        ('(import "GOT.mem" "x" (global (mut i32)))', ["link it statically"]),
        ("(memory i64 1)", ["'memory64'", "wasm32"]),
        ("(table i64 1 funcref)", ["'memory64'"]),
        ("(memory 1 2 shared)", ["'threads'", "-pthread"]),
        ("(memory 1) (memory 1)", ["'multi-memory'", "one memory"]),
        ("(type (struct))", ["'garbage collection'"]),
        ("(tag)", ["'exceptions'", "-fno-exceptions"]),
        ('(func (export "innkeeper:memory"))', ["'innkeeper:memory'", "rename it"]),
        ('(@custom "linking" "\\02")', ["object file", "link it"]),
    ],
)
def test_modules_for_other_hosts_say_how_to_build_them_for_this_one(wat: str, parts: list[str]) -> None:
    message = refusal(text(f"(module {wat})"))
    for part in parts:
        assert part in message


@pytest.mark.parametrize("module", ["environment", "env2", "wasi_snapshot_preview1", "extism:host/env", "go"])
def test_names_that_only_begin_alike_are_admitted(module: str) -> None:
    admit(text(f'(module (import "{module}" "extism_alloc" (func)))'), plugin=None, size_limit=LIMIT)


# Imports


AVAILABLE: dict[tuple[str, str], Signature] = {
    ("extism:host/env", "alloc"): (("i64",), ("i64",)),
    ("extism:host/env", "input_length"): ((), ("i64",)),
    ("extism:host/user", "kv_read"): (("i64",), ("i64",)),
    ("wasi_snapshot_preview1", "fd_write"): (("i32",) * 4, ("i32",)),
}


def unresolved(wat: str, *modules: str) -> str:
    with pytest.raises(RejectedError) as caught:
        resolve(parse(text(f"(module {wat})")), AVAILABLE, modules)
    return checked(caught.value.message)


def test_imports_that_are_all_there_are_resolved() -> None:
    wat = """(module (import "extism:host/env" "alloc" (func (param i64) (result i64)))
                     (import "extism:host/env" "input_length" (func (result i64)))
                     (import "library" "memory" (memory 1)) (import "library" "f" (func (param v128))))"""
    library = parse(text('(module (memory (export "memory") 1) (func (export "f") (param v128)))'))
    resolve(parse(text(wat)), {**AVAILABLE, **functions_of("library", library)}, ["library"])


def test_a_function_that_is_missing_is_named_with_its_signature() -> None:
    message = unresolved('(import "extism:host/user" "send" (func (param i64 f64) (result i64 i32)))')
    assert "'extism:host/user' 'send' (i64, f64) -> (i64, i32)" in message
    assert "register them as host functions" in message


def test_a_function_with_another_signature_is_shown_with_both() -> None:
    message = unresolved('(import "extism:host/env" "alloc" (func (param i32) (result i64)))')
    assert "'alloc' (i32) -> i64 (it is there as (i64) -> i64)" in message


def test_a_function_whose_name_is_nearly_right_is_suggested() -> None:
    wanted = "(func (param i64) (result i64))"
    assert "did you mean 'extism:host/user' 'kv_read' (i64) -> i64?" in unresolved(
        f'(import "extism:host/user" "kv_raed" {wanted})'
    )
    assert "did you mean 'extism:host/user' 'kv_read' (i64) -> i64?" in unresolved(f'(import "env" "kv_read" {wanted})')


def test_five_of_many_missing_functions_are_listed() -> None:
    message = unresolved("".join(f'(import "m" "f{n}" (func))' for n in range(12)))
    assert "'f4' () -> ()" in message
    assert "'f5'" not in message
    assert "and 7 more" in message


def test_the_same_missing_function_is_listed_once() -> None:
    assert unresolved('(import "m" "f" (func)) (import "m" "f" (func))').count("'f'") == 1


def test_assemblyscript_without_an_abort_of_its_own_is_told_how() -> None:
    assert "--use abort" in unresolved('(import "env" "abort" (func (param i32 i32 i32 i32)))')


@pytest.mark.parametrize(
    ("type_", "kind", "advice"),
    [
        ("(memory 1)", "memory", "--import-memory"),
        ("(table 1 funcref)", "table", "--import-table"),
        ("(global i32)", "global", "of its own"),
    ],
)
def test_what_is_no_function_comes_from_linked_modules_alone(type_: str, kind: str, advice: str) -> None:
    wat = f'(import "env" "thing" {type_})'
    message = unresolved(wat, "library")
    assert f"imports the {kind} 'env' 'thing'" in message
    assert advice in message
    resolve(parse(text(f"(module {wat})")), AVAILABLE, ["env"])


def test_names_of_a_guest_are_cut_and_cannot_reach_the_terminal() -> None:
    message = unresolved(f'(import "\\1b[31m" "{"x" * 5000}" (func))')
    assert "'\\x1b[31m'" in message
    assert len(message) < 500


# What the engine says


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    proposals.apply(config)
    return wasmtime.Engine(config)


@pytest.mark.parametrize(
    ("wat", "proposal"),
    [
        ("(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", "threads"),
        ("(memory 1 1 shared)", "threads"),
        ("(func atomic.fence)", "threads"),
        ("(memory i64 1)", "memory64"),
        ("(table i64 1 funcref)", "memory64"),
        ("(type (struct (field i32)))", "garbage collection"),
        ("(type (array i32))", "garbage collection"),
        ("(rec (type (func)) (type (func)))", "garbage collection"),
        ("(type (sub (func)))", "garbage collection"),
        ("(func (drop (ref.i31 (i32.const 0))))", "garbage collection"),
        ("(func (param anyref))", "garbage collection"),
        ("(tag)", "exceptions"),
        ("(func try_table end)", "exceptions"),
        ("(func (param exnref))", "exceptions"),
        ("(func (result v128) (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))", "relaxed SIMD"),
        ("(memory 1) (memory 1)", "multi-memory"),
        ("(type $t (func)) (func (param (ref $t)))", "function references"),
        ("(type $t (func)) (func ref.null func call_ref $t)", "function references"),
        ("(table 1 funcref (ref.null func))", "function references"),
        ("(type $f (func)) (type (cont $f))", "stack switching"),
        ("(func (param i64) (result i64 i64) local.get 0 local.get 0 i64.mul_wide_u)", "wide arithmetic"),
        ("(memory 1 (pagesize 1))", "custom page sizes"),
    ],
)
def test_what_the_engine_says_of_a_proposal_that_is_off_becomes_one_sentence(
    engine: wasmtime.Engine, wat: str, proposal: str
) -> None:
    message = said(engine, text(f"(module {wat})"))
    assert f"needs the Wasm proposal {proposal!r}, which is off here" in message
    assert "at offset " in message


def said(engine: wasmtime.Engine, wasm: bytes) -> str:
    with pytest.raises(wasmtime.WasmtimeError) as caught:
        wasmtime.Module(engine, wasm)
    return checked(explain_compile_error(str(caught.value)))


@pytest.mark.parametrize(
    ("wat", "part"),
    [
        ("(func (result i32) i64.const 0)", "type mismatch: expected i32, found i64 at offset 26"),
        ("(func call 4)", "unknown function 4"),
        ("(func $f (param i32)) (start $f)", "invalid start function type at offset 21"),
        ('(func (export "a\\1b\\0ab") (export "a\\1b\\0ab"))', "already defined at offset"),
    ],
)
def test_invalid_code_is_explained_with_its_offset(engine: wasmtime.Engine, wat: str, part: str) -> None:
    message = said(engine, text(f"(module {wat})"))
    assert "not valid Wasm" in message
    assert part in message


@pytest.mark.parametrize("message", ["", "\n\n", "x" * 100_000, "a\x1b[31m\nCaused by:\n  0: b\x07"])
def test_any_text_of_the_engine_becomes_one_short_printable_sentence(message: str) -> None:
    assert len(checked(explain_compile_error(message))) < 400


def test_every_proposal_that_is_off_has_advice_under_the_name_that_the_list_has() -> None:
    off = {proposal.name for proposal in proposals.PROPOSALS if not proposal.on} - {"shared memory"}
    assert off <= set(admission._PROPOSAL_ADVICE)


def test_a_module_may_not_reach_what_the_rewriting_adds_to_another() -> None:
    wasm = bytes(wasmtime.wat2wasm('(module (import "m" "innkeeper:memory-limit" (global (mut i64))))'))
    with pytest.raises(RejectedError, match="names that begin with 'innkeeper:' are the host's"):
        admit(wasm, plugin=None, size_limit=1 << 20)
