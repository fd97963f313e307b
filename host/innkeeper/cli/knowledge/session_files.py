"""What `kb explain` remembers of a session in a file, where a base is only a file itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from innkeeper.cli.output import json_bytes
from innkeeper.errors import UsageError

_MOST: Final = 64 << 20


def read_session(path: str, profile: str) -> dict[str, Any] | None:
    """What a profile remembered in a file; None where it is not there yet.

    Raises:
        UsageError: it is no file of this command's, or cannot be read.
    """
    from innkeeper.plugins.files import read_optional

    data = read_optional(Path(path), most=_MOST, label=f"--session-file {path}")
    if data is None:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get(profile, {}), dict):
        raise UsageError(f"--session-file {path}: is no session that this command wrote; name another file")
    return found.get(profile)


def write_session(path: str, profile: str, now: Any) -> None:
    """Keeps what a profile remembers now, beside what others do.

    Raises:
        UsageError: it cannot be written.
    """
    from innkeeper.plugins.files import read_optional, replace_file

    data = read_optional(Path(path), most=_MOST, label=f"--session-file {path}")
    found = {**(json.loads(data) if data else {}), profile: now}
    try:
        replace_file(Path(path), json_bytes(found), prefix=".session-")
    except OSError as error:
        raise UsageError(f"--session-file {path}: cannot be written: {error.strerror}") from None
