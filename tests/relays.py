"""Homes with guests that pass on: a plugin that hands its input to an operation of a service, and its answer back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack

from guests import assemble, wat
from innkeeper import Host
from innkeeper.bridge.offer import operations
from innkeeper.sandbox.interface import HostFunction, Value


async def _never(data: bytes) -> bytes:
    raise AssertionError("only its type is wanted")


def relay(service: str, body: str = "", env: str = "") -> bytes:
    """A guest with one exported function for each operation of a service, by its name; `body`, with what it imports of
    the Extism ABI (`env`), is added."""
    found = [each for each in operations() if each.service == service]
    imports = [HostFunction(each.import_name, _never, (Value.BYTES,), Value.BYTES) for each in found]
    functions = "".join(
        f"""(func (export "{each.name}") (local $b i64)
          (local.set $b (call ${each.import_name} (call $input_offset)))
          (call $output_set (local.get $b) (call $length (local.get $b))))"""
        for each in found
    )
    return assemble(wat(functions + body, f"input_offset output_set length {env}", functions=imports))


def install(
    home: Path, name: str, wasm: bytes, requests: Sequence[str], grants: Sequence[str] | None = None, more: str = ""
) -> None:
    """A plugin of a home, with what it requests and what it is granted: by default all of it.

    Args:
        more: further lines of its manifest.
    """
    for folder in ("plugins", "manifests"):
        (home / folder).mkdir(exist_ok=True, parents=True)
    (home / "plugins" / f"{name}.wasm").write_bytes(wasm)
    asked = "".join(f'[[capabilities]]\nname = "{each}"\nreason = "it asks"\noptional = true\n' for each in requests)
    (home / "plugins" / f"{name}.toml").write_text(f'id = "{name}"\nversion = "1.0.0"\n{asked}{more}')
    given = ", ".join(f'"{each}"' for each in (requests if grants is None else grants))
    text = f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\ncapabilities = [{given}]\n'
    (home / "manifests" / f"{name}.toml").write_text(text)


async def ask(host: Host, plugin: str, operation: str, /, **arguments: Any) -> Any:
    """What the guest reads, decoded."""
    return msgpack.unpackb((await host.plugins[plugin].call(operation, msgpack.packb(arguments))).output)


async def get(host: Host, plugin: str, operation: str, /, **arguments: Any) -> Any:
    """The result of an operation that must not refuse."""
    answer = await ask(host, plugin, operation, **arguments)
    assert set(answer) == {"ok"}, answer
    return answer["ok"]


async def refused(host: Host, plugin: str, operation: str, kind: str, /, **arguments: Any) -> dict[str, Any]:
    """The refusal of an operation that must refuse, which names nothing of the host."""
    answer = await ask(host, plugin, operation, **arguments)
    assert set(answer) == {"error"}, answer
    error: dict[str, Any] = answer["error"]
    assert error["kind"] == kind, error
    assert "/" not in error["message"]
    return error
