"""Whatever happens to a process while guests run, it neither aborts nor hangs. Each test has a process of its own."""

from __future__ import annotations

import pytest

from guests import in_child

BEYOND = """
GUEST = '(module (memory 1) (func (export "run") (drop (i32.load (i32.const 70000)))))'
NULL = '(module (table 1 funcref) (func (export "run") (call_indirect (i32.const 0))))'
DIVIDE = '(module (func (export "run") (drop (i32.div_u (i32.const 1) (i32.load8_u (i32.const 0))))) (memory 1))'
DEEP = '(module (func $f (export "run") (call $f) (call $f)))'
async def attack():
    async with opened() as sandbox:
        for text in (GUEST, NULL, DIVIDE, DEEP) * 3:
            try:
                await sandbox.call(text)
            except InnkeeperError as error:
                print("ended:", error.message)
"""


@pytest.mark.parametrize("when", ["before the first guest", "after the first guest", "twice", "for a while"])
def test_a_guest_out_of_bounds_ends_alone_with_faulthandler_enabled(when: str) -> None:
    output = in_child(
        BEYOND
        + {
            "before the first guest": "import faulthandler; faulthandler.enable(); trio.run(attack)",
            "after the first guest": "trio.run(attack); import faulthandler; faulthandler.enable(); trio.run(attack)",
            "twice": "import faulthandler; faulthandler.enable(); faulthandler.enable(); trio.run(attack)",
            "for a while": "import faulthandler; faulthandler.enable(); trio.run(attack); faulthandler.disable();"
            " trio.run(attack)",
        }[when],
        faulthandler=False,
    )
    assert output.count("out of bounds memory access") == output.count("stack overflowed") >= 3


RUNNING = r"""
async def wait():
    await trio.sleep(60)
WAIT = host_function(wait)
WAITING = wat(run("(call $wait)"), functions=[WAIT])
SLEEPING = wat('(memory 1)' + run('(i64.store (i32.const 24) (i64.const 60000000000))'
    '(drop (call $poll_oneoff (i32.const 0) (i32.const 99) (i32.const 1) (i32.const 200)))'), wasi="poll_oneoff")
LARGE = '(module (memory 100) (func (export "run") (loop (memory.fill (i32.const 0) (i32.const 1)' \
    ' (i32.const 6000000)) (br 0))))'
async def some(sandbox, nursery):
    for text in (SPIN, SPIN, SPIN, WAITING, SLEEPING, LARGE):
        program = await sandbox.load(text, [WAIT] if text is WAITING else [])
        nursery.start_soon(program.call, "run", b"", options(cpu=60))
    session = await program.open(options())
    await trio.sleep(0.1)
    return session
"""

ENDS = {
    "the run raises": """
async def main():
    async with open_engine() as engine, trio.open_nursery() as nursery:
        kept.append(await some(Sandbox(engine), nursery))
        raise ValueError
try:
    trio.run(main)
except* ValueError:
    print("ended well")
""",
    "the run is cancelled": """
async def main():
    with trio.CancelScope() as scope:
        async with open_engine() as engine, trio.open_nursery() as nursery:
            kept.append(await some(Sandbox(engine), nursery))
            scope.cancel()
            await trio.sleep_forever()
trio.run(main)
print("ended well")
""",
    "the engine's block ends while they run": """
async def main():
    async with trio.open_nursery() as nursery:
        async with open_engine() as engine:
            kept.append(await some(Sandbox(engine), nursery))
        await trio.sleep(10)
try:
    trio.run(main)
except* UsageError as group:
    assert all("closed" in str(error) for error in group.exceptions)
    print("ended well")
""",
    "sys.exit in the run": """
async def main():
    async with open_engine() as engine, trio.open_nursery() as nursery:
        kept.append(await some(Sandbox(engine), nursery))
        print("ended well", flush=True)
        sys.exit(0)
try:
    trio.run(main)
except* SystemExit:
    sys.exit(0)
""",
    "the interpreter ends beside a daemon thread's run": """
import threading
async def main():
    async with open_engine() as engine, trio.open_nursery() as nursery:
        kept.append(await some(Sandbox(engine), nursery))
        running.set()
        await trio.sleep_forever()
running = threading.Event()
threading.Thread(target=trio.run, args=[main], daemon=True).start()
running.wait()
print("ended well", flush=True)
""",
    "the run is thrown away": """
import gc, queue, outcome
async def main():
    async with open_engine() as engine, trio.open_nursery() as nursery:
        kept.append(await some(Sandbox(engine), nursery))
        going.append(1)
        await trio.sleep_forever()
going = []
todo = queue.Queue()
def done(result): print(result)
trio.lowlevel.start_guest_run(main, run_sync_soon_threadsafe=todo.put, done_callback=done)
while not going:
    todo.get()()
for _ in range(20):
    try:
        todo.get(timeout=0.01)()
    except queue.Empty:
        pass
print("ended well", flush=True)
""",
}


@pytest.mark.parametrize("keep", ["a session is kept", "nothing is kept"])
@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_well_while_guests_spin_and_wait(end: str, keep: str) -> None:
    kept = "kept = []" if keep == "a session is kept" else "class kept: append = staticmethod(lambda session: None)"
    output = in_child(f"{kept}\n{RUNNING}\n{ENDS[end]}")
    assert "ended well" in output


def test_two_threads_each_with_a_run_and_an_engine_do_not_disturb_each_other() -> None:
    output = in_child(
        """
        import threading
        async def main():
            async with opened() as sandbox:
                program = await sandbox.load(SPIN)
                text = wat(gives("(call $input_load_u64 (i64.const 0))"), GIVES + " input_load_u64")
                quick = await sandbox.load(text)
                async def spin():
                    for _ in range(3):
                        await sandbox.fails(LimitError, program, cpu=0.02)
                        with trio.move_on_after(0.01):
                            await sandbox.call(program, cpu=9)
                async def ask(n):
                    for at in range(100):
                        data = (n * 1000 + at).to_bytes(8, "little")
                        assert (await sandbox.call(quick, data=data)).output == data
                async with trio.open_nursery() as nursery:
                    for n in range(3):
                        nursery.start_soon(spin)
                        nursery.start_soon(ask, n)
            done.append(1)
        done = []
        for _ in range(2):
            threads = [threading.Thread(target=trio.run, args=[main]) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        print(len(done))
        """
    )
    assert output.strip() == "6"


def test_engines_inside_of_each_other_and_one_after_the_other() -> None:
    output = in_child(
        """
        async def main():
            async with opened() as outer:
                first = await outer.load(SPIN)
                async def inner_call():
                    async with opened() as inner:
                        await inner.fails(LimitError, SPIN, cpu=0.02)
                function = host_function(inner_call)
                for _ in range(3):
                    await outer.call(wat(run("(call $inner_call)"), functions=[function]), functions=[function])
                    await outer.fails(LimitError, first, cpu=0.02)
            for _ in range(20):
                async with opened() as again:
                    await again.call(NOTHING)
            print("ended well")
        trio.run(main)
        """
    )
    assert "ended well" in output


def test_a_forked_child_has_ticks_of_its_own() -> None:
    output = in_child(
        """
        import os, signal, time
        async def main():
            async with opened() as sandbox:
                await sandbox.fails(LimitError, SPIN, cpu=0.02)
        trio.run(main)
        child = os.fork()
        if child == 0:
            trio.run(main)
            print("child ended well", flush=True)
            os._exit(0)
        end = time.monotonic() + 30
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.01)
        trio.run(main)
        """
    )
    assert "child ended well" in output


def test_guests_that_are_garbage_may_be_collected_inside_of_another_guest_s_callback() -> None:
    output = in_child(
        f"""
import gc, queue, threading
{RUNNING}
async def lost():
    async with open_engine() as engine, trio.open_nursery() as nursery:
        await some(Sandbox(engine), nursery)
        sessions = [await (await Sandbox(engine).load(NOTHING)).open(options()) for _ in range(5)]
        cycle = [sessions]
        cycle.append(cycle)
        going.append(1)
        await trio.sleep_forever()
def abandon():
    todo = queue.Queue()
    trio.lowlevel.start_guest_run(lost, run_sync_soon_threadsafe=todo.put, done_callback=print)
    while not going:
        todo.get()()
    going.clear()
    cycle = [todo]
    cycle.append(cycle)
going = []
gc.disable()
async def main():
    async with open_engine() as engine:
        sandbox = Sandbox(engine)
        logging = await sandbox.load(wat(run("(call $log_info (call $alloc (i64.const 4)))"), "alloc log_info"))
        from innkeeper.sandbox import call
        before = call.Call.count_system_call
        def collecting(self):
            collected.append(gc.collect())
            before(self)
        call.Call.count_system_call = collecting
        for _ in range(5):
            await sandbox.call(logging)
        call.Call.count_system_call = before
collected = []
for _ in range(3):
    thread = threading.Thread(target=abandon)
    thread.start()
    thread.join()
    trio.run(main)
print("collected", len(collected), collected[0] > 100)
""",
    )
    assert "collected 15 True" in output
