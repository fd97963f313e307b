"""Homes whose operator configured models, endpoints on loopback that stand for them, and guests that ask."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from guests import assemble, text_block, wat
from innkeeper import Host
from innkeeper.bridge.bridge import FILE
from innkeeper.bridge.host import STATE
from innkeeper.bridge.offer import operations
from innkeeper.plugins import home as home_module
from innkeeper.plugins import host as host_module
from innkeeper.plugins.home import Home
from innkeeper.plugins.settings import LlmEndpoint, LlmSettings
from innkeeper.sandbox.interface import HostFunction, Value
from web_servers import Asked, Server, Speak, plain, relay, write

KEY = "sk-proj-0123456789abcdefXYZ"
RELAY = relay("llm.chat", "llm.chat_open", "llm.chat_next", "llm.chat_close", "llm.embed")
HELLO = [{"role": "user", "content": "hello"}]
_open_home = host_module.open_home


def use_models(monkeypatch: pytest.MonkeyPatch, package: Path, settings: LlmSettings, **more: Any) -> None:
    """Hosts that open a home from now on have these settings."""
    monkeypatch.setenv("INNKEEPER_SECRET_MODEL_KEY", KEY)
    monkeypatch.setattr(home_module, "_PACKAGE", package)

    def opened(chosen: Any = None) -> Home:
        home = _open_home(chosen)
        return replace(home, configuration=replace(home.configuration, llm=settings, **more))

    monkeypatch.setattr(host_module, "open_home", opened)


def models(server: Server | str, **more: Any) -> LlmSettings:
    """One endpoint with the models "small" and "vectors"."""
    url = server if isinstance(server, str) else f"{server.url}/v1"
    names = {"small": "vendor/model-9", "vectors": "vendor/embedding-3"}
    return LlmSettings({"main": LlmEndpoint(url, "MODEL_KEY", names)}, **more)


def plugin(
    home: Path,
    name: str = "p",
    wasm: bytes = RELAY,
    *,
    scopes: tuple[str, ...] = ("llm.chat", "llm.embed"),
    more: str = "",
) -> None:
    """A plugin that may ask models."""
    write(home, name, wasm, requests=["llm.chat", "llm.embed"], grants=scopes, more=more)


async def ask(host: Host, operation: str, plugin: str = "p", **arguments: Any) -> Any:
    """What the guest reads, decoded."""
    data = msgpack.packb(arguments)
    return msgpack.unpackb((await host.plugins[plugin].call(f"llm_{operation}", data)).output)


async def chat(host: Host, plugin: str = "p", **arguments: Any) -> Any:
    """As `ask`, a chat with the model "small"."""
    return await ask(host, "chat", plugin, **{"model": "small", "messages": HELLO, **arguments})


def refused(answer: Any, kind: str) -> dict[str, Any]:
    """A refusal, which must be of this kind and say nothing of the endpoint."""
    assert set(answer) == {"error"}, answer
    error: dict[str, Any] = answer["error"]
    assert error["kind"] == kind, error
    text = json.dumps(error)
    assert len(text) < 900
    for word in ("127.0.0.1", "://", KEY, "MODEL_KEY", "vendor/"):
        assert word not in text, error
    return error


def answer(content: object = "hi", *, usage: object = None, **more: Any) -> dict[str, Any]:
    """What an endpoint answers."""
    given = {"prompt_tokens": 7, "completion_tokens": 2} if usage is None else usage
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **more}, "finish_reason": "stop"}
    return {"id": "x", "model": "vendor/model-9", "choices": [choice], "usage": given}


def says(value: object, status: str = "200 OK", headers: tuple[str, ...] = ()) -> Speak:
    """An endpoint that always says the same JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return plain(data, status, headers=["Content-Type: application/json", *headers])


def events(*pieces: object, done: bool = True) -> bytes:
    """An answer in pieces."""
    data = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in pieces)
    return data + (b"data: [DONE]\n\n" if done else b"")


def piece(content: object = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One piece of an answer."""
    delta = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": {**delta, **more}, "finish_reason": reason}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def streams(data: bytes) -> Speak:
    """An endpoint that streams."""
    return plain(data, headers=["Content-Type: text/event-stream; charset=utf-8"], length=False)


def asked(one: Asked) -> dict[str, Any]:
    """The JSON that an endpoint was asked."""
    found: dict[str, Any] = json.loads(one.body)
    return found


def used(home: Path, plugin: str = "p") -> tuple[int, int, int]:
    """Tokens, those estimated, and requests of a plugin on all days."""
    with closing(sqlite3.connect(home / STATE / FILE)) as db:
        row = db.execute(
            "SELECT sum(tokens), sum(estimated), sum(requests) FROM llm_usage WHERE plugin = ?", (plugin,)
        ).fetchone()
    return tuple(row)


# --- a guest that reads streams -------------------------------------------------------------------------------------


async def _never(data: bytes) -> bytes:
    raise AssertionError("only its type is wanted")


def stream_guest() -> bytes:
    """Functions that open streams with their input and give one answer after the other: `stream` reads one to its end,
    `abandon` reads one piece and ends, `open_many` opens a thousand, `next_only` reads a stream that it did not
    open, `close_early` reads a piece, closes and reads again."""
    imports = [
        HostFunction(each.import_name, _never, (Value.BYTES,), Value.BYTES)
        for each in operations()
        if each.full_name.startswith("llm.chat_")
    ]
    first = text_block("the arguments", msgpack.packb({"stream": 1}), "next")
    begin = f"""(local $next i64) (local $b i64) (local $i i32)
      (global.set $out (call $alloc (i64.const 200000)))
      {first}"""
    end = "(call $output_set (global.get $out) (global.get $at))"
    opens = "(call $keep (call $innkeeper_llm_chat_open (call $input_offset)))"
    reads = "(call $keep (call $innkeeper_llm_chat_next (local.get $next)))"
    body = f"""
    (global $out (mut i64) (i64.const 0)) (global $at (mut i64) (i64.const 0))
    (func $keep (param $b i64) (local $i i64)
      (block $end (loop $go
        (br_if $end (i64.ge_u (local.get $i) (call $length (local.get $b))))
        (call $store_u8 (i64.add (i64.add (global.get $out) (global.get $at)) (local.get $i))
          (call $load_u8 (i64.add (local.get $b) (local.get $i))))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $go)))
      (global.set $at (i64.add (global.get $at) (local.get $i))))
    (func (export "stream") {begin} {opens}
      (block $end (loop $go
        (local.set $b (call $innkeeper_llm_chat_next (local.get $next)))
        (call $keep (local.get $b))
        ;; The answer's only key has two letters: "ok".
        (br_if $go (i32.eq (call $load_u8 (i64.add (local.get $b) (i64.const 1))) (i32.const 0xa2)))))
      {end})
    (func (export "abandon") {begin} {opens} {reads} {end})
    (func (export "next_only") {begin} {reads} {end})
    (func (export "close_early") {begin} {opens} {reads}
      (call $keep (call $innkeeper_llm_chat_close (local.get $next)))
      (call $keep (call $innkeeper_llm_chat_close (local.get $next))) {reads} {end})
    (func (export "open_many") {begin}
      (loop $go
        (local.set $b (call $innkeeper_llm_chat_open (call $input_offset)))
        (if (i64.lt_u (global.get $at) (i64.const 1000)) (then (call $keep (local.get $b))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $go (i32.lt_u (local.get $i) (i32.const 1000)))) {end})
    """
    return assemble(wat(body, "input_offset output_set length alloc load_u8 store_u8", functions=imports))


async def read(host: Host, function: str, plugin: str = "p", **arguments: Any) -> list[Any]:
    """The answers that a function of `stream_guest` was given, one after the other."""
    data = msgpack.packb({"model": "small", "messages": HELLO, **arguments})
    output = (await host.plugins[plugin].call(function, data)).output
    unpacker = msgpack.Unpacker()
    unpacker.feed(output)
    return list(unpacker)


def text_of(answers: list[Mapping[str, Any]]) -> str:
    """The text of all pieces."""
    return "".join(each["ok"]["delta"] for each in answers[1:] if "ok" in each)
