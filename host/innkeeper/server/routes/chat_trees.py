"""The tree of a chat: read, and changed one version at a time."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from innkeeper.server.answers import AnswerError
from innkeeper.server.cache.etags import conditional
from innkeeper.server.chats import bounds, edits
from innkeeper.server.chats.model import ChatHistoryTree, ChatMessageNode
from innkeeper.server.chats.names import NodeId, new_node
from innkeeper.server.chats.places import Kept, now
from innkeeper.server.chats.wire import (
    Changed,
    ChangedNode,
    LeafChange,
    Match,
    NewMessage,
    NodeChange,
    ProjectAsked,
    TreeEdit,
    check_extra,
    version_of,
)
from innkeeper.server.guards.bodies import bounded_route
from innkeeper.server.parts import PartsOf
from innkeeper.server.routes.chat_sessions import Reader, responses

router = APIRouter(tags=["chats"], prefix="/api/chat/{session}", route_class=bounded_route(bounds.REQUEST))

_CHANGES: Final = responses(400, 404, 409, 413, 415, 422, 428, 503)


@router.get(
    "/tree",
    response_class=Response,
    responses={
        **responses(404, 409, 422, 503),
        200: {"model": ChatHistoryTree, "description": "The whole tree; its ETag is what a change may carry."},
        304: {"description": "It is the one that the client has."},
    },
)
async def tree(
    request: Request, parts: PartsOf, identity: Reader, session: str, project_id: ProjectAsked = None
) -> Response:
    """All messages of a session, with every branch."""
    kept = await parts.chats.read(await parts.chats.place(identity.uid, session, project_id))
    return conditional(request.headers, kept.data, kept.etag, media_type="application/json")


@router.post("/message", status_code=201, responses=_CHANGES)
async def message(
    parts: PartsOf,
    identity: Reader,
    session: str,
    asked: NewMessage,
    project_id: ProjectAsked = None,
    match: Match = None,
) -> ChangedNode:
    """Adds a message, at which the chat then goes on."""
    check_extra(asked.metadata, asked.attachments)
    name = asked.id or new_node()
    fields: dict[str, Any] = asked.model_dump(
        by_alias=True, exclude_unset=True, exclude={"version", "id", "parent_id", "is_enabled"}
    )

    def edit(tree: ChatHistoryTree) -> ChatHistoryTree:
        given = "parent_id" in asked.model_fields_set
        parent = asked.parent_id if given else tree.active_leaf_id
        at = now()
        node = {"id": name, "parentId": parent, "isEnabled": asked.is_enabled, "createdAt": at, "updatedAt": at}
        return edits.add(tree, ChatMessageNode.model_validate({**node, **fields, "children": []}))

    place = await parts.chats.place(identity.uid, session, project_id)
    kept = await parts.chats.change(place, version_of(asked, match), edit)
    return _node(kept, name)


@router.put("/tree/edit", responses=_CHANGES)
async def edited(
    parts: PartsOf,
    identity: Reader,
    session: str,
    asked: TreeEdit,
    project_id: ProjectAsked = None,
    match: Match = None,
) -> Changed:
    """Changes which messages there are, and where; the body says how."""
    if asked.type == "graft" and asked.source_node_id is None:
        raise AnswerError(422, "'graft' needs sourceNodeId")
    named = [] if asked.type == "graft" else asked.named

    def edit(tree: ChatHistoryTree) -> ChatHistoryTree:
        if asked.type == "graft":
            return edits.graft(tree, asked.source_node_id or "", asked.target_node_id)
        if asked.type == "prune":
            return edits.prune(tree, named)
        if asked.type == "delete":
            return edits.delete(tree, named)
        return edits.enable(tree, named, asked.type == "enable")

    place = await parts.chats.place(identity.uid, session, project_id)
    return Changed(**_of(await parts.chats.change(place, version_of(asked, match), edit)))


@router.put("/node/{node}/state", responses=_CHANGES)
async def node_state(
    parts: PartsOf,
    identity: Reader,
    session: str,
    node: Annotated[NodeId, Path()],
    asked: NodeChange,
    project_id: ProjectAsked = None,
    match: Match = None,
) -> ChangedNode:
    """Changes a message; what is not named stays."""
    check_extra(asked.metadata, asked.error)
    fields = asked.model_dump(exclude_unset=True, exclude={"version"})
    for name in ("is_enabled", "content"):
        if name in fields and fields[name] is None:
            raise AnswerError(422, "isEnabled and content cannot be null")

    def edit(tree: ChatHistoryTree) -> ChatHistoryTree:
        return edits.change(tree, node, {**fields, "updated_at": now()})

    place = await parts.chats.place(identity.uid, session, project_id)
    return _node(await parts.chats.change(place, version_of(asked, match), edit), node)


@router.put("/active_leaf", responses=_CHANGES)
async def active_leaf(
    parts: PartsOf,
    identity: Reader,
    session: str,
    asked: LeafChange,
    project_id: ProjectAsked = None,
    match: Match = None,
) -> Changed:
    """Goes on at another message; `activeLeafId` is another name of `nodeId`."""
    if not asked.model_fields_set & {"node_id", "active_leaf_id"}:
        raise AnswerError(422, "say with nodeId at which message the chat goes on, or null")
    wanted = asked.node_id if "node_id" in asked.model_fields_set else asked.active_leaf_id

    def edit(tree: ChatHistoryTree) -> ChatHistoryTree:
        return edits.activate(tree, wanted)

    place = await parts.chats.place(identity.uid, session, project_id)
    return Changed(**_of(await parts.chats.change(place, version_of(asked, match), edit)))


def _node(kept: Kept, name: str) -> ChangedNode:
    return ChangedNode(**_of(kept), node=kept.tree.nodes[name])


def _of(kept: Kept) -> dict[str, Any]:
    tree = kept.tree
    return {
        "version": tree.version,
        "active_leaf_id": tree.active_leaf_id,
        "root_node_ids": tree.root_node_ids,
        "message_count": len(tree.nodes),
    }
