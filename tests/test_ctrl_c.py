"""Ctrl-C, at every stage of a child process: always KeyboardInterrupt, never an abort, a hang or a guest that is left.

The child says when it has reached the stage; the signal comes from outside, from a timer of its own, or from the very
line of code in question.  Afterwards the child checks what is alive, in the same process.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from wasmtime import wat2wasm

HANG = 120
"""Seconds after which a child hangs, on however busy a machine."""

GUEST = """(module
  (import "extism:host/user" "step" (func $step (result i32)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "nop") (drop (call $input_length)))
  (func (export "step") (result i32) (call $step))
  (func (export "maybe") (if (i64.ne (call $input_length) (i64.const 0)) (then (loop (br 0)))))
  (func (export "steps") (loop (br_if 0 (call $step))))
  (func (export "spin") (loop (br 0)))
  (func (export "random") (loop (drop (call $random_get (i32.const 0) (i32.const 8))) (br 0)))
  (func (export "sleep")
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 96)))))
"""

STARTS = """(module
  (import "extism:host/user" "step" (func $step (result i32)))
  (func $start (if (i32.eq (call $step) (i32.const 1)) (then (loop (br 0)))))
  (func (export "nop"))
  (start $start))
"""

CHILD = """
import gc, os, random, signal, sys, threading, time
import trio
from wasmtime import wat2wasm
from innkeeper.errors import InnkeeperError
from innkeeper.sandbox import callbacks, capi
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction, Value
from innkeeper.sandbox.limits import Limits

OPTIONS = CallOptions(limits=Limits(cpu=60.0, wall=300.0, host_call=300.0, host_calls=10**8, system_calls=10**8))
stores, futures, engines, wrong = set(), {}, [], []

def wrap(name, after=None, before=None):
    real = getattr(capi, name)
    def wrapper(*given):
        if before:
            before(*given)
        result = real(*given)
        if after:
            after(result, *given)
        return result
    setattr(capi, name, wrapper)

contexts = {}
wrap("store_new", lambda store, *_: stores.add(store))
wrap("store_context", lambda context, store: contexts.__setitem__(context, store))
for name, at in (("func_call_async", 0), ("linker_instantiate_async", 1), ("instance_pre_instantiate_async", 1)):
    wrap(name, lambda future, *given, at=at: futures.__setitem__(future, contexts[given[at]]))
wrap("future_delete", before=futures.pop)

def store_gone(store):
    if store in futures.values():
        wrong.append("a store was deleted before its future")
    stores.remove(store)

wrap("store_delete", before=store_gone)
wrap("store_delete_free", before=store_gone)

def ready():
    print("ready", flush=True)

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

async def zero():
    return 0

def functions(step):
    return [HostFunction("step", step, (), Value.I32)]

async def with_program(step, use, guest=None, bounds=None):
    async with open_engine(bounds) as engine:
        program = await engine.load(bytes(wat2wasm(guest or GUEST)), functions=functions(step))
        engines.append((engine, program))
        try:
            await use(engine, program)
        finally:
            program.close()

#STAGE

def left():
    gc.collect()
    workers = [thread.name for thread in threading.enumerate() if thread.name.startswith("innkeeper worker")]
    amounts = [(e.live.taken, e.memory.taken, e.in_flight.taken, p.calls.taken) for e, p in engines]
    return [kind for kind in (stores, futures, workers, list(filter(any, amounts))) if kind]

def ended():
    try:
        trio.run(main)
    except KeyboardInterrupt:
        how = "interrupted"
    except BaseExceptionGroup as group:
        rest = group.split(KeyboardInterrupt)[1]
        how = "interrupted" if rest is None else repr(rest)
    else:
        how = "ended"
    deadline = time.monotonic() + 30
    while left() and not wrong and time.monotonic() < deadline:
        time.sleep(0.01)
    return how if not (wrong or left()) else f"{how} and left {wrong} {left()}"

#BEFORE
print(ended(), flush=True)
"""


def _child(stage: str, before: str = "") -> subprocess.Popen[str]:
    """A process that does what `before` says, then goes through the stage and says how it ended."""
    # A background child of a shell may have inherited that SIGINT is ignored.
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += f"GUEST = {GUEST!r}\nSTARTS = {STARTS!r}\n" + CHILD.replace("#STAGE", stage).replace("#BEFORE", before)
    command = [sys.executable, "-X", "faulthandler", "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _judge(child: subprocess.Popen[str]) -> None:
    try:
        out, err = child.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        pytest.fail(f"it hangs: {out} {err[-2000:]}")
    assert (child.returncode, out.split("\n")[-2:]) == (0, ["interrupted", ""]), (child.returncode, out, err[-3000:])
    assert "Exception ignored" not in err, err[-3000:]


def _interrupt(stage: str, delay: float) -> None:
    """Sends the signal so many seconds after the stage was reached."""
    with _child(stage) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(delay)
        child.send_signal(signal.SIGINT)
        _judge(child)


STAGES = {
    "while it compiles": """
async def main():
    body = "(i64.mul (i64.add (local.get 0) (i64.const 12345)) (i64.const 7)) (local.set 0)" * 4000
    large = "(module " + "".join(f'(func (export "f{i}") (param i64) (result i64) {body} (local.get 0))'
        for i in range(6)) + ")"
    wasm = bytes(wat2wasm(large))
    async with open_engine() as engine:
        ready()
        while True:
            await engine.load(wasm)
""",
    "while a guest spins on a worker": """
async def use(engine, program):
    trio.lowlevel.current_trio_token().run_sync_soon(ready)
    await program.call("spin", b"", OPTIONS)
async def main():
    await with_program(zero, use)
""",
    "while many guests spin, call the host and sleep": """
async def use(engine, program):
    async with trio.open_nursery() as nursery:
        for function in ("spin", "random", "steps", "sleep") * 5:
            nursery.start_soon(program.call, function, b"", OPTIONS)
        await trio.sleep(0.05)
        trio.lowlevel.current_trio_token().run_sync_soon(ready)
async def one():
    return 1
async def main():
    await with_program(one, use)
""",
    "while guests run on trio's own thread": """
going = False
async def step():
    return int(going)
async def use(engine, program):
    global going
    while not program.habit("steps").inline:
        await program.call("steps", b"", OPTIONS)
    going = True
    trio.lowlevel.current_trio_token().run_sync_soon(ready)
    await program.call("steps", b"", OPTIONS)
async def main():
    await with_program(step, use)
""",
    "while a guest spins where it has always been quick": """
async def use(engine, program):
    while not program.habit("maybe").inline:
        await program.call("maybe", b"", OPTIONS)
    trio.lowlevel.current_trio_token().run_sync_soon(ready)
    await program.call("maybe", b"x", OPTIONS)
async def main():
    await with_program(zero, use)
""",
    "in a host function that computes": """
async def step():
    ready()
    while True:
        sum(range(1000))
async def main():
    await with_program(step, lambda _, program: program.call("step", b"", OPTIONS))
""",
    "in a host function that waits": """
async def step():
    ready()
    await trio.sleep_forever()
async def main():
    await with_program(step, lambda _, program: program.call("step", b"", OPTIONS))
""",
    "in a host function that waits for a thread": """
async def step():
    ready()
    await trio.to_thread.run_sync(time.sleep, 0.3)
    return 0
async def main():
    await with_program(step, lambda _, program: program.call("step", b"", OPTIONS))
""",
    "in a start section that spins": """
async def step():
    ready()
    return 1
async def main():
    await with_program(step, lambda _, program: program.call("nop", b"", OPTIONS), STARTS)
""",
    "in a start section that waits for the host": """
async def step():
    ready()
    await trio.sleep_forever()
async def main():
    await with_program(step, lambda _, program: program.open(OPTIONS), STARTS)
""",
    "in WASI's poll_oneoff": """
async def use(engine, program):
    trio.lowlevel.current_trio_token().run_sync_soon(ready)
    await program.call("sleep", b"", OPTIONS)
async def main():
    await with_program(zero, use)
""",
    "in a guest that stays": """
async def use(engine, program):
    session = await program.open(OPTIONS)
    try:
        await session.call("nop", b"", OPTIONS)
        trio.lowlevel.current_trio_token().run_sync_soon(ready)
        await session.call("spin", b"", OPTIONS)
    finally:
        await session.aclose()
async def main():
    await with_program(zero, use)
""",
    "while a call waits for a bound": """
async def forever():
    await trio.sleep_forever()
async def use(engine, program):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.call, "step", b"", OPTIONS)
        while not engine.live.taken:
            await trio.sleep(0.001)
        nursery.start_soon(program.call, "nop", b"", OPTIONS)
        nursery.start_soon(program.call, "nop", b"", OPTIONS)
        while engine.live.waiting < 2:
            await trio.sleep(0.001)
        ready()
        await program.call("nop", b"", OPTIONS)
async def main():
    await with_program(forever, use, bounds=Bounds(live_guests=1))
""",
    "while the engine closes": """
from innkeeper.sandbox.workers import Workers
real = Workers.close
def close(workers):
    ready()
    time.sleep(0.3)
    real(workers)
Workers.close = close
async def use(engine, program):
    with trio.move_on_after(0.05):
        await program.call("spin", b"", OPTIONS)
async def main():
    await with_program(zero, use)
""",
    "while nothing runs": """
async def use(engine, program):
    await program.call("nop", b"", OPTIONS)
    ready()
    await trio.sleep_forever()
async def main():
    await with_program(zero, use)
""",
}


@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_ctrl_c_ends_the_run_with_keyboard_interrupt(stage: str) -> None:
    for delay in (0.0, 0.05):
        _interrupt(STAGES[stage], delay)


EVERY_STAGE = """
async def step():
    await trio.sleep_forever()

# The host is called as by any user, without protection.
@trio.lowlevel.disable_ki_protection
async def load(engine, name):
    return await engine.load(bytes(wat2wasm(GUEST.replace("nop", "no_" + name))), functions=functions(step))

@trio.lowlevel.disable_ki_protection
async def short_calls(program):
    for _ in range(200):
        await program.call("nop", b"", OPTIONS)

# Between them it is trio and Python that must not be interrupted: a task half started is waited for for ever, and a
# signal while Python makes the coroutine of a nursery's end leaves the nursery open.
@trio.lowlevel.enable_ki_protection
async def use(engine, program):
    ready()
    while True:
        async with trio.open_nursery() as nursery:
            for name in ("spin", "step", "sleep"):
                nursery.start_soon((await load(engine, name)).call, name, b"", OPTIONS)
            await short_calls(program)
            nursery.cancel_scope.cancel()

async def main():
    await with_program(step, use)
"""


def test_ctrl_c_ends_a_run_at_every_stage_and_aborts_nothing() -> None:
    for delay in (0.0, 0.003, 0.01, 0.02, 0.031, 0.05, 0.08):
        _interrupt(EVERY_STAGE, delay)


SHORT_CALLS = """
async def step():
    return 0

async def use(engine, program):
    session = await program.open(OPTIONS)
    await program.call("nop", b"", OPTIONS)
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        for _ in range(10_000):
            await program.call("step", b"", OPTIONS)
            await session.call("step", b"", OPTIONS)
        while True:
            await trio.sleep(0)
    finally:
        await session.aclose()

async def main():
    await with_program(step, use)
"""

ROUNDS = """
signal.signal(signal.SIGALRM, lambda *_: interrupt())
for delay in DELAYS:
    print(f"after {delay} s", file=sys.stderr)
    how = ended()
    if how != "interrupted":
        sys.exit(how)
"""


def test_ctrl_c_between_and_in_ten_thousand_short_calls_at_random_moments() -> None:
    delays = [random.uniform(0.0002, 0.03) for _ in range(60)]
    with _child(SHORT_CALLS, ROUNDS.replace("DELAYS", repr(delays))) as child:
        _judge(child)


STARTING = """
real = trio.lowlevel.spawn_system_task

def start(*given, **named):
    if not trio.lowlevel.currently_ki_protected():
        wrong.append(f"{given[0].__name__} can be left half started")
    return real(*given, **named)

trio.lowlevel.spawn_system_task = start

async def use(engine, program):
    interrupt()

async def main():
    await with_program(zero, use)
"""


def test_ctrl_c_cannot_come_while_a_task_of_the_engine_is_being_started() -> None:
    # Trio does not look after that: a task that it knows and has not begun is waited for, for ever.
    with _child(STARTING) as child:
        _judge(child)


REMEMBERED = """
async def use(engine, program):
    ready()
    while True:
        await engine.load(bytes(wat2wasm(GUEST)), functions=functions(zero))

async def main():
    await with_program(zero, use)
"""


def test_ctrl_c_ends_one_who_loads_what_is_remembered_again_and_again() -> None:
    _interrupt(REMEMBERED, 0.01)


CLOSING = """
async def use(engine, program):
    with trio.move_on_after(0.01):
        await program.call("spin", b"", OPTIONS)
    interrupt()

# So it waits for the first checkpoint, which is the engine's, when it closes.
@trio.lowlevel.enable_ki_protection
async def main():
    await with_program(zero, use)
"""


def test_ctrl_c_as_the_engine_begins_to_close_leaves_no_worker() -> None:
    with _child(CLOSING) as child:
        _judge(child)


def test_ctrl_c_ends_innkeeper_call_with_exit_code_6(tmp_path: Path) -> None:
    plugin = tmp_path / "spin.wasm"
    plugin.write_bytes(wat2wasm('(module (func (export "spin") (loop (br 0))))'))
    code = "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from innkeeper.cli.main import main\nprint('ready', flush=True)\nmain()"
    for wait in (0.0, 0.1, 0.5, 1.0):
        command = [sys.executable, "-c", code, "call", str(plugin), "spin", "--cpu", "60s"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(wait)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=HANG)
            assert (child.returncode, out, len(err.splitlines())) == (6, "", 1), (wait, out, err)


CROWDED = """
import os, random, signal, time
import trio, wasmtime
from innkeeper.sandbox.engine import open_engine
from innkeeper.sandbox.interface import CallOptions, HostFunction
from innkeeper.sandbox.limits import Limits

ROUNDS = 800
GUEST = '(module (import "h" "f" (func $f)) (func (export "run") (loop (call $f) (br 0))))'
signal.signal(signal.SIGINT, signal.default_int_handler)
asked, ask = os.pipe()
parent = os.getpid()
if os.fork() == 0:
    # Another process: the signals of a thread of this one would nearly all arrive while trio waits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.close(ask)
    while os.read(asked, 1):
        end = time.perf_counter() + 0.0008 + random.random() * 0.002
        while time.perf_counter() < end:
            pass
        os.kill(parent, signal.SIGINT)
    os._exit(0)
os.close(asked)

@trio.lowlevel.enable_ki_protection
async def main():
    interrupted = 0
    cell = [None]

    # Protected, since Event.wait itself can be interrupted half-way: what is looked at here is what stands around it.
    @trio.lowlevel.enable_ki_protection
    async def wait():
        event = cell[0] = trio.Event()
        await event.wait()

    @trio.lowlevel.enable_ki_protection
    async def wake():
        while True:
            await trio.lowlevel.checkpoint()
            if cell[0] is not None:
                cell[0].set()
                cell[0] = None

    async with open_engine() as engine, trio.open_nursery() as nursery:
        function = HostFunction("f", wait, (), namespace="h")
        program = await engine.load(bytes(wasmtime.wat2wasm(GUEST)), functions=[function])
        nursery.start_soon(wake)
        for _ in range(ROUNDS):
            try:
                os.write(ask, b"x")
                await program.call("run", b"", CallOptions(Limits(host_calls=10**9, cpu=60.0)))
            except KeyboardInterrupt:
                interrupted += 1
            # Whoever was interrupted in the middle of a wait would be woken here, from somebody else's.
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
        assert interrupted == ROUNDS, interrupted
    assert (program.calls.taken, engine.live.taken, engine.in_flight.taken) == (0, 0, 0)

trio.run(main)
os.close(ask)
print("all right")
"""


def test_ctrl_c_around_the_wait_of_a_host_function_leaves_trio_and_the_budgets_whole() -> None:
    child = subprocess.run([sys.executable, "-c", CROWDED], capture_output=True, text=True, timeout=HANG, check=False)
    assert child.stdout == "all right\n", child.stderr[-3000:]
