"""Servers on loopback that say whatever a test wants, and homes with guests that ask them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from guests import assemble, wat
from innkeeper import Host
from innkeeper.bridge.host import open_host
from innkeeper.bridge.offer import operations
from innkeeper.bridge.web import addresses, reach, resolver
from innkeeper.plugins.settings import Keep
from innkeeper.sandbox.interface import HostFunction, Value

Speak = Callable[["Asked", trio.abc.Stream], Awaitable[None]]


@dataclass
class Asked:
    """A request as it came.

    Attributes:
        line: its first line.
        headers: names in lower case, and values.
        body: as many bytes as it says.
        raw: its head.
    """

    line: str
    headers: dict[str, str]
    body: bytes
    raw: bytes


@dataclass
class Server:
    """A server that runs.

    Attributes:
        host: its address.
        port: its port.
        asked: what it was asked, in order.
        connections: how often somebody connected.
    """

    host: str
    port: int
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        """Its origin, by its address."""
        return f"http://{self.host}:{self.port}"

    def named(self, name: str, scheme: str = "http") -> str:
        """Its origin, by another name."""
        return f"{scheme}://{name}:{self.port}"


def plain(body: bytes = b"hello", status: str = "200 OK", headers: Sequence[str] = (), *, length: bool = True) -> Speak:
    """A server that always answers the same."""
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else []), "", ""]

    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        await stream.send_all("\r\n".join(lines).encode() + body)

    return speak


def moved(to: Callable[[Asked], str | None], status: int = 302, body: bytes = b"here") -> Speak:
    """A server that redirects where `to` says a place, and answers where it says None."""

    async def speak(asked: Asked, stream: trio.abc.Stream) -> None:
        place = to(asked)
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {place}" if place is not None else "HTTP/1.1 200 OK"
        given = b"" if place is not None else body
        await stream.send_all(f"{head}\r\nContent-Length: {len(given)}\r\n\r\n".encode() + given)

    return speak


async def echo(asked: Asked, stream: trio.abc.Stream) -> None:
    """Says what it was asked, in headers and body."""
    first = asked.line.encode()
    answer = asked.raw + asked.body
    await stream.send_all(
        b"HTTP/1.1 200 OK\r\nx-line: " + first + f"\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer
    )


async def _read(stream: trio.abc.Stream) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            return None
        data += more
    raw, _, body = data.partition(b"\r\n\r\n")
    line, *rest = raw.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    while len(body) < int(headers.get("content-length", "0")):
        more = await stream.receive_some(65536)
        if not more:
            return None
        body += more
    return Asked(line, headers, body, raw)


@asynccontextmanager
async def serving(
    speak: Speak, host: str = "127.0.0.1", *, tls: Any = None, early: bool = False
) -> AsyncIterator[Server]:
    """A server for the time of the block. `early`: it speaks without having read what it was asked."""

    async def handle(server: Server, stream: trio.abc.Stream) -> None:
        server.connections += 1
        try:
            if tls is not None:
                stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            asked = Asked("", {}, b"", b"") if early else await _read(stream)
            if asked is not None:
                server.asked.append(asked)
                await speak(asked, stream)
            await stream.aclose()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=host)
        server = Server(f"[{host}]" if ":" in host else host, listener.socket.getsockname()[1])
        nursery.start_soon(partial(trio.serve_listeners, partial(handle, server), [listener]))
        yield server
        nursery.cancel_scope.cancel()


# --- guests ---------------------------------------------------------------------------------------------------------


async def _never(data: bytes) -> bytes:
    raise AssertionError("only its type is wanted")


def relay(*names: str, mark: str = "") -> bytes:
    """A guest that gives what it gets to operations such as "http.request", and gives back their answers. Its functions
    are named after them, with "_" for "."."""
    chosen = [each for each in operations() if each.full_name in names]
    imports = [HostFunction(each.import_name, _never, (Value.BYTES,), Value.BYTES) for each in chosen]
    body = "".join(
        f"""(func (export "{each.full_name.replace(".", "_")}") (local $b i64)
          (local.set $b (call ${each.import_name} (call $input_offset)))
          (call $output_set (local.get $b) (call $length (local.get $b))))"""
        for each in chosen
    )
    mark = f'(global (export "mark{mark}") i32 (i32.const 0))' if mark else ""
    return assemble(wat(body + mark, "input_offset output_set length", functions=imports))


def write(
    home: Path, name: str, wasm: bytes, *, requests: Sequence[str], grants: Sequence[str] | None = None, more: str = ""
) -> None:
    """A plugin of the home that requests and is granted something; `more` goes into its grant."""
    for folder in ("plugins", "manifests"):
        (home / folder).mkdir(exist_ok=True)
    (home / "plugins" / f"{name}.wasm").write_bytes(wasm)
    manifest = f'id = "{name}"\nversion = "1.0.0"\n'
    for each in requests:
        manifest += f'[[capabilities]]\nname = "{each}"\nreason = "it asks servers"\noptional = true\n'
    (home / "plugins" / f"{name}.toml").write_text(manifest)
    given = ", ".join(f'"{each}"' for each in (requests if grants is None else grants))
    grant = f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\ncapabilities = [{given}]\n{more}'
    (home / "manifests" / f"{name}.toml").write_text(grant)


@asynccontextmanager
async def opened(home: Path, journal: Keep | None = None) -> AsyncIterator[Host]:
    """A host of the home, which has no problems."""
    with trio.fail_after(60):
        async with open_host(home, watch=False, journal=journal) as host:
            assert host.problems == []
            yield host


def kept_in(home: Path) -> list[bytes]:
    """What all files of a home hold; one of them is a database."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    return [path.read_bytes() for path in files]


async def ask(host: Host, url: str, *, plugin: str = "web", **arguments: Any) -> Any:
    """What the guest reads as it asks for a URL, decoded."""
    data = msgpack.packb({"url": url, **arguments})
    return msgpack.unpackb((await host.plugins[plugin].call("http_request", data)).output)


def refused(answer: Any, kind: str, rule: str | None, hop: int | None = None) -> str:
    """The message of a refusal, which must be of this kind and rule."""
    assert set(answer) == {"error"}, answer
    error = answer["error"]
    assert (error["kind"], error.get("rule")) == (kind, rule), error
    assert error.get("hop") == hop, error
    message = error["message"]
    assert isinstance(message, str)
    assert len(message) < 400
    return message


class Names:
    """What a fake resolver says, in place of the system's.

    Attributes:
        of: name to what is said one time after the other; the last again and again.
        asked: names, in the order in which they were looked up.
    """

    def __init__(self) -> None:
        self.of: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def lookup(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        said = self.of.get(host)
        if not said:
            raise OSError("no such name")
        return said.pop(0) if len(said) > 1 else said[0]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A fake resolver, in a world in which 127.0.0.77 and 127.0.0.78 are public."""
    made = Names()
    monkeypatch.setattr(resolver, "system_lookup", made.lookup)
    public = {ip_address("127.0.0.77"), ip_address("127.0.0.78")}
    monkeypatch.setattr(reach, "is_public", lambda address: address in public or addresses.is_public(address))
    return made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    from innkeeper.plugins import home as home_module

    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
