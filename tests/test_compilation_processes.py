"""The processes that compile: nothing that they do or say hurts the host, and none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from heavy import eventually, heavy_module
from innkeeper.errors import InnkeeperError, InternalError, RejectedError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation import process
from innkeeper.sandbox.compilation.compiler import Compiler
from innkeeper.sandbox.compilation.frames import ANSWER, MOST_ARTIFACT, MOST_TEXT, Status
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.compilation.settings import fingerprint, new_engine

EMPTY = b"\0asm\1\0\0\0"
FINGERPRINT = fingerprint(new_engine())

READY = f"import os, sys; os.write(1, {ANSWER.pack(Status.READY, 64) + FINGERPRINT.encode()!r}); "

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes through /proc")


@asynccontextmanager
async def compiler() -> AsyncIterator[Compiler]:
    made = Compiler(FINGERPRINT, Bounds(compile_jobs=1), idle=600)
    try:
        yield made
    finally:
        await made.aclose()
        assert made._children == set()


def the_child(made: Compiler) -> int:
    (child,) = made._children
    return child.pid


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def failure(made: Compiler, wasm: bytes = EMPTY) -> InnkeeperError:
    with pytest.raises(InnkeeperError) as caught:
        await made.compile("key", wasm, Plan())
    return caught.value


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("os.write(1, b'x' * 9)", "answered with the status 120"),
        (f"os.write(1, {ANSWER.pack(Status.ARTIFACT, MOST_ARTIFACT + 1)!r})", "wanted to answer with 536870913 bytes"),
        (f"os.write(1, {ANSWER.pack(Status.INVALID, MOST_TEXT + 1)!r})", "wanted to answer with 16385 bytes"),
        (f"os.write(1, {ANSWER.pack(Status.REJECTED, 1 << 63)!r})", "wanted to answer with"),
        (f"os.write(1, {ANSWER.pack(Status.READY, 64) + bytes(64)!r})", "was ready a second time"),
    ],
)
async def test_what_is_no_answer_is_not_believed(monkeypatch: pytest.MonkeyPatch, answer: str, words: str) -> None:
    monkeypatch.setattr(process, "BOOTSTRAP", f"{READY}{answer}; import time; time.sleep(60)")
    async with compiler() as made:
        error = await failure(made)
        assert isinstance(error, InternalError)
        assert words in error.message
        assert made._children == set()


async def test_a_child_that_begins_with_something_else_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"import os, time; os.write(1, {ANSWER.pack(Status.ARTIFACT, 3) + b'abc'!r}); time.sleep(60)"
    monkeypatch.setattr(process, "BOOTSTRAP", code)
    async with compiler() as made:
        assert "began with the status ARTIFACT" in (await failure(made)).message


async def test_a_child_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"import os, time; os.write(1, {ANSWER.pack(Status.READY, 2) + b'49'!r}); time.sleep(60)"
    monkeypatch.setattr(process, "BOOTSTRAP", code)
    async with compiler() as made:
        assert "was the installation changed? start Innkeeper again" in (await failure(made)).message


async def test_an_artifact_that_ends_too_early_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        process, "BOOTSTRAP", f"{READY}os.write(1, {ANSWER.pack(Status.ARTIFACT, MOST_ARTIFACT) + bytes(9)!r})"
    )
    async with compiler() as made:
        assert (await failure(made)).message == "the process that compiles ended with code 0"


async def test_a_child_that_only_closes_its_output_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BOOTSTRAP", f"{READY}os.close(1); import time; time.sleep(600)")
    async with compiler() as made:
        assert "was killed from outside" in (await failure(made)).message


async def test_a_child_that_reads_nothing_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BOOTSTRAP", f"{READY}os.close(0); os.kill(os.getpid(), 11)")
    async with compiler() as made:
        assert (
            "the compiler crashed (signal 11); the module is 1 MB"
            in (await failure(made, EMPTY + bytes(10**6))).message
        )


async def test_a_child_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BOOTSTRAP", "import innkeeper_is_not_here")
    async with compiler() as made:
        error = await failure(made)
        assert "ended with code 1: \"ModuleNotFoundError: No module named 'innkeeper_is_not_here'\"" in error.message


async def test_a_child_that_writes_without_end_fills_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded = "from innkeeper.sandbox.compilation import child; child._bound(1 << 30)"
    flood = f"import os; {bounded}\nwhile 1: os.write(2, b'x' * 4096)"
    monkeypatch.setattr(process, "BOOTSTRAP", f"import sys; sys.path[:0] = sys.argv[5:]; exec({flood!r})")
    async with compiler() as made:
        # It would have gone on for ever.
        assert "ended with code" in (await failure(made)).message


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "was killed from outside, as a system does that runs out of memory"),
        (signal.SIGSEGV, "the compiler crashed (signal 11)"),
        (signal.SIGABRT, "the compiler crashed (signal 6)"),
    ],
)
async def test_a_child_that_dies_takes_only_its_own_job(number: int, words: str) -> None:
    async with compiler() as made, trio.open_nursery() as nursery:

        async def doomed() -> None:
            error = await failure(made, heavy_module())
            assert isinstance(error, RejectedError)
            assert words in error.message

        nursery.start_soon(doomed)
        assert await trio.to_thread.run_sync(eventually, lambda: bool(made._children))
        await trio.testing.wait_all_tasks_blocked(0.1)
        os.kill(the_child(made), number)
        # It was behind the doomed one in the queue.
        assert await made.compile("good", EMPTY, Plan())


async def test_an_idle_child_that_is_killed_is_forgotten() -> None:
    async with compiler() as made:
        await made.compile("1", EMPTY, Plan())
        os.kill(the_child(made), signal.SIGKILL)
        assert await trio.to_thread.run_sync(eventually, lambda: not made._children)
        assert await made.compile("2", EMPTY, Plan())


TIRED = """
import os, sys
sys.path[:0] = sys.argv[5:]
from innkeeper.sandbox.compilation import child
outcome, done = child._outcome, []
def tired(*job):
    if done:
        {end}
    done.append(job)
    return outcome(*job)
child._outcome = tired
child.main(*map(int, sys.argv[1:5]))
"""


@pytest.mark.parametrize(
    "end",
    [
        "os.abort()",
        "os.kill(os.getpid(), 9)",
        "return child.Status.MEMORY, b''",
        "return child.Status.INVALID, b'Cannot allocate memory'",
    ],
)
async def test_what_earlier_jobs_left_in_a_child_makes_no_module_fail(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(process, "BOOTSTRAP", TIRED.format(end=end))
    async with compiler() as made:
        for number in range(3):
            assert await made.compile(str(number), EMPTY, Plan())


async def test_nothing_of_the_host_reaches_a_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_API_KEY", "hunter2")
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "open").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        async with compiler() as made:
            await made.compile("key", EMPTY, Plan())
            here = Path(f"/proc/{the_child(made)}")
            names = {item.partition("=")[0] for item in (here / "environ").read_text().split("\0") if item}
            assert names <= {"RAYON_NUM_THREADS", "MALLOC_ARENA_MAX", "LD_LIBRARY_PATH"}
            links = {os.readlink(link) for link in (here / "fd").iterdir()}
            assert str(tmp_path / "open") not in links
            assert os.readlink(here / "cwd") == "/"
            limits = (here / "limits").read_text()
            for words in ("Max core file size 0 0", "Max file size 65536 65536"):
                assert words in " ".join(limits.split())
            assert os.getsid(int(here.name)) == int(here.name)


HOST = """
import os, sys, signal, trio
sys.path.insert(0, {tests!r})
from heavy import heavy_module
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation.compiler import Compiler
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.compilation.settings import fingerprint, new_engine

async def main():
    compiler = Compiler(fingerprint(new_engine()), Bounds())
    async with trio.open_nursery() as nursery:
        if {busy}:
            nursery.start_soon(compiler.compile, "heavy", heavy_module(), Plan())
        else:
            await compiler.compile("empty", b"\\0asm\\1\\0\\0\\0", Plan())
        while not compiler._children:
            await trio.sleep(0.01)
        if {fork} and os.fork() == 0:
            # Holds the other ends of all pipes.
            signal.pause()
        print(*(child.pid for child in compiler._children), flush=True)
        {end}

trio.run(main)
"""


@pytest.mark.parametrize(
    ("end", "busy", "fork"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", True, False),
        ("os.kill(os.getpid(), signal.SIGKILL)", False, False),
        ("os.kill(os.getpid(), signal.SIGKILL)", True, True),
        ("os._exit(0)", True, False),
        ("os.kill(os.getpid(), signal.SIGINT)\n        await trio.sleep_forever()", True, False),
        ("sys.exit()", True, False),
        ("return", False, False),
    ],
)
def test_no_child_outlives_its_host(end: str, busy: bool, fork: bool) -> None:
    code = HOST.format(tests=str(Path(__file__).parent), end=end, busy=busy, fork=fork)
    host = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert host.stdout is not None
        pids = [int(word) for word in host.stdout.readline().split()]
        host.wait(20)
        assert len(pids) == 1
        assert eventually(lambda: all(gone(pid) for pid in pids))
    finally:
        # What the host forked is in its group; the children have groups of their own.
        with suppress(ProcessLookupError):
            os.killpg(host.pid, signal.SIGKILL)
        host.wait(20)
        if host.stdout is not None:
            host.stdout.close()


def test_ctrl_c_in_a_terminal_reaches_the_host_alone(tmp_path: Path) -> None:
    code = HOST.format(
        tests=str(Path(__file__).parent),
        busy=True,
        fork=False,
        end="os.killpg(0, signal.SIGINT); await trio.sleep_forever()",
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True, timeout=30
    )
    assert ended.stderr.count("KeyboardInterrupt") >= 1
    assert "compilation/child.py" not in ended.stderr
