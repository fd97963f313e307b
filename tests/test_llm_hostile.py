"""Endpoints that are broken, hostile or talk too much, and guests that want more than they may have."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import trio

from event_homes import until
from innkeeper.bridge.bridge import FILE
from innkeeper.bridge.host import STATE
from innkeeper.bridge.inference import asking
from innkeeper.bridge.inference import limits as llm_limits
from innkeeper.bridge.inference import streams as llm_streams
from innkeeper.errors import InnkeeperError
from llm_homes import (
    HELLO,
    KEY,
    USAGE,
    answer,
    ask,
    chat,
    events,
    models,
    piece,
    plugin,
    read,
    refused,
    says,
    stream_guest,
    streams,
    text_of,
    use_models,
    used,
)
from web_servers import Asked, home, kept_in, opened, plain, serving

__all__ = ["home"]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def never(one: Asked, stream: trio.abc.Stream) -> None:
    await trio.sleep(60)


async def endless(one: Asked, stream: trio.abc.Stream) -> None:
    await stream.send_all(HEAD + b"\r\n")
    while True:
        await stream.send_all(b" " * 65536)


async def slow(one: Asked, stream: trio.abc.Stream) -> None:
    await stream.send_all(HEAD + b"\r\n")
    while True:
        await stream.send_all(b" ")
        await trio.sleep(0.05)


def zipped(data: bytes) -> Any:
    return plain(gzip.compress(data), headers=["Content-Encoding: gzip"])


@pytest.mark.parametrize(
    "speak",
    [
        never,
        endless,
        slow,
        plain(b" " * 3_000_000),
        zipped(b" " * 100_000_000),
        zipped(json.dumps(answer("x" * 10_000_000)).encode()),
        plain(b"not gzip", headers=["Content-Encoding: gzip"]),
        plain(b"{", headers=["Content-Length: 100"], length=False),
        plain(b"", headers=["X: " + "y" * 70_000]),
        says(b""),
        says(b"\xff\xfe"),
        says(b"[" * 100_000),
        says(b"[" + b"{}," * 100_000 + b"{}]"),
        says([]),
        says({}),
        says({"choices": []}),
        says({"choices": [[]]}),
        says({"choices": [{}]}),
        says({"choices": [{"message": {"content": 5}}]}),
        says({"choices": [{"message": {"content": None, "tool_calls": [5]}}]}),
        says({"choices": [{"message": {"content": None, "tool_calls": [{"id": 1, "function": {"name": 2}}]}}]}),
        says({"choices": [{"message": {"content": None, "tool_calls": [{}] * 65}}]}),
    ],
    ids=str,
)
async def test_an_endpoint_that_does_not_answer_as_it_must_is_a_failure_that_costs_what_was_set_aside(
    home: Path, monkeypatch: pytest.MonkeyPatch, speak: Any
) -> None:
    plugin(home)
    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            refused(await chat(host, max_tokens=100, timeout=0.5), "failed")
    assert used(home)[0] > 100


async def test_an_odd_reason_to_end_is_not_passed_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    odd = answer()
    odd["choices"][0]["finish_reason"] = "\x1b[31m" * 1000
    async with serving(says(odd)) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            assert (await chat(host))["ok"]["finish_reason"] == "other"


NUMBERS = "[" + ",".join(["1"] * 20_000) + "]"


NO_VECTORS: list[Any] = [
    {"data": []},
    {"data": [{"embedding": []}]},
    {"data": [{"embedding": [1.0]}, {"embedding": [1.0]}]},
    {"data": [{"embedding": ["a"]}]},
    {"data": [{"embedding": [[1.0]]}]},
    {"data": [{"embedding": {"0": 1}}]},
    {"data": [{"embedding": True}]},
    {"data": [{"embedding": 0}]},
    {"data": [{"embedding": 7}]},
    {"data": [{"embedding": "!!!!"}]},
    {"data": [{"embedding": base64.b64encode(b"12345").decode()}]},
    {"data": [{"embedding": base64.b64encode(b"\0\0\xc0\x7f").decode()}]},
    {"data": [{"embedding": [1e39]}]},
    {"data": [{"index": 1, "embedding": [1.0]}]},
    {"data": [{"index": -1, "embedding": [1.0]}]},
    {"data": [{"index": True, "embedding": [1.0]}]},
    b'{"data": [{"embedding": [1e999]}]}',
    b'{"data": [{"embedding": [--1]}]}',
    b'{"data": [{"embedding": ' + NUMBERS.encode() + b"}]}",
    b'{"data": [{"embedding": [1,]}]}',
    b'{"data": [{"embedding": ' + b" " * 1_000_000,
    b'{"data": [{"embedding": [' + b"1," * 1_000_000,
    b'{"data": [{"embedding": "' + b"AAAA" * 1_000_000 + b'"}]}',
    b'{"data": [{"x": "\\"embedding\\": [1.0]"}]}',
]


async def test_what_is_no_vector_is_a_failure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home)
    bodies = list(NO_VECTORS)

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        await says(bodies.pop())(one, stream)

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            while bodies:
                refused(await ask(host, "embed", model="vectors", texts=["a"]), "failed")


# --- the key --------------------------------------------------------------------------------------------------------

SHOWN = [KEY, base64.b64encode(KEY.encode()).decode(), KEY[:12], "0123456789"]
_unicode = "".join(f"\\u{ord(each):04x}" for each in KEY)


def echo(kind: str) -> Any:
    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        said = one.headers["authorization"]
        answers = {
            "error": says({"error": {"message": f"who is {said}?"}}, "400 Bad"),
            "unauthorized": says({"error": {"message": said, "code": said}}, "401 No"),
            "html": plain(f"<html>{one.raw.decode()}".encode(), "500 Oh"),
            "header": says(answer(), "400 Bad", (f"X-Echo: {said}", f"Retry-After: {said}", f"Location: /{said}")),
            "content": says(answer(said)),
            "escaped": says(json.dumps(answer("HERE")).replace("HERE", _unicode).encode()),
            "tool": says(answer(None, tool_calls=[{"id": "a", "function": {"name": "f", "arguments": said}}])),
            "name": says(answer(None, tool_calls=[{"id": said, "function": {"name": "f", "arguments": ""}}])),
            "reason": says({"choices": [{"message": {"content": "x"}, "finish_reason": said}]}),
            "model": says({**answer(), "model": said, "id": said, "system_fingerprint": said}),
            "broken": plain(said.encode(), headers=["Content-Length: 100"], length=False),
        }
        await answers[kind](one, stream)

    return speak


@pytest.mark.parametrize(
    "kind",
    ["error", "unauthorized", "html", "header", "content", "escaped", "tool", "name", "reason", "model", "broken"],
)
async def test_a_key_that_comes_back_reaches_neither_guest_nor_log_nor_anything_that_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    plugin(home)
    async with serving(echo(kind)) as server:
        use_models(monkeypatch, home, models(server))
        with caplog.at_level(logging.DEBUG):
            async with opened(home, journal="all") as host:
                got = str(await chat(host))
        assert server.asked[0].headers["authorization"].endswith(KEY)
    kept = " ".join(data.decode("latin-1") for data in kept_in(home))
    for text in (got, kept, caplog.text, " ".join(str(vars(record)) for record in caplog.records)):
        for form in SHOWN:
            assert form not in text


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_a_key_in_a_stream_is_withheld_however_it_is_cut(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    plugin(home, wasm=stream_guest())
    text = f"before {KEY} after"
    data = events(*(piece(text[at : at + size]) for at in range(0, len(text), size)), piece(reason="stop"))
    async with serving(streams(data)) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            got = await read(host, "stream")
    assert text_of(got) in ("before ", "")
    refused(got[-1], "failed")
    assert "sk-" not in str(got)


# --- streams that are broken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense\n\n",
        b"data: nonsense\n\n",
        b"data: []\n\n",
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": [{"delta": 5}]}\n\n',
        b'data: {"choices": [5]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 64}]}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": 5}}]}}]}\n\n',
        b'data: {"error": {"message": "' + KEY.encode() + b'"}}\n\n',
        b"data: " + b"x" * 300_000,
        b"data: x\n" * 100_000,
        b": comment\n" * 200_000,
        events(*[piece(tool_calls=[{"index": 0, "function": {"arguments": "x" * 60_000}}])] * 5),
        events(piece("half"), done=False),
    ],
    ids=lambda data: str(data[:30]),
)
async def test_a_stream_that_is_none_is_a_failure(home: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    plugin(home, wasm=stream_guest())
    monkeypatch.setattr(asking, "MOST_WIRE", 500_000)
    async with serving(streams(data)) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            got = await read(host, "stream")
    refused(got[-1], "failed")
    assert KEY not in str(got)


async def test_an_answer_that_does_not_stream_is_a_failure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home, wasm=stream_guest())
    async with serving(says(answer())) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            assert "does not stream" in refused((await read(host, "stream"))[-1], "failed")["message"]


async def test_an_endpoint_that_refuses_a_stream_says_so_as_it_is_opened(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(home, wasm=stream_guest())
    async with serving(says({"error": {"message": "no streams"}}, "400 Bad")) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            got = await read(host, "stream")
            await until(lambda: used(home)[0] == 0)
    assert "no streams" in refused(got[0], "invalid")["message"]
    refused(got[1], "not_found")


# --- guests that want too much --------------------------------------------------------------------------------------


async def trickle(one: Asked, stream: trio.abc.Stream) -> None:
    """Streams, and never ends."""
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while True:
        await stream.send_all(events(piece("x"), done=False))
        await trio.sleep(0.01)


async def test_a_thousand_streams_are_four_and_end_with_the_call(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home, wasm=stream_guest())
    ended = [0]

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        try:
            await trickle(one, stream)
        finally:
            ended[0] += 1

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            got = await read(host, "open_many")
            assert [each["ok"]["stream"] for each in got[: llm_limits.STREAMS]] == [1, 2, 3, 4]
            for each in got[llm_limits.STREAMS :]:
                refused(each, "quota")
            assert len(server.asked) == llm_limits.STREAMS
            await until(lambda: ended[0] == llm_limits.STREAMS)
            assert len(await read(host, "abandon")) == 2, "its places are free again"


async def test_a_stream_means_nothing_in_another_call(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = stream_guest()
    plugin(home, wasm=guest)
    plugin(home, "other", wasm=guest)
    secret = piece("for p alone")

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + events(done=False))
        await trio.sleep(0.3)
        await stream.send_all(events(secret, piece(reason="stop")))

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host, trio.open_nursery() as nursery:
            got: list[Any] = []

            async def own() -> None:
                got.extend(await read(host, "stream"))

            nursery.start_soon(own)
            await until(lambda: server.asked)
            for name in ("p", "other"):
                (stolen,) = await read(host, "next_only", name)
                refused(stolen, "not_found")
    assert text_of(got) == "for p alone"


async def test_what_nobody_reads_waits_at_the_endpoint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Far more than what kernels buffer on the way.
    total = 30_000_000
    sent = [0]

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        data = events(piece("x" * 50_000), done=False)
        while sent[0] < total:
            await stream.send_all(data)
            sent[0] += len(data)

    plugin(home)
    monkeypatch.setattr(llm_streams, "IDLE", 0.5)
    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            opened_stream: list[Any] = []
            real = llm_streams.Stream.run

            async def run(self: llm_streams.Stream, answered: Any) -> None:
                opened_stream.append(self)
                await real(self, answered)

            monkeypatch.setattr(llm_streams.Stream, "run", run)
            # As if its call went on for ever without asking.
            monkeypatch.setattr(llm_streams.Stream, "close", lambda self: None)
            assert "ok" in await ask(host, "chat_open", model="small", messages=HELLO)
            (stream,) = opened_stream
            await until(lambda: stream._size >= llm_streams.QUEUE)
            assert stream._size <= llm_streams.QUEUE + 50_000
            await until(lambda: stream._failure)
            assert "was not asked for" in str(stream._failure)
    assert sent[0] < total / 2
    tokens, estimated, _ = used(home)
    assert tokens == estimated > 0


async def test_a_flood_of_requests_that_cost_nothing_is_slowed_down(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(home)
    monkeypatch.setattr(llm_limits, "REQUESTS", llm_limits.Rate(per_second=0.001, burst=5))
    async with serving(says(b"", "500 Oh")) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            kinds = [(await chat(host))["error"]["kind"] for _ in range(8)]
        assert kinds == ["failed"] * 5 + ["quota"] * 3
        assert len(server.asked) == 5


async def test_where_tokens_cannot_be_counted_nothing_is_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plugin(home)
    (home / STATE).mkdir(mode=0o700)
    (home / STATE / FILE).write_bytes(b"no database" * 1000)
    (home / STATE / FILE).chmod(0o600)
    async with serving(says(answer())) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            assert "counted" in refused(await chat(host), "failed")["message"]
        assert server.asked == []
    assert "damaged" in caplog.text


async def test_the_end_of_the_host_ends_its_streams(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home, wasm=stream_guest())
    ended = trio.Event()

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        try:
            await trickle(one, stream)
        finally:
            ended.set()

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host, trio.open_nursery() as nursery:

            async def go() -> None:
                with pytest.raises(InnkeeperError):
                    # Its output is full before the endpoint ends.
                    await read(host, "stream")

            nursery.start_soon(go)
            await until(lambda: server.asked)
            await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await ended.wait()
    tokens, estimated, requests = used(home)
    assert tokens == estimated > 0
    assert requests == 1


# --- streams that are well ------------------------------------------------------------------------------------------


async def test_an_answer_comes_in_pieces_with_its_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home, wasm=stream_guest())
    calls = [
        piece(tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}]),
        piece(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
        piece(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
    ]
    data = events(
        piece("", role="assistant"), piece("h\u00e9l"), piece("lo"), *calls, piece(reason="tool_calls"), USAGE
    )
    async with serving(streams(data)) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            got = await read(host, "stream")
            await until(lambda: used(home)[0] == 10)
        asked_for = json.loads(server.asked[0].body)
        assert (asked_for["stream"], asked_for["stream_options"]) == (True, {"include_usage": True})
    assert got[0] == {"ok": {"stream": 1}}
    assert text_of(got) == "h\u00e9llo"
    assert got[-2]["ok"] == {
        "delta": "",
        "done": True,
        "finish_reason": "tool_calls",
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "estimated": False},
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}],
    }
    refused(got[-1], "not_found")


async def test_a_stream_that_is_closed_costs_what_came(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home, wasm=stream_guest())
    async with serving(trickle) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            got = await read(host, "close_early", max_tokens=100_000)
            await until(lambda: 0 < used(home)[0] < 1000)
    assert [set(each) for each in got] == [{"ok"}] * 4 + [{"error"}]
    assert [each["ok"]["closed"] for each in got[2:4]] == [True, False]
    refused(got[-1], "not_found")


async def test_what_is_reported_before_the_end_is_not_believed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(home, wasm=stream_guest())
    little = {**piece("x" * 3000), "usage": {"prompt_tokens": 1, "completion_tokens": 0}}

    async def speak(one: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + events(little, done=False)
        )
        await trio.sleep(60)

    async with serving(speak) as server:
        use_models(monkeypatch, home, models(server))
        async with opened(home) as host:
            await read(host, "close_early", max_tokens=100_000)
            await until(lambda: 1000 < used(home)[0] < 2000)
