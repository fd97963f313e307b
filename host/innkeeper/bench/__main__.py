"""Measures one row and writes it to standard output as JSON: `python -m innkeeper.bench NAME FOLDER`."""

from __future__ import annotations

import gc
import json
import sys
from importlib import import_module
from pathlib import Path

from innkeeper.bench.rows import ROWS
from innkeeper.bench.workspace import Workspace


def main() -> None:
    name, folder = sys.argv[1:]
    spec = ROWS[name]
    workspace = Workspace(Path(folder))
    workspace.use()
    measure = import_module(f"innkeeper.bench.{spec.module}").measure
    # What was imported is nobody's garbage: collections during the run look at what the run makes.
    gc.collect()
    gc.freeze()
    measured = measure(name, workspace)
    sys.stdout.write(json.dumps(measured.as_object()))


if __name__ == "__main__":
    main()
