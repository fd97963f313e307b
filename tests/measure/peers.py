"""The same work in threads, as one would do it without this host: for the same figures in the same run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import wasmtime as w


@asynccontextmanager
async def wasmtime_threads(wasm: bytes, count: int) -> AsyncIterator[None]:
    """As many threads that call `run` of a module through wasmtime-py's own API, until the block ends."""
    config = w.Config()
    config.epoch_interruption = True
    engine = w.Engine(config)
    module = w.Module(engine, wasm)
    linker = w.Linker(engine)
    linker.define_wasi()
    linker.define_func("extism:host/user", "host", w.FuncType([w.ValType.i64()], [w.ValType.i64()]), lambda x: x)

    def run() -> None:
        store = w.Store(engine)
        store.set_wasi(w.WasiConfig())
        store.set_epoch_deadline(1)
        function = linker.instantiate(store, module).exports(store)["run"]
        assert isinstance(function, w.Func)
        try:
            function(store)
        except w.Trap as trap:
            # How a guest is stopped there: by the epoch that the end of the block begins.
            if trap.trap_code is not w.TrapCode.INTERRUPT:
                raise

    async def interrupt() -> None:
        # Again and again: a thread that is late to start begins with an epoch of its own.
        while True:
            engine.increment_epoch()
            await trio.sleep(0.01)

    limiter = trio.CapacityLimiter(count)
    async with trio.open_nursery() as interrupting:
        async with trio.open_nursery() as threads:
            for _ in range(count):
                threads.start_soon(lambda: trio.to_thread.run_sync(run, limiter=limiter))
            try:
                yield
            finally:
                interrupting.start_soon(interrupt)
        interrupting.cancel_scope.cancel()


def _spinning_process() -> subprocess.Popen[bytes]:
    # It ends by itself should nobody be left to end it.
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.alarm(120)\nwhile True: pass"])


@asynccontextmanager
async def busy_processes(count: int) -> AsyncIterator[None]:
    """As many other processes that spin, until the block ends: what the system's scheduler alone does to a timer."""
    processes = [_spinning_process() for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@asynccontextmanager
async def hashing_threads(count: int) -> AsyncIterator[None]:
    """As many threads that hash in a Python loop, until the block ends."""
    stop = threading.Event()

    def run() -> None:
        digest = b""
        while not stop.is_set():
            digest = hashlib.sha256(digest).digest()

    limiter = trio.CapacityLimiter(count)
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(lambda: trio.to_thread.run_sync(run, limiter=limiter))
        try:
            yield
        finally:
            stop.set()
