"""Extism's `http_request`: the same service, gate and right as `http.request`."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from guests import Sandbox, assemble, wat
from innkeeper import Host, open_host
from innkeeper.bridge.extism_http import extism_functions
from innkeeper.bridge.journal.format import read_journal
from innkeeper.bridge.journal.model import Journal
from innkeeper.bridge.journal.replay import replay
from innkeeper.bridge.journal.shelf import open_shelf
from innkeeper.bridge.web.message import MOST_BODY
from innkeeper.errors import DeniedError, GuestError, InnkeeperError, RejectedError, UsageError
from innkeeper.plugins.chain import Frame
from innkeeper.plugins.home import open_home
from innkeeper.plugins.version import Version
from innkeeper.sandbox.interface import HostFunction, Value
from innkeeper.sandbox.kernel import ENV
from web_servers import Names, home, moved, names, opened, plain, serving, write

__all__ = ["home", "names"]

# The input is the request's JSON; a body of five bytes goes with it where it begins with a blank.
GUEST = assemble(
    wat(
        """
        (func $body (result i64) (local $b i64)
          (if (i32.ne (call $input_load_u8 (i64.const 0)) (i32.const 32)) (then (return (i64.const 0))))
          (local.set $b (call $alloc (i64.const 5)))
          (call $store_u8 (local.get $b) (i32.const 98))
          (local.get $b))
        (func $ask (result i64) (call $http_request (call $input_offset) (call $body)))
        (func (export "body") (local $b i64)
          (local.set $b (call $ask))
          (call $output_set (local.get $b) (call $length (local.get $b))))
        (func (export "headers") (local $b i64)
          (drop (call $ask))
          (local.set $b (call $http_headers))
          (call $output_set (local.get $b) (call $length (local.get $b))))
        (func (export "status") (local $b i64)
          (local.set $b (call $alloc (i64.const 8)))
          (call $store_u64 (local.get $b) (i64.extend_i32_u (call $http_status_code)))
          (drop (call $ask))
          (call $store_u64 (local.get $b) (i64.or (i64.shl (i64.load_at (local.get $b)) (i64.const 32))
            (i64.extend_i32_u (call $http_status_code))))
          (call $output_set (local.get $b) (i64.const 8)))
        (func (export "before") (local $b i64)
          (local.set $b (call $http_headers))
          (call $output_set (local.get $b) (call $length (local.get $b))))
        """.replace("i64.load_at", "call $load_u64"),
        "http_request http_status_code http_headers alloc store_u8 store_u64 load_u64 length output_set input_offset "
        "input_load_u8",
    )
)


def web(home: Path, *scopes: str, requests: tuple[str, ...] = ("http:*",)) -> None:
    write(home, "web", GUEST, requests=requests, grants=[f"http:{scope}" for scope in scopes])


async def call(host: Host, function: str, **request: object) -> bytes:
    blank = b" " if request.pop("with_body", False) else b""
    return (await host.plugins["web"].call(function, blank + json.dumps(request).encode())).output


async def test_a_guest_of_extisms_gets_body_status_and_headers(home: Path) -> None:
    async with serving(plain(b"teapot", "418 I am", headers=["X-One: 1", "X-Two: a", "X-Two: b"])) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            assert await call(host, "before") == b""
            assert await call(host, "body", url=server.url) == b"teapot"
            assert int.from_bytes(await call(host, "status", url=server.url), "little") == 418
            headers = json.loads(await call(host, "headers", url=server.url, headers={"X-Mine": "yes"}))
            assert headers == {"x-one": "1", "x-two": "a, b", "content-length": "6"}
            await call(host, "body", url=server.url, method="post", header={"x": "y"}, with_body=True)
        assert server.asked[2].headers["x-mine"] == "yes"
        assert server.asked[3].line == "POST / HTTP/1.1"
        assert server.asked[3].body == b"b\0\0\0\0"


async def test_a_request_of_extisms_is_played_back_without_a_server(home: Path) -> None:
    async with serving(plain(b"teapot", "418 I am", headers=["X-One: 1"])) as server:
        web(home, f"{server.url}/*")
        async with open_host(home, watch=False, journal="all") as host:
            for function in ("status", "headers", "before"):
                await call(host, function, url=server.url)
        asked = len(server.asked)
    async with open_shelf(open_home(home)) as shelf:
        found = [await shelf.get(head.id) for head in await shelf.list(10)]
    assert len(found) == 3
    async with open_host(home, watch=False) as host:
        for each in found:
            assert each is not None
            journal = read_journal(each[1])
            verdict = await replay(journal, GUEST, host.engine)
            assert verdict.same, journal.function
            assert verdict.calls == len(journal.calls) > 0
        # Another module asks for what was not recorded: that is where it departs.
        before = replace(journal, function="body")
        assert (await replay(before, GUEST, host.engine)).departure is not None
    assert len(server.asked) == asked


async def test_an_empty_answer_is_an_empty_block(home: Path) -> None:
    async with serving(plain(b"", "204 No Content", length=False)) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            assert await call(host, "body", url=server.url) == b""
            assert int.from_bytes(await call(host, "status", url=server.url), "little") == 204


async def test_without_the_right_the_call_ends_as_denied_and_nobody_is_asked(home: Path, names: Names) -> None:
    names.of["evil.example.com"] = [["127.0.0.1"]]
    async with serving(plain()) as server:
        for scopes, requests in (
            ((), ()),
            ((), ("http:*",)),
            (("http://127.0.0.1:1/*",), ("http:*",)),
            (("*",), ("http:*",)),
            ((f"{server.named('evil.example.com')}/*",), ("http:*",)),
        ):
            web(home, *scopes, requests=requests)
            async with opened(home) as host:
                for name in ("127.0.0.1", "evil.example.com"):
                    with pytest.raises(DeniedError) as caught:
                        await call(host, "body", url=server.named(name))
                    assert caught.value.capability == "http"
        assert server.connections == 0


async def test_a_redirect_out_of_the_scope_ends_the_call_as_denied(home: Path) -> None:
    # What Extism itself follows.
    async with serving(plain()) as other, serving(moved(lambda asked: f"{other.url}/secret")) as server:
        web(home, f"{server.url}/*")
        async with opened(home) as host:
            with pytest.raises(DeniedError):
                await call(host, "body", url=server.url)
        assert other.connections == 0


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"url": 5}',
        b'{"url": "http://127.0.0.1/", "proxy": "x"}',
        b'{"url": "http://127.0.0.1/", "method": "CONNECT"}',
        b'{"url": "http://127.0.0.1/", "method": 5}',
        b'{"url": "http://127.0.0.1/", "headers": ["a"]}',
        b'{"url": "http://127.0.0.1/", "headers": {"a": 1}}',
        b'{"url": "http://127.0.0.1/", "headers": {"a": "x\\r\\ny"}}',
        b'{"url": "http://127.0.0.1/", "headers": {"a": "\\ud800"}}',
        b'{"url": "http://127.0.0.1/", "headers": {"Host": "evil"}}',
        b'{"url": "' + b"x" * 200_000 + b'"}',
        b"[" * 10_000,
        b"\xff\xfe",
    ],
)
async def test_what_is_no_request_is_the_guests_error(home: Path, given: bytes) -> None:
    web(home, "http://127.0.0.1/*")
    async with opened(home) as host:
        with pytest.raises(GuestError, match="http_request") as caught:
            await host.plugins["web"].call("body", given)
        assert len(caught.value.message) < 1000


async def test_a_body_that_is_too_large_is_refused_before_it_is_copied() -> None:
    async def never(data: bytes) -> bytes:
        raise AssertionError("nobody gets so far")

    asks = extism_functions(HostFunction("innkeeper_http_request", never, (Value.BYTES,), Value.BYTES))[0]
    version = SimpleNamespace(id="web")
    too_large = "http_request: the body has 8,388,609 bytes, and at most 8,388,608"
    with Frame(object(), 1, cast(Version, version)), pytest.raises(GuestError, match=too_large):
        await asks.answer(b'{"url": "http://127.0.0.1/"}', b"x" * (MOST_BODY + 1))


async def test_a_server_that_is_not_there_is_the_guests_error(home: Path) -> None:
    async with serving(plain()) as server:
        pass
    web(home, f"{server.url}/*")
    async with opened(home) as host:
        with pytest.raises(GuestError, match="cannot be reached"):
            await call(host, "body", url=server.url)


async def test_what_one_call_was_answered_the_next_does_not_see(home: Path) -> None:
    async with serving(plain(headers=["X-Secret: of the first"])) as server:
        write(
            home,
            "web",
            GUEST,
            requests=["http:*"],
            grants=[f"http:{server.url}/*"],
        )
        grant = home / "manifests" / "web.toml"
        grant.write_text(grant.read_text() + 'instance = "shared"\n')
        manifest = home / "plugins" / "web.toml"
        manifest.write_text('instance = "shared"\n' + manifest.read_text())
        async with opened(home) as host:
            assert b"of the first" in await call(host, "headers", url=server.url)
            assert await call(host, "before") == b""


async def test_only_functions_that_refuse_by_themselves_can_be_replaced_and_only_by_their_like(
    sandbox: Sandbox,
) -> None:
    async def replaced(*values: object) -> bytes:
        return b""

    for name in ("alloc", "output_set", "config_get", "log_info", "nothing"):
        with pytest.raises(RejectedError, match="namespace"):
            await sandbox.load(GUEST, [HostFunction(name, replaced, (Value.BYTES,), Value.BYTES, ENV)])
    for parameters, result in (
        ((), Value.BYTES),
        ((Value.BYTES, Value.BYTES), None),
        ((Value.I32, Value.BYTES), Value.I64),
    ):
        with pytest.raises(UsageError, match="must have the type"):
            await sandbox.load(GUEST, [HostFunction("http_request", replaced, parameters, result, ENV)])


async def test_the_same_bytes_have_the_function_that_they_were_loaded_with(sandbox: Sandbox) -> None:
    # What was compiled is remembered by what it was joined with.
    code = HostFunction("http_status_code", lambda: 418, (), Value.I32, ENV, quick=True)

    async def teapot(meta: bytes, body: bytes) -> bytes:
        return b"teapot"

    asks = HostFunction("http_request", teapot, (Value.BYTES, Value.BYTES), Value.BYTES, ENV)
    for _ in range(2):
        with pytest.raises(DeniedError):
            await sandbox.call(GUEST, "body", b"x")
        assert (await sandbox.call(GUEST, "body", b"x", functions=[asks])).output == b"teapot"
        assert (await sandbox.call(GUEST, "status", b"x", functions=[asks])).output == bytes(8)
        assert (await sandbox.call(GUEST, "status", b"x", functions=[asks, code])).output == b"\xa2\1\0\0" * 2


async def test_a_linked_plugin_reaches_the_function_that_stands_for_the_abis_own(sandbox: Sandbox) -> None:
    async def http_request(meta: bytes, body: bytes) -> bytes:
        return b"given " + meta

    function = HostFunction("http_request", http_request, (Value.BYTES, Value.BYTES), Value.BYTES, ENV)
    other = wat('(func (export "one") (result i32) (i32.const 1))')
    guest = wat(
        """(import "other" "one" (func $one (result i32)))
        (func (export "run") (local $b i64)
          (local.set $b (call $http_request (call $input_offset) (i64.const 0)))
          (call $output_set (local.get $b) (call $length (local.get $b))))""",
        "http_request input_offset output_set length",
    )
    program = await sandbox.load(guest, [function], {"other": other})
    assert (await sandbox.call(program, data=b"this")).output == b"given this"


async def journals(home: Path, *requests: tuple[str, str]) -> list[Journal]:
    """What was kept of calls of these functions, each asking for a URL, in a new host."""
    (home / "innkeeper.toml").write_text('[journal]\nkeep = "all"\n')
    async with opened(home) as host:
        for function, url in requests:
            with suppress(InnkeeperError):
                await call(host, function, url=url)
    async with open_shelf(open_home(home)) as shelf:
        kept = [await shelf.get(head.id) for head in reversed(await shelf.list(10))]
    return [read_journal(each[1]) for each in kept if each is not None]


async def test_what_a_guest_of_extisms_asked_servers_is_kept_and_run_again_without_them(
    home: Path, sandbox: Sandbox
) -> None:
    functions = ("body", "headers", "status", "before")
    async with serving(plain(b"teapot", "418 I am", headers=["X-One: 1"])) as server:
        web(home, f"{server.url}/*")
        kept = await journals(home, *((each, server.url) for each in functions))
    asked = len(server.asked)
    assert [[kept.functions[each.function].name for each in kept.calls] for kept in kept] == [
        ["http_request"],
        ["http_request", "http_headers"],
        ["http_status_code", "http_request", "http_status_code"],
        ["http_headers"],
    ]
    for journal in kept:
        verdict = await replay(journal, GUEST, sandbox.engine)
        assert verdict.same
        assert verdict.calls == verdict.recorded == len(journal.calls)
        assert verdict.ending is not None
        assert verdict.ending.output == journal.ending.output
    assert len(server.asked) == asked == 3


@pytest.mark.parametrize(("requested", "granted"), [(True, True), (True, False), (False, False)])
async def test_a_request_of_extisms_that_was_refused_is_refused_again(
    home: Path, sandbox: Sandbox, requested: bool, granted: bool
) -> None:
    web(home, *(["http://127.0.0.1:1/*"] if granted else []), requests=("http:*",) if requested else ())
    (journal,) = await journals(home, ("body", "http://127.0.0.1:2/"))
    assert journal.ending.kind == "denied"
    verdict = await replay(journal, GUEST, sandbox.engine)
    assert verdict.same
    assert verdict.calls == len(journal.calls) - (1 if requested else 0)


async def test_a_module_that_asks_extisms_way_only_now_departs_from_its_journal(home: Path, sandbox: Sandbox) -> None:
    web(home, "http://127.0.0.1:1/*")
    (journal,) = await journals(home, ("before", ""))
    changed = replace(journal, function="body", input=b'{"url": "http://127.0.0.1:1/"}')
    departure = (await replay(changed, GUEST, sandbox.engine)).departure
    assert departure is not None
    assert (departure.recorded and departure.recorded.name, departure.now and departure.now.name) == (
        "http_headers",
        "http_request",
    )
