"""A plugin that was granted all, each capability narrowly, asks every operation there is for nonsense: each answer is a
value, none is a defect, none is large, and the host's log stays readable."""

from __future__ import annotations

import itertools
import json
import logging
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

import innkeeper
from innkeeper import Host
from innkeeper.bridge.offer import operations
from innkeeper.bridge.operation import Operation
from innkeeper.bridge.quota import TokenBucket
from innkeeper.bridge.refusal import Refusal
from innkeeper.errors import InnkeeperError
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.formats.payload import read_payload
from native_homes import House, node
from web_servers import home, plain, relay, serving, write

__all__ = ["home"]

GRANTED = (
    "secrets:KEY",
    "kv:notes",
    "vars",
    "kb.read:notes",
    "kb.write:notes",
    "events.publish:demo.*",
    "call:other/log_write",
    "events.subscribe:demo.*",
    "scheduler.submit",
    "scheduler.read",
    "llm.chat",
    "llm.embed",
)
ALL = [each for each in operations() if each.service != "stream"]

TEXTS = (
    "",
    "\0",
    "a\0b",
    "notes",
    "demo.a",
    "demo.*",
    "**",
    "*",
    "other/log_write",
    "kv_get",
    "\x1b[2J\x9b\u202e",
    "../../etc",
    "%s%n{0}",
    "'; DROP TABLE kv; --",
    "\uffff\U0010ffff",
    "e" + "\u0301" * 500,
    "\ufdfa" * 200,
    "a" * 70_000,
    "* * * * *",
    "Europe/Berlin",
    "0 0 30 2 *",
    "../localtime",
    "http://127.0.0.1:1/",
    "http://[::ffff:127.0.0.1]/",
    "https://\u2100.example/",
    "file:///etc/passwd",
    "http://a\r\nx: y/",
    "KEY",
    "GET",
    "\u0130" * 100,
)
NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    True,
    0.0,
    -0.0,
    1e308,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
)
OTHERS: tuple[Any, ...] = (
    None,
    b"",
    b"\0\xff" * 40,
    b"x" * 2_000_000,
    [],
    [[]],
    [None] * 100,
    ["KEY"] * 8,
    {},
    {"": ""},
    {"a": {"a": {"a": []}}},
    {1: 2},
    {"nodes": [], "edges": []},
    {"nodes": [{"id": "a", "fullType": "demo:\x1b", "inputs": {"": math.nan}}], "edges": [{}]},
    {"x\r\ny": "z"},
    {"Host": "a", "content-length": "5"},
    msgpack.ExtType(1, b"x"),
)
RAW = (
    b"",
    b"\xc1",
    b"\x81\xa1",
    b"\xdf\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\x91" * 500,
    b"\xa3\xff\xfe\xfd",
    b"\x81\xa3key\xa2\xff\xfe",
    b"\x82\xa3key\xa1a\xa3key\xa1b",
    b"\x80\x80",
    b"\xc0",
    b"\x81\xa3key\xd9\xff",
)
"""What is no msgpack, or no map of arguments."""

USUAL: dict[str, Any] = {
    "key": "k",
    "space": "notes",
    "value": b"v",
    "base": "notes",
    "query": "q",
    "id": "e",
    "content": "c",
    "topic": "demo.a",
    "pattern": "demo.*",
    "handler": "kv_get",
    "plugin": "other",
    "function": "log_write",
    "message": "m",
    "workflow": {"nodes": [], "edges": []},
    "expression": "0 0 * * *",
    "run": "r",
    "schedule": "s",
    "seconds": 1e6,
    "model": "m",
    "messages": [{"role": "user", "content": "hello"}],
    "texts": ["hello"],
    "stream": 1,
}
"""What is right for an argument that must be there, so that the next one is looked at."""


def questions(operation: Operation, right: dict[str, Any]) -> Iterator[bytes]:
    """Every argument with every value, others right; then several at once, as a seed has it."""
    names = list(operation.described)
    usual = {name: right[name] for name in names if name in right}
    for name, value in itertools.product(names, (*TEXTS, *NUMBERS, *OTHERS)):
        yield msgpack.packb({**usual, name: value})
    chance = random.Random(operation.full_name)
    for _ in range(40):
        yield msgpack.packb(
            {name: chance.choice((*TEXTS, *NUMBERS, *OTHERS)) for name in (*names, "\x1bmore")[: chance.randint(1, 9)]}
        )
    yield from RAW


async def ask(host: Host, function: str, data: bytes) -> Any:
    try:
        output = (await host.plugins["demo"].call(function, data)).output
    except InnkeeperError as error:
        if error.kind.value != "limit":
            raise
        # What does not fit into a call at all ends it.
        return None
    assert len(output) < 200_000
    return msgpack.unpackb(output, strict_map_key=False)


async def test_whatever_is_asked_of_any_operation_is_answered_with_a_value(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNKEEPER_SECRET_KEY", "hunter2-hunter2")
    # Rates have tests of their own, and would hide what lies behind them.
    monkeypatch.setattr(TokenBucket, "take", lambda bucket, now: True)
    async with serving(plain()) as server:
        place = f'[secrets.KEY]\nheader = "Authorization"\nhosts = ["{server.url}"]\n'
        names = [each.full_name for each in ALL]
        write(home, "demo", relay(*names), requests=[*GRANTED, f"http:{server.url}/*"], more=place)
        write(home, "other", relay("log.write"), requests=[])
        manifest = home / "plugins" / "demo.toml"
        manifest.write_text(manifest.read_text() + '[[dependencies]]\nid = "other"\nversions = ">=1"\n')
        with trio.fail_after(120):
            async with innkeeper.open_host(home, watch=False, journal="errors") as host:
                assert host.problems == []
                for operation in ALL:
                    kinds = set()
                    for data in questions(operation, {**USUAL, "url": server.url}):
                        kinds.add(checked(data, await ask(host, operation.full_name.replace(".", "_"), data)))
                    assert "invalid" in kinds, f"{operation.full_name} refused nothing, so nothing was tried"
    for record in caplog.records:
        if record.name.startswith("innkeeper"):
            assert record.levelno < logging.ERROR, record.getMessage()
            assert record.getMessage().isprintable()


def checked(data: bytes, answer: Any) -> str:
    """Of which kind an answer is, once it is looked over."""
    if answer is None:
        return "limit"
    assert set(answer) in ({"ok"}, {"error"}), (data[:80], answer)
    if "ok" in answer:
        return "ok"
    error = answer["error"]
    assert error["kind"] in {each.value for each in Refusal}
    assert len(error["message"]) < 2500
    # Several sentences are several lines.
    assert error["message"].replace("\n", "").isprintable(), (data[:80], error)
    # That a server does not answer has a rule; what breaks in the host has none.
    assert error["kind"] != "failed" or "rule" in error, (data[:80], error)
    return str(error["kind"])


async def test_no_plugin_starts_native_code_by_a_workflow(home: Path) -> None:
    house = House.__new__(House)
    house.path = home
    (home / "innkeeper.toml").write_text("native_plugins = true\n")
    ran = home / "ran"
    write(home, "demo", relay("scheduler.submit", "scheduler.later"), requests=["scheduler.submit"])
    house.native("p", node(f"open({str(ran)!r}, 'w').close()\nreturn {{'out': call.inputs.get('text')}}"))
    workflow = {"nodes": [{"id": "a", "fullType": "p:N", "inputs": {"text": "x"}}], "edges": []}
    with trio.fail_after(60):
        async with innkeeper.open_host(home, watch=False) as host:
            assert host.problems == []
            # A program may: the operator trusts it, and says what it is given.
            assert (await run_workflow(read_payload(json.dumps(workflow).encode()), host)).first_error is None
            assert ran.exists()
            ran.unlink()
            for function, more in (("submit", {}), ("later", {"seconds": 0.0})):
                data = msgpack.packb({"workflow": workflow, **more})
                answer = await ask(host, f"scheduler_{function}", data)
                assert answer["error"]["kind"] == "invalid"
                assert "native code, which no plugin may start" in answer["error"]["message"]
            await trio.sleep(0.1)
    assert not ran.exists()
