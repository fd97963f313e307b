"""Where an answer sends a request on to, and what of the request goes there (RFC 9110, 15.4)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin

from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.bridge.web.message import Head, Request
from innkeeper.plugins.urls import Url, parse_url

MOST: Final = 5
"""Redirects of one request."""

_STATUSES = frozenset({301, 302, 303, 307, 308})

_OF_THE_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location"})
_OF_THE_ORIGIN = frozenset({"authorization", "cookie"})


def redirected(request: Request, head: Head) -> Request | None:
    """The request that an answer asks for instead, or None where it asks for none.

    What tells who somebody is (Authorization, Cookie) does not go to another origin, which is another scheme, host or
    port.

    Raises:
        WebError: it asks for one that cannot be made.
    """
    places = head.all("location")
    if head.status not in _STATUSES or not places:
        return None
    url = _joined(request.url, places)
    method, headers, body = request.method, request.headers, request.body
    if (head.status == 303 and method not in ("GET", "HEAD")) or (head.status in (301, 302) and method == "POST"):
        method, body = "GET", b""
        headers = tuple(each for each in headers if each[0].lower() not in _OF_THE_BODY)
    if url.origin != request.url.origin:
        headers = tuple(each for each in headers if each[0].lower() not in _OF_THE_ORIGIN)
    return Request(method, url, headers, body)


def _joined(base: Url, places: list[str]) -> Url:
    try:
        if len(places) > 1:
            raise ValueError("there are several")
        return parse_url(urljoin(str(base), places[0]))
    except ValueError:
        raise WebError(
            Rule.REDIRECT, "the server redirects to what is no URL of http or https that can be read in one way"
        ) from None
