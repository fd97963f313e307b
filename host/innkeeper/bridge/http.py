"""The service `http`: requests to servers, under the plugin's scopes, with secrets that the plugin never sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import trio
from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.operation import operation
from innkeeper.bridge.quota import Rate
from innkeeper.bridge.scan import DataBounds
from innkeeper.bridge.secret_store import SecretStore
from innkeeper.bridge.web.faults import Rule, WebError
from innkeeper.bridge.web.message import MOST_BODY, MOST_HEAD, MOST_HEADERS
from innkeeper.bridge.web.redirects import MOST as MOST_REDIRECTS
from innkeeper.bridge.web.slots import Slots
from innkeeper.plugins.secret_use import SecretUse
from innkeeper.plugins.urls import MAX_URL, parse_url

if TYPE_CHECKING:
    from innkeeper.bridge.web.client import Answer, WebClient
    from innkeeper.bridge.web.dial import ContextMaker
    from innkeeper.bridge.web.resolver import Lookup

RATE = Rate(per_second=200, burst=2000)
"""Calls of one plugin: a thousand runs that start at once may ask at once."""

WHOLE = 30.0
"""Seconds of one request, waiting for its turn included."""

MARGIN = 0.5
"""Seconds before the end of the limit `host_call` at which a request ends by itself: with an answer for the guest, in
place of the end of its call."""

MOST_SECRETS = 8
"""Secrets of one request."""

_BOUNDS = DataBounds(
    size=MOST_BODY + 2 * MOST_HEAD + 4 * MAX_URL, depth=2, elements=2 * MOST_HEADERS + MOST_SECRETS + 32
)

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
HeaderMap = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=MOST_HEAD)]],
    Field(max_length=MOST_HEADERS),
]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class HttpService:
    """Makes requests for plugins, each plugin's apart from every other's."""

    def __init__(
        self, store: SecretStore, *, lookup: Lookup | None = None, make_context: ContextMaker | None = None
    ) -> None:
        """Args:
        store: has the values of secrets.
        lookup: looks names up, in place of the system's resolver.
        make_context: makes what certificates are checked with, in place of the system's roots.
        """
        self._store = store
        self._lookup = lookup
        self._make_context = make_context
        self._slots = Slots()
        self._client: WebClient | None = None
        self._making = trio.Lock()

    @operation("http", use="url", bounds=_BOUNDS)
    async def request(
        self,
        caller: Caller,
        *,
        url: Annotated[str, Field(min_length=1, max_length=MAX_URL)],
        method: Method = "GET",
        headers: HeaderMap | None = None,
        body: Annotated[bytes, Field(max_length=MOST_BODY)] = b"",
        secrets: Annotated[list[Name], Field(max_length=MOST_SECRETS)] | None = None,
        timeout: Annotated[float, Field(gt=0, le=WHOLE, allow_inf_nan=False)] = WHOLE,
        limit: Annotated[int, Field(ge=0, le=MOST_BODY)] = MOST_BODY,
        redirects: Annotated[int, Field(ge=0, le=MOST_REDIRECTS)] = MOST_REDIRECTS,
    ) -> dict[str, Any]:
        """Sends a request to a server and waits for the whole answer.

        Args:
            url: where; http or https. A fragment is left out.
            method: GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.
            headers: names and values, at most 100 and 64 KiB; those that say where a message ends are the host's.
            body: at most 8 MiB.
            secrets: names of secrets, at most 8; the host puts each where the grant says.
            timeout: seconds for all of it; at most 30, and less than the call's limit `host_call`.
            limit: bytes of the answer's body, decompressed; a larger one is a `quota`.
            redirects: how many are followed, each checked like the request itself; 0: a redirect is the answer.

        Returns:
            {status: integer, headers: list of [name in lower case, value], body: bytes, url: where it came from}.
            An error has `rule`, which stopped it, and `hop`, after how many redirects.
        """
        from innkeeper.bridge.web.headers import check_headers
        from innkeeper.bridge.web.message import Request

        deadline = trio.current_time() + _allowed(caller, timeout)
        try:
            wanted = parse_url(url)
        except ValueError as error:
            raise WebError(Rule.REQUEST, f"the URL cannot be used: {error}") from None
        chosen = _chosen(caller, secrets or ())
        request = Request(method, wanted, check_headers(headers or {}), body)
        answer = await self._bounded(caller, request, chosen, deadline, limit, redirects)
        return {
            "status": answer.status,
            "headers": [list(each) for each in answer.headers],
            "body": answer.body,
            "url": str(answer.url),
        }

    async def _bounded(
        self,
        caller: Caller,
        request: Any,
        chosen: Sequence[tuple[str, SecretUse]],
        deadline: float,
        limit: int,
        redirects: int,
    ) -> Answer:
        waiting = False
        with trio.CancelScope(deadline=deadline):
            client = self._client or await self._open()
            from innkeeper.bridge.secret_placing import reveal
            from innkeeper.bridge.web.reach import GrantedReach

            grant = None if caller.version is None else caller.version.grant
            reach = GrantedReach(caller.plugin, caller.rights, () if grant is None else grant.capabilities)
            waiting = trio.current_time() < deadline
            async with self._slots.taken(caller.plugin) as holding:
                waiting = False
                placing = await reveal(self._store, chosen, request)
                return await client.fetch(request, reach, placing, holding, most=limit, redirects=redirects)
        if waiting:
            raise WebError(Rule.BUSY, "too many requests are under way, and this one did not get its turn in time")
        raise WebError(Rule.TIME, "the request was not over in time")

    async def _open(self) -> WebClient:
        # What speaks HTTP takes a while to import: once, in a thread, when the first plugin asks.
        async with self._making:
            if self._client is None:
                self._client = await trio.to_thread.run_sync(make_client, self._lookup, self._make_context)
        return self._client


def make_client(lookup: Lookup | None = None, make_context: ContextMaker | None = None) -> WebClient:
    """What makes requests. Imports what speaks HTTP, so it is called in a thread."""
    from innkeeper.bridge.web.client import WebClient
    from innkeeper.bridge.web.dial import Dialer, system_context
    from innkeeper.bridge.web.resolver import Resolver, system_lookup

    return WebClient(Dialer(Resolver(lookup or system_lookup), make_context or system_context))


def _allowed(caller: Caller, timeout: float) -> float:
    if caller.version is None:
        return timeout
    most = caller.version.limits.host_call
    return min(timeout, max(most - MARGIN, most / 2))


def _chosen(caller: Caller, names: Sequence[str]) -> list[tuple[str, SecretUse]]:
    grant = None if caller.version is None else caller.version.grant
    found = []
    for name in dict.fromkeys(names):
        if not caller.rights.allows("secrets", name):
            raise WebError(Rule.PLACING, f"the plugin was not granted the secret {name!r}", capability="secrets")
        use = None if grant is None else grant.secrets.get(name)
        if use is None:
            raise WebError(Rule.PLACING, f"the grant does not say where the secret {name!r} goes", capability="secrets")
        found.append((name, use))
    return found
