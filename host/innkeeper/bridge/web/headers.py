"""Which headers a guest may send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.bridge.web.message import MOST_HEAD, MOST_HEADERS, Headers
from innkeeper.plugins.web_headers import HOSTS, NAME

VALUE: Final = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
"""What a header may have: what can be seen, and blanks between. No line break, so one header never becomes two."""

_AGENT = "innkeeper"


def check_headers(given: Mapping[str, str]) -> Headers:
    """The headers of a request, in the order in which they were given.

    Raises:
        WebError: one of them is none, twice there, or the host's.
    """
    if len(given) > MOST_HEADERS:
        raise WebError(Rule.REQUEST, f"a request has at most {MOST_HEADERS} headers")
    # Before anything is looked at: a guest may have written a hundred times as much.
    if sum(len(name) + len(value) + 4 for name, value in given.items()) > MOST_HEAD:
        raise WebError(Rule.REQUEST, f"the headers have more than {MOST_HEAD:,} bytes")
    seen: set[str] = set()
    for name, value in given.items():
        lower = name.lower()
        if NAME.fullmatch(name) is None:
            raise WebError(Rule.REQUEST, f"{name[:64]!r} is not the name of a header")
        if lower in HOSTS:
            raise WebError(Rule.REQUEST, f"the header {name!r} is the host's to write; leave it out")
        if lower in seen:
            raise WebError(Rule.REQUEST, f"the header {name!r} is there twice; join its values")
        if VALUE.fullmatch(value) is None:
            raise WebError(
                Rule.REQUEST,
                f"the header {name!r} has a value with a line break, a control character, a letter that is not ASCII, "
                "or a blank at its begin or end",
            )
        seen.add(lower)
    agent = () if "user-agent" in seen else (("user-agent", _AGENT),)
    return (*given.items(), *agent)
