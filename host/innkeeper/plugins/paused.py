"""Which plugins are paused: one small file for each, which whoever looks, or resumes one, needs no database for.

A file stands for a plugin's id and its very bytes; both are in its name, and that it is there is what counts. What is
in it says why, for people.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.plugins.files import read_file
from innkeeper.plugins.manifest import ID
from innkeeper.printable import printable

FOLDER: Final = "paused"
"""The folder in a home's `state` in which they lie."""

ALL: Final = "0" * 64
"""Stands for any bytes of a plugin: an operator turned it off, and other bytes of it do not change that."""

MOST_REASON: Final = 500
"""Characters of a reason."""

_MOST: Final = 1000
"""Files that are kept; the oldest go first, so that bytes which come again and again fill no disk."""

_MOST_SEEN: Final = 10_000
_MOST_BYTES: Final = 4096
_NAME: Final = re.compile(r"(?P<id>[^@]+)@(?P<digest>[0-9a-f]{64})\.json")


@dataclass(frozen=True, slots=True)
class Paused:
    """A plugin that is paused.

    Attributes:
        plugin: its id.
        digest: sha256 of the bytes that are paused; others of the same id are not. `ALL`: all of them are.
        since: seconds since 1970; 0.0 where that is not known any more.
        reason: a sentence without its full stop; "" where that is not known any more.
    """

    plugin: str
    digest: str
    since: float
    reason: str


def read_paused(state: Path) -> dict[tuple[str, str], Paused]:
    """All that are paused, by id and digest. Blocks on files; nothing is made.

    Args:
        state: the folder in which the host keeps what it keeps.
    """
    found: dict[tuple[str, str], Paused] = {}
    with suppress(OSError), os.scandir(state / FOLDER) as items:
        for position, item in enumerate(items):
            if position == _MOST_SEEN:
                break
            match = _NAME.fullmatch(item.name)
            if match is not None and ID.fullmatch(match["id"]) is not None:
                found[match["id"], match["digest"]] = _read(Path(item.path), match["id"], match["digest"])
    return found


def is_paused(state: Path, plugin: str, digest: str) -> bool:
    """Whether these bytes of a plugin are paused (bool). Blocks on the file."""
    return os.path.lexists(_path(state, plugin, digest))


def write_paused(state: Path, paused: Paused) -> None:
    """Keeps that a plugin is paused. Blocks.

    Raises:
        UsageError: it cannot be kept.
    """
    # Every host looks for records, and few have one: those pay for what reads and writes them.
    import json
    import tempfile

    from innkeeper.storage.folder import UnsafeError, open_private

    folder = state / FOLDER
    text = {"plugin": paused.plugin, "sha256": paused.digest, "since": paused.since, "reason": paused.reason}
    try:
        os.close(open_private(folder))
        _make_room(folder)
        # A name that begins with a dot is no record.
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".paused-")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(text, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, _path(state, paused.plugin, paused.digest))
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except UnsafeError as error:
        raise UsageError(f"that {paused.plugin!r} is paused is not kept: {error.reason}") from None
    except OSError as error:
        raise UsageError(f"that {paused.plugin!r} is paused cannot be kept: {error.strerror}") from None


def resume(state: Path, plugin: str) -> list[Paused]:
    """Ends all pauses of a plugin's id; gives those that there were. Blocks.

    Raises:
        UsageError: one cannot be removed.
    """
    found = [paused for (name, _), paused in read_paused(state).items() if name == plugin]
    for paused in found:
        try:
            _path(state, plugin, paused.digest).unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"{plugin!r} cannot be resumed: its record cannot be removed: {error.strerror}") from None
    return found


def advice(plugin: str, digest: str = "") -> str:
    """How a pause of these bytes ends (str), as the end of a sentence."""
    if digest == ALL:
        return f"`innkeeper plugins resume {plugin}` turns it on"
    return f"mend what fails, then `innkeeper plugins resume {plugin}`, or put another file in its place"


def _path(state: Path, plugin: str, digest: str) -> Path:
    return state / FOLDER / f"{plugin}@{digest}.json"


def _read(path: Path, plugin: str, digest: str) -> Paused:
    import json

    # Whatever became of what is in it: it is paused.
    since, reason = 0.0, ""
    with suppress(InnkeeperError, ValueError, RecursionError):
        text: Any = json.loads(read_file(path, most=_MOST_BYTES, follow=False))
        if isinstance(text, Mapping):
            at, why = text.get("since"), text.get("reason")
            since = float(at) if isinstance(at, int | float) and 0 <= at < 1e11 else 0.0
            reason = printable(why[:MOST_REASON]) if isinstance(why, str) else ""
    return Paused(plugin, digest, since, reason)


def _make_room(folder: Path) -> None:
    with os.scandir(folder) as items:
        records = [(item.stat(follow_symlinks=False).st_mtime_ns, item.path) for item in items]
    for _, path in sorted(records)[: max(0, len(records) - _MOST + 1)]:
        with suppress(OSError):
            os.unlink(path)
