"""What becomes of a path that somebody deletes."""

from __future__ import annotations

from innkeeper.server.files.access import Access
from innkeeper.server.files.bin import RecycleBin
from innkeeper.server.files.logical import USER, logical_path
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.roots import BIN


def delete_path(access: Access, text: str, permanent: bool) -> None:
    """Deletes something. Blocks, for a thread.

    Args:
        access: of whoever asks.
        text: a logical path: of a file or folder, of an entry of the recycle bin, or of the bin, which is emptied.
        permanent: whether it is gone then; what is a user's is in the recycle bin otherwise.

    Raises:
        FileError: it is not there, or nobody may.
    """
    path = logical_path(text)
    if path.root == USER and path.parts[:1] == (BIN,):
        recycled = RecycleBin(access.files.user(access.identity.uid))
        if len(path.parts) == 1:
            recycled.empty()
        elif len(path.parts) == 2:
            recycled.purge(path.parts[1])
        else:
            raise FileError("denied", f"{path}: an entry of the recycle bin is deleted as one")
        return
    path, tree = access.moving(text)
    if path.root == USER and not permanent:
        RecycleBin(tree).put(path, access.files.now())
    else:
        tree.remove(path)
