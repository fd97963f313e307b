"""The folder of one run: a home without plugins, and caches, so that nobody's own are touched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_EXTISM_CONFIGURATION = "EXTISM_CACHE_CONFIG"
_OWN_CACHE = "INNKEEPER_CACHE"


@dataclass(frozen=True, slots=True)
class Workspace:
    """What the processes of one run share.

    Attributes:
        folder: a private folder, which the run deletes.
        patience: share of its usual time that a row may take; at 0 each still has one round.
    """

    folder: Path
    patience: float = 1.0

    @property
    def home(self) -> Path:
        """A home folder without plugins and without an innkeeper.toml: every limit is the default."""
        return self.folder / "home"

    def use(self) -> None:
        """Makes the folders, and names the caches in this process's environment; those that it starts inherit it."""
        for folder in (self.home, self.folder / "cache", self.folder / "extism"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ[_OWN_CACHE] = str(self.folder / "cache")
        configuration = self.folder / "extism.toml"
        configuration.write_text(f'[cache]\ndirectory = "{self.folder / "extism"}"\n', "utf-8")
        os.environ[_EXTISM_CONFIGURATION] = str(configuration)
