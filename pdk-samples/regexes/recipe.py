"""Builds the guest that tests regular expressions: QuickJS's libregexp, and one file in C around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KIT = HERE.parent / "javascript"
"""What it shares with plugins in JavaScript: the Extism ABI, and a C library without WASI."""

SHARED = ("extism.h", "no_wasi.c")
ENGINE = ("libregexp.c", "libunicode.c")

STACK = 1 << 18
"""Bytes of stack in memory."""


def build(
    shop: Any, c_flags: Sequence[str], engine_flags: Sequence[str], link_flags: Sequence[str]
) -> tuple[bytes, list[Path]]:
    """The module without the notices of its licences, and the files of QuickJS that are in it.

    Args:
        shop: the workshop of build.py.
        c_flags: for our own files.
        engine_flags: for QuickJS's.
        link_flags: for the linker.
    """
    shop.install_zig()
    quickjs = shop.fetch_quickjs()
    objects = []
    # As in a plugin in JavaScript: what takes the place of the C library's own comes first.
    for source in (KIT / "no_wasi.c", HERE / "regexes.c"):
        objects.append(f"regexes-{source.stem}.o")
        shop.cc(*c_flags, "-I", KIT, "-I", quickjs, "-c", source, "-o", objects[-1])
    for name in ENGINE:
        objects.append(f"regexes-{name.removesuffix('.c')}.o")
        shop.cc(*engine_flags, f"-ffile-prefix-map={quickjs}=quickjs", "-c", quickjs / name, "-o", objects[-1])
    core: Path = shop.folder / "regexes.core.wasm"
    shop.cc(*link_flags, f"-Wl,-z,stack-size={STACK}", *objects, "-o", core)
    return core.read_bytes(), [quickjs / name for name in ENGINE]


def sources() -> list[Path]:
    """The project's files that the module is built from."""
    own = [path for path in HERE.iterdir() if path.is_file()]
    return sorted([*own, *(KIT / name for name in SHARED)])
