"""Secrets in requests: they go where the grant says, and come to nobody who reads with a guest's eyes."""

from __future__ import annotations

import base64
import gzip
import html
import json
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgpack
import pytest
import trio

from innkeeper import Host
from innkeeper.bridge import offer as offer_module
from innkeeper.bridge.web import resolver
from web_servers import Asked, Server, ask, echo, home, kept_in, moved, opened, plain, refused, relay, serving, write

__all__ = ["home"]

VALUE = 'hunter2/"&=+ \u00a7'.replace("\u00a7", "%")
WEB = relay("http.request", "secrets.list")
FORMS = [VALUE, quote(VALUE, safe=""), json.dumps(VALUE)[1:-1], base64.b64encode(VALUE.encode()).decode(), "hunter2"]


@pytest.fixture(autouse=True)
def _set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_SECRET_KEY", VALUE)
    monkeypatch.setenv("INNKEEPER_SECRET_UNGRANTED", "another-secret")


def web(
    home: Path,
    *servers: Server,
    hosts: list[str] | None = None,
    place: str = 'header = "Authorization"\nprefix = "Bearer "',
    grants: tuple[str, ...] = ("secrets:KEY",),
    requests: tuple[str, ...] = ("secrets:KEY", "secrets:OTHER", "http:*"),
    name: str = "KEY",
    more: str = "",
) -> None:
    scopes = [f"http:{server.url}/*" for server in servers]
    given = json.dumps([servers[0].url] if hosts is None else hosts)
    table = f"[secrets.{name}]\n{place}\nhosts = {given}\n" if place else ""
    write(home, "web", WEB, requests=requests, grants=[*grants, *scopes], more=more + table)


@asynccontextmanager
async def watched(home: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Host]:
    """A host whose log, metrics, journals and whatever else it keeps have nothing of the secret in the end."""
    with caplog.at_level(logging.DEBUG):
        async with opened(home, journal="all") as host:
            yield host
            for _, _, count in host_metrics():
                assert not shows(repr(count))
            assert not shows(" ".join(f"{plugin} {name}" for plugin, name, _ in host_metrics()))
    assert not shows(caplog.text)
    assert not shows(" ".join(str(vars(record)) for record in caplog.records))
    assert not any(map(shows, kept_in(home)))


_offers: list[offer_module.Offer] = []


def host_metrics() -> list[tuple[str, str, Any]]:
    return [entry for each in _offers for entry in each.gate.metrics]


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    _offers.clear()
    made = offer_module.Offer.__init__

    def init(self: offer_module.Offer, *arguments: Any) -> None:
        made(self, *arguments)
        _offers.append(self)

    monkeypatch.setattr(offer_module.Offer, "__init__", init)


def shows(thing: object) -> bool:
    """Whether the secret stands in it in any form."""
    text = thing.decode("latin-1") if isinstance(thing, bytes) else str(thing)
    return any(form in text for form in FORMS)


async def test_a_secret_goes_into_the_header_that_the_grant_names(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(plain()) as server:
        web(home, server)
        async with watched(home, caplog) as host:
            answer = await ask(host, f"{server.url}/a", secrets=["KEY", "KEY"])
            assert answer["ok"]["body"] == b"hello"
            assert not shows(answer)
            await ask(host, f"{server.url}/a")
        assert server.asked[0].headers["authorization"] == f"Bearer {VALUE}"
        assert "authorization" not in server.asked[1].headers


@pytest.mark.parametrize(("before", "after"), [("/a", "/a?key="), ("/a?", "/a?key="), ("/a?q=1&", "/a?q=1&&key=")])
async def test_a_secret_goes_into_the_query_field_that_the_grant_names_and_not_into_the_url_that_the_guest_sees(
    home: Path, before: str, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(plain()) as server:
        web(home, server, place='query = "key"')
        async with watched(home, caplog) as host:
            answer = await ask(host, server.url + before, secrets=["KEY"])
            assert answer["ok"]["url"] == server.url + before
        assert server.asked[0].line == f"GET {after}{quote(VALUE, safe='')} HTTP/1.1"


async def test_names_are_all_that_a_guest_can_list(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(plain()) as server:
        web(home, server, grants=("secrets:KEY", "secrets:OTHER"))
        async with watched(home, caplog) as host:
            listed = msgpack.unpackb((await host.plugins["web"].call("secrets_list", b"\x80")).output)
            # OTHER is granted, and no table says where it goes.
            assert listed == {"ok": {"names": ["KEY"]}}
        web(home, server, grants=())
        async with opened(home) as host:
            listed = msgpack.unpackb((await host.plugins["web"].call("secrets_list", b"\x80")).output)
            assert listed["error"]["kind"] == "denied"


async def test_a_capability_and_a_place_are_both_needed(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(plain()) as server:
        for change in (
            {"grants": ()},
            {"place": ""},
            {"name": "OTHER"},
            {"requests": ("http:*",), "grants": ()},
        ):
            write_args: dict[str, Any] = dict(change)
            if "requests" in change:
                relay_only = relay("http.request", mark="less")
                table = f'[secrets.KEY]\nheader = "X"\nhosts = ["{server.url}"]\n'
                write(home, "web", relay_only, requests=["http:*"], grants=[f"http:{server.url}/*"], more=table)
            else:
                web(home, server, **write_args)
            async with watched(home, caplog) as host:
                answer = await ask(host, server.url, secrets=["KEY"])
                refused(answer, "denied", "secret")
                assert answer["error"]["capability"] == "secrets"
                refused(await ask(host, server.url, secrets=["UNGRANTED"]), "denied", "secret")
        assert server.connections == 0


async def test_a_server_that_http_allows_and_the_secret_does_not_gets_no_request(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as mine, serving(echo) as other:
        web(home, mine, other)
        async with watched(home, caplog) as host:
            refused(await ask(host, other.url, secrets=["KEY"]), "denied", "secret")
            # The same machine under another name, scheme or port is another server.
            web(home, mine, other, hosts=[mine.named("localhost"), f"https{mine.url[4:]}", "http://127.0.0.1"])
            await host.reload()
            refused(await ask(host, mine.url, secrets=["KEY"]), "denied", "secret")
        assert (mine.connections, other.connections) == (0, 0)


WAYS: dict[str, tuple[str, dict[str, Any], str]] = {
    "the same header": ('header = "Authorization"', {"headers": {"Authorization": "mine"}}, ""),
    "the same header in other letters": ('header = "Authorization"', {"headers": {"aUTHORIZATION": "mine"}}, ""),
    "the same header with other strokes": ('header = "X-Api-Key"', {"headers": {"X_Api-Key": "mine"}}, ""),
    "the same field": ('query = "key"', {}, "?key=mine"),
    "the same field with an escape": ('query = "key"', {}, "?a=b&%6bey=mine"),
    "the same field after a semicolon": ('query = "key"', {}, "?a=b;key=mine"),
    "the same field without a value": ('query = "key"', {}, "?key"),
}


@pytest.mark.parametrize(("place", "given", "query"), WAYS.values(), ids=WAYS)
async def test_a_guest_cannot_write_into_the_place_of_a_secret(
    home: Path, place: str, given: dict[str, Any], query: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as server:
        web(home, server, place=place)
        async with watched(home, caplog) as host:
            refused(await ask(host, f"{server.url}/{query}", secrets=["KEY"], **given), "denied", "secret")
        assert server.connections == 0


async def test_two_secrets_cannot_share_a_place(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INNKEEPER_SECRET_OTHER", "other-secret")
    async with serving(plain()) as server:
        other = f'[secrets.OTHER]\nheader = "authorization"\nhosts = ["{server.url}"]\n'
        web(home, server, grants=("secrets:KEY", "secrets:OTHER"), more=other)
        async with watched(home, caplog) as host:
            refused(await ask(host, server.url, secrets=["KEY", "OTHER"]), "denied", "secret")
        assert server.connections == 0


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("secret\r\nX-Injected: yes", 'header = "X-Key"'),
        ("secret\nvalue", 'header = "X-Key"'),
        ("secret\tvalue", 'query = "key"'),
        ("secret\x7fvalue", 'header = "X-Key"'),
        ("s\u00e9cret-value", 'header = "X-Key"'),
        ("secret-value ", 'header = "X-Key"'),
        ("short", 'header = "X-Key"'),
        ("x" * 9000, 'header = "X-Key"'),
        ("\udcff" * 10, 'query = "key"'),
    ],
)
async def test_a_value_that_cannot_stand_there_is_not_sent_and_not_said(
    home: Path, value: str, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INNKEEPER_SECRET_KEY", value)
    async with serving(plain()) as server:
        web(home, server, place=place)
        async with watched(home, caplog) as host:
            message = refused(await ask(host, server.url, secrets=["KEY"]), "denied", "secret")
            assert value.strip() not in message
            assert "'KEY'" in message
        assert value not in caplog.text
        assert server.connections == 0


async def test_a_secret_without_a_value_is_a_refusal_that_names_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("INNKEEPER_SECRET_KEY")
    async with serving(plain()) as server:
        web(home, server)
        async with watched(home, caplog) as host:
            message = refused(await ask(host, server.url, secrets=["KEY"]), "denied", "secret")
            assert message == "the secret 'KEY' has no value that the host can use; the host's log says why"
        assert server.connections == 0
    assert "INNKEEPER_SECRET_KEY is not set" in caplog.text


# --- servers that tell ----------------------------------------------------------------------------------------------


def repeats(make: Any, *, head: bool = False, zipped: bool = False) -> Any:
    """A server that has the secret in its answer, in some form."""

    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        said = make(asked.headers["authorization"].removeprefix("Bearer "))
        body = b"x" * 100_000 + said.encode() + b"y" * 2_000_000 if not head else b""
        body = gzip.compress(body) if zipped else body
        lines = [f"x-echo: {said}"] if head else []
        lines += ["content-encoding: gzip"] if zipped else []
        await plain(body, headers=lines)(asked, stream)

    return speak


ECHOES: dict[str, Any] = {
    "the request as it was": echo,
    "the value": repeats(lambda value: value),
    "compressed": repeats(lambda value: value, zipped=True),
    "in a header": repeats(lambda value: value, head=True),
    "as JSON": repeats(json.dumps),
    "as base64": repeats(lambda value: base64.b64encode(value.encode()).decode()),
    "as base64 for URLs": repeats(lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")),
    "as JSON with its strokes escaped": repeats(lambda value: json.dumps(value).replace("/", "\\/")),
    "as JSON for HTML, by Go": repeats(lambda value: json.dumps(value).replace("&", "\\u0026")),
    "as JSON for HTML, by .NET": repeats(
        lambda value: value.replace("&", "\\u0026").replace('"', "\\u0022").replace("+", "\\u002B")
    ),
    "as HTML": repeats(html.escape),
    "as HTML in numbers": repeats(lambda value: html.escape(value).replace("&quot;", "&#34;")),
    "as HTML in numbers, by Go": repeats(
        lambda value: html.escape(value).replace("&quot;", "&#34;").replace("+", "&#43;")
    ),
    "as HTML, by a template": repeats(
        lambda value: html.escape(value).replace("/", "&#x2F;").replace("=", "&#x3D;"), head=True
    ),
    "percent-encoded": repeats(lambda value: quote(value, safe="")),
    "percent-encoded as a path": repeats(quote, head=True),
    "percent-encoded as a whole URL": repeats(lambda value: quote(value, safe=";,/?:@&=+$-_.!~*'()#")),
    "percent-encoded in small letters": repeats(lambda value: quote(value, safe="").lower()),
    "at the border of two windows": repeats(lambda value: "z" * ((1 << 18) - 100_005) + value),
}


@pytest.mark.parametrize("speak", ECHOES.values(), ids=ECHOES)
async def test_an_answer_with_the_secret_in_it_does_not_reach_the_guest(
    home: Path, speak: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(speak) as server:
        web(home, server)
        async with watched(home, caplog) as host:
            answer = await ask(host, server.url, secrets=["KEY"])
            assert not shows(answer)
            message = refused(answer, "denied", "secret", 0)
            assert "'KEY'" in message


async def test_a_server_that_repeats_the_query_tells_the_guest_nothing(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as server:
        web(home, server, place='query = "key"')
        async with watched(home, caplog) as host:
            answer = await ask(host, server.url, secrets=["KEY"])
            assert not shows(answer)
            refused(answer, "denied", "secret", 0)


async def test_without_a_secret_in_the_request_an_answer_is_nobodys_business(home: Path) -> None:
    async with serving(plain(VALUE.encode())) as server:
        web(home, server)
        async with opened(home) as host:
            assert (await ask(host, server.url))["ok"]["body"] == VALUE.encode()


@pytest.mark.parametrize("place", ['header = "X-Key"', 'query = "key"'])
@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_to_another_origin_carries_no_secret(
    home: Path, place: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as other:
        # As honest servers do: with the query that they were asked with.
        def to(asked: Asked) -> str:
            query = asked.line.split()[1].partition("?")[2]
            return f"{other.url}/next?{query}"

        async with serving(moved(to, status)) as server:
            # Both may have it, and both may be asked: it still stays with the one that the guest asked.
            web(home, server, other, hosts=[server.url, other.url], place=place)
            async with watched(home, caplog) as host:
                answer = await ask(host, f"{server.url}/?q=1", secrets=["KEY"])
                assert answer["ok"]["status"] == 200
                assert not shows(answer)
            assert shows(server.asked[0].raw)
            assert not shows(other.asked[0].raw)
            assert other.asked[0].line == "GET /next?q=1 HTTP/1.1"


async def test_a_redirect_that_comes_back_carries_no_secret_either(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places: dict[str, str] = {}

    def to(asked: Asked) -> str | None:
        return places.get(asked.headers["host"] + asked.line.split()[1])

    async with serving(moved(to)) as server, serving(moved(to)) as other:
        places[server.url[7:] + "/"] = f"{other.url}/"
        places[other.url[7:] + "/"] = f"{server.url}/end"
        web(home, server, other)
        async with watched(home, caplog) as host:
            assert (await ask(host, server.url, secrets=["KEY"]))["ok"]["body"] == b"here"
        assert [shows(asked.raw) for asked in server.asked] == [True, False]


@pytest.mark.parametrize("place", ['header = "X-Key"', 'query = "key"'])
async def test_a_redirect_within_the_origin_carries_it_again_once(
    home: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    def to(asked: Asked) -> str | None:
        path, _, query = asked.line.split()[1].partition("?")
        return f"/end?{query}" if path == "/" else None

    async with serving(moved(to)) as server:
        web(home, server, place=place)
        async with watched(home, caplog) as host:
            answer = await ask(host, f"{server.url}/?q=1", secrets=["KEY"])
            assert answer["ok"]["url"] == f"{server.url}/end?q=1"
            assert not shows(answer)
        assert all(shows(asked.raw) for asked in server.asked)
        assert server.asked[1].line.count("key=") == (1 if "query" in place else 0)


@pytest.mark.parametrize("where", ["/{}", "/?other={}", "http://127.0.0.1:1/{}", "{}"])
async def test_a_redirect_with_the_secret_in_it_ends_the_request(
    home: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    def to(asked: Asked) -> str:
        return where.format(quote(asked.headers["x-key"], safe=""))

    async with serving(moved(to)) as server:
        web(home, server, place='header = "X-Key"')
        async with watched(home, caplog) as host:
            for redirects in (5, 0):
                answer = await ask(host, server.url, secrets=["KEY"], redirects=redirects)
                assert not shows(answer)
                assert answer["error"]["rule"] == "secret"
        assert server.connections == 2


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"hunter2 is not HTTP\r\n\r\n",
    "a header that is none": b"HTTP/1.1 200 OK\r\nhunter2 and: more\r\n\r\n",
    "a value that is none": b"HTTP/1.1 200 OK\r\nx: hunter2\0\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n",
    "an encoding that is none": b"HTTP/1.1 200 OK\r\nContent-Encoding: hunter2\r\n\r\n",
    "a place that is none": b"HTTP/1.1 302 OK\r\nLocation: http://hunter2@/\r\n\r\n",
    "a chunk that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhunter2\r\n",
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
async def test_no_error_says_anything_of_what_was_sent_or_said(
    home: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(said)

    async with serving(speak) as server:
        for place in ('header = "X-Key"', 'query = "key"'):
            web(home, server, place=place)
            async with watched(home, caplog) as host:
                answer = await ask(host, server.url, secrets=["KEY"])
                assert answer["error"]["kind"] == "failed"
                assert not shows(answer)


async def test_a_defect_of_the_hosts_own_says_nothing_of_it_either(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from innkeeper.bridge.web import exchange

    async def broken(self: object, request: object) -> None:
        raise RuntimeError(f"cannot send {request!r} and {[request]}")

    monkeypatch.setattr(exchange.Exchange, "ask", broken)
    async with serving(plain()) as server:
        for place in ('header = "X-Key"', 'query = "key"'):
            web(home, server, place=place)
            async with watched(home, caplog) as host:
                answer = await ask(host, server.url, secrets=["KEY"])
                assert answer == {"error": {"kind": "failed", "message": "http.request failed"}}
    assert "cannot send <Request GET" in caplog.text


async def test_what_ends_a_call_says_nothing_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with serving(speak) as server:
        web(home, server, place='query = "key"', more="[limits]\nwall = 0.3\n")
        async with watched(home, caplog) as host:
            with pytest.raises(Exception, match="wall") as caught:
                await ask(host, server.url, secrets=["KEY"])
            error = caught.value
            assert not shows("".join(traceback.format_exception(error)))
            assert not shows(vars(error))


async def test_a_guest_reads_the_secret_neither_as_configuration_nor_as_anything_else(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from guests import assemble, wat

    # All of the kernel's memory after a request with a secret: what passed between guest and host is there.
    guest = assemble(
        wat(
            """(func (export "run") (local $n i64)
              (drop (call $innkeeper_http_request (call $input_offset)))
              (loop (br_if 0 (i64.lt_u (local.tee $n (i64.add (local.get $n) (i64.const 1))) (i64.const 9))))
              (call $output_set (i64.const 0) (i64.const 65536)))""",
            "input_offset output_set",
            functions=[_import("innkeeper_http_request")],
        )
    )
    async with serving(plain()) as server:
        table = f'[secrets.KEY]\nheader = "X-Key"\nhosts = ["{server.url}"]\n'
        write(
            home,
            "web",
            guest,
            requests=["http:*", "secrets:KEY"],
            grants=["secrets:KEY", f"http:{server.url}/*"],
            more=table,
        )
        async with watched(home, caplog) as host:
            data = msgpack.packb({"url": server.url, "secrets": ["KEY"]})
            seen = (await host.plugins["web"].call("run", data)).output
            assert b"hello" in seen
            assert not shows(seen)
        assert server.asked[0].headers["x-key"] == VALUE


def _import(name: str) -> Any:
    from innkeeper.sandbox.interface import HostFunction, Value

    async def never(data: bytes) -> bytes:
        raise AssertionError("only its type is wanted")

    return HostFunction(name, never, (Value.BYTES,), Value.BYTES)


async def test_names_are_looked_up_without_the_secret(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        raise OSError(f"cannot resolve {host}")

    monkeypatch.setattr(resolver, "system_lookup", lookup)
    table = '[secrets.KEY]\nquery = "key"\nhosts = ["https://api.example.com"]\n'
    write(home, "web", WEB, requests=["http:*", "secrets:KEY"], more=table)
    async with watched(home, caplog) as host:
        refused(await ask(host, "https://api.example.com/", secrets=["KEY"]), "failed", "resolve", 0)
    assert asked == ["api.example.com"]
