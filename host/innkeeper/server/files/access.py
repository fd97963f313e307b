"""Which tree a request's path leads to, and whether whoever asks may go there."""

from __future__ import annotations

from dataclasses import dataclass

from innkeeper.server.files.logical import LogicalPath, logical_path
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.roots import check_moving, check_reading, check_writing
from innkeeper.server.files.store import Files
from innkeeper.server.files.tree import Tree
from innkeeper.server.identity import Identity


@dataclass(frozen=True, slots=True)
class Access:
    """The files that somebody reaches.

    Attributes:
        files: of the server.
        identity: who asks.
    """

    files: Files
    identity: Identity

    @property
    def admin(self) -> bool:
        """Whether they may do what concerns everybody: a key of an administrator's may not by itself (bool)."""
        return self.identity.is_admin and self.identity.may("admin")

    def reading(self, text: str) -> tuple[LogicalPath, Tree]:
        """A path that is read, and its tree.

        Raises:
            FileError: it is none, or nobody may.
        """
        path = logical_path(text)
        check_reading(path, admin=self.admin)
        return path, self.files.tree(self.identity.uid, path)

    def writing(self, text: str) -> tuple[LogicalPath, Tree]:
        """As `reading`, for what is changed."""
        path = logical_path(text)
        check_writing(path, admin=self.admin)
        return path, self.files.tree(self.identity.uid, path)

    def moving(self, text: str) -> tuple[LogicalPath, Tree]:
        """As `reading`, for what gets another name, or none."""
        path = logical_path(text)
        check_moving(path, admin=self.admin)
        return path, self.files.tree(self.identity.uid, path)

    def may_write(self, path: LogicalPath) -> bool:
        """Whether something may be changed (bool)."""
        try:
            check_writing(path, admin=self.admin)
        except FileError:
            return False
        return True
