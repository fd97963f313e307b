"""URLs in one normal form, so that what is checked against a scope is what is requested.

Strict on purpose: what two readers of a URL could take for different things is refused, not mended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_URL = 8192
"""Characters of a URL: what servers and proxies usually take."""

PORTS: Final = {"http": 80, "https": 443}
"""Schemes and their default ports."""

_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#.*)?"
)
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]@]*)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*")
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_MAX_HOST = 253
_MAX_DECODINGS = 8


@dataclass(frozen=True, slots=True)
class Url:
    """A URL of http or https in normal form.

    Attributes:
        scheme: "http" or "https".
        host: in lower case, punycode; an IPv6 address in brackets.
        port: 1 to 65535.
        path: begins with "/"; no escape that could be left out, no segment "." or "..".
        query: without its "?", or None.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and, unless it is the default, port (str)."""
        return origin(self.scheme, self.host, self.port)

    def __str__(self) -> str:
        return f"{self.origin}{self.path}" + ("" if self.query is None else f"?{self.query}")


def origin(scheme: str, host: str, port: int) -> str:
    """The part of a URL before its path (str)."""
    return f"{scheme}://{host}" + ("" if PORTS[scheme] == port else f":{port}")


# One with thousands of escapes takes 3 ms, and whoever asks for it reads it twice: for its right, and to ask.
@lru_cache(maxsize=64)
def parse_url(text: str) -> Url:
    """A URL in normal form. A fragment is left out, as every client does.

    Raises:
        ValueError: it is none, or could be read in two ways; the message says why.
    """
    scheme, host, port, path, query = split_url(text)
    if query is not None and _QUERY.fullmatch(query) is None:
        raise ValueError("the query has a character that must be escaped")
    return Url(scheme, normal_host(host), port, "/" if path is None else normal_path(path), query)


def split_url(text: str) -> tuple[str, str, int, str | None, str | None]:
    """Scheme, host (as written), port, path and query (or None) of a URL.

    Raises:
        ValueError: it is none; the message says why.
    """
    if len(text) > MAX_URL:
        raise ValueError(f"a URL has at most {MAX_URL} characters")
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError("it must begin with https:// or http://, and hold no line break")
    scheme = found["scheme"].lower()
    if scheme not in PORTS:
        raise ValueError("the scheme must be https or http")
    if "@" in found["authority"]:
        raise ValueError("there must be no user or password before the host")
    place = _HOST_AND_PORT.fullmatch(found["authority"])
    if place is None:
        raise ValueError("what follows the scheme must be a host, or a host and a port")
    port = PORTS[scheme] if place["port"] is None else int(place["port"])
    if not 1 <= port <= 65_535:
        raise ValueError("the port must be 1 to 65535")
    return scheme, place["host"], port, found["path"], found["query"]


def normal_host(text: str) -> str:
    """A host in lower case and punycode, without the dot at its end; addresses in their usual form.

    Raises:
        ValueError: it is no name of a host and no address; the message says why.
    """
    if text.startswith("["):
        try:
            return f"[{IPv6Address(text[1:-1]).compressed}]"
        except AddressValueError:
            raise ValueError("what stands in brackets must be an IPv6 address") from None
    if not text or len(text) > _MAX_HOST:
        raise ValueError(f"the host must have 1 to {_MAX_HOST} characters")
    if not text.isascii():
        text = _punycode(text)
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_HOST or any(_LABEL.fullmatch(label) is None for label in labels):
        raise ValueError("the host must be a name such as api.example.com")
    if _NUMBER.fullmatch(labels[-1]) is not None:
        # "127.1", "0x7f000001" and "2130706433" are addresses to some resolvers.
        try:
            return str(IPv4Address(name))
        except AddressValueError:
            raise ValueError("a host that ends in a number must be an IPv4 address such as 192.0.2.7") from None
    return name


def is_loopback(host: str) -> bool:
    """Whether a host in normal form is this machine and nothing on the way to it (bool)."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def leaves_in_clear(url: str) -> bool:
    """Whether what is sent to a URL leaves this machine unencrypted (bool); of what is no URL nothing does."""
    try:
        scheme, host, *_ = split_url(url)
    except ValueError:
        return False
    return scheme == "http" and not is_loopback(host)


def normal_path(text: str) -> str:
    """A path with its escapes in upper case, and none where the character itself may stand.

    Raises:
        ValueError: it has a character that must be escaped, or a segment "." or ".."; escaped ones count, also where
            they are escaped twice or followed by ";", since servers exist that take them for such.
    """
    if _PATH.fullmatch(text) is None:
        raise ValueError("the path must begin with / and have other characters than letters and digits escaped")
    path = _ESCAPE.sub(_normal_escape, text)
    decoded = path.encode()
    for _ in range(_MAX_DECODINGS):
        for segment in re.split(rb"[/\\]", decoded):
            if segment.partition(b";")[0] in (b".", b".."):
                raise ValueError("the path must have no segment '.' or '..'")
        again = unquote_to_bytes(decoded)
        if again == decoded:
            return path
        decoded = again
    raise ValueError("the path is escaped too many times over")


def _normal_escape(found: re.Match[str]) -> str:
    character = chr(int(found[0][1:], 16))
    return character if character in _UNRESERVED else found[0].upper()


def _punycode(text: str) -> str:
    import idna

    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise ValueError("the host is not an international name that can be written in punycode") from None
