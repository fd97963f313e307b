"""Arguments, environment, the process and its random numbers, and the sockets that no guest has."""

from __future__ import annotations

from typing import NoReturn

import trio

from innkeeper.sandbox.wasi.errors import Errno, ProcExit
from innkeeper.sandbox.wasi.functions import I32, Later, function
from innkeeper.sandbox.wasi.memory import GuestMemory, check_range, write_u32
from innkeeper.sandbox.wasi.state import Wasi

_RANDOM_AT_ONCE = 4 * 1024
"""Bytes of random numbers that are made while the guest stands in its call: about 20 us."""
_RANDOM_CHUNK = 64 * 1024
"""Bytes between two checkpoints: about 300 us."""


@function(I32, I32)
def args_sizes_get(wasi: Wasi, memory: GuestMemory, count: int, size: int) -> int:
    """There are no arguments."""
    write_u32(memory, count, 0)
    write_u32(memory, size, 0)
    return Errno.SUCCESS


@function(I32, I32)
def args_get(wasi: Wasi, memory: GuestMemory, pointers: int, buffer: int) -> int:
    """Nothing to write."""
    return Errno.SUCCESS


@function(I32, I32)
def environ_sizes_get(wasi: Wasi, memory: GuestMemory, count: int, size: int) -> int:
    """There is no environment."""
    write_u32(memory, count, 0)
    write_u32(memory, size, 0)
    return Errno.SUCCESS


@function(I32, I32)
def environ_get(wasi: Wasi, memory: GuestMemory, pointers: int, buffer: int) -> int:
    """Nothing to write."""
    return Errno.SUCCESS


@function(I32, result=None)
def proc_exit(wasi: Wasi, memory: GuestMemory, code: int) -> NoReturn:
    """Ends the guest."""
    raise ProcExit(code)


@function(I32)
def proc_raise(wasi: Wasi, memory: GuestMemory, signal: int) -> int:
    """There are no signals."""
    return Errno.NOSYS


@function()
def sched_yield(wasi: Wasi, memory: GuestMemory) -> int:
    """The engine pre-empts guests by itself."""
    return Errno.SUCCESS


@function(I32, I32, asynchronous=True)
def random_get(wasi: Wasi, memory: GuestMemory, buffer: int, length: int) -> int | Later:
    """Random bytes; large requests in chunks, with a checkpoint between them."""
    check_range(memory, buffer, length)
    if length <= _RANDOM_AT_ONCE:
        memory.write(buffer, wasi.random.take(length))
        return Errno.SUCCESS

    async def rest() -> int:
        for done in range(0, length, _RANDOM_CHUNK):
            memory.write(buffer + done, wasi.random.take(min(_RANDOM_CHUNK, length - done)))
            await trio.lowlevel.checkpoint()
        return Errno.SUCCESS

    return rest


def _no_socket(wasi: Wasi, descriptor: int) -> int:
    wasi.descriptors.get(descriptor)
    return Errno.NOTSOCK


@function(I32, I32, I32)
def sock_accept(wasi: Wasi, memory: GuestMemory, descriptor: int, flags: int, result: int) -> int:
    """No descriptor is a socket."""
    return _no_socket(wasi, descriptor)


@function(I32, I32, I32, I32, I32, I32)
def sock_recv(
    wasi: Wasi, memory: GuestMemory, descriptor: int, buffers: int, count: int, flags: int, length: int, answer: int
) -> int:
    """No descriptor is a socket."""
    return _no_socket(wasi, descriptor)


@function(I32, I32, I32, I32, I32)
def sock_send(
    wasi: Wasi, memory: GuestMemory, descriptor: int, buffers: int, count: int, flags: int, length: int
) -> int:
    """No descriptor is a socket."""
    return _no_socket(wasi, descriptor)


@function(I32, I32)
def sock_shutdown(wasi: Wasi, memory: GuestMemory, descriptor: int, how: int) -> int:
    """No descriptor is a socket."""
    return _no_socket(wasi, descriptor)
