"""Where the database of a home is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home


def database_server(home: Home) -> bool:
    """Whether the home's database is one of a server (bool), which is no file, and which other hosts may share."""
    return home.configuration.database.url is not None
