"""Random valid modules from Binaryen's generator, where it is installed (Debian: the package binaryen)."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from pathlib import Path

WASM_OPT = shutil.which("wasm-opt")

_FEATURES = (
    "--enable-bulk-memory",
    "--enable-reference-types",
    "--enable-multivalue",
    "--enable-tail-call",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-mutable-globals",
)


def module(rng: random.Random, most: int = 3000) -> bytes | None:
    """A module made of up to `most` bytes of chance; None where there is no wasm-opt, or it made none."""
    if WASM_OPT is None:
        return None
    source = rng.randbytes(rng.randint(20, most))
    features = [*_FEATURES, "--enable-simd"] if rng.random() < 0.5 else list(_FEATURES)
    passes = [f"-O{rng.randrange(3)}"] if rng.random() < 0.3 else []
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "in", Path(folder) / "out.wasm"
        given.write_bytes(source)
        try:
            done = subprocess.run(
                [WASM_OPT, "-ttf", *features, *passes, str(given), "-o", str(made)],
                capture_output=True,
                timeout=20,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        return made.read_bytes() if done.returncode == 0 and made.exists() else None
