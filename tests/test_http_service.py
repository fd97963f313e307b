"""The service `http` as a guest meets it: real servers on loopback, asked through the gate under a grant."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from innkeeper.bridge.host import open_host
from innkeeper.bridge.web import exchange
from innkeeper.bridge.web.faults import WebError
from innkeeper.bridge.web.slots import Slots
from innkeeper.errors import RejectedError
from innkeeper.sandbox.bounds import Bounds
from web_servers import Asked, Names, ask, echo, home, moved, names, opened, plain, refused, relay, serving, write

__all__ = ["home", "names"]

WEB = relay("http.request")


def web(home: Path, *scopes: str, more: str = "") -> None:
    write(home, "web", WEB, requests=["http:*"], grants=[f"http:{scope}" for scope in scopes], more=more)


async def test_a_guest_gets_an_answer_of_a_server_that_was_granted_as_it_stands(home: Path) -> None:
    async with serving(plain(b"\0hello", headers=["X-One: 1", "Set-Cookie: a", "Set-Cookie: b"])) as server:
        web(home, f"{server.url}/v1/*")
        async with opened(home) as host:
            answer = await ask(host, f"{server.url}/v1/a?q=1#part", headers={"X-Mine": "yes"})
            assert answer["ok"]["status"] == 200
            assert answer["ok"]["body"] == b"\0hello"
            assert answer["ok"]["url"] == f"{server.url}/v1/a?q=1"
            assert [each for each in answer["ok"]["headers"] if each[0] != "content-length"] == [
                ["x-one", "1"],
                ["set-cookie", "a"],
                ["set-cookie", "b"],
            ]
        (asked,) = server.asked
        assert asked.line == "GET /v1/a?q=1 HTTP/1.1"
        assert asked.headers == {
            "host": server.url.removeprefix("http://"),
            "x-mine": "yes",
            "user-agent": "innkeeper",
            "accept-encoding": "gzip",
            "connection": "close",
        }


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_body_reaches_the_server(home: Path, method: str) -> None:
    body = bytes(range(256)) * 1000
    async with serving(plain()) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            assert (await ask(host, server.url, method=method, body=body))["ok"]["status"] == 200
        assert server.asked[0].line == f"{method} / HTTP/1.1"
        assert server.asked[0].body == body


async def test_an_answer_to_head_has_no_body(home: Path) -> None:
    async with serving(plain(b"", headers=["Content-Length: 1000"], length=False)) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            assert (await ask(host, server.url, method="HEAD"))["ok"]["body"] == b""


async def test_bodies_end_where_they_say_however_they_say_it(home: Path) -> None:
    texts = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ]

    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(texts[int(asked.line.split()[1][1:])])

    async with serving(speak) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            for number in range(len(texts)):
                assert (await ask(host, f"{server.url}/{number}"))["ok"]["body"] == b"hello"


NOT_PUBLIC = [
    "127.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "fe80::1",
    "fe80::1%lo",
    "fd00::1",
]

# --- where to -------------------------------------------------------------------------------------------------------


async def test_without_a_grant_or_outside_of_it_nobody_is_asked(home: Path) -> None:
    async with serving(plain()) as server:
        web(home, f"{server.url}/v1/*")
        write(home, "none", relay("http.request", mark="none"), requests=["http:*"], grants=[])
        async with opened(home) as host:
            for url in (
                f"{server.url}/v2",
                f"{server.url}/v1/../v2",
                f"https{server.url[4:]}/v1/",
                "http://a@b/",
                "ftp://x/",
            ):
                answer = await ask(host, url)
                refused(answer, "denied", None)
                assert answer["error"]["capability"] == "http"
            refused(await ask(host, f"{server.url}/v1/", plugin="none"), "denied", None)
        assert server.connections == 0


async def test_a_plugin_that_does_not_request_it_cannot_even_import_it(home: Path) -> None:
    write(home, "web", WEB, requests=[])
    async with opened(home) as host:
        with pytest.raises(RejectedError, match="innkeeper_http_request"):
            await ask(host, "http://127.0.0.1/")


@pytest.mark.parametrize(
    ("scope", "leads_to"),
    [("*", leads_to) for leads_to in NOT_PUBLIC]
    + [
        (scope, leads_to)
        for scope in ("http://*.example.com:{port}/*", "http://api.example.com:{port}/*")
        for leads_to in ("127.0.0.1", "10.0.0.1", "::ffff:127.0.0.1")
    ],
)
async def test_a_name_never_leads_to_an_address_that_is_not_public(
    home: Path, names: Names, scope: str, leads_to: str
) -> None:
    async with serving(plain()) as server:
        web(home, scope.format(port=server.port))
        names.of["api.example.com"] = [[leads_to], ["127.0.0.77", leads_to]]
        async with opened(home) as host:
            for _ in range(2):
                message = refused(await ask(host, server.named("api.example.com")), "denied", "address", 0)
                assert leads_to not in message
                assert "127.0.0.77" not in message
        assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "[::ffff:7f00:1]"])
@pytest.mark.parametrize("scope", ["*", "http://*:{port}/*"])
async def test_an_address_that_is_not_public_needs_a_grant_that_names_it(home: Path, scope: str, host: str) -> None:
    async with serving(plain()) as server:
        web(home, scope.format(port=server.port))
        async with opened(home) as opened_host:
            refused(await ask(opened_host, server.named(host)), "denied", "address", 0)
        assert server.connections == 0


async def test_an_address_that_is_granted_is_not_granted_on_another_port_or_under_another_name(
    home: Path, names: Names
) -> None:
    # The widest scope and the address beside it: neither swallows the other.
    names.of["evil.example.com"] = [["127.0.0.1"]]
    async with serving(plain()) as granted, serving(plain()) as other:
        web(home, "*", f"{granted.url}/*")
        async with opened(home) as host:
            assert (await ask(host, granted.url))["ok"]["status"] == 200
            refused(await ask(host, other.url), "denied", "address", 0)
            refused(await ask(host, granted.named("evil.example.com")), "denied", "address", 0)
        assert (granted.connections, other.connections) == (1, 0)


async def test_an_author_who_asks_for_an_address_does_not_get_it_under_a_grant_of_everything(home: Path) -> None:
    async with serving(plain()) as server:
        write(home, "web", WEB, requests=[f"http:{server.url}/*"], grants=["http:*"])
        async with open_host(home, watch=False) as host:
            refused(await ask(host, server.url), "denied", "address", 0)
        assert server.connections == 0


async def test_localhost_is_this_machine_whatever_a_name_server_says(home: Path, names: Names) -> None:
    names.of["localhost"] = [["127.0.0.77"]]
    async with serving(plain()) as server:
        web(home, server.named("localhost") + "/*")
        async with opened(home) as host:
            assert (await ask(host, server.named("localhost")))["ok"]["status"] == 200
    assert names.asked == []


async def test_a_name_that_changes_is_looked_up_once_and_the_connection_goes_where_the_check_was(
    home: Path, names: Names
) -> None:
    async with serving(plain(b"public"), "127.0.0.77") as server:
        # As a hostile name server does it: a public address for the check, another for the connection.
        names.of["api.example.com"] = [["127.0.0.77"], ["127.0.0.1"]]
        web(home, f"http://api.example.com:{server.port}/*")
        async with opened(home) as host:
            assert (await ask(host, server.named("api.example.com")))["ok"]["body"] == b"public"
            assert names.asked == ["api.example.com"]
            refused(await ask(host, server.named("api.example.com")), "denied", "address", 0)
        assert server.asked[0].headers["host"] == f"api.example.com:{server.port}"


async def test_of_several_addresses_the_next_is_tried(home: Path, names: Names) -> None:
    async with serving(plain(), "127.0.0.77") as server:
        names.of["api.example.com"] = [["127.0.0.78", "127.0.0.77"]]
        web(home, "*")
        async with opened(home) as host:
            assert (await ask(host, server.named("api.example.com")))["ok"]["status"] == 200


async def test_a_name_without_an_address_and_a_server_that_is_not_there_are_failures(home: Path, names: Names) -> None:
    async with serving(plain()) as server:
        gone = server.url
    names.of["empty.example.com"] = [[]]
    web(home, "*", f"{gone}/*")
    async with opened(home) as host:
        refused(await ask(host, "http://gone.example.com/"), "failed", "resolve", 0)
        refused(await ask(host, "http://empty.example.com/"), "failed", "resolve", 0)
        refused(await ask(host, gone), "failed", "connect", 0)


async def test_look_ups_that_never_end_leave_the_hosts_other_threads_alone(
    home: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from innkeeper.bridge.web import resolver

    released = threading.Event()

    def never(host: str, port: int) -> list[str]:
        if host == "ok.example.com":
            return ["127.0.0.77"]
        names.asked.append(host)
        released.wait(30)
        return []

    monkeypatch.setattr(resolver, "system_lookup", never)
    async with serving(plain(), "127.0.0.77") as server:
        web(home, "*")
        write(home, "other", relay("http.request", mark="other"), requests=["http:*"])
        async with opened(home) as host:
            try:
                before = trio.to_thread.current_default_thread_limiter().borrowed_tokens
                async with trio.open_nursery() as nursery:
                    for number in range(20):
                        nursery.start_soon(lambda n=number: ask(host, f"http://slow{n}.example.com/", timeout=0.3))
                    while len(names.asked) < resolver.OF_ONE:  # noqa: ASYNC110 (threads set no event)
                        await trio.sleep(0.01)
                    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == before
                    answer = await ask(host, server.named("ok.example.com"), plugin="other")
                    assert answer["ok"]["status"] == 200
                # Those that nobody waits for any more still count.
                assert len(names.asked) == resolver.OF_ONE
            finally:
                released.set()


# --- redirects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "kind", "rule"),
    [
        ("http://127.0.0.1:{other}/", "denied", "scope"),
        ("https://127.0.0.1:{port}/v1/", "denied", "scope"),
        ("http://localhost:{port}/v1/", "denied", "scope"),
        ("http://[::ffff:127.0.0.1]:{port}/v1/", "denied", "scope"),
        ("http://192.168.0.1/", "denied", "scope"),
        ("/v2/", "denied", "scope"),
        ("//evil.example.com/v1/", "denied", "scope"),
        ("/v1/../v2", "denied", "scope"),
        ("/v1/%2e%2e/v2", "failed", "redirect"),
        ("http://user@127.0.0.1:{port}/v1/", "failed", "redirect"),
        ("file:///etc/passwd", "failed", "redirect"),
        ("http://[", "failed", "redirect"),
        ("http://127.1:{port}/v1/", "failed", "redirect"),
        ("http://127.0.0.1:99999/", "failed", "redirect"),
        ("/v1/\u00e4", "failed", "redirect"),
    ],
)
async def test_a_redirect_goes_nowhere_that_a_request_may_not_go(home: Path, place: str, kind: str, rule: str) -> None:
    async with (
        serving(plain()) as other,
        serving(moved(lambda asked: place.format(port=server.port, other=other.port))) as server,
    ):
        web(home, f"{server.url}/v1/*")
        async with opened(home) as host:
            hop = 1 if rule == "scope" else 0
            refused(await ask(host, f"{server.url}/v1/"), kind, rule, hop)
        assert (server.connections, other.connections) == (1, 0)


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:{port}/", "http://private.example.com:{port}/", "http://[::1]:{port}/"]
)
async def test_a_redirect_to_a_private_address_is_refused_also_under_the_widest_scope(
    home: Path, names: Names, place: str
) -> None:
    names.of = {"api.example.com": [["127.0.0.77"]], "private.example.com": [["127.0.0.1"]]}
    async with (
        serving(plain()) as private,
        serving(moved(lambda asked: place.format(port=private.port)), "127.0.0.77") as server,
    ):
        web(home, "*")
        async with opened(home) as host:
            message = refused(await ask(host, server.named("api.example.com")), "denied", "address", 1)
            assert "127.0.0.1" in place or "127.0.0.1" not in message
        assert private.connections == 0


async def test_redirects_are_followed_five_times_and_each_looks_its_name_up_again(home: Path, names: Names) -> None:
    names.of["api.example.com"] = [["127.0.0.77"]]

    def to(asked: Asked) -> str | None:
        left = int(asked.line.split()[1][1:])
        return f"/{left - 1}" if left else None

    async with serving(moved(to), "127.0.0.77") as server:
        web(home, "*")
        base = server.named("api.example.com")
        async with opened(home) as host:
            answer = await ask(host, f"{base}/5")
            assert (answer["ok"]["body"], answer["ok"]["url"]) == (b"here", f"{base}/0")
            assert len(names.asked) == 6
            refused(await ask(host, f"{base}/6"), "failed", "redirect", 5)
            refused(await ask(host, f"{base}/2", redirects=1), "failed", "redirect", 1)
            answer = await ask(host, f"{base}/2", redirects=0)
            assert answer["ok"]["status"] == 302
            assert ["location", "/1"] in answer["ok"]["headers"]


async def test_what_tells_who_somebody_is_stays_with_its_origin(home: Path) -> None:
    async with serving(echo) as other, serving(moved(lambda asked: f"{other.url}/")) as server:
        web(home, f"{server.url}/*", f"{other.url}/*")
        async with opened(home) as host:
            headers = {"Authorization": "mine", "Cookie": "mine", "X-Other": "kept"}
            assert "ok" in await ask(host, server.url, headers=headers)
        assert server.asked[0].headers["authorization"] == "mine"
        assert "authorization" not in other.asked[0].headers
        assert "cookie" not in other.asked[0].headers
        assert other.asked[0].headers["x-other"] == "kept"


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (302, "PUT", "PUT"),
    ],
)
async def test_the_method_changes_as_http_has_it(home: Path, status: int, method: str, then: str) -> None:
    def to(asked: Asked) -> str | None:
        return "/end" if asked.line.split()[1] == "/" else None

    async with serving(moved(to, status)) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            body = b"" if method == "HEAD" else b"data"
            assert "ok" in await ask(host, server.url, method=method, body=body, headers={"Content-Type": "x"})
        last = server.asked[1]
        assert last.line == f"{then} /end HTTP/1.1"
        assert (last.body, "content-type" in last.headers) == ((body, True) if then == method else (b"", False))


# --- what servers send ----------------------------------------------------------------------------------------------

BOMB = gzip.compress(bytes(64 << 20))


@pytest.mark.parametrize("inner", ["one", "many members", "chunked"])
async def test_a_body_that_inflates_a_thousandfold_is_refused_when_it_passes_the_bound(home: Path, inner: str) -> None:
    body = BOMB if inner != "many members" else gzip.compress(bytes(1 << 20)) * 90
    headers = ["Content-Encoding: gzip"]
    if inner == "chunked":
        headers.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    async with serving(plain(body, headers=headers, length=inner != "chunked")) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            assert len(BOMB) < (8 << 20)
            answer = await ask(host, server.url)
            refused(answer, "quota", "size", 0)
            assert answer["error"]["limit"] == 8 << 20


async def test_what_is_compressed_arrives_as_it_was(home: Path) -> None:
    text = bytes(range(256)) * 5000
    async with serving(
        plain(gzip.compress(text[:99]) + gzip.compress(text[99:]), headers=["Content-Encoding: gzip"])
    ) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            answer = await ask(host, server.url)
            assert answer["ok"]["body"] == text
            assert answer["ok"]["headers"] == []
            refused(await ask(host, server.url, limit=len(text) - 1), "quota", "size", 0)
            assert "ok" in await ask(host, server.url, limit=len(text))


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"not at all"),
        ("gzip", gzip.compress(b"hello")[:-3]),
        ("gzip", gzip.compress(b"") * 101),
        ("gzip, gzip", gzip.compress(gzip.compress(b"hello"))),
        ("deflate", zlib.compress(b"hello")),
        ("br", b"hello"),
    ],
)
async def test_what_is_compressed_otherwise_or_wrongly_is_a_failure(home: Path, coding: str, body: bytes) -> None:
    async with serving(plain(body, headers=[f"Content-Encoding: {coding}"])) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            refused(await ask(host, server.url), "failed", "protocol", 0)


def flood(first: bytes, again: bytes) -> Any:
    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(first)
        while True:
            await stream.send_all(again * (65536 // len(again)))

    return speak


@pytest.mark.parametrize(
    ("first", "again", "kind", "rule"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", "quota", "headers"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"yyyyyyyy", "quota", "headers"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "failed", "protocol"),
        (b"", b"\r\n", "failed", "protocol"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"endless ", "quota", "size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", "quota", "size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"00000000", "failed", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n", "failed", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"endless ", "quota", "size"),
    ],
)
async def test_a_server_that_never_ends_is_left(home: Path, first: bytes, again: bytes, kind: str, rule: str) -> None:
    async with serving(flood(first, again)) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            refused(await ask(host, server.url), kind, rule, 0)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_a_failure_that_says_nothing_of_it(home: Path, said: bytes) -> None:
    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(said)

    async with serving(speak) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            message = refused(await ask(host, server.url), "failed", "protocol", 0)
            assert "Bad" not in message


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_an_answer_whose_first_line_is_long_is_refused_before_it_is_parsed(home: Path, before: bytes) -> None:
    said = b"HTTP/1.1 200" + b" a" * 30

    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        longer = b" a" * 500 if asked.line.split()[1] == "/long" else b""
        await stream.send_all(before + said + longer + b"\r\nContent-Length: 0\r\n\r\n")

    async with serving(speak) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            assert (await ask(host, server.url))["ok"]["status"] == 200
            message = refused(await ask(host, f"{server.url}/long"), "quota", "headers", 0)
            assert message == "the answer's first line has more than 1,024 bytes"


async def test_an_answer_before_the_request_was_read_is_an_answer(home: Path) -> None:
    async with serving(plain(b"too much", "413 Too Large"), early=True) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            answer = await ask(host, server.url, method="POST", body=bytes(8 << 20))
            # The system may throw away what was said once the connection breaks.
            assert answer.get("error", {}).get("rule") == "protocol" or answer["ok"]["status"] == 413


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_server_that_falls_silent_costs_the_time_that_was_allowed(home: Path, said: bytes) -> None:
    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(said)
        await trio.sleep_forever()

    async with serving(speak) as server:
        web(home, f"{server.url}/*", more="[limits]\nhost_call = 1\n")
        async with opened(home) as host:
            refused(await ask(host, server.url, timeout=0.2), "failed", "time")
            # The request ends before the limit of the call does, so that the guest can handle it.
            refused(await ask(host, server.url), "failed", "time")


async def test_a_request_that_ended_before_the_host_could_begin_it_is_not_said_to_have_waited_for_others(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first one waits until what speaks HTTP is imported.
    import time

    from innkeeper.bridge import http

    made = http.make_client

    def slow(*arguments: Any) -> Any:
        time.sleep(0.1)
        return made(*arguments)

    monkeypatch.setattr(http, "make_client", slow)
    async with serving(plain()) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            refused(await ask(host, server.url, timeout=0.01), "failed", "time")
            assert (await ask(host, server.url))["ok"]["status"] == 200


async def test_a_server_that_does_not_begin_to_answer_is_left_before_the_whole_time(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "FIRST", 0.1)

    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        while True:
            await stream.send_all(b"HTTP/1.1 200 OK\r\n"[:1])
            await trio.sleep(0.02)

    async with serving(speak) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            refused(await ask(host, server.url), "failed", "time", 0)


# --- what guests send -----------------------------------------------------------------------------------------------

WRONG: dict[str, dict[str, Any]] = {
    "another host": {"headers": {"Host": "evil"}},
    "its own length": {"headers": {"Content-Length": "0"}},
    "another framing": {"headers": {"transfer-encoding": "chunked"}},
    "a connection that stays": {"headers": {"Connection": "keep-alive"}},
    "another protocol": {"headers": {"Upgrade": "websocket"}},
    "an encoding": {"headers": {"Accept-Encoding": "br"}},
    "a line break": {"headers": {"X": "a\r\nHost: evil"}},
    "a line feed": {"headers": {"X": "a\nb"}},
    "a zero byte": {"headers": {"X": "a\0b"}},
    "a letter that is not ASCII": {"headers": {"X": "\u0130"}},
    "a line break in a name": {"headers": {"X\r\nHost": "evil"}},
    "a colon in a name": {"headers": {"X:": "a"}},
    "no name": {"headers": {"": "a"}},
    "two of one name": {"headers": {"X": "a", "x": "b"}},
    "a blank at the end": {"headers": {"X": "a "}},
}
FORMS: dict[str, dict[str, Any]] = {
    "another method": {"method": "CONNECT"},
    "a method in small letters": {"method": "get"},
    "two lines as a method": {"method": "GET / HTTP/1.1\r\nX:"},
    "a list of headers": {"headers": [["a", "b"]]},
    "a number as a header": {"headers": {"a": 1}},
    "many headers": {"headers": {f"h{n}": "" for n in range(101)}},
    "a long header": {"headers": {"h": "x" * 65537}},
    "a large body": {"body": bytes((8 << 20) + 1)},
    "text as a body": {"body": "text"},
    "a long time": {"timeout": 31.0},
    "no time": {"timeout": 0.0},
    "not a number of seconds": {"timeout": float("nan")},
    "many redirects": {"redirects": 6},
    "a large limit": {"limit": (8 << 20) + 1},
    "many secrets": {"secrets": [f"A{n}" for n in range(9)]},
    "something else": {"proxy": "http://127.0.0.1"},
}


async def test_whatever_a_guest_sends_is_checked_before_anybody_is_asked(home: Path) -> None:
    async with serving(plain()) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            for given in WRONG.values():
                refused(await ask(host, server.url, **given), "invalid", "request")
            for given in FORMS.values():
                refused(await ask(host, server.url, **given), "invalid", None)
            headers = {f"h{n}": "x" * 1000 for n in range(80)}
            refused(await ask(host, server.url, headers=headers), "invalid", "request")
        assert server.connections == 0


async def test_neither_proxies_nor_netrc_of_the_hosts_environment_are_used(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with serving(plain()) as server, serving(plain(b"proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2hunter2\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            assert (await ask(host, server.url))["ok"]["body"] == b"hello"
        assert proxy.connections == 0
        assert "authorization" not in server.asked[0].headers


async def test_no_cookie_is_kept_from_one_request_to_the_next(home: Path) -> None:
    async with serving(plain(headers=["Set-Cookie: a=b"])) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            for _ in range(2):
                await ask(host, server.url)
        assert all("cookie" not in asked.headers for asked in server.asked)
        assert server.connections == 2


# --- how many -------------------------------------------------------------------------------------------------------


async def test_one_plugin_has_so_many_requests_at_once_and_leaves_places_for_others(home: Path) -> None:
    most = now = 0
    go = trio.Event()

    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        if asked.line.split()[1] == "/wait":
            await go.wait()
        now -= 1
        await plain()(asked, stream)

    async with serving(speak) as server:
        web(home, f"{server.url}/*")
        write(home, "other", relay("http.request", mark="other"), requests=[f"http:{server.url}/*"])
        answers = []

        async def one() -> None:
            answers.append(await ask(host, f"{server.url}/wait"))

        async with opened(home) as host, trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
            while now < 32:  # noqa: ASYNC110 (until all of them are there)
                await trio.sleep(0.01)
            assert (await ask(host, server.url, plugin="other"))["ok"]["status"] == 200
            refused(await ask(host, server.url, timeout=0.05), "busy", "busy")
            assert most == 33
            go.set()
        assert [answer["ok"]["status"] for answer in answers] == [200] * 50


async def test_a_call_that_is_cancelled_leaves_neither_a_connection_nor_a_place_behind(home: Path) -> None:
    ended = trio.Event()

    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        if asked.line.split()[1] == "/":
            await plain()(asked, stream)
            return
        assert await stream.receive_some(1) == b""
        ended.set()

    async with serving(speak) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            for _ in range(3):
                ended = trio.Event()
                async with trio.open_nursery() as nursery:
                    for _ in range(40):
                        nursery.start_soon(ask, host, f"{server.url}/wait")
                    with trio.fail_after(10):
                        while len(server.asked) % 33 < 32:  # noqa: ASYNC110 (until as many as may are there)
                            await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()
                with trio.fail_after(10):
                    await ended.wait()
                assert (await ask(host, server.url))["ok"]["status"] == 200


async def test_the_host_holds_so_many_bytes_of_answers_and_no_more() -> None:
    slots = Slots(held=100)
    async with slots.taken("one") as one, slots.taken("two") as two:
        one.more(60)
        two.more(40)
        with pytest.raises(WebError, match="holds too many bytes") as caught:
            two.more(1)
        assert caught.value.why.value == "busy"
    async with slots.taken("one") as one:
        one.more(100)


async def test_a_thousand_runs_at_once_wait_on_one_thread_and_each_gets_its_answer(home: Path) -> None:
    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        await trio.sleep(0.01)
        await plain()(asked, stream)

    async with serving(speak) as server:
        web(home, f"{server.url}/*")
        async with open_host(home, watch=False, bounds=Bounds(calls_per_plugin=1000)) as host:
            await ask(host, server.url)
            data = msgpack.packb({"url": server.url})
            done = 0

            async def one() -> None:
                nonlocal done
                answer = msgpack.unpackb((await host.plugins["web"].call("http_request", data)).output)
                assert answer["ok"]["status"] == 200
                done += 1

            async with trio.open_nursery() as nursery:
                for _ in range(1000):
                    nursery.start_soon(one)
    assert done == 1000


async def test_json_of_large_answers_passes_whole(home: Path) -> None:
    body = json.dumps(["x" * 1000] * 8000).encode()
    async with serving(plain(body)) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            assert (await ask(host, server.url))["ok"]["body"] == body
