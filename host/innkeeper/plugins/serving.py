"""What of a manifest says which HTTP requests a plugin answers.

[serve]
function = "answer"
paths = ["/", "/hooks/*"]
methods = ["GET", "POST"]
headers = ["x-hub-signature-256"]
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from innkeeper.plugins.tables import Table, shown

CAPABILITY: Final = "http.serve"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

_MOST: Final = 32
_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,200}\*?")
_HEADER = re.compile(r"x-[a-z0-9-]{1,60}")
_WITHHELD = re.compile(r"x-(forwarded|real|original|client|remote|auth|api|csrf|xsrf|session|user|amz|innkeeper)\b.*")
"""What a proxy says of a client, or may be somebody's key."""


@dataclass(frozen=True, slots=True)
class Serve:
    """Which requests below /x/ID a plugin answers.

    Attributes:
        function: of the guest, which answers them.
        paths: below /x/ID; one that ends in "*" stands for all that begin so.
        methods: of HTTP.
        headers: of requests, in lower case, that it gets beside those that every plugin gets.
    """

    function: str
    paths: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()

    def takes(self, path: str) -> bool:
        """Whether it answers requests for a path (bool)."""
        return any(path.startswith(each[:-1]) if each.endswith("*") else path == each for each in self.paths)


def read_serve(table: Table, exports: Collection[str] | None) -> Serve:
    """The table [serve]; what is wrong with it is added to its problems.

    Args:
        table: the table.
        exports: names of the functions that the module exports; None where there is no module to ask.
    """
    table.only(("function", "paths", "methods", "headers"))
    function = table.text("function", required=True) or ""
    if function and exports is not None and function not in exports:
        table.problem("function", f"is {shown(function)}, which the module does not export")
    paths = _list(table, "paths", ("/*",))
    for path in paths:
        if _PATH.fullmatch(path) is None or any(part in (".", "..") for part in path.split("/")):
            table.problem("paths", f'has {shown(path)}: a path is like "/hooks/new", or "/hooks/*" for all below')
    methods = _list(table, "methods", ("GET",))
    for method in methods:
        if method not in METHODS:
            table.problem("methods", f"has {shown(method)}: there are {', '.join(METHODS)}")
    headers = _list(table, "headers", ())
    for header in headers:
        if _HEADER.fullmatch(header) is None or _WITHHELD.fullmatch(header) is not None:
            table.problem("headers", f'has {shown(header)}: only headers such as "x-hub-signature-256" are given')
    return Serve(function, paths, methods, headers)


def _list(table: Table, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = table.data.get(key)
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        table.problem(key, "must be a list of texts")
        return ()
    if len(value) > _MOST:
        table.problem(key, f"has {len(value)} entries: the most is {_MOST}")
        return ()
    return tuple(dict.fromkeys(value))
