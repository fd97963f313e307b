"""Where the workflows come from that groups and loops refer to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from innkeeper.errors import UsageError
from innkeeper.sandbox.limits import MIB
from innkeeper.workflow.formats.parts import PAYLOAD_BOUNDS, is_stored, parsed

MAX_FILES = 1000
MAX_BYTES = 64 * MIB
"""What is read of a folder to find workflows by their ids: files, and bytes of all of them."""

_SHOWN_ID = 100


class WorkflowSource(Protocol):
    """Finds workflows by id."""

    def find(self, id: str) -> bytes | Mapping[str, Any] | None:
        """A workflow in either form, as a JSON file's bytes or as plain data that is bounded; None: there is none.

        Raises:
            UsageError: it cannot be told which it is, or it cannot be read.
        """
        ...


class MappingSource:
    """Workflows by id, at hand."""

    def __init__(self, workflows: Mapping[str, bytes | Mapping[str, Any]]) -> None:
        """Args:
        workflows: by id, what `find` gives.
        """
        self._workflows = workflows

    def find(self, id: str) -> bytes | Mapping[str, Any] | None:
        """As `WorkflowSource.find`."""
        return self._workflows.get(id)


class FolderSource:
    """The workflows of a folder: files `*.json`, by the `id` (`workflowId`) inside, or by their name without the suffix
    where there is none inside.

    The folder is read at the first question, once, and on the caller's thread. Files that are no workflows are passed
    over, since a folder may hold anything.
    """

    def __init__(self, folder: Path) -> None:
        """Args:
        folder: where they lie; folders inside are not looked into.
        """
        self._folder = folder
        self._found: dict[str, list[tuple[str, dict[str, Any]]]] | None = None

    def find(self, id: str) -> Mapping[str, Any] | None:
        """As `WorkflowSource.find`.

        Raises:
            UsageError: several files have the id, or the folder is beyond what is read of it.
        """
        if self._found is None:
            self._found = self._read()
        found = self._found.get(id, [])
        if len(found) > 1:
            names = " and ".join(repr(name) for name, _ in found[:2])
            raise UsageError(f"several files have the workflow {id[:_SHOWN_ID]!r}: {names}")
        return found[0][1] if found else None

    def _read(self) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        left = MAX_BYTES
        for path in self._paths():
            try:
                with path.open("rb") as file:
                    data = file.read(min(left, PAYLOAD_BOUNDS.size) + 1)
            except OSError:
                continue
            if len(data) > PAYLOAD_BOUNDS.size:
                continue
            left -= len(data)
            if left < 0:
                raise UsageError(
                    f"the workflows that this one refers to are looked for beside it, and the folder has more than "
                    f"{MAX_BYTES // MIB} MiB of *.json: put workflows into a folder of their own"
                )
            try:
                value = parsed(data)
            except UsageError:
                continue
            if isinstance(value, dict) and isinstance(value.get("nodes"), list):
                id_ = value.get("id" if is_stored(value) else "workflowId")
                found.setdefault(id_ if isinstance(id_, str) else path.stem, []).append((path.name, value))
        return found

    def _paths(self) -> list[Path]:
        paths: list[Path] = []
        try:
            for path in self._folder.iterdir():
                # Only regular files: opening a pipe would wait for ever.
                if path.suffix == ".json" and path.is_file():
                    paths.append(path)
                    if len(paths) > MAX_FILES:
                        raise UsageError(
                            f"the workflows that this one refers to are looked for beside it, and the folder has more "
                            f"than {MAX_FILES:,} files *.json: put workflows into a folder of their own"
                        )
        except OSError:
            return []
        return sorted(paths)
