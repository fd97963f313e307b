"""How a worker confines itself before it sees a guest: what it may use, and that it never outlives the host."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
import threading

DATA = 2 << 30
"""Bytes of memory that a worker may write to. The largest limits that a host has by default, 1 GiB of guest memory and
400 MiB for its kernel, fit beside extism itself and its compiler."""

ADDRESS_SPACE = 256 << 30
"""Bytes of address space. wasmtime reserves 4 GiB and a guard for each of up to 17 memories, nearly all of it never
touched, so this bounds mistakes only; DATA is what bounds memory."""

FILE = 16 << 20
"""Bytes of one file: what a guest writes to its standard output goes to one."""

DESCRIPTORS = 64

_PR_SET_PDEATHSIG = 1


def confine(parent: int) -> None:
    """Sets the limits of this process and ties its life to its parent's.

    Args:
        parent: process id of the host.
    """
    for what, amount in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, DATA),
        (resource.RLIMIT_AS, ADDRESS_SPACE),
        (resource.RLIMIT_FSIZE, FILE),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
    ):
        _, hard = resource.getrlimit(what)
        most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It died before the line above, which then waits for nothing.
        os._exit(0)


def end_with(descriptor: int) -> None:
    """Ends this process when the other end of a socket is closed, whatever a guest does meanwhile: calls into extism
    give up the interpreter's lock, so this thread runs beside them."""

    def watch() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)
        poll.poll()
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="end with the host").start()


def allow_cpu(seconds: float) -> None:
    """From now on the process may use so many seconds of processor time more, rounded up; then SIGXCPU ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
