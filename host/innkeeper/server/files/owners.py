"""How many files a user has, and erasing them."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from innkeeper.plugins.folders import INSIDE
from innkeeper.sandbox.wasi.paths import open_beneath
from innkeeper.sandbox.wasi.tree_quota import Sizes, measure
from innkeeper.server.files.logical import USER, LogicalPath
from innkeeper.server.files.problems import FileError, said
from innkeeper.server.files.roots import folder_of


def files_of(home: Path, uid: str) -> Sizes:
    """Bytes and names of a user's files, recycle bin included. Blocks.

    Args:
        home: the home folder.
        uid: the user's id.

    Raises:
        FileError: they cannot be counted.
    """
    try:
        with said(USER):
            folder = _opened(home, uid)
            try:
                return measure(folder, (sys.maxsize, sys.maxsize))
            finally:
                os.close(folder)
    except FileError as problem:
        if problem.reason == "missing":
            return 0, 0
        raise


def erase_files(home: Path, uid: str) -> int:
    """Deletes all files of a user for good. Gives how many names there were (int). Blocks.

    Raises:
        FileError: some cannot be deleted.
    """
    _, names = files_of(home, uid)
    group, _, name = folder_of(LogicalPath(USER), uid).partition("/")
    with said(USER), suppress(FileNotFoundError):
        above = open_beneath(os.fsencode(home / INSIDE), group.encode(), make=False)
        try:
            # Nothing of it is followed that is a link, the folder itself neither.
            shutil.rmtree(name, dir_fd=above)
        finally:
            os.close(above)
    return names


def _opened(home: Path, uid: str) -> int:
    return open_beneath(os.fsencode(home / INSIDE), folder_of(LogicalPath(USER), uid).encode(), make=False)
