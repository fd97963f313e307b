"""What is in a plugin's file: the module's bytes, what they say of themselves, and the author's manifest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.errors import RejectedError
from innkeeper.plugins.files import read_file, read_optional
from innkeeper.plugins.manifest import SECTION, Manifest, manifest_name, read_manifest
from innkeeper.plugins.tables import MAX_BYTES, ManifestError, shown
from innkeeper.sandbox.callable import CALLABLE
from innkeeper.sandbox.known import look, remembered
from innkeeper.sandbox.wasm import ModuleInfo

HOST_MODULES = frozenset({"extism:host/env", "extism:host/user"})
"""Import modules in which functions of the host are."""


@dataclass(slots=True, eq=False)
class Module:
    """A file's bytes, read once: what is hashed is what is compiled.

    Attributes:
        wasm: the bytes; empty once `release` was called.
        digest: their sha256, as hexadecimal digits.
        info: what the module says of itself.
        manifest: its author's words, or None.
        size: how many bytes it has.
        functions: names of the functions that it exports, sorted; there may be 100,000.
        callable: those of them that a call can have, known here so that a slip of the caller reaches no shared guest.
        imports: names of the functions that it imports from the modules that hosts have.
    """

    wasm: bytes
    digest: str
    info: ModuleInfo
    manifest: Manifest | None
    size: int = field(init=False)
    functions: tuple[str, ...] = field(init=False)
    imports: frozenset[str] = field(init=False)
    callable: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.wasm)
        signatures = {name: export.signature for name, export in self.info.exports.items() if export.signature}
        self.functions = tuple(sorted(signatures))
        self.imports = frozenset(
            each.name for each in self.info.imports if each.kind == "func" and each.module in HOST_MODULES
        )
        self.callable = frozenset(name for name, kind in signatures.items() if kind in CALLABLE)

    def release(self) -> None:
        """Forgets the bytes, which nobody needs any more once they are compiled or rejected."""
        self.wasm = b""


@dataclass(frozen=True, slots=True)
class PluginBytes:
    """A plugin's file and the manifest beside it, as they were read.

    Attributes:
        wasm: bytes of the file.
        digest: their sha256, as hexadecimal digits.
        beside: bytes of NAME.toml beside it, or None.
    """

    wasm: bytes
    digest: str
    beside: bytes | None

    @property
    def content(self) -> str:
        """What two files have in common that hold the same (str)."""
        beside = "" if self.beside is None else hashlib.sha256(self.beside).hexdigest()
        return f"{self.digest} {beside}"


def read_plugin_file(path: str | os.PathLike[str], *, label: str, size_limit: int) -> Module:
    """A module from its file, with the manifest beside it if there is one. Compiles nothing.

    Args:
        path: the file; its manifest may lie beside it as NAME.toml if it is called NAME.wasm.
        label: its name, for messages.
        size_limit: most bytes of a module.

    Raises:
        UsageError: one of them cannot be read.
        ManifestError: the manifest has problems.
        RejectedError: it is not a module that this host runs.
    """
    found = read_plugin_bytes(path, label=label, size_limit=size_limit, follow=True)
    return parse_plugin(found, label=label, size_limit=size_limit)


def read_plugin_bytes(path: str | os.PathLike[str], *, label: str, size_limit: int, follow: bool) -> PluginBytes:
    """The bytes of `read_plugin_file`; its arguments.

    Args:
        follow: whether either file may be a symbolic link.

    Raises:
        UsageError: one of the files cannot be read.
        RejectedError: one of them is too large.
    """
    wasm = read_file(path, most=size_limit, label=label, follow=follow)
    beside = None
    if label.endswith(".wasm"):
        toml = Path(os.fspath(path)).with_suffix(".toml")
        beside = read_optional(toml, most=MAX_BYTES, label=manifest_name(label), follow=follow)
    known = remembered(wasm)
    digest = hashlib.sha256(wasm).hexdigest() if known is None else known.digest
    return PluginBytes(wasm if known is None else known.wasm, digest, beside)


def parse_plugin(found: PluginBytes, *, label: str, size_limit: int) -> Module:
    """The module in these bytes; arguments and errors of `read_plugin_file`."""
    try:
        return read_module(found.wasm, label=label, beside=found.beside, size_limit=size_limit, digest=found.digest)
    except ManifestError:
        raise
    except RejectedError as error:
        if error.message.startswith(f"{label}:"):
            raise
        raise RejectedError(f"{label}: {error.message}") from None


def read_module(wasm: bytes, *, label: str, beside: bytes | None, size_limit: int, digest: str | None = None) -> Module:
    """Looks at a module and its manifest; compiles nothing.

    Args:
        wasm: the module's bytes.
        label: its file's name, for messages.
        beside: contents of NAME.toml, or None.
        size_limit: most bytes of a module.
        digest: sha256 of the bytes, if it is known already.

    Raises:
        RejectedError: it is not a module that this host runs, or its manifest has problems.
    """
    known = look(wasm, plugin=None, size_limit=size_limit, digest=digest)
    info = known.info
    if SECTION in info.custom_dropped:
        raise RejectedError(f"{label}: its section {SECTION!r} is too large: the most is {MAX_BYTES} bytes")
    exports = {name for name, export in info.exports.items() if export.kind == "func"}
    manifest = read_manifest(info.custom.get(SECTION, []), beside, where=label, exports=exports)
    return Module(known.wasm, known.digest, info, manifest)


def check_host(manifest: Manifest | None, label: str) -> None:
    """Refuses a plugin that says it does not work with this host: with its version, or without what it does not have.

    Raises:
        RejectedError: it does; the message names the range of versions or the capability.
    """
    if manifest is not None and manifest.innkeeper:
        from innkeeper.plugins.versions import host_version, in_range

        found = host_version()
        if found is not None and not in_range(found, manifest.innkeeper):
            raise RejectedError(f"{label}: needs Innkeeper {manifest.innkeeper}, and this is {found}")
    check_capabilities(manifest, label)


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
