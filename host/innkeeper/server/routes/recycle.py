"""The recycle bin: what somebody deleted, for some time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Response

from innkeeper.server.files.bin import Deleted, RecycleBin
from innkeeper.server.files.deleting import delete_path
from innkeeper.server.files.roots import BIN
from innkeeper.server.files.wire import MOST_AT_ONCE, DeletedItem, FamItem, Restore, item_of
from innkeeper.server.guards.bodies import BoundedRouter
from innkeeper.server.routes.files import Reach, problems

router = BoundedRouter(tags=["recycle bin"], prefix="/api/recycle-bin")

Id = Annotated[str, Path(max_length=64)]


@router.get("", responses=problems())
async def list_deleted(
    reach: Reach,
    response: Response,
    before: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_AT_ONCE)] = MOST_AT_ONCE,
) -> list[DeletedItem]:
    """What was deleted, the newest first. Where there is more, `Link` has the address of the next page."""
    recycled = RecycleBin(reach.files.user(reach.identity.uid))
    rows, more = await reach.files.run(recycled.page, before, limit)
    if more and rows:
        response.headers["link"] = f'</api/recycle-bin?before={rows[-1].id}&limit={limit}>; rel="next"'
    return [_item(row) for row in rows]


@router.post("/{id}/restore", responses=problems(409))
async def restore(id: Id, body: Restore, reach: Reach) -> FamItem:
    """Puts something back where it was, or elsewhere. Nothing is replaced: 409 where something is there."""
    tree = reach.files.user(reach.identity.uid)
    target = None if body.logical_path is None else reach.moving(body.logical_path)[0]
    where = await reach.files.run(RecycleBin(tree).restore, id, target)
    return item_of(where, await reach.files.run(tree.status, where), writable=True)


@router.delete("/{id}", status_code=204, responses=problems())
async def purge(id: Id, reach: Reach) -> None:
    """Deletes something for good."""
    await reach.files.run(RecycleBin(reach.files.user(reach.identity.uid)).purge, id)


@router.delete("", status_code=204, responses=problems())
async def empty(reach: Reach) -> None:
    """Deletes everything in the bin for good."""
    await reach.files.run(delete_path, reach, f"user://{BIN}", True)


def _item(row: Deleted) -> DeletedItem:
    return DeletedItem(
        id=row.id,
        name=row.entry.name,
        original_path=str(row.origin),
        deleted_at=int(row.at * 1000),
        item_type="directory" if row.entry.kind == "directory" else "file",
        size=row.entry.size if row.entry.kind == "file" else None,
    )
