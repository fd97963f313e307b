"""What clients send through a socket: `{"type": ..., "payload": ...}`, read within bounds and checked.

Types and payloads are ComfyTavern's; SUBSCRIBE, UNSUBSCRIBE and RESUME are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import trio
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import CHUNK, MalformedError
from innkeeper.printable import printable
from innkeeper.server.answers import AnswerError
from innkeeper.server.runs.finding import MOST_ID
from innkeeper.workflow.formats.parts import PAYLOAD_BOUNDS

PROMPT_REQUEST: Final = "PROMPT_REQUEST"
INTERRUPT_REQUEST: Final = "INTERRUPT_REQUEST"
BUTTON_CLICK: Final = "button_click"
LOAD_WORKFLOW: Final = "load_workflow"
SAVE_WORKFLOW: Final = "save_workflow"
LIST_WORKFLOWS: Final = "list_workflows"
GET_NODE_DEFINITIONS: Final = "get_node_definitions"
RELOAD_BACKEND: Final = "reload_backend"
SUBSCRIBE: Final = "SUBSCRIBE"
UNSUBSCRIBE: Final = "UNSUBSCRIBE"
RESUME: Final = "RESUME"

WATCHED: Final = 64
"""Runs that one socket watches: more than a user may have at the same time, eight times over."""

_SHOWN: Final = 100
_PROBLEMS: Final = 20

PromptId = Annotated[str, StringConstraints(min_length=1, max_length=MOST_ID)]
Seq = Annotated[int, Field(ge=0, le=2**53)]
Text = Annotated[str, StringConstraints(max_length=256)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Payload(BaseModel):
    """What goes with a message. Fields that this server does not know are left alone."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True)


class OfRun(Payload):
    """A run."""

    prompt_id: PromptId


class Subscribe(OfRun):
    """A run, and the number of the last event of it that the client has."""

    after: Seq = 0


class Resume(Payload):
    """Runs, each with the number of the last event that the client has."""

    runs: Annotated[dict[PromptId, Seq], Field(max_length=WATCHED)]


class Click(Payload):
    """A button of a node."""

    node_id: Id
    button_name: Id
    workflow_id: Text | None = None
    node_type: Text | None = None
    node_display_name: Text | None = None


class OfProject(Payload):
    """A project."""

    project_id: Id


class Load(OfProject):
    """A workflow of a project."""

    workflow_id: Id


class Save(OfProject):
    """A workflow that is stored in a project, as a new one where it has no id."""

    workflow_id: Id | None = None
    workflow: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a client.

    Attributes:
        type: its type; any text.
        payload: plain data, bounded.
    """

    type: str
    payload: Any


# Two at a time: one message may become ten times its size, and more threads would not be faster.
_parsing: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("innkeeper_parsing_messages")


async def read_message(text: str) -> Received:
    """What a client sent (the text of a message, whose length somebody has bounded).

    Raises:
        AnswerError: 400: it is no JSON, or beyond a bound, or not `{"type": ..., "payload": ...}`.
    """
    try:
        if len(text) <= CHUNK:
            found = _parsed(text)
        else:
            found = await trio.to_thread.run_sync(_parsed, text, limiter=_limiter(), abandon_on_cancel=True)
    except MalformedError as error:
        raise AnswerError(400, f"Error processing message: it is not JSON that can be read: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise AnswerError(400, 'Error processing message: it is not an object {"type": TEXT, "payload": ...}')
    return Received(found["type"], found.get("payload"))


def _parsed(text: str) -> Any:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise MalformedError("it has half of a surrogate pair") from None
    return parse_json(data, PAYLOAD_BOUNDS)


def _limiter() -> trio.CapacityLimiter:
    try:
        return _parsing.get()
    except LookupError:
        made = trio.CapacityLimiter(2)
        _parsing.set(made)
        return made


Model = TypeVar("Model", bound=Payload)


def payload_of(model: type[Model], received: Received) -> Model:
    """The payload of a message, checked.

    Raises:
        AnswerError: 422: it does not fit. What was sent is not shown again.
    """
    try:
        return model.model_validate(received.payload)
    except ValidationError as error:
        details = [
            {"place": ".".join(map(str, each["loc"]))[:_SHOWN], "problem": each["msg"]}
            for each in error.errors(include_url=False, include_context=False, include_input=False)[:_PROBLEMS]
        ]
        raise AnswerError(422, f"Error processing message: the payload does not fit {received.type}", details) from None


def unknown(received: Received) -> AnswerError:
    """That a message has a type that this server does not know."""
    return AnswerError(400, f"Unknown message type: {printable(received.type[:_SHOWN])}")
