"""What a guest asks with a call of WASI, apart from where in its memory it does so, and where the answer goes.

Two builds of one program have their data at different places. What is asked is the same where the values, the names
and the contents are; an answer lies so far behind the place that the guest named for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from innkeeper.sandbox.wasi.errors import WasiError
from innkeeper.sandbox.wasi.memory import GuestMemory, MemoryFault, gather, read_buffers
from innkeeper.sandbox.wasi.paths import MAX_PATH

PRINTS: Final = "fd_write"
"""The one function that prints where its descriptor is a standard stream."""

LIVE: Final = frozenset(
    {
        "args_get",
        "args_sizes_get",
        "clock_res_get",
        "environ_get",
        "environ_sizes_get",
        "proc_exit",
        "proc_raise",
        "sched_yield",
    }
)
"""Functions whose answer is the same in every world."""

SHAPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "clock_time_get": "vvo",
        "fd_advise": "vvvv",
        "fd_allocate": "vvv",
        "fd_close": "v",
        "fd_datasync": "v",
        "fd_fdstat_get": "vo",
        "fd_fdstat_set_flags": "vv",
        "fd_fdstat_set_rights": "vvv",
        "fd_filestat_get": "vo",
        "fd_filestat_set_size": "vv",
        "fd_filestat_set_times": "vvvv",
        "fd_pread": "vrnvo",
        "fd_prestat_dir_name": "vov",
        "fd_prestat_get": "vo",
        "fd_pwrite": "vwnvo",
        "fd_read": "vrno",
        "fd_readdir": "vovvo",
        "fd_renumber": "vv",
        "fd_seek": "vvvo",
        "fd_sync": "v",
        "fd_tell": "vo",
        "fd_write": "vwno",
        "path_create_directory": "vpn",
        "path_filestat_get": "vvpno",
        "path_filestat_set_times": "vvpnvvv",
        "path_link": "vvpnvpn",
        "path_open": "vvpnvvvvo",
        "path_readlink": "vpnovo",
        "path_remove_directory": "vpn",
        "path_rename": "vpnvpn",
        "path_symlink": "pnvpn",
        "path_unlink_file": "vpn",
        "poll_oneoff": "sovo",
        "random_get": "ov",
        "sock_accept": "vvo",
        "sock_recv": "vrnvoo",
        "sock_send": "vwnvo",
        "sock_shutdown": "vv",
    }
)
"""What the parameters are, in order: v a value; p a path and n its length; o where a part of the answer goes; r a list
of buffers to be filled, w one of buffers to be written, and n how many; s as many subscriptions as the third says."""

_TRANSFER = 1 << 20
_SUBSCRIPTION = 48
_MOST_SUBSCRIPTIONS = 256


@dataclass(frozen=True, slots=True)
class Question:
    """One call of WASI.

    Attributes:
        asked: values (int), contents (bytes), and lengths of buffers (list of int), in the order of the parameters;
            None where the guest named what does not lie in its memory or is more than may be named.
        places: offsets of what the answer may be written to.
    """

    asked: list[Any]
    places: list[int]


def question(name: str, memory: GuestMemory, arguments: Sequence[int]) -> Question:
    """What is asked; changes nothing, and copies no more than the call itself may.

    Args:
        name: one of `SHAPES`.
        memory: the guest's.
        arguments: what it gave.
    """
    asked: list[Any] = []
    places: list[int] = []
    buffers: list[int] = []
    for position, kind in enumerate(SHAPES[name]):
        value = arguments[position]
        if kind == "v":
            asked.append(value)
        elif kind == "o":
            places.append(value)
        elif kind == "p":
            length = arguments[position + 1]
            asked.append(_read(memory, value, length) if length <= MAX_PATH else None)
        elif kind == "s":
            count = arguments[2]
            asked.append(_read(memory, value, count * _SUBSCRIPTION) if count <= _MOST_SUBSCRIPTIONS else None)
        elif kind in "rw":
            try:
                found = read_buffers(memory, value, arguments[position + 1], _TRANSFER)
                asked.append(gather(memory, found) if kind == "w" else [length for _, length in found])
            except (MemoryFault, WasiError):
                asked.append(None)
            else:
                buffers += [start for start, _ in found] if kind == "r" else ()
    return Question(asked, places + buffers)


def _read(memory: GuestMemory, offset: int, length: int) -> bytes | None:
    try:
        return memory.read(offset, length)
    except MemoryFault:
        return None


Written = tuple[int, int, bytes]
"""Number of the place, how far behind it, and what was written there."""


class WatchedMemory:
    """The guest's memory, and what an answer writes into it. Implements `GuestMemory`.

    Attributes:
        written: in the order in which it was.
    """

    __slots__ = ("_memory", "_numbers", "_starts", "written")

    def __init__(self, memory: GuestMemory, places: Sequence[int]) -> None:
        self._memory = memory
        ordered = sorted((start, number) for number, start in enumerate(places))
        self._starts = [start for start, _ in ordered]
        self._numbers = [number for _, number in ordered]
        self.written: list[Written] = []

    def read(self, offset: int, length: int) -> bytes:
        """As `GuestMemory.read`."""
        return self._memory.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """As `GuestMemory.write`."""
        self._memory.write(offset, data)
        # The nearest place before it. Whichever it is, the same guest's answer goes to the same offset again.
        at = max(bisect_right(self._starts, offset) - 1, 0)
        self.written.append((self._numbers[at], offset - self._starts[at], data))


def write_again(memory: GuestMemory, places: Sequence[int], written: Sequence[Written]) -> bool:
    """Writes an answer where the guest wants it now (bool: whether it fits there)."""
    try:
        for number, behind, data in written:
            if not 0 <= number < len(places):
                return False
            memory.write(places[number] + behind, data)
    except MemoryFault:
        return False
    return True
