"""One guest that has every capability, a secret and a server that helps it, and tries to have the secret come out: then
everything is read that a guest, a log, a journal, a metric, an error or a file of the host can show."""

from __future__ import annotations

import base64
import json
import logging
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper import Host
from innkeeper.bridge.bridge import bridge_of
from innkeeper.bridge.offer import operations
from innkeeper.bridge.secret_placing import PlacedSecret, Placing
from innkeeper.bridge.web.faults import WebError
from innkeeper.bridge.web.message import Head
from innkeeper.cli.main import invoke
from innkeeper.composition import open_host
from innkeeper.errors import InnkeeperError
from innkeeper.plugins.secret_use import SecretUse
from web_servers import Asked, Server, home, relay, serving, write

__all__ = ["home"]

VALUE = "k3y/of+the=house&2"
FORMS = (
    VALUE,
    quote(VALUE, safe=""),
    quote(VALUE),
    quote(quote(VALUE, safe=""), safe=""),
    "".join(f"%{byte:02X}" for byte in VALUE.encode()),
    base64.b64encode(VALUE.encode()).decode().rstrip("="),
    VALUE.encode().hex(),
    VALUE[::-1],
)
GRANTED = (
    "secrets:KEY", "kv", "vars", "clock", "random", "kb.read:notes", "kb.write:notes", "events.publish:demo.*",
    "events.subscribe:demo.*", "scheduler.submit", "scheduler.read", "llm.chat", "llm.embed",
)  # fmt: skip
ALL = sorted(each.full_name for each in operations())
CRUEL = "\x1b]0;" + VALUE[:4] + "\x07"


async def repeats(asked: Asked, stream: trio.abc.Stream) -> None:
    """A server that means harm: says the secret, or half of it, wherever an answer has a place for it."""
    said = asked.headers.get("authorization", "nothing").removeprefix("Bearer ")
    path = asked.line.split()[1]
    body, headers, status = b"fine", "", "200 OK"
    if path.startswith("/body"):
        body = said.encode()
    elif path.startswith("/quoted"):
        body = quote(said, safe="").encode()
    elif path.startswith("/left"):
        body = quote(said, safe=";,/?:@&=+$!'()*#").encode()
    elif path.startswith("/link"):
        headers = f"link: <https://example.com/{REDIRECTED['/redirect-each'](said)}>\r\n"
    elif path.startswith("/base64"):
        body = base64.b64encode(said.encode())
    elif path.startswith("/header"):
        headers = f"x-said: {said}\r\n"
    elif path.startswith("/reason"):
        status = f"400 {said}"
    elif path.startswith("/redirect"):
        status, headers = "302 Found", f"location: /kept?said={REDIRECTED[path](said)}\r\n"
    elif path.startswith("/broken"):
        await stream.send_all(f"{said}\r\n\r\n".encode())
        return
    elif path.startswith("/short"):
        await stream.send_all(f"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{said}".encode())
        return
    elif path.startswith("/chunked"):
        chunks = "".join(f"1\r\n{letter}\r\n" for letter in said)
        await stream.send_all(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n".encode())
        return
    await stream.send_all(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)


REDIRECTED: dict[str, Callable[[str], str]] = {
    "/redirect-all": lambda said: quote(said, safe=""),
    "/redirect-some": quote,
    "/redirect-each": lambda said: "".join(f"%{byte:02X}" for byte in said.encode()),
    "/redirect-twice": lambda said: quote(quote(said, safe=""), safe=""),
    "/redirect-next": lambda said: quote(f"/a?b={quote(said)}"),
}
"""Ways to write something into a URL."""

PATHS = (
    "body", "quoted", "left", "base64", "header", "link", "reason", "broken", "short", "chunked", "fine",
    *(path.removeprefix("/") for path in REDIRECTED),
)  # fmt: skip


def shows(thing: bytes | str) -> list[str]:
    text = thing.decode("latin-1") if isinstance(thing, bytes) else thing
    return [form for form in FORMS if form in text]


def contents(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@asynccontextmanager
async def hostile(home: Path, server: Server) -> AsyncIterator[Host]:
    place = f'[secrets.KEY]\nheader = "Authorization"\nprefix = "Bearer "\nhosts = ["{server.url}"]\n'
    grants = [*GRANTED, f"http:{server.url}/*"]
    # Every operation can be imported only by a plugin that requests all.
    names = [name for name in ALL if name.partition(".")[0] not in ("stream", "call")]
    write(home, "web", relay(*names), requests=grants, more=place)
    with trio.fail_after(60):
        async with open_host(home, watch=False, journal="all") as host:
            assert host.problems == []
            yield host


async def tell(host: Host, function: str, **arguments: Any) -> bytes:
    """What the guest was answered, or what its call ended with."""
    try:
        result = await host.plugins["web"].call(function, msgpack.packb(arguments))
    except InnkeeperError as error:
        return f"{error} {vars(error)} {error.usage}".encode()
    return result.output + repr(result.usage).encode()


async def attack(host: Host, server: Server) -> list[bytes]:
    """All that the guest tries, and gets."""
    got = [await tell(host, "secrets_list")]
    for path in PATHS:
        got.append(await tell(host, "http_request", url=f"{server.url}/{path}", secrets=["KEY"]))
    for arguments in (
        {"url": f"{server.url}/body?$KEY", "secrets": ["KEY"], "headers": {"x-a": "$KEY", "y": "{KEY}"}},
        {"url": f"{server.url}/body", "secrets": ["KEY"], "headers": {"authorization": "mine"}},
        {"url": f"{server.url}/body", "secrets": ["KEY"], "body": b"secrets:KEY ${INNKEEPER_SECRET_KEY}"},
        {"url": f"{server.url}/body", "secrets": ["KEY"], "method": "HEAD"},
        {"url": f"{server.url}/body", "secrets": ["KEY"] * 9},
        {"url": f"{server.url}/body", "secrets": ["key", "KEY\0", "../KEY", CRUEL]},
        {"url": f"{server.url}/body", "secrets": ["KEY"], "limit": 3},
        {"url": f"{server.url}/body", "secrets": ["KEY"], "timeout": 0.001},
        {"url": f"http://user:{CRUEL}@{server.host}:{server.port}/", "secrets": ["KEY"]},
    ):
        got.append(await tell(host, "http_request", **arguments))
    for function, arguments in (
        ("config_get", {"key": "KEY"}),
        ("config_get", {"key": "INNKEEPER_SECRET_KEY"}),
        ("kv_put", {"key": "KEY", "value": b"secrets:KEY"}),
        ("kv_list", {}),
        ("kb_put", {"base": "notes", "content": "${KEY} secrets:KEY"}),
        ("kb_search", {"base": "notes", "query": "KEY secrets"}),
        ("events_subscribe", {"pattern": "demo.*", "handler": "secrets_list"}),
        ("events_publish", {"topic": "demo.key", "data": {"secrets": ["KEY"]}}),
        ("scheduler_submit", {"workflow": {"nodes": [], "edges": []}, "name": "secrets:KEY"}),
        ("scheduler_runs", {}),
        ("log_write", {"message": "secrets:KEY {KEY} %(KEY)s", "fields": {"KEY": "KEY"}}),
    ):
        got.append(await tell(host, function, **arguments))
    return got


async def test_a_guest_that_tries_everything_with_a_secret_leaves_it_nowhere(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INNKEEPER_SECRET_KEY", VALUE)
    with caplog.at_level(logging.DEBUG):
        async with serving(repeats) as server, hostile(home, server) as host:
            got = await attack(host, server)
            counted = bridge_of(host).metrics
            assert counted is not None
            metrics = " ".join(repr(each) for each in counted)
    # It was sent, or nothing was tried.
    sent = [asked for asked in server.asked if asked.headers.get("authorization") == f"Bearer {VALUE}"]
    assert len(sent) >= len(PATHS)
    for each in got:
        assert shows(each) == []
    assert any(b"fine" in each for each in got)
    assert shows(metrics) == []
    assert "http.request" in metrics
    assert shows(caplog.text + " ".join(str(vars(record)) for record in caplog.records)) == []
    kept = contents(home)
    assert len(kept["innkeeper.db"]) > 50_000, "journals are there"
    assert [name for name, data in kept.items() if shows(data)] == []


async def test_no_command_shows_a_secret_of_what_a_guest_tried(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secrets.toml"
    file.touch(0o600)
    file.write_text(f"KEY = {json.dumps(VALUE)}\n")
    (home / "innkeeper.toml").write_text(f"[secrets]\nfile = {json.dumps(str(file))}\n[journal]\nkeep = 'all'\n")
    async with serving(repeats) as server, hostile(home, server) as host:
        await attack(host, server)
    assert any(VALUE in asked.headers.get("authorization", "") for asked in server.asked)
    monkeypatch.setenv("INNKEEPER_HOME", str(home))
    monkeypatch.setenv("INNKEEPER_TRACEBACK", "1")
    capfd.readouterr()

    def run(*arguments: str) -> str:
        invoke(arguments)
        out, err = capfd.readouterr()
        assert shows(out + err) == [], arguments
        return out

    def commands() -> None:
        listed = run("journals", "--json")
        for number in sorted(set(map(int, re.findall(r'"id": (\d+)', listed))))[:20]:
            run("journals", "show", str(number))
            run("journals", "show", str(number), "--json")
            run("replay", str(number))
        for command in (
            ("journals",), ("plugins",), ("plugins", "--json"), ("grants",), ("grants", "--json"), ("grant", "web"),
            ("grant", "web", "--json"), ("config",), ("config", "--json"), ("config", "get", "secrets.file"),
            ("doctor", "--security"), ("doctor", "--security", "--json"), ("inspect", str(home / "plugins/web.wasm")),
            ("call", "web", "secrets_list"), ("call", "web", "http_request", "--input", "x", "--json"),
        ):  # fmt: skip
            run(*command)
        assert '"id"' in listed

    # Commands have a loop of their own.
    await trio.to_thread.run_sync(commands)


def escaped(text: str, chance: random.Random, plus: bool) -> str:
    """A text as some writer of URLs may escape it: what must be, and of the rest whatever it likes, in either case."""
    found = ""
    for letter in text:
        if letter == " " and plus:
            found += "+"
        elif letter in " %+#" or chance.random() < 0.5:
            found += "".join(chance.choice(("%{:02x}", "%{:02X}")).format(byte) for byte in letter.encode())
        else:
            found += letter
    return found


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=40),
    st.integers(0, 3),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_a_secret_is_found_however_a_url_escapes_it(value: str, nested: int, plus: bool, chance: random.Random) -> None:
    text = value
    for level in range(nested):
        text = escaped(text, chance, plus and level == nested - 1)
    placing = Placing(
        [PlacedSecret("KEY", SecretUse(("https://a.example",), "Authorization"), value)], "https://a.example"
    )
    head = Head(302, (("location", f"https://b.example/login?next={text}&a=%41"),))
    with pytest.raises(WebError, match="has the secret 'KEY' in it"):
        trio.run(placing.check_head, head)


def test_long_heads_are_looked_at_away_from_trios_thread_and_found_as_well() -> None:
    placing = Placing(
        [PlacedSecret("KEY", SecretUse(("https://a.example",), "Authorization"), VALUE)], "https://a.example"
    )
    filler = "%25" * 5000
    trio.run(placing.check_head, Head(200, (("x", filler),)))
    with pytest.raises(WebError):
        trio.run(placing.check_head, Head(200, (("x", filler), ("y", filler + quote(quote(VALUE))))))
