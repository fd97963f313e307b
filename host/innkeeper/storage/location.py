"""Where a database is: a file, or a PostgreSQL server. Light to import, and never shows a password."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_HOST = r"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])?(?::[0-9]{1,5})?"
# What is no user's and no password's stands in places where no "@" can follow: nothing of these two is ever taken for
# a host or a name.
_URL: Final = re.compile(
    rf"(?:postgresql|postgres)://(?:[^/?#@\s]*@)?(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?:/(?P<database>[A-Za-z0-9._~%$+-]*))?(?:\?[^#@\s]*)?"
)
_MOST_URL: Final = 1000


def check_url(url: str) -> str:
    """What messages may show of the URL of a PostgreSQL database (str): scheme, hosts and database.

    Args:
        url: as libpq has it; characters of a user, a password or an option that mean something in URLs as %XX.

    Raises:
        ValueError: it is none. The message does not show it.
    """
    match = _URL.fullmatch(url) if len(url) <= _MOST_URL else None
    if match is None:
        raise ValueError('the URL of a database must be like "postgresql://user@host/database"')
    return f"postgresql://{match['hosts']}/{match['database'] or ''}"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a database is.

    Attributes:
        name: the file's name, or scheme, hosts and database of the URL; for messages.
        path: the file, absolute or not; None where a server keeps it.
        folder: the folder for files that belong beside it, such as locks; None where nobody said one.
        url: of the server, "" for a file; has a password perhaps.
        upgrade: to which schema a server's database that has rows may be brought; "yes": to the newest, and of a file
            that no copy is made before: there is one. "no": a file is copied, a server's database stays as it is.
    """

    name: str
    path: Path | None = None
    folder: Path | None = None
    url: str = field(default="", repr=False)
    upgrade: str = "no"

    @classmethod
    def of(cls, where: Path | str | Location, folder: Path | None = None, upgrade: str = "no") -> Location:
        """Args:
            where: a file (Path), the URL of a server (str), or a location.
            folder: for what belongs beside a server's database.
            upgrade: as the attribute.

        Raises:
            ValueError: the URL is none.
        """
        if isinstance(where, Location):
            return where
        if isinstance(where, Path):
            return cls(where.name, path=where, folder=where.parent, upgrade=upgrade)
        return cls(check_url(where), folder=folder, url=where, upgrade=upgrade)

    def may_be_there(self) -> bool:
        """Whether something may have been kept (bool): False where there is no file. Blocks on the disk."""
        return self.path is None or os.path.lexists(self.path)
