"""Imports of a native plugin: its modules are made of the bytes that were trusted, and of nothing else.

The folder is a package of a name of its own, so that two plugins may both have a `main.py`. No file is opened: bytes
come from the snapshot, so neither a file that changes meanwhile nor a planted `__pycache__` is ever run, and a module
that the snapshot lacks is looked for nowhere else. All other imports are Python's as usual.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import linecache
import re
import sys
from collections.abc import Mapping, Sequence
from types import CodeType, ModuleType

_PREFIX = "innkeeper_native_"
_numbers = itertools.count(1)


class TrustedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The package that a plugin's folder is.

    Args:
        plugin_id: its id.
        files: its files by name below the folder, with "/".
    """

    def __init__(self, plugin_id: str, files: Mapping[str, bytes]) -> None:
        # Each version has a name of its own: a call of the one before it goes on with its modules.
        self.name = f"{_PREFIX}{re.sub('[^a-z0-9]', '_', plugin_id)}_{next(_numbers)}"
        self._plugin = plugin_id
        self._files = files

    def install(self) -> None:
        """Makes the package importable; before all others, so that no other finder is asked for its modules."""
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Forgets the package and its modules. Functions that somebody still has go on working."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in [name for name in sys.modules if self._mine(name)]:
            del sys.modules[name]
        for name in self._files:
            linecache.cache.pop(self._shown(name), None)

    def load(self, module: str) -> ModuleType:
        """Imports a module of the folder, by its name in there. Raises whatever its code raises."""
        return importlib.import_module(f"{self.name}.{module}")

    # --- what Python's import asks for ------------------------------------------------------------------------------

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder.find_spec`."""
        if not self._mine(fullname):
            return None
        file = self._file(fullname)
        is_package = fullname == self.name or file is None or file.endswith("__init__.py")
        if file is None and not self._is_folder(fullname):
            short = fullname.removeprefix(f"{self.name}.")
            raise ModuleNotFoundError(
                f"the folder of the native plugin {self._plugin!r} has no module {short!r}", name=fullname
            )
        origin = self._shown(file or "")
        # An empty search path: what is not in the snapshot is nowhere.
        return importlib.machinery.ModuleSpec(fullname, self, origin=origin, is_package=is_package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """As `importlib.abc.Loader.create_module`: Python makes it."""

    def exec_module(self, module: ModuleType) -> None:
        """As `importlib.abc.Loader.exec_module`."""
        file = self._file(module.__name__)
        if file is not None:
            exec(self._code(file), module.__dict__)  # noqa: S102 - what was trusted is run

    # --- the snapshot -----------------------------------------------------------------------------------------------

    def _mine(self, name: str) -> bool:
        return name == self.name or name.startswith(f"{self.name}.")

    def _below(self, fullname: str) -> str:
        return fullname.removeprefix(self.name).removeprefix(".").replace(".", "/")

    def _file(self, fullname: str) -> str | None:
        below = self._below(fullname)
        names = (f"{below}/__init__.py", f"{below}.py") if below else ("__init__.py",)
        return next((name for name in names if name in self._files), None)

    def _is_folder(self, fullname: str) -> bool:
        below = self._below(fullname)
        return not below or any(name.startswith(f"{below}/") and name.endswith(".py") for name in self._files)

    def _shown(self, file: str) -> str:
        """The name of a file in tracebacks (str). No path: nothing shall open it."""
        return f"<native plugin {self._plugin}: {file}>"

    def _code(self, file: str) -> CodeType:
        data, shown = self._files[file], self._shown(file)
        code: CodeType = compile(data, shown, "exec", dont_inherit=True)
        text = importlib.util.decode_source(data)
        # Tracebacks show the lines that run, not those that the file has by now.
        linecache.cache[shown] = (len(data), None, text.splitlines(keepends=True), shown)
        return code
