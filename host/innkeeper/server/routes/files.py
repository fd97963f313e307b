"""The file manager: `/api/fam`, with logical paths."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Query, Request, Response
from pydantic import TypeAdapter
from starlette.responses import JSONResponse

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import DataBounds, MalformedError
from innkeeper.sandbox.limits import MIB
from innkeeper.server.answers import AnswerError
from innkeeper.server.files.access import Access
from innkeeper.server.files.deleting import delete_path
from innkeeper.server.files.downloads import download
from innkeeper.server.files.entries import Entry
from innkeeper.server.files.logical import LogicalPath
from innkeeper.server.files.names import MOST_NAME
from innkeeper.server.files.problems import FileError
from innkeeper.server.files.tree import Tree
from innkeeper.server.files.uploads import FIELD, Upload
from innkeeper.server.files.wire import (
    MOST_AT_ONCE,
    CreateDir,
    Delete,
    FamItem,
    Move,
    Outcome,
    Outcomes,
    Rename,
    WriteJson,
    item_of,
    listed,
)
from innkeeper.server.guards.bodies import BoundedRouter, takes
from innkeeper.server.identity import Identity, scoped
from innkeeper.server.models import Problem
from innkeeper.server.parts import PartsOf

router = BoundedRouter(tags=["files"], prefix="/api/fam")

MOST_UPLOAD = 512 * MIB
"""Bytes of one request with files: a model's worth of media at once; the quota bounds all of them."""

JSON_BOUNDS = DataBounds(size=32 * MIB, depth=64, elements=2_000_000)
"""What is read and written as JSON: what a workflow may be."""

_ITEMS = TypeAdapter(list[FamItem])

Owner = Annotated[Identity, scoped("files")]


async def _access(parts: PartsOf, identity: Owner) -> Access:
    return Access(parts.files, identity)


Reach = Annotated[Access, Depends(_access)]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says of the statuses with which it fails."""
    return {status: {"model": Problem} for status in (400, 401, 403, 404, 413, 422, 503, *statuses)}


@router.get("/list/{path:path}", responses={**problems(409), 200: {"model": list[FamItem]}}, response_class=Response)
async def list_folder(
    path: str,
    reach: Reach,
    request: Request,
    ensure_exists: Annotated[bool, Query(alias="ensureExists")] = False,
    after: Annotated[str, Query(max_length=MOST_NAME)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_AT_ONCE)] = MOST_AT_ONCE,
) -> Response:
    """What lies in a folder, in the order of names. Where there is more, `Link` has the address of the next page.

    With `ensureExists` the folder is made where it is missing.
    """
    folder, tree = reach.writing(path) if ensure_exists else reach.reading(path)
    if ensure_exists and folder.parts:
        await reach.files.run(lambda: tree.make(folder, parents=True))
    writable = reach.may_write(folder)

    def page() -> tuple[bytes, str]:
        entries, more = tree.page(folder, after, limit)
        items = [listed(folder, entry, writable=writable) for entry in entries]
        return _ITEMS.dump_json(items, by_alias=True, exclude_none=True), entries[-1].name if more and entries else ""

    # All of it in a thread: a thousand items take as long to make as to read.
    data, last = await reach.files.run(page)
    headers = {}
    if last:
        where = quote(request.scope["path"], safe="/:")
        headers["link"] = f'<{where}?after={quote(last, safe="")}&limit={limit}>; rel="next"'
    return Response(data, headers=headers, media_type="application/json")


@router.post("/create-dir", status_code=201, responses=problems(409))
async def create_dir(body: CreateDir, reach: Reach) -> FamItem:
    """Makes a folder in a folder that is there."""
    parent, tree = reach.writing(body.parent_logical_path)
    path = parent.child(body.dir_name)
    reach.writing(str(path))
    await reach.files.run(tree.make, path)
    return item_of(path, await reach.files.run(tree.status, path), writable=True)


@router.delete("/delete", status_code=204, responses={**problems(), 207: {"model": Outcomes}})
async def delete(body: Delete, reach: Reach) -> Response:
    """Deletes files and folders: what is a user's goes to the recycle bin, unless `permanent` is said. 207 where not
    all of it was possible, with what became of each."""
    results = []
    for text in body.logical_paths:
        try:
            await reach.files.run(delete_path, reach, text, body.permanent)
        except FileError as problem:
            results.append(Outcome(logical_path=text, status=problem.status, error=problem.message))
        else:
            results.append(Outcome(logical_path=text, status=204))
    if all(each.status == 204 for each in results):
        return Response(status_code=204)
    return JSONResponse(Outcomes(results=results).model_dump(by_alias=True, exclude_none=True), 207)


@router.put("/rename", responses=problems(409))
async def rename(body: Rename, reach: Reach) -> FamItem:
    """Gives a file or folder another name in its folder."""
    source, tree = reach.moving(body.logical_path)
    target = source.parent.child(body.new_name)
    reach.moving(str(target))
    if target != source:
        await reach.files.run(tree.move, source, target)
    return item_of(target, await reach.files.run(tree.status, target), writable=True)


@router.put("/move", responses={**problems(409), 207: {"model": Outcomes}})
async def move(body: Move, reach: Reach) -> Response:
    """Moves files and folders into a folder of the same root. 207 where not all of it was possible."""
    parent, _ = reach.writing(body.target_parent_path)
    results = []
    for text in body.source_paths:
        try:
            source, tree = reach.moving(text)
            if source.root != parent.root:
                raise FileError("unfit", f"{source}: it stays below its root: download it, and upload it there")
            target = parent.child(source.name)
            reach.moving(str(target))
            if target == source:
                # It is where it shall be, if it is at all.
                await reach.files.run(tree.status, source)
            else:
                await reach.files.run(tree.move, source, target)
        except FileError as problem:
            results.append(Outcome(logical_path=text, status=problem.status, error=problem.message))
        else:
            results.append(Outcome(logical_path=str(target), status=200))
    status = 200 if all(each.status == 200 for each in results) else 207
    return JSONResponse(Outcomes(results=results).model_dump(by_alias=True, exclude_none=True), status)


_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "required": [FIELD],
                }
            }
        },
    }
}


@router.post("/upload/{path:path}", status_code=201, responses=problems(409, 415), openapi_extra=_FORM)
@takes(size=MOST_UPLOAD)
async def upload(path: str, reach: Reach, request: Request, overwrite: bool = False) -> list[FamItem]:
    """Puts files into a folder, which is made where it is missing: all of them, or none. One that is there already is
    replaced only with `overwrite`."""
    folder, tree = reach.writing(path)
    upload = Upload(reach.files, tree, folder)
    try:
        async with aclosing(request.stream()) as body:
            await upload.receive(request.headers.get("content-type", ""), body)
        placed = await upload.place(replace=overwrite)
    finally:
        await upload.aclose()
    return [item_of(where, entry, writable=True) for where, entry in placed]


@router.post("/write-json", status_code=204, responses=problems(409))
@takes(size=JSON_BOUNDS.size, elements=JSON_BOUNDS.elements)
async def write_json(body: WriteJson, reach: Reach) -> None:
    """Writes a file of JSON; one that is there is replaced whole."""
    path, tree = reach.writing(body.logical_path)
    await reach.files.run_large(_write_json, tree, path, body.content)


@router.get("/download/{path:path}", responses=problems(409), response_class=Response)
async def download_file(path: str, reach: Reach, request: Request) -> Response:
    """A file. A browser shows pictures, sounds, films and plain text, and saves all else.

    Has an ETag, and answers `If-None-Match`, `Range` and `If-Range`.
    """
    where, tree = reach.reading(path)
    return await download(reach.files, tree, where, {key.lower(): value for key, value in request.headers.items()})


@router.get("/read/{path:path}", responses=problems(409), response_class=JSONResponse)
async def read(path: str, reach: Reach) -> Response:
    """What a file holds: the value of one of JSON, the text of another as a string; null where there is none."""
    where, tree = reach.reading(path)
    try:
        data = await reach.files.run_large(_read, tree, where)
    except FileError as problem:
        if problem.reason != "missing":
            raise
        data = b"null"
    return Response(data, media_type="application/json")


def _write_json(tree: Tree, path: LogicalPath, content: Any) -> Entry:
    try:
        data = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2).encode()
    except (ValueError, RecursionError):
        raise AnswerError(422, "the content cannot be written as JSON") from None
    if path.parts[:-1]:
        tree.make(path.parent, parents=True)
    return tree.write(path, data + b"\n")


def _read(tree: Tree, path: LogicalPath) -> bytes:
    data = tree.read(path, JSON_BOUNDS.size)
    if path.name.lower().endswith(".json"):
        data = data.removeprefix(b"\xef\xbb\xbf")
        try:
            parse_json(data, JSON_BOUNDS)
        except MalformedError as error:
            raise FileError("broken", f"{path}: it is not JSON that can be read: {error}") from None
        return data
    try:
        return json.dumps(data.decode()).encode()
    except UnicodeDecodeError:
        raise FileError("broken", f"{path}: it is no text: download it") from None
