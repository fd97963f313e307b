"""Rows: many modules ready to be called, from the cache, in a new process. Nothing to compare with: only ours."""

from __future__ import annotations

from innkeeper.bench import modules
from innkeeper.bench.measured import INNKEEPER, Figure, Measured
from innkeeper.bench.processes import run
from innkeeper.bench.ready_once import folder_of_forty, home_of_twenty
from innkeeper.bench.timing import rounds_within
from innkeeper.bench.workspace import Workspace

_ROUNDS = 7
_SECONDS = 6.0


def measure(name: str, workspace: Workspace) -> Measured:
    """Milliseconds from `open_host` to the last module ready; after the imports."""
    if name == "twenty-plugins":
        folder, count = home_of_twenty(workspace) / "plugins", 20
    else:
        folder, count = folder_of_forty(workspace), 40
    folder.mkdir(parents=True, exist_ok=True)
    modules.write(folder, count)
    # Fills the cache.
    first = run("ready_once", name, str(workspace.folder))
    took = [
        run("ready_once", name, str(workspace.folder)) for _ in rounds_within(_ROUNDS, _SECONDS * workspace.patience)
    ]
    return Measured({INNKEEPER: Figure.of(took, 1e3)}, {"without_cache": first * 1e3})
