"""A worker process as the host sees it: started, talked to, killed and reaped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import Any, NoReturn

import trio

from innkeeper.sandbox.oracle import wire

_BOOT = (
    "import sys; parent, *sys.path = sys.argv[1:]; from innkeeper.sandbox.oracle.worker import main; main(int(parent))"
)

_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What of the host's environment a worker gets: where its interpreter finds its libraries."""

_ENVIRONMENT = {
    # Guests' standard output and error go to the worker's; nothing is cached on disk.
    "EXTISM_ENABLE_WASI_OUTPUT": "1",
    "EXTISM_CACHE_CONFIG": "",
    "LC_ALL": "C.UTF-8",
}

_CHUNK = 1 << 20

_PATIENCE = 100
"""Hundredths of a second between the end of a worker's socket and its own, before it is killed: what it ends with is
worth knowing."""


class WorkerEndedError(Exception):
    """A worker is gone.

    Attributes:
        signal: number of the signal that ended it, or None.
        killed: whether that was the host's.
    """

    def __init__(self, returncode: int, *, killed: bool) -> None:
        self.killed = killed
        self.signal = -returncode if returncode < 0 else None
        super().__init__(f"signal {_signal_name(-returncode)}" if returncode < 0 else f"exit code {returncode}")


class Worker:
    """One live worker. Belongs to one task at a time.

    Args:
        limiter: for the thread that waits for its end.

    Attributes:
        settings: what its program was compiled for last, or None.

    Raises:
        OSError: the system has no room for another process.
    """

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        self.settings: object = None
        self._killed = False
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # On trio's thread, though it takes a millisecond: the system ends the worker when the thread that
                # started it ends, and a thread of trio's cache does so when it has nothing to do.
                self._process = subprocess.Popen(  # noqa: S603 (our own interpreter, our own program)
                    [sys.executable, "-I", "-c", _BOOT, str(os.getpid()), *map(os.path.abspath, sys.path)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={**_ENVIRONMENT, **{name: os.environ[name] for name in _KEPT if name in os.environ}},
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid)

    async def send(self, header: dict[str, Any], *payload: bytes) -> None:
        """Sends a message.

        Raises:
            wire.TooLargeError: it is too large.
            WorkerEndedError: the worker is gone.
        """
        start = wire.encode(header, payload)
        try:
            await self._stream.send_all(start)
            for piece in payload:
                await self._stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await self._gone()

    async def receive(self, payload_max: int) -> tuple[dict[str, Any], bytes]:
        """The next message.

        Args:
            payload_max: bytes that its payload may have.

        Raises:
            wire.WireError: it is none, or too large.
            WorkerEndedError: the worker is gone.
        """
        prefix = await self._read(wire.PREFIX.size)
        size, payload_size = wire.lengths(prefix, payload_max)
        return wire.decode(await self._read(size)), await self._read(payload_size)

    def kill(self) -> None:
        """Ends it at once. It is still to be reaped."""
        self._killed = True
        self._process.kill()
        self._stream.socket.close()

    def reap(self) -> bool:
        """Whether it has ended, without waiting; it is then reaped."""
        return self._process.poll() is not None

    async def wait(self) -> None:
        """Waits for the end of a killed worker, whoever is cancelled meanwhile."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._process.wait, limiter=self._limiter)

    async def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                piece = await self._stream.receive_some(min(size - len(data), _CHUNK))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                piece = b""
            if not piece:
                await self._gone()
            data += piece
        return bytes(data)

    async def _gone(self) -> NoReturn:
        # It closed its end, so it has ended or has nothing more to say; or the host closed its own.
        for _ in range(_PATIENCE):
            if self._process.poll() is not None:
                break
            await trio.sleep(0.01)
        else:
            self._process.kill()
        await self.wait()
        raise WorkerEndedError(self._process.returncode, killed=self._killed)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
