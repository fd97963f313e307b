"""WASI: random calls of all its functions with any arguments, with and without rights.

Whatever a guest passes: an errno of the standard's or an exit, no exception, within the call's limits. With a folder
granted, nothing beside it is read or changed (links lead out of it), a read-only one stays as it is, and no more is
written than the quota; no descriptor of the host is left over.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import trio
import wasmtime
from fuzz.engines import LIMITS, EngineTarget
from fuzz.mutation import mutated, number, outline
from fuzz.wat import imported, one_of

from innkeeper.errors import GuestError, LimitError
from innkeeper.sandbox.interface import CallOptions, Value
from innkeeper.sandbox.wasi import FUNCTIONS, WASI_MODULE, Preopen, WasiRights

_OPTIONS = CallOptions(limits=replace(LIMITS, wall=0.25, cpu=0.1), plugin="fuzz")
_QUOTA = 10_000
_SECRET = b"what lies outside of the folder"
_IMAGE = 1024
"""Bytes of the guest's memory that the input brings: names, vectors and subscriptions for the calls."""
_SHOWN = 8192
"""Bytes of its memory that the guest gives back, the last 1024 of them what its calls said."""
_SAID = 120_000
"""Where the guest notes what each call said: out of the way of what the calls write."""
_STEP = struct.Struct("<BBH4x9Q")
_NAMES = (
    b"a", b"b", b"sub", b"sub/a", b".", b"..", b"../secret", b"/etc/passwd", b"sub/../../secret", b"link",
    b"link/secret", b"a/", b"loop",
    b"new", b"sub/new", b"file-link", b"", b"\0", b"a\0b", b"\xff", b"./././a", b"sub//a", b"n" * 60, b"../inside/a",
    b"abs", b"fifo",
)  # fmt: skip
_ORDER = sorted(FUNCTIONS)


def _guest() -> bytes:
    imports, arms = [], []
    for name in _ORDER:
        function = FUNCTIONS[name]
        result = ["i32"] if function.result else []
        imports.append(imported(WASI_MODULE, name, [value.value for value in function.parameters], result))
        arguments = " ".join(
            f"(call $argument (local.get $step) (i32.const {at}))"
            if value is Value.I64
            else f"(i32.wrap_i64 (call $argument (local.get $step) (i32.const {at})))"
            for at, value in enumerate(function.parameters)
        )
        call = f"(call ${name} {arguments})"
        arms.append(call if function.result else f"(block (result i32) {call} (i32.const 0))")
    return bytes(
        wasmtime.wat2wasm(
            f"""(module {" ".join(imports)}
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u64" (func $input (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory (export "memory") 2)
  ;; An argument of a step; where its bit is set in the mask, it is the address of the number that is meant.
  (func $argument (param $step i64) (param $at i32) (result i64) (local $value i64)
    (local.set $value (call $input
      (i64.add (local.get $step) (i64.extend_i32_u (i32.add (i32.const 8) (i32.shl (local.get $at) (i32.const 3)))))))
    (if (i64.eqz (i64.and (i64.const 1) (i64.shr_u (call $input (local.get $step))
          (i64.extend_i32_u (i32.add (i32.const 16) (local.get $at))))))
      (then (return (local.get $value))))
    (i64.load32_u (i32.and (i32.wrap_i64 (local.get $value)) (i32.const 0x1fff))))
  (func $carry_out (param $which i32) (param $step i64) (result i32) {one_of(arms)} (i32.const 0))
  (func (export "run") (result i32)
    (local $at i64) (local $errno i32) (local $block i64) (local $which i32) (local $said i32)
    (loop $copy
      (i64.store (i32.wrap_i64 (local.get $at)) (call $input (i64.add (i64.const 8) (local.get $at))))
      (br_if $copy (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 8))) (i64.const {_IMAGE}))))
    (local.set $at (i64.const {_IMAGE + 8}))
    (block $done (loop $next
      (br_if $done (i64.gt_u (i64.add (local.get $at) (i64.const {_STEP.size})) (call $input_length)))
      (local.set $which (i32.wrap_i64 (i64.and (call $input (local.get $at)) (i64.const 255))))
      (local.set $which (i32.rem_u (local.get $which) (i32.const {len(_ORDER)})))
      (local.set $errno (call $carry_out (local.get $which) (local.get $at)))
      (if (i32.gt_u (local.get $errno) (i32.const 76)) (then (return (i32.add (i32.const 100000) (local.get $errno)))))
      ;; What each call said: a function and an errno.
      (i32.store16 offset={_SAID} (i32.and (local.get $said) (i32.const 1022))
        (i32.or (i32.add (local.get $which) (i32.const 1)) (i32.shl (local.get $errno) (i32.const 8))))
      (local.set $said (i32.add (local.get $said) (i32.const 2)))
      (local.set $at (i64.add (local.get $at) (i64.const {_STEP.size})))
      (br $next)))
    (local.set $block (call $alloc (i64.const {_SHOWN})))
    (local.set $at (i64.const 0))
    (loop $copy
      (call $store (i64.add (local.get $block) (local.get $at)) (i64.load (select
        (i32.wrap_i64 (local.get $at)) (i32.add (i32.const {_SAID - _SHOWN + 1024}) (i32.wrap_i64 (local.get $at)))
        (i64.lt_u (local.get $at) (i64.const {_SHOWN - 1024})))))
      (br_if $copy (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 8))) (i64.const {_SHOWN}))))
    (call $output_set (local.get $block) (i64.const {_SHOWN}))
    (i32.const 0)))"""
        )
    )


class Fuzz(EngineTarget):
    """The first byte says which rights, from the eighth on come an image of memory and the guest's steps."""

    def __init__(self) -> None:
        self._heard: set[tuple[int, int, int]] = set()

    async def prepare(self, stack: AsyncExitStack) -> None:
        self._outside = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._inside, self._fixed = self._outside / "inside", self._outside / "fixed"
        self._make_folders()
        files = (Preopen("/", self._inside, writable=True, quota=_QUOTA), Preopen("/fixed", self._fixed))
        all_rights = WasiRights(), WasiRights(True, True), WasiRights(files=files), WasiRights(True, True, files)
        wasm = _guest()
        self._program = await self.tested.engine.load(wasm)
        self._options = [replace(_OPTIONS, rights=rights) for rights in all_rights]

    # --- inputs -----------------------------------------------------------

    def seeds(self) -> Sequence[bytes]:
        return tuple(_made(random.Random(seed), seed % 4) for seed in range(8))

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        if rng.random() < 0.4:
            return mutated(rng, rng.choice(pool), pool, _NAMES)
        return _made(rng, rng.choice((0, 1, 2, 2, 2, 3, 3)))

    # --- what must hold ---------------------------------------------------

    async def check(self, data: bytes) -> str:
        mode = data[0] & 3 if data else 0
        if mode > 1:
            self._make_folders()
        descriptors = _descriptors()
        try:
            result = await self._program.call("run", data, self._options[mode])
            assert len(result.output) in (0, _SHOWN)
            assert _SECRET not in result.output or _SECRET in data
            words = f"returned {self._news(mode, result.output[_SHOWN - 1024 :])}"
        except GuestError as error:
            assert error.code is None or error.code < 100_000 or "exit" in error.message, f"no errno: {error.code}"
            assert "exited with code" in error.message or "trapped" in error.message, error.message
            words = outline(error.message)
        except LimitError as error:
            words = f"limit {error.limit}"
        await self.tested.nothing_is_held()
        # A call that ran out of time leaves a thread behind, which gives its descriptor back when it is done.
        end = trio.current_time() + 5
        while left := {fd: _name(fd) for fd in _descriptors() - descriptors}:
            assert trio.current_time() < end, f"descriptors are left over: {left}"
            await trio.sleep(0.001)
        if mode > 1:
            self._look_over()
        return f"{mode} {words}"

    def _news(self, mode: int, said: bytes) -> list[tuple[int, int, int]]:
        """What a function said that it had not said before: the search goes on from there."""
        pairs = {
            (mode, which, errno)
            for which, errno in zip(said[::2], said[1::2], strict=True)
            if 0 < which <= len(_ORDER) and errno <= 76
        }
        news = sorted(pairs - self._heard)
        self._heard |= pairs
        return news[:3]

    def _make_folders(self) -> None:
        for folder in (self._inside, self._fixed):
            if folder.exists():
                # A guest may have taken away its own rights to what it made; this process may be nobody special.
                shutil.rmtree(folder)
            (folder / "sub").mkdir(parents=True)
            (folder / "a").write_bytes(b"text of a")
            (folder / "sub" / "a").write_bytes(bytes(300))
            (folder / "link").symlink_to("..")
            (folder / "file-link").symlink_to("../secret")
            (folder / "loop").symlink_to("loop")
            (folder / "abs").symlink_to("/etc/passwd")
            os.mkfifo(folder / "fifo")
        (self._outside / "secret").write_bytes(_SECRET)
        self._before = self._picture()

    def _picture(self) -> list[tuple[str, int, int, int, int]]:
        """What lies outside of the writable folder."""
        picture = []
        for path in sorted(self._outside.rglob("*")):
            if self._inside not in path.parents and path != self._inside:
                status = path.lstat()
                picture.append((str(path), status.st_mode, status.st_size, status.st_nlink, status.st_mtime_ns))
        return [entry if not entry[0].endswith("/fixed") else (*entry[:4], 0) for entry in picture]

    def _look_over(self) -> None:
        assert self._picture() == self._before
        assert (self._outside / "secret").read_bytes() == _SECRET
        size = 0
        for path in self._inside.rglob("*"):
            status = path.lstat()
            if path.is_symlink():
                assert path.name in ("link", "file-link", "loop", "abs") or os.readlink(path) in (
                    "..",
                    "../secret",
                    "loop",
                    "/etc/passwd",
                )
            elif path.is_file():
                size += status.st_size
                assert status.st_nlink == 1
                assert status.st_uid == os.getuid()
        assert size <= _QUOTA + 309, f"{size} bytes are in the folder, and the quota is {_QUOTA}"


def _descriptors() -> set[str]:
    return {fd for fd in os.listdir("/dev/fd") if os.path.lexists(f"/dev/fd/{fd}")}


def _name(fd: str) -> str:
    try:
        return os.readlink(f"/dev/fd/{fd}")
    except OSError:
        return "closed"


# Where things lie in the image of memory.
_VECTORS, _SUBSCRIPTIONS, _RESULTS = 700, 800, 2048


def _made(rng: random.Random, mode: int) -> bytes:
    image = bytearray(_IMAGE)
    places: list[tuple[int, int]] = []
    at = 0
    while at < 600:
        name = rng.choice(_NAMES)
        image[at : at + len(name)] = name
        places.append((at, len(name)))
        at += len(name) + 1
    for place in range(_VECTORS, _SUBSCRIPTIONS - 8, 8):
        struct.pack_into(
            "<II", image, place, *rng.choice(((4096, 64), (4200, 5), (0, 100), (number(rng, 32), number(rng, 32))))
        )
    for place in range(_SUBSCRIPTIONS, _IMAGE - 48, 48):
        tag = rng.choice((0, 0, 1, 2, rng.randrange(256)))
        body = (rng.choice((0, 1, 4)), rng.choice((0, 1000, 10**6, number(rng))), 0, rng.choice((0, 1)))
        struct.pack_into("<QQQQQQ", image, place, rng.getrandbits(64), tag, *body)
    steps = []
    for _ in range(rng.choice((1, 2, 5, 10, 30))):
        which = rng.randrange(len(_ORDER))
        if (_ORDER[which] in ("proc_exit", "poll_oneoff") and rng.random() < 0.8) or rng.random() < 0.3:
            which = _ORDER.index(
                rng.choice(("path_open", "path_open", "fd_write", "fd_pwrite", "fd_read", "fd_readdir", "path_rename"))
            )
        steps.append(_step(rng, which, places))
    return bytes([mode]) + bytes(7) + bytes(image) + b"".join(steps)


def _step(rng: random.Random, which: int, places: Sequence[tuple[int, int]]) -> bytes:
    name = _ORDER[which]
    mask = 0
    arguments = [_argument(rng) for _ in range(9)]
    if name.startswith(("fd_", "path_", "sock_")):
        arguments[0] = rng.choice((0, 1, 2, 3, 3, 3, 4, 5, 6, number(rng, 32)))
        if rng.random() < 0.3:
            # A descriptor that an earlier call opened.
            arguments[0], mask = _RESULTS, 1
    at, length = rng.choice(places)
    if name.startswith("path_"):
        first = (
            1
            if name
            in ("path_create_directory", "path_remove_directory", "path_unlink_file", "path_rename", "path_readlink")
            else 2
        )
        arguments[first], arguments[first + 1] = at, length
        if name == "path_open":
            arguments[4:9] = [
                rng.choice((0, 0, 1, 2, 9, 5, 8, rng.randrange(16))),
                rng.choice((2, 64, 66, 0x1FFFFFFF, number(rng))),
                rng.choice((0, 0x1FFFFFFF)),
                rng.choice((0, 0, 1, 4, rng.randrange(32))),
                _RESULTS,
            ]
        if name == "path_rename":
            arguments[3] = rng.choice((3, 3, 4, 5))
            arguments[4], arguments[5] = rng.choice(places)
    elif name in ("fd_read", "fd_write", "fd_pread", "fd_pwrite"):
        arguments[1], arguments[2] = _VECTORS, rng.choice((1, 2, 5, number(rng, 32)))
        arguments[3] = rng.choice((0, 5, 5000, 9999, _RESULTS, number(rng)))
        arguments[4] = _RESULTS + 8
    elif name == "fd_readdir":
        arguments[1:5] = [
            4096,
            rng.choice((0, 24, 100, 4000, number(rng, 32))),
            rng.choice((0, 1, 2, number(rng))),
            _RESULTS + 8,
        ]
    elif name == "poll_oneoff":
        arguments[:4] = [_SUBSCRIPTIONS, 3000, rng.choice((1, 2, 3, number(rng, 32))), _RESULTS + 8]
    if rng.random() < 0.15:
        arguments[rng.randrange(9)] = number(rng)
    return _STEP.pack(which, 0, mask, *arguments)


def _argument(rng: random.Random) -> int:
    match rng.randrange(4):
        case 0:
            return number(rng)
        case 1:
            return rng.choice((0, 600, _VECTORS, _SUBSCRIPTIONS, _RESULTS, 4096, 131_071, 131_072, 131_064))
        case _:
            return rng.randrange(12)
