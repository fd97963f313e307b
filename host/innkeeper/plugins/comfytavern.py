"""ComfyTavern's config.json, read once to begin an innkeeper.toml: what became of each field, secrets left where they
are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from innkeeper.errors import UsageError
from innkeeper.plugins.configuration import FILE_NAME, parse_configuration
from innkeeper.plugins.tables import visible

MAX_BYTES: Final = 64 << 10
"""Bytes of a config.json: a real one has two thousand."""

_MAX_DEPTH = 8
_MAX_FIELDS = 200
_MOST_SHOWN = 200

_NO_SERVER = "no counterpart yet: this version has no server"
_NO_LOGIN = "is a secret, so it is not written; nobody logs in to this version, so nothing needs it"

_KNOWN: Final = {
    "server.backend.port": _NO_SERVER,
    "server.frontend.port": _NO_SERVER,
    "execution.max_concurrent_workflows": "no counterpart yet: guests are bounded, by [bounds], and not workflows",
    "execution.logDir": "no counterpart: logs go to standard error",
    "customPluginsPaths": "no counterpart: copy the plugins into the folder plugins/ of the home",
    "userManagement.multiUserMode": "no counterpart yet: this version has one user",
    "security.enableCredentialEncryption": "no counterpart yet: secrets are variables, or lines of a file of yours",
    "security.corsAllowedOrigins": _NO_SERVER,
    "security.panelDevOrigins": _NO_SERVER,
    "security.backendPanel.enableAuth": _NO_SERVER,
}
"""Fields whose values may be repeated, and what became of them."""

_SECRET: Final = {
    "userManagement.accessPasswordHash": _NO_LOGIN,
    "security.masterEncryptionKeyValue": "is a secret, so it is not written; give each credential that it encrypts as "
    "a variable INNKEEPER_SECRET_NAME, or in the file that secrets.file names",
    "security.backendPanel.username": "belongs to a password, so it is not written; this version has no server",
    "security.backendPanel.password": _NO_LOGIN,
}
"""Fields whose values nobody shall see."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of config.json.

    Attributes:
        name: its path, such as "server.backend.port".
        said: what became of it, a sentence without its value.
        value: its value as JSON, one line; None where it is a secret, may hold one, or is long.
    """

    name: str
    said: str
    value: str | None


def read_config_json(data: bytes, *, where: str) -> list[Field]:
    """What became of each field of a config.json.

    Args:
        data: the file's bytes.
        where: its name, for messages.

    Raises:
        UsageError: it is no such file.
    """
    try:
        table = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise UsageError(f"{where}: is nested too deeply") from None
    except ValueError as error:
        # What JSON's own message quotes is a position, never the text.
        raise UsageError(f"{where}: is not JSON: {str(error)[:200]}") from None
    if not isinstance(table, dict):
        raise UsageError(f"{where}: is not a config.json of ComfyTavern: it must be an object")
    fields: list[Field] = []
    for name, value in _leaves(table, "", 1):
        if len(fields) == _MAX_FIELDS:
            raise UsageError(f"{where}: has more than {_MAX_FIELDS:,} fields")
        fields.append(_field(name, value))
    return fields


def write_configuration(home: Path, fields: Sequence[Field]) -> Path:
    """Writes the home's innkeeper.toml, where there is none; the home is made if it is missing.

    Returns:
        Path: the file.

    Raises:
        UsageError: there is one, or it cannot be written.
    """
    lines = [
        "# Made from ComfyTavern's config.json. Everything is as it is built in; `innkeeper config` shows it.",
        "# What config.json said, and what became of it:",
    ]
    for each in fields:
        said = "" if each.value is None else f" = {visible(each.value, _MOST_SHOWN)}"
        lines.append(f"# {visible(each.name, 200)}{said}: {each.said}")
    data = ("\n".join(lines) + "\n").encode()
    parse_configuration(data)
    path = home / FILE_NAME
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Never through a link, and never over what is there, also if it came a moment ago.
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise UsageError(f"{path}: is there already, so nothing was written; move it away first") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _leaves(table: dict[str, Any], path: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{path}{key}"
        if isinstance(value, dict) and value and depth < _MAX_DEPTH and name not in _KNOWN and name not in _SECRET:
            yield from _leaves(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _field(name: str, value: Any) -> Field:
    if name in _SECRET:
        return Field(name, _SECRET[name], None)
    if name not in _KNOWN:
        # Nobody knows what it is, so its value may be anything.
        return Field(name, "is not a field that is known, so it is left out", None)
    text = json.dumps(value)
    # An origin may name a user and a password.
    return Field(name, _KNOWN[name], text if len(text) <= _MOST_SHOWN and "@" not in text else None)
