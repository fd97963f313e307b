"""A page that is not the server's own, nor on the operator's list, is refused everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Message

from guarded import UPGRADE, guarded
from innkeeper.plugins.settings import ServerSettings
from innkeeper.plugins.web_names import host_and_port, parse_origin
from innkeeper.server.guards.guards import Guards
from innkeeper.server.guards.origins import ForeignError, Origins
from innkeeper.server.telemetry.counts import Counts

EDITOR = "https://editor.example.com"
LISTED = f'[server]\norigins = ["{EDITOR}", "http://localhost:5573"]\n'


def scope(
    type_: str = "http", method: str = "GET", server: Any = ("127.0.0.1", 3233), **headers: str
) -> dict[str, Any]:
    """A request's scope; headers have "_" for "-"."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if not any(name == b"host" for name, _ in named):
        named.append((b"host", b"localhost:3233"))
    return {"type": type_, "method": method, "scheme": "http", "server": server, "headers": named, "path": "/"}


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost:3233", "LOCALHOST:3233", "127.0.0.1:3233", "[::1]:3233", "localhost.:3233"]
)
def test_on_loopback_the_server_answers_to_the_names_of_loopback(host: str) -> None:
    assert Origins().check(scope(host=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3233",
        "localhost",
        "localhost:80",
        "localhost:3234",
        "localhost.evil.example:3233",
        "127.0.0.2:3233",
        "2130706433:3233",
        "[::ffff:127.0.0.1]:3233",
        "localhost:3233@evil.example",
        "localhost:3233, evil.example",
        "local host:3233",
        "localhost:03233x",
        "localhost:",
        "",
        ":3233",
        "a" * 5000,
        "localhost:99999999999",
    ],
)
def test_a_page_that_makes_its_own_name_mean_this_machine_is_refused(host: str) -> None:
    with pytest.raises(ForeignError):
        Origins().check(scope(host=host))


def test_a_request_has_one_host() -> None:
    twice = scope()
    twice["headers"] = [(b"host", b"localhost:3233"), (b"host", b"evil.example")]
    none = scope()
    none["headers"] = []
    for each in (twice, none):
        with pytest.raises(ForeignError):
            Origins().check(each)


def test_names_of_the_operator_pass_and_then_no_other_does_on_any_address() -> None:
    origins = Origins(hosts=["innkeeper.example.com", "other.example.com:8443"])
    for server in (("127.0.0.1", 3233), ("192.0.2.1", 3233)):
        for host in ("innkeeper.example.com", "innkeeper.example.com:99", "other.example.com:8443", "localhost:3233"):
            assert origins.check(scope(host=host, server=server)) is None
        for host in ("evil.example", "other.example.com", "other.example.com:1"):
            with pytest.raises(ForeignError):
                origins.check(scope(host=host, server=server))
    # Elsewhere, where the operator says nothing, a name proves nothing, and whoever asks has to log in.
    assert Origins().check(scope(host="anything.example", server=("192.0.2.1", 3233))) is None


# --- origins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["http", "websocket"])
@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "https://evil.example:3233",
        "http://localhost",
        "http://localhost:5573.evil.example",
        "https://editor.example.com.evil.example",
        "https://editor.example.com:444",
        "http://editor.example.com",
        "https://evil.example/https://editor.example.com",
        "https://editor.example.com@evil.example",
        "file://",
        "chrome-extension://abcdef",
        "*",
        "",
        "https://" + "a" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_foreign_page_is_refused_whatever_it_asks(type_: str, origin: str, method: str) -> None:
    with pytest.raises(ForeignError):
        Origins([EDITOR]).check(scope(type_, method, origin=origin, sec_fetch_site="same-origin"))


@pytest.mark.parametrize("type_", ["http", "websocket"])
def test_the_servers_own_pages_and_those_on_the_list_pass(type_: str) -> None:
    origins = Origins([EDITOR, "http://localhost:5573"])
    assert origins.check(scope(type_, origin="http://localhost:3233")) is None
    assert origins.check(scope(type_, origin=EDITOR)) == EDITOR
    assert origins.check(scope(type_, origin="https://editor.example.com:443")) == "https://editor.example.com:443"
    assert origins.check(scope(type_, origin="http://localhost:5573")) == "http://localhost:5573"


def test_a_proxy_that_ends_tls_leaves_the_page_the_servers_own_but_https_never_believes_http() -> None:
    origins = Origins(hosts=["a.example"])
    assert origins.check(scope(host="a.example", origin="https://a.example")) is None
    assert origins.check({**scope(host="a.example", origin="https://a.example"), "scheme": "https"}) is None
    with pytest.raises(ForeignError):
        origins.check({**scope(host="a.example", origin="http://a.example"), "scheme": "https"})


@pytest.mark.parametrize("site", ["cross-site", "same-site", "strange"])
def test_what_a_foreign_page_embeds_is_refused_and_a_link_to_the_server_is_not(site: str) -> None:
    origins = Origins()
    followed = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert origins.check(scope(sec_fetch_site=site, **followed)) is None
    for method, more in (
        ("GET", {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}),
        ("GET", {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}),
        ("GET", {}),
        ("POST", followed),
    ):
        with pytest.raises(ForeignError):
            origins.check(scope("http", method, sec_fetch_site=site, **more))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_cookie_alone_changes_nothing(method: str) -> None:
    origins = Origins([EDITOR])
    with pytest.raises(ForeignError):
        origins.check(scope("http", method, cookie="session=1"))
    assert origins.check(scope("http", method, cookie="session=1", origin="http://localhost:3233")) is None
    assert origins.check(scope("http", method, cookie="session=1", origin=EDITOR)) == EDITOR
    assert origins.check(scope("http", method, cookie="session=1", sec_fetch_site="same-origin")) is None
    # A program without cookies says who it is by itself.
    assert origins.check(scope("http", method, authorization="Bearer x")) is None
    assert origins.check(scope("http", "GET", cookie="session=1")) is None


@given(st.text(max_size=60))
def test_no_text_is_taken_for_an_origin_that_browsers_would_not_send(text: str) -> None:
    try:
        scheme, name, port = parse_origin(text)
    except ValueError:
        return
    assert text.lower().rstrip(".").startswith(f"{scheme}://{name}")
    assert not set(name) & set("/@?#\\ ,\t\r\n")
    assert 0 <= port <= 65535


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,10}){0,3}", fullmatch=True), st.integers(0, 65535)
)
def test_a_name_and_a_port_are_read_as_they_were_written(name: str, port: int) -> None:
    assert host_and_port(f"{name}:{port}") == (name, port)
    assert host_and_port(name.upper()) == (name, None)


headers_of_guards = st.sampled_from(
    [
        *(
            b"host",
            b"origin",
            b"cookie",
            b"sec-fetch-site",
            b"sec-fetch-mode",
            b"x-forwarded-for",
            b"x-forwarded-proto",
        ),
        *(b"x-request-id", b"content-length", b"transfer-encoding", b"access-control-request-method", b"forwarded"),
    ]
)
texts = st.binary(max_size=40) | st.sampled_from(
    [
        b"localhost:3233",
        b"null",
        b"http://localhost:3233",
        EDITOR.encode(),
        b"[::1]:3233",
        b"fe80::1%x",
        b"1.2.3.4, ::1",
    ]
)


@given(
    st.lists(st.tuples(headers_of_guards, texts), max_size=8),
    st.sampled_from(["http", "websocket"]),
    st.text(max_size=8),
    st.sampled_from([("127.0.0.1", 3233), ("::1", 3233), ("/socket", None), None]),
    st.sampled_from([("127.0.0.1", 1), ("192.0.2.1", 1), ("", 0), None]),
)
@example([(b"host", b"localhost:3233"), (b"origin", EDITOR.encode())], "websocket", "", ("::1", 3233), None)
@example([(b"host", b"localhost:3233"), (b"origin", EDITOR.encode())], "http", "GET", ("127.0.0.1", 3233), None)
async def test_no_head_makes_the_guards_fail(
    headers: list[tuple[bytes, bytes]], type_: str, method: str, server: Any, client: Any
) -> None:
    stopping, counts = trio.Event(), Counts()
    settings = ServerSettings(origins=(EDITOR,), proxies=("127.0.0.1", "::1"), address_rate=1)
    # Neither metrics nor the database are asked for anything.
    guards = Guards(settings, counts, None, None, stopping)  # type: ignore[arg-type]
    found: list[Message] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if type_ == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})

    async def send(message: Message) -> None:
        found.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect" if type_ == "websocket" else "http.request"}

    asked = {"type": type_, "method": method, "path": "/", "scheme": "http", "query_string": b"", "http_version": "1.1"}
    await guards.around(app)({**asked, "headers": headers, "server": server, "client": client}, receive, send)
    assert found
    [(_, _, status)] = counts.requests
    assert status in (101, 200, 204, 403)
    for message in found:
        for name, value in message.get("headers", []):
            assert not {*name, *value} & {0, 10, 13}


# --- over the network -----------------------------------------------------------------------------------------------


async def test_requests_streams_and_sockets_of_a_foreign_page_are_refused_on_the_wire(tmp_path: Path) -> None:
    async with guarded(tmp_path, LISTED) as server:
        for head in (
            "GET /things/a HTTP/1.1",
            "POST /things/a HTTP/1.1\nContent-Length: 0",
            "GET /stream HTTP/1.1",
            UPGRADE,
        ):
            status, headers, body = await server.raw(head + "\nOrigin: http://evil.example")
            assert status == 403
            assert "access-control-allow-origin" not in headers
            assert b"origin is not on the list" in body
            status, _, _ = await server.raw(head, host="evil.example")
            assert status == 403
        for origin in (EDITOR, "http://localhost:5573", f"http://127.0.0.1:{server.port}"):
            assert (await server.raw(f"GET /stream HTTP/1.1\nOrigin: {origin}"))[0] == 200
            assert (await server.raw(f"{UPGRADE}\nOrigin: {origin}"))[0] == 101
        assert (await server.raw(UPGRADE))[0] == 101
        assert (await server.raw("GET /things/a HTTP/1.1", host=""))[0] in (400, 403)


async def test_a_page_on_the_list_is_told_so_by_name_and_no_other_is(tmp_path: Path) -> None:
    asked = (
        "OPTIONS /things/a HTTP/1.1\nAccess-Control-Request-Method: PUT\nAccess-Control-Request-Headers: authorization"
    )
    async with guarded(tmp_path, LISTED) as server:
        status, headers, _ = await server.raw(
            f"{asked}\nOrigin: {EDITOR}\nAccess-Control-Request-Private-Network: true"
        )
        assert status == 204
        assert headers["access-control-allow-origin"] == EDITOR
        assert headers["access-control-allow-credentials"] == "true"
        assert "PUT" in headers["access-control-allow-methods"]
        assert "authorization" in headers["access-control-allow-headers"].lower()
        assert headers["access-control-allow-private-network"] == "true"
        assert "*" not in "".join(value for name, value in headers.items() if name.startswith("access-control"))
        for origin in ("http://evil.example", "null"):
            status, headers, _ = await server.raw(f"{asked}\nOrigin: {origin}")
            assert status == 403
            assert not [name for name in headers if name.startswith("access-control")]
        status, headers, _ = await server.raw(f"GET /things/a HTTP/1.1\nOrigin: {EDITOR}")
        assert (status, headers["access-control-allow-origin"]) == (200, EDITOR)
        # What goes wrong can be read by the page as well.
        status, headers, _ = await server.raw(f"GET /nothing HTTP/1.1\nOrigin: {EDITOR}")
        assert (status, headers["access-control-allow-origin"]) == (404, EDITOR)
        _, headers, _ = await server.raw("GET /things/a HTTP/1.1")
        assert "origin" in headers["vary"].lower()
        assert "access-control-allow-origin" not in headers
