"""The parts of the service `http` by themselves: whatever a server says, it is an answer or an error, and bounded."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from innkeeper.bridge.web.client import whole
from innkeeper.bridge.web.decoding import PIECE, decoder_for
from innkeeper.bridge.web.exchange import Exchange
from innkeeper.bridge.web.faults import WebError
from innkeeper.bridge.web.message import Head, Request
from innkeeper.bridge.web.redirects import redirected
from innkeeper.bridge.web.slots import Slots
from innkeeper.plugins.urls import parse_url

URL = parse_url("https://api.example.com/v1/a?q=1")
MOST = 5000


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 400))
@settings(deadline=None)
def test_what_was_compressed_comes_out_however_it_was_cut(members: list[bytes], size: int) -> None:
    data = b"".join(map(gzip.compress, members))
    decoder = decoder_for("gzip")
    found = b""
    for at in range(0, len(data), size):
        for piece in decoder.feed(data[at : at + size]):
            assert len(piece) <= PIECE
            found += piece
    decoder.finish()
    assert found == b"".join(members)


@given(st.lists(st.binary(max_size=200), max_size=6), st.booleans())
@settings(deadline=None)
def test_whatever_is_said_to_be_compressed_is_decoded_or_an_error(parts: list[bytes], begins_well: bool) -> None:
    decoder = decoder_for("gzip")
    try:
        for part in [gzip.compress(b"well")[:-4], *parts] if begins_well else parts:
            for piece in decoder.feed(part):
                assert len(piece) <= PIECE
        decoder.finish()
    except WebError as error:
        found = error.rule.value
    else:
        found = "protocol"
    assert found == "protocol"


_locations = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ["http", "https", ":", "//", "/", "..", "\\", "@", "?", "#", "%2e", "%00", "\t", " ", "a.b", "[::1]", "1"]
    )
).map("".join)


@given(_locations, st.sampled_from([301, 302, 303, 307, 308]), st.sampled_from(["GET", "POST", "HEAD", "PUT"]))
@settings(deadline=None, max_examples=300)
def test_a_redirect_leads_to_a_url_in_normal_form_or_is_an_error(location: str, status: int, method: str) -> None:
    headers = (("Authorization", "x"), ("cookie", "y"), ("Content-Type", "z"), ("other", "w"))
    request = Request(method, URL, headers, b"body")
    try:
        after = redirected(request, Head(status, (("location", location),)))
    except WebError:
        return
    assert after is not None
    assert parse_url(str(after.url)) == after.url
    names = {name.lower() for name, _ in after.headers}
    if after.url.origin != URL.origin:
        assert not names & {"authorization", "cookie"}
    assert "other" in names
    assert (after.body == b"body", "content-type" in names) == (
        (after.method == method and not _changes(status, method)),
    ) * 2


def _changes(status: int, method: str) -> bool:
    return (status == 303 and method not in ("GET", "HEAD")) or (status in (301, 302) and method == "POST")


_pieces = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 404 \n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 204 No\r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Encoding: gzip\r\n",
            b"x: y\r\n",
            b" fold\r\n",
            b"\r\n",
            b"\n",
            b"5\r\nhello\r\n",
            b"0\r\n\r\n",
            b"hello",
            gzip.compress(b"hello"),
            b"\x00",
            b"ffffffff\r\n",
        ]
    )
    | st.binary(max_size=20),
    max_size=12,
)


@given(_pieces)
@settings(deadline=None, max_examples=300)
async def test_whatever_a_server_says_is_an_answer_or_an_error(pieces: list[bytes]) -> None:
    ours, theirs = memory_stream_pair()
    for piece in pieces:
        await theirs.send_all(piece)
    await theirs.send_eof()
    exchange = Exchange(ours, MOST)
    size = 0
    try:
        head = await exchange.ask(Request("GET", URL))
        assert 200 <= head.status <= 999
        async with aclosing(exchange.body()) as body:
            async for piece in body:
                size += len(piece)
    except WebError as error:
        assert error.message.isprintable()  # noqa: PT017 (both ends are right)
    assert size <= MOST


async def test_a_body_in_small_pieces_takes_no_more_memory_than_it_has_bytes() -> None:
    class Pieces:
        async def body(self) -> AsyncGenerator[bytes, None]:
            for number in range(20_000):
                yield number.to_bytes(4, "big")

    slots = Slots()
    async with slots.taken("one") as holding:
        tracemalloc.start()
        try:
            body = await whole(cast(Exchange, Pieces()), holding)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert holding.bytes == len(body) == 80_000
    assert peak < 3 * len(body)


def test_a_url_that_takes_long_to_read_is_read_once_for_all_who_ask() -> None:
    text = "https://example.com/" + "%25" * 100
    assert parse_url(text) is parse_url(text)
