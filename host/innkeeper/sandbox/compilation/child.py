"""The child: bounds itself, then compiles one module after the other until nobody wants more.

It is started as `python -c BOOTSTRAP`, with no more of the environment than Python needs to start, in a session of its
own; standard input carries jobs, standard output answers, standard error ends in a small file of the host's. Nothing of
the user's is there to be taken.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import select
import signal
import threading
from io import FileIO
from pathlib import Path
from typing import NoReturn

from innkeeper.sandbox.compilation.frames import ANSWER, JOB, MOST_TEXT, Status

BOOTSTRAP = (
    "import sys; sys.path[:0] = sys.argv[5:]; "
    "from innkeeper.sandbox.compilation.child import main; main(*map(int, sys.argv[1:5]))"
)
"""Arguments: the host's process id, seconds of processor time for a job, bytes of memory, seconds of idleness; then
the folders that packages are imported from."""

_LOOK_AGAIN = 1.0
"""Seconds between two looks at whether the host still lives, where the kernel does not tell."""

_SLACK = 512 << 20
"""Bytes of address space beyond what may be used: allocators reserve more than they touch."""

_MOST_WRITTEN = 64 << 10
"""Bytes of a file that the child may write: its messages, and nothing else."""


def main(host: int, cpu: int, memory: int, idle: int) -> NoReturn:
    """Serves jobs until standard input ends, until nothing comes for a while, or until the host dies.

    Args:
        host: its process id.
        cpu: seconds of processor time for one job.
        memory: bytes for all of them, beyond what the child starts with.
        idle: seconds without a job after which it leaves.
    """
    _die_with(host)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    # What anybody prints must not end among the answers.
    os.dup2(2, 1)
    # A host that no longer wants the answer has closed its end.
    with contextlib.suppress(BrokenPipeError):
        _serve(jobs, answers, cpu, memory, idle)
    # Not sys.exit: nothing is left to be tidied up, and the watching thread never ends.
    os._exit(0)


def _serve(jobs: FileIO, answers: FileIO, cpu: int, memory: int, idle: int) -> None:
    from innkeeper.sandbox.compilation.job import child_engine
    from innkeeper.sandbox.compilation.settings import fingerprint

    ready = fingerprint(child_engine()).encode()
    _warm_up()
    _bound(memory)
    _answer(answers, Status.READY, ready)
    # The first job is already on its way.
    patience: int | None = None
    while select.select([jobs], [], [], patience)[0]:
        patience = idle
        taken = _take(jobs)
        if taken is None:
            return
        _bound_cpu(cpu)
        _answer(answers, *_outcome(*taken))


def _warm_up() -> None:
    """Starts the compiler's threads, so that their stacks do not count against the first job."""
    import wasmtime as w

    from innkeeper.sandbox.compilation.job import child_engine

    w.Module(child_engine(), "(module" + "(func)" * 16 + ")")


def _bound(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_WRITTEN, _MOST_WRITTEN))
    space, data = _used()
    _lower(resource.RLIMIT_AS, space + memory + _SLACK)
    _lower(resource.RLIMIT_DATA, data + memory)


def _used() -> tuple[int, int]:
    """Bytes of address space, and of data in it, that this process has; nothing where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0, 0
    size = resource.getpagesize()
    return int(pages[0]) * size, int(pages[5]) * size


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    # Some systems know the limit and refuse to set it; time still bounds the job there.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(which, (value, value))


def _bound_cpu(seconds: int) -> None:
    # The limit counts whole seconds from the process's beginning.
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime) + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _take(jobs: FileIO) -> tuple[bytes, bytes] | None:
    head = _exactly(jobs, JOB.size)
    if head is None:
        return None
    plan_size, wasm_size = JOB.unpack(head)
    plan = _exactly(jobs, plan_size)
    wasm = _exactly(jobs, wasm_size)
    return None if plan is None or wasm is None else (plan, wasm)


def _exactly(stream: FileIO, size: int) -> bytes | None:
    """That many bytes, or None where the host went away before."""
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = stream.readinto(view[at:])
        if not count:
            return None
        at += count
    return bytes(data)


def _outcome(plan: bytes, wasm: bytes) -> tuple[Status, bytes]:
    import wasmtime as w

    from innkeeper.errors import RejectedError
    from innkeeper.sandbox.compilation.job import build
    from innkeeper.sandbox.compilation.plan import Plan
    from innkeeper.sandbox.module_info import MalformedError, UnsupportedError

    try:
        return Status.ARTIFACT, build(wasm, Plan.from_bytes(plan))
    except w.WasmtimeError as error:
        return Status.INVALID, str(error).encode()
    except UnsupportedError as error:
        return Status.UNSUPPORTED, f"{error.proposal or ''}\n{error.reason}".encode()
    except MalformedError as error:
        return Status.MALFORMED, error.reason.encode()
    except RejectedError as error:
        return Status.REJECTED, error.message.encode()
    except MemoryError:
        return Status.MEMORY, b""
    except Exception as error:
        return Status.DEFECT, f"{type(error).__name__}: {error}".encode("utf-8", "replace")


def _answer(answers: FileIO, status: Status, data: bytes) -> None:
    if status is not Status.ARTIFACT:
        data = data[:MOST_TEXT]
    _write(answers, ANSWER.pack(status, len(data)))
    _write(answers, data)


def _write(stream: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]


def _die_with(host: int) -> None:
    """Ends this process when the host's ends, however that comes about.

    Not by the kernel's signal at a parent's death: that comes when the thread ends which started the child. And not by
    the end of standard input alone: it does not come while a compiler runs, nor while a process that the host forked
    holds the pipe's other end.
    """
    try:
        # Linux tells through a descriptor; others are asked.
        watched = [os.pidfd_open(host)]
    except (AttributeError, OSError):
        watched = []

    def watch() -> None:
        while os.getppid() == host:
            select.select(watched, [], [], _LOOK_AGAIN)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
