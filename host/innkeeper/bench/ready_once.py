"""Makes many modules ready in this process: `python -m innkeeper.bench.ready_once ROW FOLDER`. Writes what it took.

What a host imports as it opens is imported before, as the row says.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import trio

import innkeeper
import innkeeper.plugins.definitions
import innkeeper.plugins.reload
import innkeeper.plugins.roster
import innkeeper.sandbox.engine
from innkeeper.bench.workspace import Workspace

_INPUT = b"12345678"


def home_of_twenty(workspace: Workspace) -> Path:
    """A home whose `plugins` has twenty files."""
    return workspace.folder / "home-of-twenty"


def folder_of_forty(workspace: Workspace) -> Path:
    """A folder of forty files."""
    return workspace.folder / "forty"


async def _home(home: Path) -> float:
    begun = time.perf_counter()
    async with innkeeper.open_host(home) as host:
        own = [plugin for plugin in host.plugins.values() if not plugin.shipped]
        async with trio.open_nursery() as nursery:
            for plugin in own:
                nursery.start_soon(plugin.compile)
        took = time.perf_counter() - begun
        await _check(own, 20)
    return took


async def _files(paths: list[Path], home: Path) -> float:
    loaded: list[innkeeper.Plugin] = []
    begun = time.perf_counter()
    async with innkeeper.open_host(home, catalogue=False) as host:

        async def load(path: Path) -> None:
            loaded.append(await host.load(path))

        async with trio.open_nursery() as nursery:
            for path in paths:
                nursery.start_soon(load, path)
        took = time.perf_counter() - begun
        await _check(loaded, 40)
    return took


async def _check(plugins: list[innkeeper.Plugin], count: int) -> None:
    assert len({plugin.digest for plugin in plugins}) == count
    for plugin in plugins:
        assert (await plugin.call("echo", _INPUT)).output == _INPUT


def main() -> None:
    row, folder = sys.argv[1:]
    workspace = Workspace(Path(folder))
    if row == "twenty-plugins":
        took = trio.run(_home, home_of_twenty(workspace))
    else:
        took = trio.run(_files, sorted(folder_of_forty(workspace).glob("*.wasm")), workspace.home)
    sys.stdout.write(json.dumps(took))


if __name__ == "__main__":
    main()
