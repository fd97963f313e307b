"""Guests that ask services, and homes with plugins that are granted what they ask for."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest

from guests import assemble, text_block, wat
from innkeeper import Host, open_host
from innkeeper.bridge.bridge import Bridge, bridge_of
from innkeeper.bridge.offer import operations
from innkeeper.plugins import home as home_module
from innkeeper.plugins.manifest import Dependency
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.interface import HostFunction, Value


async def _never(data: bytes) -> bytes:
    raise AssertionError("only its type is wanted")


def imports(*services: str) -> list[HostFunction]:
    """The operations of services, as imports."""
    return [
        HostFunction(each.import_name, _never, (Value.BYTES,), Value.BYTES)
        for each in operations()
        if each.service in services
    ]


def guest(body: str, *services: str, env: str = "") -> bytes:
    """A module that imports the operations of services, each as the function `$innkeeper_SERVICE_OPERATION`."""
    return assemble(wat(body, f"input_offset output_set length alloc store_u8 {env}", functions=imports(*services)))


def relay(*services: str, more: str = "", env: str = "") -> bytes:
    """A guest with a function SERVICE_OPERATION for each operation: gives it the input, and its answer back."""
    body = "".join(
        f"""(func (export "{each.name.removeprefix("innkeeper_")}") (local $b i64)
          (local.set $b (call ${each.name} (call $input_offset)))
          (call $output_set (local.get $b) (call $length (local.get $b))))"""
        for each in imports(*services)
    )
    return guest(body + more, *services, env=env)


def asks(name: str, operation: str, **arguments: Any) -> str:
    """A function that asks an operation always the same, and gives its answer back."""
    return f"""(func (export "{name}") (local $b i64)
      {text_block("what it asks", msgpack.packb(arguments), "b")}
      (local.set $b (call $innkeeper_{operation} (local.get $b)))
      (call $output_set (local.get $b) (call $length (local.get $b))))"""


NODE = """
[[nodes]]
type = "Flow"
function = "stream_read"
inputs.words = {dataFlowType = "STRING", isStream = true}
outputs.words = {dataFlowType = "STRING", isStream = true}
"""
"""A node with a stream on each side, for a manifest."""


def write(
    home: Path,
    name: str,
    wasm: bytes,
    *,
    has: Collection[str] = (),
    granted: Collection[str] | None = None,
    grant: str = "",
    manifest: str = "",
    version: str = "1.0.0",
) -> None:
    """A plugin of the home.

    Args:
        has: what it requests and, unless `granted` says otherwise, what it is granted.
        grant: more of its grant.
        manifest: more of its manifest.
    """
    for folder in ("plugins", "manifests"):
        (home / folder).mkdir(exist_ok=True)
    (home / "plugins" / f"{name}.wasm").write_bytes(wasm)
    requests = "".join(f'[[capabilities]]\nname = "{each}"\nreason = "it needs it"\noptional = true\n' for each in has)
    (home / "plugins" / f"{name}.toml").write_text(f'id = "{name}"\nversion = "{version}"\n{manifest}{requests}')
    given = ", ".join(f'"{each}"' for each in (has if granted is None else granted))
    top = f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\ncapabilities = [{given}]\n'
    (home / "manifests" / f"{name}.toml").write_text(top + grant)


def depends(host: Host, plugin: str, **versions: str) -> None:
    """Has a plugin's manifest declare others."""
    declared = tuple(Dependency(name, wanted) for name, wanted in versions.items())
    object.__setattr__(host.plugins[plugin].manifest, "dependencies", declared)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without plugins."""
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@asynccontextmanager
async def opened(home: Path, *, bounds: Bounds | None = None, sound: bool = True) -> AsyncIterator[tuple[Host, Bridge]]:
    """A host with its services. `sound`: whether its files have no problems."""
    async with open_host(home, watch=False, bounds=bounds) as host:
        assert (host.problems == []) == sound
        yield host, bridge_of(host)


async def ask(host: Host, plugin: str, function: str, /, *, run: Any = None, **arguments: Any) -> Any:
    """What the guest reads, decoded."""
    result = await host.plugins[plugin].call(function, msgpack.packb(arguments), run=run)
    return msgpack.unpackb(result.output)


def refused(answer: Any, kind: str) -> dict[str, Any]:
    """The error of an answer, which must be of this kind and say nothing of the host."""
    assert set(answer) == {"error"}, answer
    error: dict[str, Any] = answer["error"]
    assert error["kind"] == kind, error
    assert error["message"].isprintable()
    assert "wasm" not in error["message"]
    assert "/tmp" not in error["message"]
    assert len(error["message"]) < 600
    return error
