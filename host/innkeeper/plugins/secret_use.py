"""Where a secret goes, as a grant says it: into one header or one field of the query, for some servers.

[secrets.WEATHER_KEY]
header = "Authorization"
prefix = "Bearer "
hosts = ["https://api.example.com"]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from innkeeper.plugins.tables import Table, shown
from innkeeper.plugins.urls import normal_host, origin, split_url
from innkeeper.plugins.web_headers import HOSTS
from innkeeper.plugins.web_headers import NAME as HEADER

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""A name of a secret."""

NAME_RIGHT: Final = "a name of A-Z a-z 0-9 _, the first a letter"

MOST_SECRETS: Final = 64
"""Secrets of one grant: a manifest requests 64 capabilities at most."""

MOST_HOSTS: Final = 16
"""Servers that one secret is for."""

_PREFIX = re.compile(r"(?:[!-~][ -~]{0,63})?")
_FIELD = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_RESERVED = HOSTS | {"content-type", "user-agent"}
_BEARER = ("Authorization", "Bearer ")


@dataclass(frozen=True, slots=True)
class SecretUse:
    """Where one secret goes.

    Attributes:
        hosts: origins in normal form, such as "https://api.example.com"; at least one.
        header: name of the header that it goes into, or "".
        prefix: what stands before it in the header, such as "Bearer ".
        query: name of the field of the query that it goes into, or ""; either this or `header`.
    """

    hosts: tuple[str, ...]
    header: str = ""
    prefix: str = ""
    query: str = ""

    def __str__(self) -> str:
        place = f"the header {self.header}" if self.header else f"the field {self.query} of the query"
        before = f" (after {self.prefix!r})" if self.prefix else ""
        return f"in {place}{before}, for {', '.join(self.hosts)}"


def read_secrets(table: Table) -> dict[str, SecretUse]:
    """The section `secrets` of a grant; what is wrong goes into the table's problems."""
    found: dict[str, SecretUse] = {}
    if len(table.data) > MOST_SECRETS:
        table.problem("", f"has {len(table.data)} secrets: the most is {MOST_SECRETS}")
        return found
    for name, value in table.data.items():
        if NAME.fullmatch(name) is None:
            table.problem(name, f"is not the name of a secret: it must be {NAME_RIGHT}")
            continue
        if not isinstance(value, dict):
            # Quoting it would show the very value to whoever reads the error.
            table.problem(name, "must be a table that says where the secret goes; its value never stands in a grant")
            continue
        use = _read(table.table(name))
        if use is not None:
            found[name] = use
    return found


def _read(table: Table) -> SecretUse | None:
    before = len(table.problems)
    table.only(("header", "prefix", "query", "hosts"))
    header = table.text("header", pattern=HEADER, right='the name of a header, such as "Authorization"')
    query = table.text("query", pattern=_FIELD, right='the name of a field of the query, such as "key"')
    prefix = table.text("prefix", pattern=_PREFIX, right='text such as "Bearer "') or ""
    hosts = _hosts(table)
    if len(table.problems) > before:
        return None
    try:
        return checked(SecretUse(hosts, header or "", prefix, query or ""))
    except ValueError as error:
        table.problem("", f"is not right: {error}")
        return None


def _hosts(table: Table) -> tuple[str, ...]:
    value = table.data.get("hosts")
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        given = "is missing" if value is None else f"is {shown(value)}"
        table.problem("hosts", f'{given}: it must be a list of servers such as ["https://api.example.com"]')
        return ()
    if len(value) > MOST_HOSTS:
        table.problem("hosts", f"has {len(value)} entries: the most is {MOST_HOSTS}")
        return ()
    found: dict[str, None] = {}
    for position, text in enumerate(value):
        try:
            found[read_origin(text)] = None
        except ValueError as error:
            table.problem(f"hosts[{position}]", f"is {shown(text)}: {error}")
    return tuple(found)


def checked(use: SecretUse) -> SecretUse:
    """The same, where it says one place.

    Raises:
        ValueError: it says none, or two, or one that is the host's.
    """
    if bool(use.header) == bool(use.query):
        raise ValueError("it must say either a header or a field of the query")
    if use.prefix and not use.header:
        raise ValueError("a prefix goes with a header")
    if use.header.lower() in _RESERVED:
        raise ValueError(f"the header {use.header!r} is not one that can have a secret")
    return use


def read_origin(text: str) -> str:
    """A server as SCHEME://HOST[:PORT], in normal form.

    Raises:
        ValueError: it is none; the message is a sentence.
    """
    scheme, host, port, path, query = split_url(text)
    if path not in (None, "/") or query is not None or "#" in text:
        raise ValueError("it must have no path, no query and no fragment: a secret is for a whole server")
    if "*" in host:
        raise ValueError("it must have no *: each server that gets a secret is named")
    return origin(scheme, normal_host(host), port)


def parse_option(text: str) -> tuple[str, SecretUse]:
    """A name and its use from NAME=bearer@ORIGIN, NAME=header:HEADER@ORIGIN or NAME=query:FIELD@ORIGIN; further
    origins follow after commas.

    Raises:
        ValueError: it is none; the message is a sentence.
    """
    name, equals, rest = text.partition("=")
    place, at, origins = rest.partition("@")
    kind, _, where = place.partition(":")
    if not equals or not at or NAME.fullmatch(name) is None:
        raise ValueError("it must be like 'WEATHER_KEY=bearer@https://api.example.com'")
    hosts = tuple(dict.fromkeys(read_origin(each) for each in origins.split(",", MOST_HOSTS)))
    if place == "bearer":
        return name, SecretUse(hosts, *_BEARER)
    if kind == "header" and HEADER.fullmatch(where) is not None:
        return name, checked(SecretUse(hosts, header=where))
    if kind == "query" and _FIELD.fullmatch(where) is not None:
        return name, checked(SecretUse(hosts, query=where))
    raise ValueError("where it goes must be 'bearer', 'header:' and its name, or 'query:' and the name of a field")
