"""Inputs of a prompt as plain data, such as a guest or a file gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from innkeeper.knowledge.activation.interface import Active, Message
from innkeeper.knowledge.assembly import bounds
from innkeeper.knowledge.assembly.inputs import Inputs, active_of
from innkeeper.knowledge.model.entry import Id, Name, problems_of, read_entry
from innkeeper.knowledge.model.problems import KnowledgeError, Problem


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class PlainMessage(_Strict):
    """A message.

    Attributes:
        role: whose words they are.
        content: its text.
        name: who says it, or "".
    """

    role: Literal["system", "user", "assistant"]
    content: str
    name: Name = ""


class PlainEntry(_Strict):
    """An entry that is to be in the prompt.

    Attributes:
        base: id of its base.
        entry: its document.
    """

    base: Id
    entry: dict[str, Any]


Dialogue = str | Annotated[list[PlainMessage], Field(max_length=bounds.MOST_MESSAGES)]


class PlainInputs(_Strict):
    """What `Inputs` has; `entries` go behind what activation found."""

    entries: Annotated[list[PlainEntry], Field(max_length=bounds.MOST_ACTIVE)] = []
    history: Annotated[list[PlainMessage], Field(max_length=bounds.MOST_MESSAGES)] = []
    user_input: str | PlainMessage | None = None
    examples: Annotated[list[Dialogue], Field(max_length=bounds.MOST_MESSAGES)] = []
    texts: Annotated[dict[str, str], Field(max_length=bounds.MOST_TEXTS)] = {}
    llm_parameters: Annotated[dict[str, Any], Field(max_length=bounds.MOST_TEXTS)] = {}
    names: dict[Literal["system", "user", "assistant"], str] = {}


def read_inputs(document: Mapping[str, Any], active: Sequence[Active] = ()) -> Inputs:
    """Inputs that plain data describe.

    Args:
        document: as `PlainInputs` has it.
        active: what activation found.

    Raises:
        KnowledgeError: with everything that is wrong.
    """
    try:
        found = PlainInputs.model_validate(document)
    except ValidationError as error:
        raise KnowledgeError(problems_of(error, "")) from None
    problems: list[Problem] = []
    entries = list(active)
    for number, each in enumerate(found.entries):
        entry, wrong = read_entry(each.entry, f"entries[{number}].entry")
        problems += wrong
        if entry is not None:
            entries.append(active_of(each.base, entry))
    if problems:
        raise KnowledgeError(problems)
    said = found.user_input
    return Inputs(
        active=entries,
        history=[_message(each) for each in found.history],
        user_input=_message(said) if isinstance(said, PlainMessage) else said,
        examples=[each if isinstance(each, str) else [_message(one) for one in each] for each in found.examples],
        texts=found.texts,
        llm_parameters=found.llm_parameters,
        names={str(role): name for role, name in found.names.items()},
    )


def _message(plain: PlainMessage) -> Message:
    return Message(plain.content, plain.role, plain.name)
