"""Which native plugins the operator trusts: manifests/trust/ID.toml, written by `innkeeper trust`.

id = "shout"

[files]
"main.py" = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"plugin.json" = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"

The record names every file of the folder. It counts only if nobody but the operator can have written it: it is a
regular file, no link, of the user that owns the home, of the host's user or of root, and no one else may write to it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from innkeeper.errors import UsageError
from innkeeper.plugins.files import replace_file
from innkeeper.plugins.listing import MAX_FOLDER_ENTRIES, TRUST, Signature
from innkeeper.plugins.manifest import ID, ID_RIGHT
from innkeeper.plugins.native.snapshot import digest_of
from innkeeper.plugins.tables import Table, TableError, parse_toml, quoted, shown, visible

TrustState = Literal["off", "untrusted", "changed", "unusable", "trusted"]
""" "off": native plugins are not turned on; "changed": some file is another than the operator trusted."""

MAX_RECORD = 1 << 20
"""Bytes of a record."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Trust:
    """What the operator trusted.

    Attributes:
        id: the plugin's id.
        digests: sha256 of every file of its folder, by name below it.
    """

    id: str
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """That of the folder (str, hexadecimal digits)."""
        return digest_of(self.digests)


@dataclass(frozen=True, slots=True)
class TrustFile:
    """A record as it was read.

    Attributes:
        signature: of its file.
        trust: what it says, or None where it is not used.
        problem: why it is not used, or None.
    """

    signature: Signature
    trust: Trust | None
    problem: str | None = None


def trust_label(plugin_id: str) -> str:
    """The name of a record in messages (str)."""
    return f"manifests/{TRUST}/{plugin_id}.toml"


def trust_path(home: Path, plugin_id: str) -> Path:
    """Where the record for a plugin lies in a home (Path)."""
    return home / "manifests" / TRUST / f"{plugin_id}.toml"


def read_trust(home: Path, plugin_id: str, signature: Signature = ()) -> TrustFile | None:
    """The record for a plugin, or None where there is none. Blocks on the file.

    Args:
        home: the home folder.
        plugin_id: an id.
        signature: of the file as it was listed.
    """
    label = trust_label(plugin_id)
    try:
        data = _read(home, plugin_id, label)
        return None if data is None else TrustFile(signature, parse_trust(data, plugin_id=plugin_id))
    except TableError as error:
        return TrustFile(signature, None, f"{error.problems[0]}; nothing is trusted by it")


def parse_trust(data: bytes, *, plugin_id: str) -> Trust:
    """A record from its text.

    Raises:
        TableError: it is not one for this plugin; one sentence per problem.
    """
    label = trust_label(plugin_id)
    problems: list[str] = []
    table = Table(parse_toml(data, label, most=MAX_RECORD), label, problems)
    table.only(("id", "files"))
    found = table.text("id", required=True, pattern=ID, right=ID_RIGHT)
    if found is not None and found != plugin_id:
        table.problem("id", f"is {shown(found)}: the file's name says {plugin_id!r}")
    files = table.table("files")
    if len(files.data) > MAX_FOLDER_ENTRIES:
        table.problem("files", f"has {len(files.data)} entries: the most is {MAX_FOLDER_ENTRIES}")
    else:
        for name, value in files.data.items():
            if not isinstance(value, str) or _SHA256.fullmatch(value) is None:
                files.problem(name, f"is {shown(value)}: it must be a sha256, 64 hexadecimal digits")
    if problems:
        raise TableError(problems)
    return Trust(plugin_id, files.data)


def format_trust(trust: Trust) -> bytes:
    """A record as its file holds it (bytes); reading it gives an equal one. Names must be printable."""
    lines = [
        "# Written by `innkeeper trust`: these files are run as Python code of the host itself, and no others.",
        f"id = {quoted(trust.id)}",
        "",
        "[files]",
        *(f"{quoted(name)} = {quoted(digest)}" for name, digest in sorted(trust.digests.items())),
    ]
    return ("\n".join(lines) + "\n").encode()


def write_trust(home: Path, trust: Trust) -> None:
    """Writes the record, or leaves what there is: who reads meanwhile sees the old one or the new one, whole.

    Raises:
        UsageError: it cannot be written, or would not be used.
    """
    label, path = trust_label(trust.id), trust_path(home, trust.id)
    data = format_trust(trust)
    try:
        # What is not what was agreed to must never be written.
        if len(data) > MAX_RECORD or parse_trust(data, plugin_id=trust.id) != trust:
            raise UsageError(f"{label}: not written: names of files in the folder are too long or too odd")
        # A name that begins with a dot is no record.
        replace_file(path, data, prefix=".trust-")
    except TableError as error:
        raise UsageError(f"{label}: not written: {error.problems[0]}") from None
    except OSError as error:
        raise UsageError(f"{label}: cannot be written: {error.strerror}") from None
    found = read_trust(home, trust.id)
    if found is None or found.trust != trust:
        why = "it is gone" if found is None else found.problem or "somebody else wrote it"
        raise UsageError(f"{label}: written, and it would not be used: {why}")


def remove_trust(home: Path, plugin_id: str) -> bool:
    """Removes the record; whether there was one (bool).

    Raises:
        UsageError: it cannot be removed.
    """
    try:
        trust_path(home, plugin_id).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{trust_label(plugin_id)}: cannot be removed: {error.strerror}") from None
    return True


def differences(trusted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is another than was trusted, a few words for each file (list of str)."""
    changed = [f"{visible(name, 100)} differs" for name in found if name in trusted and trusted[name] != found[name]]
    fresh = [f"{visible(name, 100)} is new" for name in found if name not in trusted]
    gone = [f"{visible(name, 100)} is gone" for name in trusted if name not in found]
    return [*changed, *fresh, *gone]


def in_words(differing: list[str]) -> str:
    """Differences as a part of a sentence (str)."""
    more = f" and {len(differing) - _MOST_SHOWN} more" if len(differing) > _MOST_SHOWN else ""
    return f"{', '.join(differing[:_MOST_SHOWN])}{more}"


def _read(home: Path, plugin_id: str, label: str) -> bytes | None:
    try:
        owner = os.stat(home).st_uid
        descriptor = os.open(trust_path(home, plugin_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        what = "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        raise TableError([f"{label}: {what}"]) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise TableError([f"{label}: is not a regular file"])
        if status.st_uid not in (owner, os.geteuid(), 0):
            raise TableError([f"{label}: belongs to another user than the home"])
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise TableError([f"{label}: others may write to it (`chmod go-w` mends that, once you know what it says)"])
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_RECORD + 1)
    except OSError as error:
        raise TableError([f"{label}: cannot be read: {error.strerror}"]) from None
    finally:
        os.close(descriptor)
