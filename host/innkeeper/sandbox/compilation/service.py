"""Bytes of Wasm in, modules of an engine out: from the cache where it has them, else compiled and kept."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio
import wasmtime as w

from innkeeper.errors import BusyError, InternalError
from innkeeper.sandbox.bounds import Bounds
from innkeeper.sandbox.compilation.cache import Cache, key_of
from innkeeper.sandbox.compilation.compiler import Compiler
from innkeeper.sandbox.compilation.entry import Artifact, Fresh, Label
from innkeeper.sandbox.compilation.plan import Plan
from innkeeper.sandbox.compilation.progress import CacheTrouble
from innkeeper.sandbox.compilation.settings import fingerprint


def open_compilation(engine: w.Engine, bounds: Bounds, folder: Path | None) -> Compilation:
    """What an engine loads modules with, by the host's bounds. The caller ends it with `aclose`.

    Args:
        engine: one with the settings of `settings.apply_settings`.
        bounds: the host's; those on compiling and on the cache are used.
        folder: of the cache (`place.cache_folder`); None for none.
    """
    compiler = Compiler(fingerprint(engine), bounds)
    return Compilation(compiler, None if folder is None else Cache(folder, bounds.cache_size))


@dataclass(slots=True)
class Loads:
    """How modules were loaded.

    Attributes:
        cached, compiled: how many of them from the cache; how many had to be compiled.
        cached_seconds, compiled_seconds: what these took together, waiting included.
    """

    cached: int = 0
    compiled: int = 0
    cached_seconds: float = 0.0
    compiled_seconds: float = 0.0


class Compilation:
    """What an engine loads modules with. `aclose` ends it.

    Args:
        compiler: makes what is not there.
        cache: keeps it; None for none.

    Attributes:
        loads: how modules were loaded so far.
    """

    def __init__(self, compiler: Compiler, cache: Cache | None) -> None:
        self.loads = Loads()
        self._compiler = compiler
        self._cache = cache
        self._trouble_told = False

    @property
    def fingerprint(self) -> str:
        """What compiled code depends on besides its Wasm (str, 64 hexadecimal digits)."""
        return self._compiler.fingerprint

    async def load(
        self,
        wasm: bytes,
        plan: Plan,
        engines: Sequence[w.Engine],
        *,
        digest: str | None = None,
        plugin: str | None = None,
    ) -> list[w.Module | None]:
        """A module in each of the engines.

        Args:
            wasm: its bytes, which the caller has found to be a file that this host runs.
            plan: how it is rewritten.
            engines: engines with the same settings (`settings.apply_settings`). The first takes any module; one whose
                guests have places of a fixed size may not, and None stands for its module then.
            digest: sha256 of the bytes as hexadecimal digits, if it is known.
            plugin: its id, for messages.

        Raises:
            RejectedError: it does not compile, or not within the bounds.
            InternalError: compiling is not possible here.
            BusyError: the system has no more of what it takes, such as open files.
        """
        begun = time.perf_counter()
        try:
            if digest is None:
                digest = await trio.to_thread.run_sync(_digest, wasm)
            key = key_of(self._compiler.fingerprint, digest, plan)
            modules = await trio.to_thread.run_sync(self._cached, key, engines)
            if modules is None:
                artifact = await self._compiler.compile(key, wasm, plan, plugin=plugin)
                label = Label(key, self._compiler.fingerprint, digest, len(wasm), int(time.time()), plugin or "")
                modules = await trio.to_thread.run_sync(self._keep, artifact, label, engines)
                self._tell_trouble()
                self.loads.compiled += 1
                self.loads.compiled_seconds += time.perf_counter() - begun
            else:
                self.loads.cached += 1
                self.loads.cached_seconds += time.perf_counter() - begun
            return modules
        except OSError as error:
            raise BusyError(
                f"the host was busy: the system refused what loading a module takes ({error.strerror}); close what is "
                "not needed, or raise the limit on open files (ulimit -n)",
                plugin=plugin,
                bound="open files",
            ) from None

    async def aclose(self) -> None:
        """Ends the compiling processes."""
        await self._compiler.aclose()
        if self._cache is not None:
            self._cache.close()

    def _cached(self, key: str, engines: Sequence[w.Engine]) -> list[w.Module | None] | None:
        if self._cache is None:
            return None
        entry = self._cache.get(key, self._compiler.fingerprint)
        if entry is None:
            return None
        try:
            return _load(entry, engines)
        except w.WasmtimeError:
            self._cache.discard(key)
            return None

    def _keep(self, artifact: bytes, label: Label, engines: Sequence[w.Engine]) -> list[w.Module | None]:
        if self._cache is not None:
            self._cache.put(artifact, label)
            # From the file, whose pages processes share.
            found = self._cached(label.key, engines)
            if found is not None:
                return found
        try:
            return _load(Fresh(artifact), engines)
        except w.WasmtimeError as error:
            raise InternalError(f"what was compiled cannot be loaded: {error}") from None

    def _tell_trouble(self) -> None:
        if self._cache is not None and self._cache.problem is not None and not self._trouble_told:
            self._trouble_told = True
            self._compiler.tell(CacheTrouble(self._cache.problem))


def _load(artifact: Artifact, engines: Sequence[w.Engine]) -> list[w.Module | None]:
    try:
        first = artifact.load(engines[0])
        return [first, *(_load_in(artifact, engine) for engine in engines[1:])]
    finally:
        artifact.close()


def _load_in(artifact: Artifact, engine: w.Engine) -> w.Module | None:
    try:
        return artifact.load(engine)
    except w.WasmtimeError:
        # It is as it should be, since the first engine took it: it is too large for one whose places have a size.
        return None


def _digest(wasm: bytes) -> str:
    return hashlib.sha256(wasm).hexdigest()
