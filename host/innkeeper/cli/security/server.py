"""How the host reaches the PostgreSQL database in which it keeps things, if it has one."""

from __future__ import annotations

import stat
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs, urlsplit

from innkeeper.cli.security.finding import Finding, State, fine, or_fine
from innkeeper.plugins.configuration import FILE_NAME
from innkeeper.plugins.home import Home
from innkeeper.storage.location import check_url

_KEY: Final = "database.url"
_SEEN: Final = stat.S_IRGRP | stat.S_IROTH


def check_server(home: Home) -> list[Finding]:
    """What is wrong with the way to the database (list of Finding). Blocks on the disk; asks no server."""
    url = home.configuration.database.url
    if url is None:
        return [fine("database", "what is kept lies in a file of the home")]
    name = check_url(url)
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    found: list[Finding] = []
    if ":" in parts.netloc.rpartition("@")[0] or "password" in options:
        found.append(_password(home, name))
    mode = options.get("sslmode", ["prefer"])[-1]
    if _is_remote(name, options) and mode not in ("verify-ca", "verify-full"):
        said = f"whoever sits on the way to {name} can read and change what the host keeps (sslmode {mode[:20]!r})"
        found.append(Finding("database", "bad" if mode == "disable" else "warn", said, "add sslmode=verify-full"))
    return or_fine("database", found, f"nobody else can listen on the way to {name}, and no password lies about")


def _password(home: Home, name: str) -> Finding:
    origin = home.configuration.origins.get(_KEY, "")
    state: State = "warn"
    said = f"the password of {name} stands in {origin}"
    if origin == FILE_NAME and (home.path / FILE_NAME).stat().st_mode & _SEEN:
        state, said = "bad", f"{said}, which others may read"
    return Finding("database", state, said, "put it into ~/.pgpass, with mode 600, and take it out of the URL")


def _is_remote(name: str, options: dict[str, list[str]]) -> bool:
    hosts = urlsplit(name).netloc.split(",") + [each for text in options.get("host", []) for each in text.split(",")]
    return any(_is_away(each) for each in hosts + options.get("hostaddr", []))


def _is_away(host: str) -> bool:
    host = host.rpartition(":")[0] if host.count(":") == 1 or "]:" in host else host
    # A folder is that of a socket on this machine.
    if not host or host.startswith(("/", "%2F", "%2f", "@")) or host == "localhost":
        return False
    try:
        return not ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return True
