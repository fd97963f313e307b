"""A guest's descriptors: what each can be, and the table of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from innkeeper.sandbox.wasi.abi import NO_RIGHT, READ_ONLY_TREE, WRITABLE_TREE, WRITE_ONLY_TREE, Filetype, Right
from innkeeper.sandbox.wasi.errors import Errno, WasiError
from innkeeper.sandbox.wasi.hostfile import HostFile
from innkeeper.sandbox.wasi.lines import LineLog
from innkeeper.sandbox.wasi.listing import Listing
from innkeeper.sandbox.wasi.quota import Account
from innkeeper.sandbox.wasi.rights import Preopen

MAX_DESCRIPTORS = 64
"""Descriptors that a guest may hold, the three standard ones and its preopens included."""


@dataclass(slots=True)
class Descriptor:
    """What all kinds have in common.

    Attributes:
        rights: what the guest may do with it.
        inheriting: what it may do at most with what is opened through it.
        flags: `fdflags`, as the guest set them.
        filetype: as the guest sees it.
    """

    rights: Right
    inheriting: Right = NO_RIGHT
    flags: int = 0
    filetype: Filetype = Filetype.CHARACTER_DEVICE

    def require(self, right: Right) -> None:
        """Raises WasiError NOTCAPABLE unless the guest has `right` for it."""
        if right not in self.rights:
            raise WasiError(Errno.NOTCAPABLE)

    def close(self) -> None:
        """Ends it; harmless when repeated."""


@dataclass(slots=True)
class Input(Descriptor):
    """Standard input, which is at its end.

    The standard streams are character devices to the guest: C's library then sends each line off at its end. It
    would otherwise keep output until an exit that most guests never make."""


@dataclass(slots=True, kw_only=True)
class Output(Descriptor):
    """Standard output or error: lines of the log."""

    lines: LineLog


@dataclass(slots=True, kw_only=True)
class File(Descriptor):
    """A regular file of the host."""

    host: HostFile
    account: Account

    def close(self) -> None:
        self.host.close()


@dataclass(slots=True, kw_only=True)
class Directory(Descriptor):
    """A folder of the host.

    Attributes:
        preopen: the name under which the guest got it at its start, or None if it opened it itself.
        listing: the entries of it that the guest reads.
    """

    host: HostFile
    account: Account
    preopen: bytes | None = None
    listing: Listing = field(init=False)

    def __post_init__(self) -> None:
        self.listing = Listing(self.host)

    def close(self) -> None:
        self.host.close()


class DescriptorTable:
    """The descriptors of one guest, by number. After `close` it is empty and stays so."""

    def __init__(self, outputs: tuple[LineLog, LineLog], preopens: tuple[Preopen, ...]) -> None:
        reading = Right.FD_READ | Right.FD_FILESTAT_GET | Right.FD_FDSTAT_SET_FLAGS | Right.POLL_FD_READWRITE
        writing = Right.FD_WRITE | Right.FD_FILESTAT_GET | Right.FD_FDSTAT_SET_FLAGS | Right.POLL_FD_READWRITE
        self._closed = False
        self._entries: dict[int, Descriptor] = {
            0: Input(reading),
            1: Output(writing, lines=outputs[0]),
            2: Output(writing, lines=outputs[1]),
        }
        for number, preopen in enumerate(preopens, start=3):
            self._entries[number] = _preopened(preopen)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._entries))

    def get(self, number: int) -> Descriptor:
        """Raises WasiError BADF if there is none."""
        try:
            return self._entries[number]
        except KeyError:
            raise WasiError(Errno.BADF) from None

    def file(self, number: int, right: Right, *, stream: Errno = Errno.SPIPE) -> File:
        """The regular file `number`, which the guest may use with `right`.

        Raises:
            WasiError: BADF, there is none; ISDIR, it is a folder; `stream`, it is a standard stream; NOTCAPABLE,
                the right is missing.
        """
        descriptor = self.get(number)
        if isinstance(descriptor, File):
            descriptor.require(right)
            return descriptor
        raise WasiError(Errno.ISDIR if isinstance(descriptor, Directory) else stream)

    def directory(self, number: int, right: Right) -> Directory:
        """The folder `number`, which the guest may use with `right`.

        Raises:
            WasiError: BADF, there is none; NOTDIR, it is something else; NOTCAPABLE, the right is missing.
        """
        descriptor = self.get(number)
        if not isinstance(descriptor, Directory):
            raise WasiError(Errno.NOTDIR)
        descriptor.require(right)
        return descriptor

    def check_room(self) -> None:
        """Raises WasiError MFILE if the guest holds as many as it may."""
        if len(self._entries) >= MAX_DESCRIPTORS:
            raise WasiError(Errno.MFILE)

    def add(self, descriptor: Descriptor) -> int:
        """Puts `descriptor` at the lowest free number and returns it (int).

        Raises:
            WasiError: BADF, the guest has ended meanwhile; MFILE, as `check_room`. `descriptor` is closed then.
        """
        try:
            if self._closed:
                raise WasiError(Errno.BADF)
            self.check_room()
        except WasiError:
            descriptor.close()
            raise
        number = next(number for number in range(MAX_DESCRIPTORS) if number not in self._entries)
        self._entries[number] = descriptor
        return number

    def remove(self, number: int) -> Descriptor:
        """Takes it out of the table; closing it is the caller's. Raises WasiError BADF if there is none."""
        descriptor = self.get(number)
        del self._entries[number]
        return descriptor

    def move(self, source: int, target: int) -> Descriptor | None:
        """Gives `source` the number `target`, which must be in use, and returns what was there for the caller to
        close; None if they are the same. Raises WasiError BADF if one of them is not in use."""
        replaced = self.get(target)
        moved = self.get(source)
        if source == target:
            return None
        del self._entries[source]
        self._entries[target] = moved
        return replaced

    def close(self) -> None:
        """Closes all of them, for good; harmless when repeated."""
        self._closed = True
        entries, self._entries = self._entries, {}
        for descriptor in entries.values():
            descriptor.close()


def _preopened(preopen: Preopen) -> Directory:
    tree = _TREES[preopen.readable, preopen.writable]
    return Directory(
        tree,
        tree,
        filetype=Filetype.DIRECTORY,
        host=HostFile(preopen.opened, later=True),
        account=Account(preopen.quota, preopen.entries, preopen.tree),
        preopen=preopen.guest.encode("utf-8"),
    )


_TREES = {
    (True, False): READ_ONLY_TREE,
    (True, True): WRITABLE_TREE,
    (False, True): WRITE_ONLY_TREE,
    (False, False): NO_RIGHT,
}
"""By whether it is readable and writable."""
