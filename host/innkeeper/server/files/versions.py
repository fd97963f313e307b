"""Versions of files as HTTP has them: ETag, If-Match, If-None-Match."""

from __future__ import annotations

import hashlib

from innkeeper.server.files.entries import Entry
from innkeeper.server.files.problems import FileError


def etag_of(entry: Entry) -> str:
    """The strong ETag of a file (str): files are replaced, not written into, and then their stamp is another."""
    return f'"{hashlib.sha256(entry.stamp.encode()).hexdigest()[:32]}"'


def matches(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names an ETag (bool)."""
    if header is None:
        return False
    names = [each.strip().removeprefix("W/") for each in header.split(",")]
    return "*" in names or etag in names


def check_match(header: str | None, etag: str | None) -> None:
    """Makes sure that If-Match, where it was sent, names the ETag that something has now.

    Args:
        header: If-Match.
        etag: of what is there; None: nothing is.

    Raises:
        FileError: "stale": somebody changed it since.
    """
    if header is None:
        return
    names = [each.strip() for each in header.split(",")]
    if etag is None or ("*" not in names and etag not in names):
        sentence = "somebody changed this since you read it: read it again, and then change it"
        raise FileError("stale", sentence, None if etag is None else {"etag": etag})
