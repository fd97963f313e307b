"""Scripts, styles and pictures of a plugin's front end: files of one folder of the plugin, and nothing beside it.

The manifest of the plugin's folder names that folder (`frontend.vanilla.rootDir`, `frontend.build.outputDir`, else
`web`). No link is followed, on the way or at its end, so that a link which is swapped meanwhile leads nowhere either.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from innkeeper.plugins.manifest import Manifest
from innkeeper.server.answers import AnswerError

MOST_BYTES: Final = 8 << 20
"""Bytes of one file: scripts and pictures, no films."""

_MOST_PARTS: Final = 16
_MOST_STYLES: Final = 16

MEDIA: Final[Mapping[str, str]] = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served, by the end of its name. Pages and pictures that can hold scripts are not."""

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # Opened by itself, it is no document of the host's origin.
    "Content-Security-Policy": "default-src 'none'; sandbox",
}

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class PluginFrontEnd:
    """What a plugin's manifest says of its front end.

    Attributes:
        folder: names below the plugin's folder.
        entry: the script, below `folder`, joined by "/".
        styles: style sheets, as `entry`.
    """

    folder: tuple[str, ...]
    entry: str
    styles: tuple[str, ...] = ()


def front_end_of(manifest: Manifest | None) -> PluginFrontEnd | None:
    """What a manifest says of a front end; None where it says nothing that can be served."""
    said: Any = None if manifest is None else manifest.unused.get("frontend", manifest.unused.get("front_end"))
    if not isinstance(said, Mapping):
        return None
    for kind, key in (("vanilla", "rootDir"), ("build", "outputDir")):
        section = said.get(kind)
        if isinstance(section, Mapping):
            folder = parts_of(section.get(key, "web"))
            entry = parts_of(section.get("entry"))
            styles = section.get("styles", [])
            if folder is None or entry is None or not isinstance(styles, list):
                return None
            found = [parts for each in styles[:_MOST_STYLES] if (parts := parts_of(each)) is not None]
            return PluginFrontEnd(folder, "/".join(entry), tuple("/".join(each) for each in found))
    return None


def parts_of(path: object) -> tuple[str, ...] | None:
    """The names of a path below a folder; None where it is none: empty, too long, absolute, hidden, or leading out."""
    if not isinstance(path, str) or not 0 < len(path) <= 1024:
        return None
    parts = tuple(path.removeprefix("./").split("/"))
    if len(parts) > _MOST_PARTS:
        return None
    for part in parts:
        # A name that begins with a dot is nobody's to see, "." and ".." among them.
        if not part or part.startswith(".") or not part.isprintable() or "\\" in part or ":" in part:
            return None
    return parts


def media_of(path: str) -> str | None:
    """The media type of a file that is served, or None."""
    return MEDIA.get(os.path.splitext(path)[1].lower())


def plugin_folder(path: Path | None) -> Path | None:
    """The folder of a plugin whose module is at a path: the nearest above it with a plugin.json or plugin.yaml, as far
    as the module may lie below it; None where the plugin is a file by itself. Blocks."""
    for above in [] if path is None else list(path.parents)[:_MOST_PARTS]:
        if any((above / name).is_file() for name in ("plugin.json", "plugin.yaml")):
            return above
        if above.name == "plugins":
            return None
    return None


def read_asset(folder: Path, front_end: PluginFrontEnd, path: str) -> bytes:
    """The bytes of a file of a front end. Blocks.

    Args:
        folder: of the plugin.
        front_end: says which folder below it.
        path: below that, as a client wrote it.

    Raises:
        AnswerError: 404: there is no such file, or it is none that is served; 413: it is too large.
    """
    parts = parts_of(path)
    if parts is None or media_of(path) is None:
        raise _missing()
    descriptor = -1
    try:
        descriptor = os.open(folder, _DIRECTORY)
        for name in (*front_end.folder, *parts[:-1]):
            inner = os.open(name, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        file = os.open(parts[-1], _FILE, dir_fd=descriptor)
        with open(file, "rb") as opened:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise _missing()
            if status.st_size > MOST_BYTES:
                raise AnswerError(413, f"the file has more than {MOST_BYTES:,} bytes")
            return opened.read(MOST_BYTES)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise AnswerError(503, "too many files are open") from None
        raise _missing() from None
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _missing() -> AnswerError:
    return AnswerError(404, "the plugin has no such file")
