"""The search led by coverage, for targets that call Python alone: atheris watches which lines an input reaches."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from fuzz.child import FOUND, Current
from fuzz.target import kind

_MOST_BYTES = 4096


def installed() -> bool:
    """Whether atheris is there (the extra `fuzz`)."""
    return find_spec("atheris") is not None


def run(module: str, current: Current, seed: int, seconds: float) -> None:
    """Tries inputs for so long; ends the process, as libFuzzer does, with 0 or with `FOUND` and a traceback."""
    import atheris

    with atheris.instrument_imports(include=["innkeeper"]):
        target = kind(module)()

    def one(data: bytes) -> None:
        current.begin(data)
        try:
            # These targets wait for nothing, so the first step is the whole.
            target.check(data).send(None)
        except StopIteration:
            return
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
            sys.stderr.flush()
            os._exit(FOUND)

    folder = Path(tempfile.mkdtemp())
    for at, data in enumerate(target.seeds()):
        (folder / f"seed-{at}").write_bytes(data)
    limits = [f"-max_total_time={max(1, round(seconds))}", f"-seed={seed % (1 << 31) or 1}", f"-max_len={_MOST_BYTES}"]
    # What libFuzzer itself keeps of an input goes away with this process's folder: the parent has the input.
    atheris.Setup([sys.argv[0], str(folder), "-verbosity=0", f"-artifact_prefix={folder}/", *limits], one)
    atheris.Fuzz()
