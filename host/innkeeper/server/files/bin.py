"""The recycle bin: what a user deleted, for some time, with the place from which it came.

An entry is a folder `user://.recycle_bin/ID` with `origin.json` and, in `item/`, the thing itself under its own name.
What stands in there is not counted as it is made: deleting works when there is no room for anything else.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from innkeeper.server.files.entries import Entry
from innkeeper.server.files.logical import MOST_DEPTH, USER, LogicalPath, logical_path
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.roots import BIN
from innkeeper.server.files.tree import Tree

_ID = re.compile(r"[0-9]{8}T[0-9]{12}Z-[0-9a-f]{16}")
ORIGIN: Final = "origin.json"
ITEM: Final = "item"
_DEEPER = 3
_MOST_ORIGIN = 64 * 1024
_HERE: Final = LogicalPath(USER, (BIN,))


@dataclass(frozen=True, slots=True)
class Deleted:
    """Something in the bin.

    Attributes:
        id: of the entry.
        origin: where it was.
        at: seconds since 1970 at which it was deleted.
        entry: what it is.
    """

    id: str
    origin: LogicalPath
    at: float
    entry: Entry


def new_entry(now: float) -> str:
    """The id of a new entry (str)."""
    return f"{_stamp(now)}-{os.urandom(8).hex()}"


def origin_of(path: LogicalPath, now: float) -> bytes:
    """What `ORIGIN` of an entry holds (bytes): where the thing was, and when it was deleted."""
    return json.dumps({"logicalPath": str(path), "deletedAt": now}, ensure_ascii=False).encode()


class RecycleBin:
    """The bin of a user's files. Its methods block, for a thread, and raise FileError."""

    def __init__(self, tree: Tree) -> None:
        # Without a quota, and the same folder.
        self._tree = Tree(tree.base, tree.beneath.decode())
        self._counted = tree

    def put(self, path: LogicalPath, now: float) -> str:
        """Deletes something: it is in the bin then. Gives the entry's id (str).

        Args:
            path: in the tree of the bin.
            now: seconds since 1970.
        """
        self._tree.status(path)
        found = new_entry(now)
        entry = _HERE.child(found)
        self._tree.make(entry.child(ITEM), parents=True)
        try:
            self._tree.write(entry.child(ORIGIN), origin_of(path, now))
            # What is as deep as a path may be has to find room here as well.
            self._tree.move(path, _inside(entry, path.name), deepest=MOST_DEPTH + _DEEPER)
        except FileError:
            # Somebody else was faster.
            self._tree.remove(entry)
            raise
        return found

    def page(self, before: str = "", most: int = 1000) -> tuple[list[Deleted], bool]:
        """What is in the bin, the newest first, and whether there is more (bool).

        Args:
            before: the id of an entry: only what comes after it in that order; "": all.
            most: entries.
        """
        ids = [each for each in reversed(self._ids()) if not before or each < before]
        rows = [found for each in ids[:most] if (found := self._deleted(each)) is not None]
        return rows, len(ids) > most

    def get(self, id: str) -> Deleted:
        """An entry. Raises "missing"."""
        found = self._deleted(id) if _ID.fullmatch(id) else None
        if found is None:
            raise FileError("missing", "there is no such entry in the recycle bin")
        return found

    def restore(self, id: str, target: LogicalPath | None = None) -> LogicalPath:
        """Puts something back. Gives where it is now.

        Args:
            id: of the entry.
            target: where to; None: where it was. Folders on the way are made; nothing is replaced.
        """
        deleted = self.get(id)
        entry = _HERE.child(id)
        place = target or deleted.origin
        if place.parts[:-1]:
            self._counted.make(place.parent, parents=True)
        self._tree.move(_inside(entry, deleted.entry.name), place)
        self._tree.remove(entry)
        return place

    def purge(self, id: str) -> None:
        """Deletes something for good."""
        if not _ID.fullmatch(id):
            raise FileError("missing", "there is no such entry in the recycle bin")
        self._counted.remove(_HERE.child(id))

    def empty(self) -> int:
        """Deletes everything in it for good. Gives how many (int)."""
        ids = self._ids()
        for each in ids:
            self.purge(each)
        return len(ids)

    def purge_before(self, moment: float) -> int:
        """Deletes for good what was deleted before a moment. Gives how many (int).

        Args:
            moment: seconds since 1970.
        """
        first = _stamp(moment)
        old = [each for each in self._ids() if each < first]
        for each in old:
            self.purge(each)
        return len(old)

    def _ids(self) -> list[str]:
        entries = self._tree.entries(_HERE)
        return sorted(each.name for each in entries if each.kind == "directory" and _ID.fullmatch(each.name))

    def _deleted(self, id: str) -> Deleted | None:
        """An entry; None where it is none, as a crash may leave it."""
        here = _HERE.child(id)
        try:
            said = json.loads(self._tree.read(here.child(ORIGIN), _MOST_ORIGIN))
            rows, _ = self._tree.page(here.child(ITEM), most=1)
            origin, at = logical_path(said["logicalPath"]), float(said["deletedAt"])
        except (FileError, ValueError, TypeError, KeyError, RecursionError):
            return None
        if not rows or origin.root != USER or not origin.parts or origin.parts[0] == BIN:
            return None
        return Deleted(id, origin, at, rows[0])


def _inside(entry: LogicalPath, name: str) -> LogicalPath:
    # Not `child`: its name is one of the disk, and was checked as it was deleted.
    return LogicalPath(USER, (*entry.parts, ITEM, name))


def _stamp(moment: float) -> str:
    # Texts in the order of their times.
    return datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%S%fZ")
