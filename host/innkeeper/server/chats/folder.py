"""The files of one user, as chats and characters need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from another: each write makes another file of it.

    Attributes:
        inode: its number.
        modified: when it was written, in nanoseconds since 1970.
        size: in bytes.
    """

    inode: int
    modified: int
    size: int


@dataclass(frozen=True, slots=True)
class Item:
    """What lies in a folder.

    Attributes:
        name: without the folder's.
        stamp: of the file.
        is_folder: whether it is a folder itself.
    """

    name: str
    stamp: Stamp
    is_folder: bool


class ChangedError(Exception):
    """The file is not the one any more that was read; nothing was written."""


class AnyFile:
    """Says that it does not matter what file is there."""


ANY_FILE: Final = AnyFile()

Expected = Stamp | AnyFile | None
"""What must be there for a file to be written: the one that was read; anything; or, for None, nothing."""


class Folder(Protocol):
    """A user's files. A path is a sequence of names from the folder down; links are never followed. Whoever reads
    while somebody writes, or after a crash, finds the old file or the new one, whole. Nothing blocks trio's thread.

    Every method raises:
        AnswerError: 400: a name in the path cannot be one; 413: a bound was reached.
        InnkeeperError: the system refused.
    """

    async def stat(self, *path: str) -> Stamp | None:
        """The stamp of a regular file, or None where none is."""
        ...

    async def read(self, *path: str, most: int) -> tuple[bytes, Stamp] | None:
        """The bytes of a regular file of at most `most` bytes with its stamp, or None where none is."""
        ...

    async def write_atomic(self, *path: str, data: bytes, expected: Expected = ANY_FILE) -> Stamp:
        """Replaces a file whole; its folders are made. Gives the new one's stamp.

        Raises:
            ChangedError: what is there is not what is expected; of two that expect the same, one is told so, whatever
                process it is in.
        """
        ...

    async def items(self, *path: str, most: int) -> list[Item]:
        """Regular files and folders in a folder, at most `most`, in no order; nothing where it is missing. Names that
        begin with a dot are left out."""
        ...

    async def delete(self, *path: str, expected: Expected = ANY_FILE) -> None:
        """Deletes a file, or an empty folder; nothing happens where it is missing and that is expected.

        Raises:
            ChangedError: as `write_atomic`.
        """
        ...

    async def move(self, path: tuple[str, ...], to: tuple[str, ...], expected: Expected = ANY_FILE) -> None:
        """Moves a file or folder to where nothing is; the folders there are made.

        Raises:
            ChangedError: as `write_atomic`.
        """
        ...


Folders = Callable[[str], Folder]
"""The files of the user of a uid."""
