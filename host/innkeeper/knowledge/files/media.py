"""Media files of a base: found below its folder and nowhere else, opened without following a link, bounded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

from innkeeper.knowledge.files.bounds import MOST_MEDIUM
from innkeeper.knowledge.files.regular import open_regular
from innkeeper.knowledge.files.relative import why_no_medium
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.plugins.tables import visible

TYPES: Final = MappingProxyType(
    {
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "gif": "image/gif",
        "webp": "image/webp",
        "avif": "image/avif",
        "bmp": "image/bmp",
        "mp3": "audio/mpeg",
        "wav": "audio/wav",
        "ogg": "audio/ogg",
        "oga": "audio/ogg",
        "opus": "audio/ogg",
        "flac": "audio/flac",
        "m4a": "audio/mp4",
        "mp4": "video/mp4",
        "webm": "video/webm",
        "mov": "video/quicktime",
        "txt": "text/plain",
        "md": "text/markdown",
    }
)
"""MIME types by what a name ends with. What is not here is no medium: SVG and PDF can have programs in them, archives
anything."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Medium:
    """An open media file.

    Attributes:
        file: to read from, open for the length of its block.
        mime_type: by its name.
        size: bytes, at most those that were asked for.
    """

    file: BinaryIO
    mime_type: str
    size: int


def mime_type(path: str) -> str | None:
    """The MIME type of a media file by its name, or None for what is no medium."""
    return TYPES.get(path.rpartition(".")[2].lower())


@contextmanager
def open_media(folder: Path, path: str, *, most: int = MOST_MEDIUM) -> Iterator[Medium]:
    """A media file of a base for the time of a `with`. Blocks on the disk.

    Each folder on the way is opened by its name alone in the one before, and never if it is a link: there is no moment
    in which one that was swapped for a link could lead elsewhere.

    Args:
        folder: of the base.
        path: as the entry names it: relative, below "media/".
        most: most bytes.

    Raises:
        KnowledgeError: there is no such file, it is none, is a link or behind one, is no medium, or is too large. The
            message has the path, not the folder.
    """
    mime = _checked(path)
    file = open_regular(open_below(folder, path))
    if file is None:
        raise _wrong(path, "is not a regular file")
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise _wrong(path, f"is {size:,} bytes, the most is {most:,}")
        yield Medium(file, mime, size)


def read_media(folder: Path, path: str, *, most: int = MOST_MEDIUM) -> tuple[bytes, str]:
    """The bytes of a media file and its MIME type. Blocks on the disk.

    Raises:
        KnowledgeError: as `open_media`; also of one that grows meanwhile.
    """
    with open_media(folder, path, most=most) as medium:
        data = medium.file.read(most + 1)
    if len(data) > most:
        raise _wrong(path, f"is more than {most:,} bytes")
    return data, medium.mime_type


def open_below(folder: Path, path: str) -> int:
    """A descriptor (int) of what a relative path leads to below a folder, through no link.

    Args:
        folder: the way to it may lead through links.
        path: for which `relative.why_not` has found nothing.

    Raises:
        KnowledgeError: there is nothing, it is a link or behind one, or it cannot be opened.
    """
    *folders, name = path.split("/")
    try:
        here = os.open(folder, _FOLDER)
        try:
            for part in folders:
                above, here = here, os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
                os.close(above)
            return os.open(name, _FILE, dir_fd=here)
        finally:
            os.close(here)
    except FileNotFoundError:
        raise _wrong(path, "does not exist below the base's folder") from None
    except OSError as error:
        raise _wrong(path, f"cannot be opened: {error.strerror}; links are not followed here") from None


def _checked(path: str) -> str:
    problem = why_no_medium(path)
    if problem:
        raise _wrong(path, problem)
    found = mime_type(path)
    if found is None:
        raise _wrong(path, f"is no medium that is known: its name must end with .{', .'.join(TYPES)}")
    return found


def _wrong(path: str, sentence: str) -> KnowledgeError:
    return KnowledgeError(Problem(visible(path, 200) or "the path of a media file", sentence))
