"""Images of entries as parts of messages, read through a function that was given, and bounded. Nothing is fetched."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.assembly import bounds

ReadMedia = Callable[[str, str, int], bytes]
"""Reads a media file: id of the base, path in its folder, the most bytes that are wanted. Raises InnkeeperError where
it is not there, larger, or outside of the folder."""

_KINDS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
"""The MIME types that become parts, and how such files begin. No other text gets into the head of a data URI."""

_MOST_NOTES = 20


class Images:
    """The images of one prompt, each read once, all together bounded: one that is there twice counts twice."""

    def __init__(self, read: ReadMedia | None) -> None:
        self._read = read
        self._known: dict[tuple[str, str, str], tuple[dict[str, Any], int] | None] = {}
        self._bytes = 0
        self._shown = 0
        self._notes: list[str] = []
        self._more = 0

    @property
    def notes(self) -> list[str]:
        """A sentence on each that could not be shown; of very many, on the first."""
        return [*self._notes, *([f"and {self._more:,} more media are left out"] if self._more else [])]

    def parts(self, media: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
        """Content parts `{type: "image_url", image_url: {url: "data:..."}}` of what can be shown.

        Args:
            media: id of the base, path, MIME type of each.
        """
        found = []
        for each in media:
            if each not in self._known:
                self._known[each] = self._part(*each)
            known = self._known[each]
            if known is None:
                continue
            part, size = known
            if self._shown == bounds.MOST_IMAGES or self._bytes + size > bounds.MOST_IMAGE_BYTES:
                self._note(f"{each[1][:200]!r} is left out: the prompt has as many images as it may")
                continue
            self._shown += 1
            self._bytes += size
            found.append(part)
        return found

    def _note(self, text: str) -> None:
        if len(self._notes) < _MOST_NOTES:
            self._notes.append(text)
        else:
            self._more += 1

    def _part(self, base: str, path: str, mime: str) -> tuple[dict[str, Any], int] | None:
        mime = mime.partition(";")[0].strip().lower()
        about = f"{path[:200]!r} of the base {base[:100]!r}"
        starts = _KINDS.get(mime)
        if starts is None:
            self._note(f"{about} is {mime[:60]!r}, of which only the text is used")
            return None
        if self._read is None:
            self._note(f"{about} is left out: this prompt is put together without media")
            return None
        most = min(bounds.MOST_IMAGE, bounds.MOST_IMAGE_BYTES - self._bytes)
        if self._shown == bounds.MOST_IMAGES or most <= 0:
            self._note(f"{about} is left out: the prompt has as many images as it may")
            return None
        try:
            data = self._read(base, path, most)
        except InnkeeperError as error:
            self._note(f"{about} cannot be read: {error.message[:300]}")
            return None
        if len(data) > most:
            self._note(f"{about} is left out: it is larger than the {most:,} bytes that an image may still have")
            return None
        if not data.startswith(starts) or (mime == "image/webp" and data[8:12] != b"WEBP"):
            self._note(f"{about} is left out: it is no {mime}")
            return None
        part = {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{b64encode(data).decode()}"}}
        return part, len(data)
