"""Guests that make WASI calls one after the other, and a home whose plugins they are."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from guests import assemble, wat
from innkeeper import Host
from innkeeper.plugins import home as home_module
from innkeeper.plugins import host as host_module
from innkeeper.plugins.folders import open_folders
from innkeeper.plugins.home import Home
from innkeeper.plugins.settings import FilesSettings
from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.wasi import FUNCTIONS, Errno

SHOWN = 0x4000
"""Bytes of memory that a script gives at its end."""
ANSWERS = 0x3000
"""Where the errno of each step is."""
PATH, IOVEC, RESULT, DATA = 0x100, 0x800, 0x900, 0x1000


@dataclass(frozen=True)
class At:
    """An argument that is read from memory when the step is made."""

    address: int


@dataclass(frozen=True)
class Said:
    """What a script gave."""

    answers: list[Errno]
    memory: bytes

    def number(self, address: int = RESULT, size: int = 4) -> int:
        return int.from_bytes(self.memory[address : address + size], "little")


Step = tuple[Any, ...]

_open_home = home_module.open_home


def put(address: int, data: bytes) -> Step:
    """A step that writes to memory."""
    return ("put", address, data)


def path_step(name: str, descriptor: int | At, path: str, *rest: int, before: Sequence[int] = ()) -> list[Step]:
    encoded = path.encode()
    return [put(PATH, encoded), (name, descriptor, *before, PATH, len(encoded), *rest)]


def opening(path: str, *, how: int = 0, rights: int = 2, descriptor: int | At = 3, result: int = RESULT) -> list[Step]:
    """path_open; the descriptor lies at `result`."""
    return path_step("path_open", descriptor, path, how, rights, 0, 0, result, before=(1,))


def writing(data: bytes, descriptor: int | At = At(RESULT)) -> list[Step]:
    """fd_write of some bytes."""
    return [put(DATA, data), put(IOVEC, struct.pack("<II", DATA, len(data))), ("fd_write", descriptor, IOVEC, 1, 0x908)]


def reading(length: int = 64, descriptor: int | At = At(RESULT)) -> list[Step]:
    """fd_read to DATA; 0x908 has the number of bytes."""
    return [put(IOVEC, struct.pack("<II", DATA, length)), ("fd_read", descriptor, IOVEC, 1, 0x908)]


def script(*steps: Step, more: str = "") -> bytes:
    """A module whose function `run` makes the steps."""
    names = dict.fromkeys(step[0] for step in steps if step[0] != "put")
    lines, answers = [], 0
    for step in steps:
        if step[0] == "put":
            _, address, data = step
            lines += [f"(i32.store8 (i32.const {address + at}) (i32.const {byte}))" for at, byte in enumerate(data)]
            continue
        given = []
        for value, kind in zip(step[1:], FUNCTIONS[step[0]].parameters, strict=True):
            wide = "i64" if kind is Value.I64 else "i32"
            given.append(
                f"({wide}.load (i32.const {value.address}))" if isinstance(value, At) else f"({wide}.const {value})"
            )
        lines.append(f"(i32.store (i32.const {ANSWERS + 4 * answers}) (call ${step[0]} {' '.join(given)}))")
        answers += 1
    body = f"""(memory (export "memory") 1) {more}
      (global (export "steps") i32 (i32.const {answers}))
      (func (export "run") (local $out i64) (local $at i64)
        {" ".join(lines)}
        (local.set $out (call $alloc (i64.const {SHOWN})))
        (loop (call $store_u64 (i64.add (local.get $out) (local.get $at)) (i64.load (i32.wrap_i64 (local.get $at))))
          (br_if 0 (i64.lt_u (local.tee $at (i64.add (local.get $at) (i64.const 8))) (i64.const {SHOWN}))))
        (call $output_set (local.get $out) (i64.const {SHOWN})))"""
    return assemble(wat(body, "alloc store_u64 output_set", " ".join(names)))


def write_plugin(
    home: Path,
    name: str,
    wasm: bytes,
    *,
    requests: Sequence[str] = (),
    grants: Sequence[str] | None = None,
    more: str = "",
    extra: str = "",
) -> None:
    """A plugin of the home.

    Args:
        requests: what its manifest requests.
        grants: what its grant gives; None: it has no grant.
        more: of its manifest.
        extra: of its grant.
    """
    for folder in ("plugins", "manifests"):
        (home / folder).mkdir(exist_ok=True)
    (home / "plugins" / f"{name}.wasm").write_bytes(wasm)
    entries = "".join(f'[[capabilities]]\nname = "{each}"\nreason = "r"\noptional = true\n' for each in requests)
    (home / "plugins" / f"{name}.toml").write_text(f'id = "{name}"\nversion = "1.0.0"\n{more}\n{entries}')
    grant = home / "manifests" / f"{name}.toml"
    if grants is None:
        grant.unlink(missing_ok=True)
    else:
        given = ", ".join(f'"{each}"' for each in grants)
        grant.write_text(f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\n{extra}\ncapabilities = [{given}]\n')


def use_folders(monkeypatch: pytest.MonkeyPatch, package: Path, settings: FilesSettings) -> None:
    """Hosts and commands that open a home from now on have these settings, once in a test or after each other."""
    monkeypatch.setattr(home_module, "_PACKAGE", package)
    real = _open_home

    def opened(chosen: Any = None) -> Home:
        home = real(chosen)
        configuration = replace(home.configuration, files=settings)
        return replace(home, configuration=configuration, folders=open_folders(home.path, configuration, package))

    for module in (home_module, host_module):
        monkeypatch.setattr(module, "open_home", opened)


async def say(host: Host, plugin: str) -> Said:
    """What a script of the home gave."""
    return said((await host.plugins[plugin].call("run")).output)


def said(output: bytes) -> Said:
    """What a script gave, from its output."""
    assert len(output) == SHOWN
    return Said([Errno(each) for (each,) in struct.iter_unpack("<I", output[ANSWERS:])], output)
