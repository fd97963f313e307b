"""Loads one module in this process, once: `python -m innkeeper.bench.load_once PEER GUEST FOLDER`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from innkeeper.bench import samples
from innkeeper.bench.measured import EXTISM, INNKEEPER
from innkeeper.bench.workspace import Workspace
from innkeeper.errors import InternalError

_DATA = samples.data(64)


def artifact(workspace: Workspace) -> Path:
    """The file of machine code that wasmtime-py maps."""
    return workspace.folder / "plain.cwasm"


def _innkeeper(path: Path, workspace: Workspace) -> dict[str, float]:
    import trio

    import innkeeper
    from innkeeper.bench import peer_innkeeper

    async def load() -> dict[str, float]:
        functions = peer_innkeeper.functions()
        begun = time.perf_counter()
        async with innkeeper.open_host(workspace.home, catalogue=False) as host:
            opened = time.perf_counter()
            plugin = await host.load(path, functions=functions)
            loaded = time.perf_counter()
            _check((await plugin.call("echo", _DATA)).output)
            called = time.perf_counter()
        return {"load": loaded - opened, "with_host": loaded - begun, "first_call": called - loaded}

    return trio.run(load)


def _extism(path: Path, _workspace: Workspace) -> dict[str, float]:
    from importlib import import_module

    from innkeeper.bench.peer_extism import host_functions

    extism = import_module("extism")
    compiled_plugin = import_module("extism.extism").CompiledPlugin

    functions = host_functions(extism)
    begun = time.perf_counter()
    compiled = compiled_plugin(path.read_bytes(), False, functions)
    loaded = time.perf_counter()
    _check(bytes(extism.Plugin(compiled).call("echo", _DATA)))
    return {"load": loaded - begun, "first_call": time.perf_counter() - loaded}


def _wasmtime(_path: Path, workspace: Workspace) -> dict[str, float]:
    import wasmtime as w

    engine = w.Engine()
    begun = time.perf_counter()
    w.Module.deserialize_file(engine, str(artifact(workspace)))
    return {"load": time.perf_counter() - begun}


def _check(output: bytes) -> None:
    if output != _DATA:
        raise InternalError("the loaded guest gave a wrong answer")


def main() -> None:
    peer, guest, folder = sys.argv[1:]
    load = {INNKEEPER: _innkeeper, EXTISM: _extism}.get(peer, _wasmtime)
    sys.stdout.write(json.dumps(load(samples.path_of(guest), Workspace(Path(folder)))))


if __name__ == "__main__":
    main()
