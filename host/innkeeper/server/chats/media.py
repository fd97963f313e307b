"""What a picture or a sound is, by its own bytes: what a client says of it does not count."""

from __future__ import annotations

from typing import Final

KINDS: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "flac": "audio/flac",
}
"""Media types by the ending of a name. Nothing that a browser would run: no SVG, no HTML."""


def sniffed(data: bytes) -> str | None:
    """The ending (str) of what bytes are, or None: nothing that is taken."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"WAVE"):
        return "webp" if data[8:12] == b"WEBP" else "wav"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    if data.startswith(b"OggS"):
        return "ogg"
    if data.startswith(b"fLaC"):
        return "flac"
    if data.startswith(b"ID3") or (len(data) > 2 and data[0] == 0xFF and data[1] in (0xFB, 0xF3, 0xF2)):
        return "mp3"
    return None
