"""What kinds of files there are, and which of them a browser may show where they came from this server."""

from __future__ import annotations

from mimetypes import MimeTypes
from typing import Final

OTHER: Final = "application/octet-stream"

_SHOWN: Final = {
    ".apng": "image/apng",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".ogv": "video/ogg",
    ".webm": "video/webm",
    ".json": "application/json",
    ".jsonl": "text/plain; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
"""By the end of a name, types that a browser shows and never runs. SVG, HTML, XML and PDF can hold scripts."""

# Tables of this library alone: those of the machine would make answers differ from host to host.
_TABLES: Final = MimeTypes()


def mime_type(name: str) -> str:
    """What a file is by its name (str), for lists."""
    return _shown(name) or _TABLES.guess_type(f"x.{name.rpartition('.')[2]}", strict=True)[0] or OTHER


def served_as(name: str) -> tuple[str, bool]:
    """The Content-Type under which a file is given out (str), and whether a browser may show it (bool) instead of
    saving it."""
    shown = _shown(name)
    return (shown, True) if shown else (OTHER, False)


def _shown(name: str) -> str:
    _, dot, end = name.rpartition(".")
    return _SHOWN.get(f".{end.lower()}", "") if dot else ""
