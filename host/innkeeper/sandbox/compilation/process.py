"""The host's side of one child: starts it, gives it a job, believes nothing of what it answers, ends it."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import trio

from innkeeper.errors import InternalError
from innkeeper.sandbox.compilation.child import BOOTSTRAP
from innkeeper.sandbox.compilation.frames import ANSWER, JOB, Status, most_of

IDLE = 5
"""Seconds after which a child without a job leaves: starting one takes 0.1 s, keeping one 40 MB."""

_NEEDED = ("innkeeper", "wasmtime", "msgpack")
"""Packages whose folders a child gets. The standard library it finds by itself."""

_PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""Variables of the environment without which some installations of Python do not start. No other reaches a child."""

_THREADS = 4
"""Threads that a child compiles with, at most: each needs memory of its own."""

_MOST_SAID = 4096
"""Bytes of a dead child's messages that are looked at."""

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child said of a job: a status, and an artifact or text (bytes)."""

    status: Status
    data: bytes


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended instead of answering.

    Attributes:
        code: exit code, or minus the signal's number (int).
        said: the end of what it wrote to standard error (str).
    """

    code: int
    said: str


class NonsenseError(Exception):
    """The child answered what is no answer."""


class Child:
    """A process that compiles. One job at a time; after anything but an answer it is ended.

    Attributes:
        served: jobs that it has answered.
    """

    def __init__(self, process: trio.Process, messages: BinaryIO) -> None:
        self._process = process
        self._messages = messages
        self.served = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def started(self, fingerprint: str) -> Death | None:
        """Waits until it is ready; how it ended where it did not come so far.

        Args:
            fingerprint: the host's own.

        Raises:
            InternalError: it makes code for other settings than the host's.
            NonsenseError: it answered what is no answer.
        """
        answer = await self._answer()
        if isinstance(answer, Death):
            return answer
        if answer.status is not Status.READY:
            raise NonsenseError(f"began with the status {answer.status.name}")
        if answer.data != fingerprint.encode():
            raise InternalError(
                "the process that compiles has another wasmtime or another Innkeeper than this one: was the "
                "installation changed? start Innkeeper again"
            )
        return None

    async def run(self, plan: bytes, wasm: bytes) -> Answer | Death:
        """Gives it a job and waits for the outcome.

        Raises:
            NonsenseError: it answered what is no answer.
        """
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(JOB.pack(len(plan), len(wasm)) + plan)
            await self._process.stdin.send_all(wasm)
        except trio.BrokenResourceError:
            pass  # It died before it had read the job: how, the answer says.
        answer = await self._answer()
        if isinstance(answer, Answer):
            if answer.status is Status.READY:
                raise NonsenseError("was ready a second time")
            self.served += 1
        return answer

    async def gone(self) -> None:
        """Waits until it has ended."""
        await self._process.wait()

    async def aclose(self) -> None:
        """Ends it, waits until nothing of it is left, and closes what leads to it. Cancellation does not keep it from
        doing so; it takes milliseconds."""
        with trio.CancelScope(shield=True):
            self._process.kill()
            await self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    await stream.aclose()
            self._messages.close()

    async def _answer(self) -> Answer | Death:
        head = await self._exactly(ANSWER.size)
        if len(head) < ANSWER.size:
            return await self._death()
        number, size = ANSWER.unpack(head)
        try:
            status = Status(number)
        except ValueError:
            raise NonsenseError(f"answered with the status {number}") from None
        if size > most_of(status):
            raise NonsenseError(f"wanted to answer with {size} bytes")
        data = await self._exactly(size)
        return Answer(status, data) if len(data) == size else await self._death()

    async def _exactly(self, size: int) -> bytes:
        """That many bytes, or fewer where it ended before. Memory is taken as they come, not as they are announced."""
        assert self._process.stdout is not None
        parts: list[bytes] = []
        while size:
            part = await self._process.stdout.receive_some(min(size, _CHUNK))
            if not part:
                break
            parts.append(bytes(part))
            size -= len(part)
        return b"".join(parts)

    async def _death(self) -> Death:
        # It has closed its output, so it is about to end; one that only closed it must not keep us waiting.
        with trio.move_on_after(1):
            await self._process.wait()
        self._process.kill()
        code = await self._process.wait()
        end = os.fstat(self._messages.fileno()).st_size
        said = os.pread(self._messages.fileno(), _MOST_SAID, max(0, end - _MOST_SAID))
        return Death(code, said.decode("utf-8", "replace"))


async def start(*, cpu: int, memory: int, idle: int) -> Child:
    """A new child; `Child.started` comes next.

    Args:
        cpu: seconds of processor time for one job.
        memory: bytes beyond what it starts with.
        idle: seconds without a job after which it leaves.

    Raises:
        InternalError: this system lets no process be started.
        OSError: it has no more of what a process takes.
    """
    if not sys.executable:
        raise InternalError(f"{_CANNOT}: Python does not say where its own program is")
    arguments = [str(number) for number in (os.getpid(), cpu, memory, idle)]
    command = [sys.executable, "-I", "-S", "-B", "-c", BOOTSTRAP, *arguments, *_folders()]
    with contextlib.ExitStack() as stack:
        try:
            # A file and not a pipe: nobody need read it while the child works. The child's own bound keeps it small.
            messages = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages.fileno(),
                env=_environment(),
                cwd="/",
                # Ctrl-C in a terminal goes to its group: it is for the host, which ends its children itself.
                start_new_session=True,
            )
        except OSError as error:
            if error.errno in _SCARCE:
                raise
            raise InternalError(f"{_CANNOT}: {error.strerror}") from None
        stack.pop_all()
        return Child(process, messages)


_SCARCE = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
"""What the system says that has too many open files or processes, or too little memory, just now."""

_CANNOT = "modules are compiled in a process of their own, and none can be started here"


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Each arena of the allocator reserves address space, which counts against the bound on memory.
    return passed | {"RAYON_NUM_THREADS": str(min(_THREADS, os.cpu_count() or 1)), "MALLOC_ARENA_MAX": "2"}


def _folders() -> list[str]:
    specs = map(find_spec, _NEEDED)
    found = [str(Path(spec.origin).resolve().parent.parent) for spec in specs if spec is not None and spec.origin]
    return list(dict.fromkeys(found))
