"""Measures one thing and writes it to standard output as JSON: `python -m innkeeper.bench.knowledge set NAME PATH`, or
`rows MODULE FOLDER NAME...`."""

from __future__ import annotations

import gc
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import trio

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip
"""What libraries of linear algebra, and tokenizers, read when they are loaded."""


def main() -> None:
    kind, *arguments = sys.argv[1:]
    if kind == "set":
        name, path = arguments
        found: Any = trio.run(_set, name, path)
    else:
        _on_one_core()
        module, folder, *names = arguments
        measure = import_module(f"innkeeper.bench.knowledge.{module}").measure
        found = {name: made.as_object() for name, made in trio.run(measure, names, Path(folder)).items()}
    sys.stdout.write(json.dumps(found))


def _on_one_core() -> None:
    """Nothing of numpy has been loaded yet."""
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    gc.freeze()


async def _set(name: str, path: str) -> Any:
    from innkeeper.bench.knowledge import joined
    from innkeeper.knowledge.bench.folder import read_set
    from innkeeper.knowledge.bench.lore import LANGUAGES, read_lore, set_name
    from innkeeper.knowledge.bench.ranking import evaluate

    if path:
        data = read_set(Path(path))
    else:
        data = read_lore(next(language for language in LANGUAGES if set_name(language) == name))
    async with joined.model() as embedder:
        return (await evaluate(data, embedder, joined.embedded_text)).as_object()


if __name__ == "__main__":
    main()
