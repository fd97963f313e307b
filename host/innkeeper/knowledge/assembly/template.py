"""What a prompt looks like: its blocks in their order, and what gives way where it is too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from innkeeper.knowledge.assembly import bounds
from innkeeper.knowledge.model.entry import Name, Names, problems_of
from innkeeper.knowledge.model.problems import KnowledgeError

Role = Literal["system", "user", "assistant"]
Tokens = Annotated[int, Field(ge=0, le=bounds.MOST_TOKENS)]
Text = Annotated[str, Field(max_length=bounds.MOST_TEMPLATE_TEXT)]
Repeated = Annotated[str, Field(max_length=bounds.MOST_REPEATED)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Block(_Strict):
    """What all blocks have.

    Attributes:
        id: names it in the report; no two are equal.
        role: whose words they are, where what is in it does not say.
        prefix, suffix: around the block, if there is something in it.
        budget: tokens that it may have; None: as many as the whole leaves.
        rank: blocks of a larger one are filled first where the whole is short.
        is_enabled: whether it is there at all.
    """

    id: Annotated[str, Field(min_length=1, max_length=200)]
    role: Role = "system"
    prefix: Text = ""
    suffix: Text = ""
    budget: Tokens | None = None
    rank: Annotated[int, Field(ge=-1000, le=1000)] = 0
    is_enabled: bool = True


class TextBlock(_Block):
    """A text.

    Attributes:
        text: the text itself.
        source: the name of the text among the inputs; in place of `text`.
        required: whether it stays whatever the budget.
    """

    kind: Literal["text"]
    text: Text = ""
    source: Name | None = None
    required: bool = True
    rank: Annotated[int, Field(ge=-1000, le=1000)] = 400


class EntriesBlock(_Block):
    """Active entries. Of the blocks whose conditions an entry meets, the one with more kinds of conditions takes it,
    then the first.

    Attributes:
        placements: of which an entry must have one; empty: any.
        tags: likewise.
        types: likewise, its `entry_type`.
        bases: likewise, the id of its base.
        depth: where an entry with `depth_offset` goes: to the messages, or to that place in the block, counted in
            entries from its end.
        order: "priority", smallest first; or as they are given.
        separator: between two entries.
    """

    kind: Literal["entries"]
    placements: Names = []
    tags: Names = []
    types: Names = []
    bases: Names = []
    depth: Literal["messages", "block"] = "messages"
    order: Literal["priority", "given"] = "priority"
    separator: Repeated = "\n"
    rank: Annotated[int, Field(ge=-1000, le=1000)] = 300

    def conditions(self) -> tuple[list[str], list[str], list[str], list[str]]:
        """Placements, tags, types and bases, in this order."""
        return self.placements, self.tags, self.types, self.bases


class OutletBlock(_Block):
    """Active entries that go to an outlet.

    Attributes:
        outlet: its name.
        order, separator: as those of `EntriesBlock`.
    """

    kind: Literal["outlet"]
    outlet: Name
    order: Literal["priority", "given"] = "given"
    separator: Repeated = "\n"
    rank: Annotated[int, Field(ge=-1000, le=1000)] = 300


class HistoryBlock(_Block):
    """The conversation so far. The oldest messages go first where it is too long.

    Attributes:
        keep_last: so many of the newest messages stay whatever the budget.
    """

    kind: Literal["history"]
    keep_last: Annotated[int, Field(ge=0, le=1000)] = 0
    rank: Annotated[int, Field(ge=-1000, le=1000)] = 200


class ExamplesBlock(_Block):
    """Examples of dialogue. Each stays whole or goes, the last ones first.

    Attributes:
        before_each: a text in front of each of them, such as "[Example]".
    """

    kind: Literal["examples"]
    before_each: Repeated = ""
    rank: Annotated[int, Field(ge=-1000, le=1000)] = 100


class InputBlock(_Block):
    """What the user says now. It always stays."""

    kind: Literal["user_input"]
    role: Role = "user"


Block = Annotated[
    TextBlock | EntriesBlock | OutletBlock | HistoryBlock | ExamplesBlock | InputBlock, Field(discriminator="kind")
]


class RoleTexts(_Strict):
    """How a message stands in one string: `{content}` and `{name}` stand for its own, `{role}` for whose it is."""

    system: Repeated = "{content}\n"
    user: Repeated = "{name}: {content}\n"
    assistant: Repeated = "{name}: {content}\n"

    @field_validator("system", "user", "assistant")
    @classmethod
    def _once(cls, text: str) -> str:
        # Otherwise a template of two hundred letters makes a prompt that is twenty times its inputs.
        if text.count("{content}") != 1 or text.count("{name}") > 1:
            raise ValueError("must have {content} once, and {name} at most once")
        return text


class Template(_Strict):
    """A whole prompt.

    Attributes:
        blocks: in the order of the prompt.
        budget: tokens that the model takes; None: any number.
        reserve: tokens of it that are left for the answer.
        message_tokens: tokens that each message costs beside its text.
        image_tokens: tokens that an image is charged.
        squash: whether messages that follow each other become one: none, those of the system, all of one role.
        separator: between those that became one.
        names: "none"; "prefix", as "Name: " before the text; "field", as `name` of the message.
        output: a list of messages, or one string.
        role_texts: for one string.
        llm_parameters: passed on; those of the inputs go over them.
    """

    blocks: Annotated[list[Block], Field(min_length=1, max_length=bounds.MOST_BLOCKS)]
    budget: Tokens | None = None
    reserve: Tokens = 0
    message_tokens: Annotated[int, Field(ge=0, le=100)] = 3
    image_tokens: Annotated[int, Field(ge=0, le=100_000)] = 800
    squash: Literal["none", "system", "same_role"] = "none"
    separator: Repeated = "\n\n"
    names: Literal["none", "prefix", "field"] = "none"
    output: Literal["structured_list", "single_string"] = "structured_list"
    role_texts: RoleTexts = RoleTexts()
    llm_parameters: dict[str, Any] = {}

    @model_validator(mode="after")
    def _sound(self) -> Template:
        seen: set[str] = set()
        for block in self.blocks:
            if block.id in seen:
                raise ValueError(f"two blocks have the id {block.id!r}; each needs its own")
            seen.add(block.id)
        for kind in ("history", "user_input"):
            if sum(block.kind == kind and block.is_enabled for block in self.blocks) > 1:
                raise ValueError(f"there is more than one block of the kind {kind!r}")
        if self.budget is not None and self.reserve > self.budget:
            raise ValueError(f"'reserve' ({self.reserve}) is more than 'budget' ({self.budget})")
        return self


def read_template(document: Mapping[str, Any], source: str = "") -> Template:
    """The template that plain data describe.

    Args:
        document: as `json.loads` gives it.
        source: name of its file, for messages.

    Raises:
        KnowledgeError: with everything that is wrong.
    """
    try:
        return Template.model_validate(document)
    except ValidationError as error:
        raise KnowledgeError(problems_of(error, "", ""), source=source) from None


def template_schema() -> dict[str, Any]:
    """The JSON Schema of templates."""
    return Template.model_json_schema()
