"""What settings of the server count: origins, names and networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from innkeeper.plugins.units import Unit
from innkeeper.plugins.web_names import host_and_port, networks, parse_origin

_MOST: Final = 100


def _listed(check: Callable[[str], Any], right: str) -> Unit:
    """The unit of a list each of whose texts passes a check, which raises ValueError."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > _MOST:
            raise ValueError
        for item in value:
            if not isinstance(item, str):
                raise ValueError
            check(item)
        return tuple(value)

    def parse(text: str) -> list[str]:
        return [word.strip() for word in text.split(",") if word.strip()]

    return Unit(right, read, parse, lambda value: ", ".join(value) or "none")


Origins = Annotated[
    tuple[str, ...],
    _listed(parse_origin, 'a list of origins such as "https://editor.example.com" or "http://localhost:5573"'),
]
"""Where pages come from: scheme, name and port, and nothing behind them."""

Hosts = Annotated[
    tuple[str, ...],
    _listed(host_and_port, 'a list of names such as "innkeeper.example.com", each perhaps with ":PORT"'),
]
"""Names of a server."""

Networks = Annotated[
    tuple[str, ...],
    _listed(lambda text: networks([text]), 'a list of addresses such as "192.0.2.7" or networks such as "10.0.0.0/8"'),
]
"""Addresses of machines."""
