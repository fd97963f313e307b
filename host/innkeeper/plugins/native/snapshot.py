"""All files of a native plugin's folder, read once: what is digested is what is run.

Links are refused, not followed, and so is whatever is no file: a digest would not say what they lead to tomorrow.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from innkeeper.errors import InnkeeperError, RejectedError
from innkeeper.plugins.files import read_file
from innkeeper.plugins.listing import MAX_FOLDER_ENTRIES
from innkeeper.plugins.tables import ManifestError, TableError, shown
from innkeeper.sandbox.limits import MIB

MAX_BYTES = 32 * MIB
"""Bytes of all files together: they are kept as long as the plugin is there."""

MAX_DEPTH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The files of a folder.

    Attributes:
        files: bytes by name below the folder, with "/".
        digests: sha256 of each, as hexadecimal digits.
        digest: sha256 of all names and digests, as hexadecimal digits.
    """

    files: Mapping[str, bytes]
    digests: Mapping[str, str]
    digest: str


def take_snapshot(folder: Path, *, label: str) -> Snapshot:
    """Reads a folder. Blocks on its files.

    Args:
        folder: the folder.
        label: its name in messages.

    Raises:
        ManifestError: it cannot be used; a sentence for each thing in it that is in the way.
    """
    problems: list[str] = []
    files: dict[str, bytes] = {}
    pending = [("", 0)]
    left, entries = MAX_BYTES, 0
    while pending:
        below, depth = pending.pop()
        try:
            with os.scandir(folder / below) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError as error:
            problems.append(f"{label}/{below}: cannot be read: {error.strerror}")
            continue
        for item in items:
            name = f"{below}{item.name}"
            entries += 1
            if entries > MAX_FOLDER_ENTRIES:
                raise ManifestError(TableError([f"{label}: has more than {MAX_FOLDER_ENTRIES} files and folders"]))
            if not item.name.isprintable():
                problems.append(f"{label}: has a file of the name {shown(name)}; use visible characters")
            elif item.is_symlink():
                problems.append(f"{label}/{name}: is a link, which a native plugin cannot have; copy the file instead")
            elif item.is_dir(follow_symlinks=False):
                if depth + 1 > MAX_DEPTH:
                    problems.append(f"{label}/{name}: is more than {MAX_DEPTH} folders deep")
                else:
                    pending.append((f"{name}/", depth + 1))
            else:
                try:
                    files[name] = read_file(item.path, most=left, label=f"{label}/{name}", follow=False)
                    left -= len(files[name])
                except RejectedError:
                    raise ManifestError(
                        TableError([f"{label}: its files have more than {MAX_BYTES:,} bytes"])
                    ) from None
                except InnkeeperError as error:
                    problems.append(error.message)
    if problems:
        raise ManifestError(TableError(problems))
    return snapshot_of(files)


def snapshot_of(files: Mapping[str, bytes]) -> Snapshot:
    """The snapshot of a folder that holds these files."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    return Snapshot(files, digests, digest_of(digests))


def digest_of(digests: Mapping[str, str]) -> str:
    """The digest of a folder whose files have these (str, hexadecimal digits)."""
    # No name holds a line feed.
    lines = "".join(f"{digests[name]} {name}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
