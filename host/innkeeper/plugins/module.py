"""What is in a plugin's file: the module's bytes, what they say of themselves, and the author's manifest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from innkeeper.errors import RejectedError
from innkeeper.plugins.files import read_file, read_optional
from innkeeper.plugins.manifest import SECTION, Manifest, read_manifest
from innkeeper.plugins.tables import MAX_BYTES, ManifestError, shown
from innkeeper.sandbox.admission import admit
from innkeeper.sandbox.wasm import ModuleInfo


@dataclass(frozen=True, slots=True)
class Module:
    """A file's bytes, read once: what is hashed is what is compiled.

    Attributes:
        wasm: the bytes.
        digest: their sha256, as hexadecimal digits.
        info: what the module says of itself.
        manifest: its author's words, or None.
    """

    wasm: bytes
    digest: str
    info: ModuleInfo
    manifest: Manifest | None


def read_plugin_file(path: str | os.PathLike[str], *, label: str, size_limit: int, follow: bool = True) -> Module:
    """A module from its file, with the manifest beside it if there is one. Compiles nothing.

    Args:
        path: the file; its manifest may lie beside it as NAME.toml if it is called NAME.wasm.
        label: its name, for messages.
        size_limit: most bytes of a module.
        follow: whether either may be a symbolic link.

    Raises:
        UsageError: one of them cannot be read.
        ManifestError: the manifest has problems.
        RejectedError: it is not a module that this host runs.
    """
    wasm = read_file(path, most=size_limit, label=label, follow=follow)
    beside = None
    if label.endswith(".wasm"):
        toml = Path(os.fspath(path)).with_suffix(".toml")
        beside = read_optional(toml, most=MAX_BYTES, label=manifest_name(label), follow=follow)
    try:
        return read_module(wasm, label=label, beside=beside, size_limit=size_limit)
    except ManifestError:
        raise
    except RejectedError as error:
        if error.message.startswith(f"{label}:"):
            raise
        raise RejectedError(f"{label}: {error.message}") from None


def manifest_name(label: str) -> str:
    """The name of the manifest beside a file (str)."""
    return f"{label.removesuffix('.wasm')}.toml"


def read_module(wasm: bytes, *, label: str, beside: bytes | None, size_limit: int) -> Module:
    """Looks at a module and its manifest; compiles nothing.

    Args:
        wasm: the module's bytes.
        label: its file's name, for messages.
        beside: contents of NAME.toml, or None.
        size_limit: most bytes of a module.

    Raises:
        RejectedError: it is not a module that this host runs, or its manifest has problems.
    """
    info = admit(wasm, plugin=None, size_limit=size_limit)
    if SECTION in info.custom_dropped:
        raise RejectedError(f"{label}: its section {SECTION!r} is too large: the most is {MAX_BYTES} bytes")
    exports = {name for name, export in info.exports.items() if export.kind == "func"}
    manifest = read_manifest(info.custom.get(SECTION, []), beside, where=label, exports=exports)
    return Module(wasm, hashlib.sha256(wasm).hexdigest(), info, manifest)


def check_capabilities(manifest: Manifest | None, label: str) -> None:
    """Refuses a plugin that says it does not work without a capability which this version does not have.

    Raises:
        RejectedError: it does; the message names the capability.
    """
    for wanted in manifest.capabilities if manifest is not None else ():
        if not wanted.optional and not wanted.available:
            raise RejectedError(
                f"{label}: needs the capability {shown(wanted.name)}, which is not available in this version"
            )
