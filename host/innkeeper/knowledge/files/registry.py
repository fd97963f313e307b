"""Which knowledge bases there are for everybody: those that lie in the home, and those that its operator registered.

`knowledge/` of a home holds a folder or a file for each base, and `registry.json`, which names others by their paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.knowledge.files.bounds import MOST_PROJECT, MOST_REFERENCES
from innkeeper.knowledge.files.decoding import decode_object
from innkeeper.knowledge.files.known import BEGINNING, FOLDER, Known, check_base_id, read_beginning, read_head
from innkeeper.knowledge.files.names import ID_RIGHT, NAMES, folder_name, is_id
from innkeeper.knowledge.files.reading import find_file, read_base, read_bounded
from innkeeper.knowledge.files.writing import locked, write_json
from innkeeper.knowledge.model.bounds import MOST_ID
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

FILE: Final = "registry.json"

_SINGLE = (".json", ".ckb")
_COPY = ".bak"


class Registry:
    """The global bases of a home. Every method blocks on files, for a thread."""

    def __init__(self, home: Path, doubt: str = "") -> None:
        """Args:
        home: the home folder.
        doubt: `Home.doubt`: where it says something, there are no bases, since somebody else may have put them there.
        """
        self.home = home
        self.folder = home / FOLDER
        self.file = self.folder / FILE
        self.doubt = doubt
        self._heads: dict[tuple[Path, bool], tuple[tuple[int, int, int], Known]] = {}

    def bases(self, *, whole: bool = True) -> list[Known]:
        """All of them, those of the home first, each in the order of names; those that cannot be read have a problem.

        Args:
            whole: whether each file is read to its end, to count its entries; without, a large one only as far as
                `entries`, so that what is wrong after that is not known.

        Raises:
            KnowledgeError: there are too many, or registry.json is broken.
        """
        if self.doubt:
            return []
        found: list[Known] = []
        for path, alias, origin in [*self._lying(), *self._registered()]:
            if len(found) >= MOST_REFERENCES:
                raise KnowledgeError(f"has more than {MOST_REFERENCES:,} bases", source=FOLDER)
            if all(path != known.path for known in found):
                found.append(self._known(path, alias, origin, whole))
        return [_colliding(known, found) for known in found]

    def find(self, text: str) -> Known:
        """The base that a text names: by its id, the alias of its registration, its path, or its name if only one has
        it.

        Raises:
            KnowledgeError: there is none, there are several, or it cannot be used; the message names all sides.
        """
        if self.doubt:
            raise KnowledgeError(f"there are no global bases here: {self.doubt}")
        bases = self.bases(whole=False)
        found = [known for known in bases if text and text in (known.id, known.alias)]
        found = found or [known for known in bases if _same_path(known, text)]
        found = found or [known for known in bases if known.name == text and not known.problem]
        if not found:
            near = ", ".join(known.id for known in bases[:20] if known.id) or "none"
            sentence = f"is no global base; there are: {near} (`innkeeper kb list`)"
            raise KnowledgeError(Problem(repr(text[:100]), sentence))
        if len(found) > 1:
            labels = " and ".join(known.label for known in found[:5])
            raise KnowledgeError(Problem(repr(text[:100]), f"means {labels}: say which, by id or by path"))
        if found[0].problem:
            raise KnowledgeError(found[0].problem, source=found[0].label)
        return found[0]

    def place(self, base_id: str) -> Path:
        """The folder in the home that a base with this id gets (Path); it need not be there."""
        return self.folder / folder_name(base_id)

    def check_free(self, base_id: str) -> None:
        """Makes sure that no base has an id.

        Raises:
            KnowledgeError: one has; the message names it.
        """
        for known in self.bases(whole=False):
            if base_id in (known.id, known.alias):
                sentence = f"is the id of {known.label} already: choose another with --id"
                raise KnowledgeError(Problem(repr(base_id[:100]), sentence))

    def add(self, path: Path, alias: str = "") -> Known:
        """Registers a folder or single file that stays where it is.

        Args:
            path: of the base.
            alias: under which it is found beside its own id, or "".

        Raises:
            KnowledgeError: it is no base, has mistakes, or another base has its id or alias.
            UsageError: the alias is none, or registry.json cannot be written.
        """
        if alias and not is_id(alias):
            raise UsageError(f"--id: {alias[:80]!r} is not right: it must be {ID_RIGHT}")
        path = Path(os.path.abspath(path))
        read = read_base(path)
        if read.source.kind == "archive":
            raise UsageError(f"{path.name}: is an archive: `innkeeper kb import` unpacks it into the home")
        base_id = read.base.info.kb_id
        check_base_id(base_id, path.name)
        with locked(self.folder):
            return self._add(path, alias, base_id)

    def _add(self, path: Path, alias: str, base_id: str) -> Known:
        rows = self._rows()
        for known in self.bases(whole=False):
            mine = known.path == path
            if known.origin == "home" and mine:
                raise UsageError(f"{path.name}: lies in the home, so it is found already, as {base_id!r}")
            if not mine and {base_id, alias} - {""} & {known.id, known.alias} - {""}:
                taken = base_id if base_id in (known.id, known.alias) else alias
                sentence = f"is the id of {known.label} already: two bases cannot both have it"
                raise KnowledgeError(Problem(repr(taken[:100]), sentence), source=path.name)
        rows = [row for row in rows if row["path"] != str(path)]
        if len(rows) >= MOST_REFERENCES:
            raise UsageError(f"{FILE}: has {len(rows):,} bases: the most is {MOST_REFERENCES:,}")
        rows.append({"id": alias or base_id, "path": str(path)})
        write_json(self.file, {**self._document(), "bases": rows})
        return self._known(path, alias, "registry")

    def forget(self, text: str) -> Path:
        """Takes a registration back; the base itself stays where it is (Path).

        Raises:
            KnowledgeError: nothing is registered under this id or path.
        """
        with locked(self.folder):
            return self._forget(text)

    def _forget(self, text: str) -> Path:
        path = os.path.abspath(text)
        rows = self._rows()
        gone = [row for row in rows if row["id"] == text] or [row for row in rows if row["path"] == path]
        gone = gone or [row for row in rows if self._known(Path(row["path"]), row["id"], "registry").id == text]
        if len(gone) != 1:
            raise KnowledgeError(
                Problem(repr(text[:100]), f"is {'no' if not gone else 'more than one'} registered base")
            )
        write_json(self.file, {**self._document(), "bases": [row for row in rows if row not in gone]})
        return Path(gone[0]["path"])

    # --- reading ----------------------------------------------------------------------------------------------------

    def _lying(self) -> Iterator[tuple[Path, str, str]]:
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(f"{FOLDER}: cannot be read: {error.strerror}") from None
        for name in names:
            path = self.folder / name
            if name.startswith(".") or _COPY in name or name == FILE:
                continue
            folder = path.is_dir() and any(os.path.lexists(path / each) for each in NAMES)
            if folder or (name.endswith(_SINGLE) and path.is_file()):
                yield path, "", "home"

    def _registered(self) -> Iterator[tuple[Path, str, str]]:
        for row in self._rows():
            yield Path(row["path"]), row["id"], "registry"

    def _document(self) -> dict[str, Any]:
        if not os.path.lexists(self.file):
            return {}
        data = read_bounded(self.file, FILE, most=MOST_PROJECT, follow=False)
        return decode_object(data, FILE, most=MOST_PROJECT)

    def _rows(self) -> list[dict[str, str]]:
        rows = self._document().get("bases", [])
        if not isinstance(rows, list) or len(rows) > MOST_REFERENCES:
            raise KnowledgeError(Problem("bases", f"must be an array of at most {MOST_REFERENCES:,}"), source=FILE)
        problems = [
            Problem(f"bases[{number}]", 'must be {"id": "...", "path": "..."} with an absolute path')
            for number, row in enumerate(rows)
            if not isinstance(row, dict)
            or not isinstance(row.get("id"), str)
            or not 0 < len(row["id"]) <= MOST_ID
            or not isinstance(row.get("path"), str)
            or not os.path.isabs(row["path"])
            or "\0" in row["path"]
        ]
        if problems:
            raise KnowledgeError(problems, source=FILE)
        return rows

    def _known(self, path: Path, alias: str, origin: str, whole: bool = True) -> Known:
        try:
            file = find_file(path) if path.is_dir() else path
            status = os.stat(file)
            signature = (status.st_ino, status.st_size, status.st_mtime_ns)
            kept = self._heads.get((file, True)) or self._heads.get((file, whole))
            if kept is None or kept[0] != signature:
                known = None if whole or status.st_size <= BEGINNING else read_beginning(path, file)
                whole = known is None
                kept = self._heads[file, whole] = (signature, known or read_head(path, file))
        except InnkeeperError as error:
            return Known("", alias, path.name, path, path, origin, problem=error.message.split("\n")[0])
        except OSError as error:
            return Known("", alias, path.name, path, path, origin, problem=f"cannot be read: {error.strerror}")
        return replace(kept[1], alias=alias if alias != kept[1].id else "", origin=origin)


def _colliding(known: Known, bases: list[Known]) -> Known:
    names = {known.id, known.alias} - {""}
    others = [each.label for each in bases if each is not known and names & {each.id, each.alias}]
    if known.problem or not others:
        return known
    sentence = f"has an id ({', '.join(sorted(names))}) that {' and '.join(others[:5])} has, too: change `kb_id` of one"
    return replace(known, problem=sentence)


def _same_path(known: Known, text: str) -> bool:
    if os.sep not in text or "\0" in text:
        return False
    path = os.path.abspath(text)
    return path in (str(known.path), str(known.file)) or os.path.realpath(path) == os.path.realpath(known.path)
