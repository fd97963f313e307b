"""A thousand runs of a plugin at once, each of which waits for a server and then for the database."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import trio
import wasmtime

from innkeeper.bridge.host import open_host
from innkeeper.sandbox.bounds import Bounds

from .machine import CoreWait, Others
from .table import quantile, show

RUNS = 1000
ROUNDS = 5
PROMISE = 0.020
"""Seconds by which trio's loop is late at p99."""
_TICK = 0.005
_ANSWERS_AFTER = 0.1

_SERVER = f"""
import trio
async def answer(stream):
    await stream.receive_some(65536)
    await trio.sleep({_ANSWERS_AFTER})
    await stream.send_all(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
    await stream.aclose()
async def main():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    with trio.move_on_after(600):
        await trio.serve_listeners(answer, listeners)
trio.run(main)
"""

_KEPT = msgpack.packb({"key": "last", "value": b"seen"})
_GUEST = f"""(module
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/user" "innkeeper_http_request" (func $request (param i64) (result i64)))
  (import "extism:host/user" "innkeeper_kv_put" (func $put (param i64) (result i64)))
  (func (export "run") (local $block i64) (local $answer i64)
    (local.set $answer (call $request (call $input_offset)))
    (local.set $block (call $alloc (i64.const {len(_KEPT)})))
    {
    " ".join(
        f"(call $store_u8 (i64.add (local.get $block) (i64.const {at})) (i32.const {byte}))"
        for at, byte in enumerate(_KEPT)
    )
}
    (drop (call $put (local.get $block)))
    (call $output_set (local.get $answer) (call $length (local.get $answer)))))"""


def main() -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder, _server() as url:
        _write(Path(folder), url)
        trio.run(_measure, Path(folder), url)


@contextmanager
def _server() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def _write(home: Path, url: str) -> None:
    wasm = bytes(wasmtime.wat2wasm(_GUEST))
    (home / "plugins").mkdir()
    (home / "manifests").mkdir()
    (home / "plugins/waits.wasm").write_bytes(wasm)
    requests = "".join(f'[[capabilities]]\nname = "{name}"\nreason = "to wait"\n' for name in (f"http:{url}/*", "kv"))
    (home / "plugins/waits.toml").write_text(f'id = "waits"\nversion = "1.0.0"\n{requests}')
    grant = f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\ncapabilities = ["http:{url}/*", "kv"]\n'
    (home / "manifests/waits.toml").write_text(grant)


async def _measure(home: Path, url: str) -> None:
    others = Others()
    rows = []
    async with open_host(home, watch=False, bounds=Bounds(calls_per_plugin=RUNS)) as host:
        plugin = host.plugins["waits"]
        data = msgpack.packb({"url": f"{url}/", "timeout": 30.0})

        async def one() -> None:
            answer = msgpack.unpackb((await plugin.call("run", data)).output)
            assert answer["ok"]["body"] == b"hello", answer

        await one()
        for number in range(ROUNDS):
            late: list[float] = []
            own: list[float] = []
            begun = time.perf_counter()
            async with trio.open_nursery() as watching:
                watching.start_soon(_watch, late, own)
                async with trio.open_nursery() as nursery:
                    for _ in range(RUNS):
                        nursery.start_soon(one)
                watching.cancel_scope.cancel()
            seconds = time.perf_counter() - begun
            figures = [quantile(late, 0.5), quantile(late, 0.99), max(late), quantile(own, 0.99)]
            rows.append([str(number + 1), f"{seconds:.2f}", *(f"{figure * 1000:.1f}" for figure in figures)])
    show(
        f"{RUNS:,} runs at once, each waits {_ANSWERS_AFTER * 1000:.0f} ms for a server, then for the database; "
        f"promised is p99 of at most {PROMISE * 1000:.0f} ms",
        ("round", "s in all", "late by p50, ms", "p99", "most", "own p99"),
        rows,
    )
    others.say()


async def _watch(late: list[float], own: list[float]) -> None:
    core = CoreWait()
    try:
        while True:
            before, waited = time.perf_counter(), core.seconds()
            await trio.sleep(_TICK)
            late.append(max(0.0, time.perf_counter() - before - _TICK))
            own.append(max(0.0, late[-1] - (core.seconds() - waited)))
    finally:
        core.close()
