"""What a plugin's author tells its users at length: in the manifest itself, or in a file beside the module."""

from __future__ import annotations

import re
from pathlib import Path

from innkeeper.errors import UsageError
from innkeeper.plugins.files import read_file
from innkeeper.plugins.tables import MAX_BYTES

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(?:md|txt)")


def readme_file(readme: str) -> str | None:
    """The name of the file that a manifest's `readme` means (str), in the module's own folder, or None where it is the
    text itself."""
    return readme if _FILE.fullmatch(readme) else None


def read_readme(readme: str, module: Path) -> str:
    """The text. Blocks on the file.

    Args:
        readme: as the manifest has it.
        module: the plugin's .wasm file.

    Raises:
        UsageError: its file is missing, a link, or is not UTF-8 text.
        RejectedError: its file has more than 256 KiB.
    """
    name = readme_file(readme)
    if name is None:
        return readme
    data = read_file(module.parent / name, most=MAX_BYTES, label=name, follow=False)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: is not UTF-8 text (byte {error.start})") from None
