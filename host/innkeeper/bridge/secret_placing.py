"""Puts secrets into a request, and finds them in an answer.

Guarantees: a secret goes where its grant says, and only to a server that its grant names; what the guest writes itself
can neither take its place nor stand beside it; a redirect to another origin carries none; an answer in which one of
them stands, as it is or in a usual encoding, does not reach the guest.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, quote_plus, unquote_plus, unquote_to_bytes

import trio

from innkeeper.bridge.secret_store import SecretError, SecretStore
from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.bridge.web.headers import VALUE
from innkeeper.bridge.web.message import Head, Request
from innkeeper.plugins.secret_use import SecretUse
from innkeeper.plugins.urls import MAX_URL, Url

LEAST = 8
"""Characters of a secret that is put into a request: a shorter one could be guessed, and could not be told from what
servers answer by chance."""

_WINDOW = 1 << 16
"""Bytes of an answer that are searched in one go: some 0.2 ms for all forms of one secret, if it has many."""

_ESCAPE = re.compile(r"%[0-9A-F]{2}|\\u00[0-9a-f]{2}")

_KEPT = ("", "/", "!'()*", ";,/?:@&=+$!'()*#")
"""What percent-encoding leaves as it is, beside letters, digits and "-._~": by RFC 3986, in Python, and in JavaScript
for a part of a URL and for a whole one."""

_JSON = ("", "<>&", "<>&'", "<>&'+`")
"""What is escaped in JSON besides, so that it can stand in HTML: by libraries of Go, Python and .NET."""

_HTML: tuple[dict[str, str | int | None], ...] = (
    {"'": "&#39;", '"': "&#34;"},
    {"'": "&#39;", '"': "&#34;", "+": "&#43;"},
    {"'": "&#39;", '"': "&quot;"},
    {"'": "&#039;", '"': "&quot;"},
    {"'": "&apos;", '"': "&quot;"},
    {"'": "&#39;", '"': "&quot;", "/": "&#x2F;", "`": "&#x60;", "=": "&#x3D;"},
)
"""How quotation marks and others are written in HTML, by libraries of Python, Go, JavaScript, PHP, and of XML."""

_NESTED = 3
"""Times that escapes may be escaped again: a URL in the query of a URL, as in /login?next=, in that of another."""

_SMALL = 1024
"""Bytes up to which escapes are undone on trio's thread: some 0.3 ms where there is nothing else."""


@dataclass(frozen=True, slots=True)
class PlacedSecret:
    """A secret of one request.

    Attributes:
        name: its name.
        use: where it goes.
        value: what goes there.
    """

    name: str
    use: SecretUse
    value: str = field(repr=False)

    def forms(self) -> set[bytes]:
        """The value as an answer could have it (set of bytes)."""
        raw = self.value.encode()
        texts = {quote_plus(self.value), *(quote(self.value, safe=kept) for kept in _KEPT)}
        for ascii_only in (True, False):
            escaped = json.dumps(self.value, ensure_ascii=ascii_only)[1:-1]
            ways = {escaped, escaped.replace("/", "\\/"), escaped.replace('\\"', "\\u0022")}
            texts |= {text.translate(_in_json(more)) for text in ways for more in _JSON}
        texts |= {_ESCAPE.sub(_other_case, text) for text in texts}
        plain = html.escape(self.value, quote=False)
        texts |= {plain, html.escape(self.value), *(plain.translate(str.maketrans(each)) for each in _HTML)}
        encoded = {base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")}
        return {raw, *(text.encode() for text in texts), *encoded}


def _in_json(characters: str) -> dict[int, str]:
    return {ord(each): f"\\u{ord(each):04x}" for each in characters}


def _other_case(found: re.Match[str]) -> str:
    # Such as "%2f" for "%2F", and "\\u002B" for "\\u002b".
    return found[0].lower() if found[0][0] == "%" else f"\\u{found[0][2:].upper()}"


class Placing:
    """The secrets of one request."""

    def __init__(self, secrets: Sequence[PlacedSecret], origin: str) -> None:
        """Args:
        secrets: of `reveal`.
        origin: the only one that gets them: that of the request itself.
        """
        self._secrets = secrets
        self._origin = origin
        self._left = False
        self._forms = [(secret.name, form) for secret in secrets for form in secret.forms()]

    def placed(self, request: Request) -> Request:
        """The request as it is sent: with the secrets, as long as no redirect has led to another origin."""
        self._left = self._left or request.url.origin != self._origin
        if self._left or not self._secrets:
            return request
        headers, url = list(request.headers), request.url
        for secret in self._secrets:
            use = secret.use
            if use.header:
                headers.append((use.header, use.prefix + secret.value))
            else:
                url = _with_field(url, use.query, secret.value)
        return replace(request, url=url, headers=tuple(headers))

    async def without(self, request: Request) -> Request:
        """A request that a server redirected to, without the fields of the query that are the secrets' own: servers
        send on what they were asked with.

        Raises:
            WebError: a secret stands elsewhere in its URL.
        """
        url = request.url
        for secret in self._secrets:
            if secret.use.query:
                url = _without_field(url, secret.use.query)
        await self._check_text(str(url))
        return replace(request, url=url)

    @property
    def forms(self) -> tuple[tuple[str, bytes], ...]:
        """Name and bytes of each form in which a secret could come back."""
        return tuple(self._forms)

    def has_piece(self, text: str, size: int) -> bool:
        """Whether so many characters in a row of a secret stand in a short text (bool): servers quote a part of it."""
        return any(
            secret.value[at : at + size] in text
            for secret in self._secrets
            for at in range(max(1, len(secret.value) - size + 1))
        )

    def check_text(self, text: str) -> None:
        """Raises WebError where a secret stands in a text in which no URLs are looked for."""
        if self._forms:
            self._check(text.encode("utf-8", "surrogateescape"))

    async def check_head(self, head: Head) -> None:
        """Raises WebError where a secret stands in an answer's headers."""
        # All at once: a hundred headers for each of hundreds of forms would take long.
        await self._check_text("\n".join(part for each in head.headers for part in each))

    async def _check_text(self, text: str) -> None:
        """Raises WebError where a secret stands in a text in which URLs may stand."""
        if not self._forms:
            return
        data = text.encode("utf-8", "surrogateescape")
        self._check(data)
        if b"%" not in data:
            return
        # A URL may escape as much of it as its writer likes, so it is also looked at as its reader will.
        if len(data) <= _SMALL:
            self._check_unescaped(data)
        else:
            await trio.to_thread.run_sync(self._check_unescaped, data)

    def _check_unescaped(self, data: bytes) -> None:
        for plain in _unescaped(data, spaces=any(" " in secret.value for secret in self._secrets)):
            self._check(plain)

    async def check_body(self, body: bytes | bytearray) -> None:
        """Raises WebError where a secret stands in an answer's body."""
        if not self._forms:
            return
        overlap = max(len(form) for _, form in self._forms)
        async for window in _windows(body, overlap):
            self._check(window)

    def _check(self, data: bytes | bytearray) -> None:
        for name, form in self._forms:
            if form in data:
                raise _shown(name)


def _shown(name: str) -> WebError:
    return WebError(Rule.PLACING, f"the server's answer has the secret {name!r} in it, so the plugin does not get it")


def _unescaped(data: bytes, *, spaces: bool) -> Iterator[bytes]:
    """A text without the escapes of URLs, which may be escaped again where one stands in the query of another.

    Args:
        data: the text.
        spaces: whether it is also read with "+" for a space.
    """
    for plain in (data, data.replace(b"+", b" ")) if spaces else (data,):
        for _ in range(_NESTED):
            plain = unquote_to_bytes(plain)
            yield plain
            if b"%" not in plain:
                break


async def _windows(body: bytes | bytearray, overlap: int) -> AsyncIterator[bytes | bytearray]:
    for at in range(0, len(body), _WINDOW):
        yield body[at : at + _WINDOW + overlap]
        await trio.lowlevel.checkpoint()


async def reveal(store: SecretStore, chosen: Iterable[tuple[str, SecretUse]], request: Request) -> Placing:
    """The secrets that go into a request.

    Args:
        store: has their values.
        chosen: name and place of each; the plugin may use them.
        request: as the guest wants it.

    Raises:
        WebError: one of them may not go there, has no value that can, or is in the way of another or of what the
            guest wrote.
    """
    taken_headers = {_folded(name) for name, _ in request.headers}
    taken_fields = _fields(request.url)
    found: list[PlacedSecret] = []
    for name, use in chosen:
        if request.url.origin not in use.hosts:
            raise WebError(Rule.PLACING, f"the secret {name!r} was not granted for {request.url.origin}")
        place, taken = (_folded(use.header), taken_headers) if use.header else (use.query, taken_fields)
        if place in taken:
            raise WebError(
                Rule.PLACING, f"{use.header or use.query!r} is the secret {name!r}'s own place; leave out what is there"
            )
        taken.add(place)
        try:
            value = await store.reveal(name)
        except SecretError as error:
            raise WebError(Rule.PLACING, f"{error}; the host's log says why") from None
        if len(value) < LEAST:
            raise WebError(Rule.PLACING, f"the secret {name!r} has fewer than {LEAST} characters, so it is not used")
        if not value.isprintable() or (use.header and VALUE.fullmatch(use.prefix + value) is None):
            raise WebError(Rule.PLACING, f"the secret {name!r} has characters that cannot stand there")
        if use.query and len(str(_with_field(request.url, use.query, value))) > 2 * MAX_URL:
            raise WebError(Rule.PLACING, f"the URL is too long with the secret {name!r} in it")
        found.append(PlacedSecret(name, use, value))
    return Placing(found, request.url.origin)


def _folded(header: str) -> str:
    # Servers that hand headers on as variables take "_" for "-".
    return header.lower().replace("_", "-")


def _fields(url: Url) -> set[str]:
    """The names of the query's fields, as a server may read them."""
    return {unquote_plus(part.partition("=")[0]) for part in _parts(url)}


def _parts(url: Url) -> list[str]:
    # Some servers take ";" for "&".
    return [] if not url.query else url.query.replace(";", "&").split("&")


def _with_field(url: Url, name: str, value: str) -> Url:
    more = f"{name}={quote(value, safe='')}"
    return replace(url, query=f"{url.query}&{more}" if url.query else more)


def _without_field(url: Url, name: str) -> Url:
    if name not in _fields(url):
        return url
    kept = [part for part in _parts(url) if unquote_plus(part.partition("=")[0]) != name]
    return replace(url, query="&".join(kept) or None)
