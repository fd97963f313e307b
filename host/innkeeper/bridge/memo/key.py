"""What a pure call depends on, in a canonical form: two calls whose parts differ have different bytes."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Final

import msgpack

from innkeeper.plugins.attendant import PluginCall
from innkeeper.sandbox.limits import Limits

REVISION: Final = 2
"""Raised when the same parts come to mean something else."""

_LIMITS: Final = tuple(each.name for each in fields(Limits))

_ROOMS: Final = ("sandbox", "bridge", "plugins")
"""Folders of this package whose code a result passes through."""

_PACKAGES: Final = ("innkeeper", "wasmtime", "msgpack", "pydantic")


def basis_of(call: PluginCall) -> bytes:
    """Everything that a call depends on but its function and its input (bytes, 32); whose result it is stands beside.

    All limits count: a guest can tell where its memory ends, and what is cut from its log.
    """
    version, options = call.version, call.options
    manifest = version.manifest
    parts = [
        REVISION,
        version.code.fingerprint,
        version.digest,
        version.id,
        "" if manifest is None else f"{manifest.abi} {manifest.codec}",
        [getattr(options.limits, name) for name in _LIMITS],
        sorted(options.config.items()),
    ]
    return hashlib.sha256(msgpack.packb(parts)).digest()


def disk_key(owner: str, basis: bytes, function: str, data: bytes, implementation: str) -> str:
    """Under what the result is kept on disk (str, 64 hexadecimal digits).

    Args:
        owner: whose result it is: what is kept for one is no answer for another, wherever the row stands.
        basis: as `basis_of` gives it.
        function: of the guest.
        data: its input; takes 0.5 us for a KiB.
        implementation: as `implementation` gives it.
    """
    named, whose = function.encode(), owner.encode()
    digest = hashlib.sha256(f"{implementation} {len(whose)} {len(named)} ".encode() + whose + basis + named)
    digest.update(data)
    return digest.hexdigest()


@cache
def implementation() -> str:
    """What of this host a result may depend on, in the next process as in this one (str).

    Our own part in it is the text of the rooms that a result passes through: whoever changes a line of it, in a
    release or in a checkout, gets nothing that was computed before. Reads some 200 files, so in a thread.
    """
    from importlib import metadata

    digest = hashlib.sha256()
    here = Path(__file__).resolve().parents[2]
    for room in _ROOMS:
        for path in sorted((here / room).rglob("*.py")):
            text = path.read_bytes()
            digest.update(f"{path.relative_to(here).as_posix()} {len(text)} ".encode())
            digest.update(text)
    versions = " ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return f"{digest.hexdigest()} {versions} {sys.implementation.cache_tag} {sys.version_info[:3]} {sys.platform}"
