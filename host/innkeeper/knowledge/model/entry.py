"""CAIU, the Curated Atomic Info Unit: one entry of a knowledge base, field by field.

The truth of an entry is its document, the JSON object that its author wrote: fields that are unknown here, and
differences such as null or absent, survive because nobody rewrites it. The models below are what this host reads in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.problems import Problem

CRITICAL = "critical"
"""A `token_budget_impact` that puts an entry outside of the budget."""

ALWAYS = "activation_trigger:always_active"
"""The tag of an entry that is always active."""

GROUP = "group_container"
"""The `entry_type` of an entry that stands for its children."""

AGENT = "agent_generated"
"""The source of what a plugin wrote last."""

Key = Annotated[str, Field(max_length=bounds.MOST_KEY)]
Name = Annotated[str, Field(max_length=bounds.MOST_NAME)]
Id = Annotated[str, Field(min_length=1, max_length=bounds.MOST_ID)]
Ids = Annotated[list[Id], Field(max_length=bounds.MOST_LINKS)]
Names = Annotated[list[Name], Field(max_length=bounds.MOST_LINKS)]


# A default with a list in it is copied deeply for each entry, which takes a fifth of the time to read a base; one that
# is made anew costs next to nothing, and the schema says it as before.


def _list() -> Any:
    return Field(default_factory=list, json_schema_extra={"default": []})


def _part(kind: type[Part]) -> Any:
    return Field(default_factory=kind, json_schema_extra={"default": kind().model_dump()})


class Part(BaseModel):
    """A part of a document. What is not declared stays where it is."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


class Content(Part):
    """What an entry says.

    Attributes:
        mime_type: of the value, or of the file at `path`.
        value: the text; for media a description. A group container's is never inserted.
        path: of a media file, relative to the base's folder.
        url: of a media file elsewhere. It is never fetched.
        alt_text, caption: of media, for people and for models that see none; also read from `metadata`.
        metadata: whatever else is known of this content.
    """

    mime_type: Name = "text/plain"
    value: Annotated[str, Field(max_length=bounds.MOST_CONTENT)] | None = None
    path: Name | None = None
    url: Annotated[str, Field(max_length=8000)] | None = None
    alt_text: Annotated[str, Field(max_length=bounds.MOST_CONTENT)] | None = None
    caption: Annotated[str, Field(max_length=bounds.MOST_CONTENT)] | None = None
    metadata: dict[str, Any] | None = None


class KeyGroup(Part):
    """Keys that count together.

    Attributes:
        group_id: names it in traces.
        keys: words, or regular expressions as `/pattern/flags`.
        logic: AND: all keys occur. OR: at least one. NOT_ANY: none. NOT_ALL: at least one does not.
    """

    group_id: Name = ""
    keys: Annotated[list[Key], Field(max_length=bounds.MOST_KEYS)] = _list()
    logic: Literal["AND", "OR", "NOT_ANY", "NOT_ALL"] = "AND"


class Condition(Part):
    """Something that must hold beside the keywords. Which fields it has hangs on its type.

    Attributes:
        type: "variable_check" or "plugin"; others are kept, never hold, and are named by `kb check`.
    """

    type: Name


class ActivationCriteria(Part):
    """When an entry is wanted.

    Attributes:
        keywords: one of them is enough; each a word, or a regular expression as `/pattern/flags`.
        key_groups: each of them must hold beside the keywords.
        use_semantic_search: whether likeness of meaning can activate the entry, too.
        semantic_threshold: the cosine from which it does, -1 to 1, under the model that its base records; None: the
            calibrated default of the model.
        trigger_conditions: all of them must hold.
        trigger_probability: 0 to 1.
    """

    keywords: Annotated[list[Key], Field(max_length=bounds.MOST_KEYS)] = _list()
    key_groups: Annotated[list[KeyGroup], Field(max_length=bounds.MOST_KEYS)] = _list()
    use_semantic_search: bool = False
    semantic_threshold: Annotated[float, Field(ge=-1, le=1)] | None = None
    trigger_conditions: Annotated[list[Condition], Field(max_length=bounds.MOST_KEYS)] = _list()
    trigger_probability: Annotated[float, Field(ge=0, le=1)] = 1.0


class Affix(Part):
    """Text around an entry.

    Attributes:
        text: as it is inserted.
        is_enabled: whether it is inserted.
    """

    text: Annotated[str, Field(max_length=bounds.MOST_CONTENT)] = ""
    is_enabled: bool = False


class UsageMetadata(Part):
    """What becomes of an entry that is active.

    Attributes:
        priority: larger is kept first where the budget is short, and stands nearer to the end.
        placement: the block that it goes to, as a rule one of "before_prompt", "after_prompt", "system_context" and
            "scratchpad_notes".
        role: whose words they are: "system", "user" or "assistant"; None: the block's.
        depth_offset: 0: at the end of the messages; N: before the N-th message from the end; None: in its block.
        token_budget_impact: `CRITICAL`: it must be there whatever the budget; a number: its author's estimate of its
            tokens, which is not believed; None.
        once_per_session: whether it is active once in a session only.
        exclude_from_history: whether whoever keeps the conversation should leave it out later.
        prefix, suffix: text around it.
    """

    priority: Annotated[float, Field(ge=-bounds.MOST_PRIORITY, le=bounds.MOST_PRIORITY)] = 100
    placement: Name | None = "before_prompt"
    role: Literal["system", "user", "assistant"] | None = None
    depth_offset: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    token_budget_impact: Annotated[float, Field(ge=0)] | Literal["critical"] | None = None
    once_per_session: bool = False
    exclude_from_history: bool = False
    prefix: Affix | None = None
    suffix: Affix | None = None


class ManagementMetadata(Part):
    """What authors and editors need.

    Attributes:
        tags: for filters and grouping; `ALWAYS` has a meaning.
        source: where it comes from: "manual_entry", `AGENT`, "st_import_v1", "rag_chunk_id_..." and so on.
        created_at, updated_at: as their author wrote them, ISO 8601.
        author_notes, editor_description: never inserted.
        is_enabled: whether it can be active at all.
        child_ids: entries that it contains.
        related_ids: entries that belong to it, not as its parts.
    """

    tags: Names = _list()
    source: Name = "manual_entry"
    created_at: Name | None = None
    updated_at: Name | None = None
    author_notes: Annotated[str, Field(max_length=bounds.MOST_CONTENT)] | None = None
    editor_description: Annotated[str, Field(max_length=bounds.MOST_CONTENT)] | None = None
    is_enabled: bool = True
    child_ids: Ids = _list()
    related_ids: Ids = _list()


class VariableHandling(Part):
    """What an entry has to do with variables.

    Attributes:
        defines_variables: variables that are set while it is active, with plain values.
        uses_variables_in_content: variables whose placeholders are in its content.
    """

    defines_variables: dict[Name, Any] = Field(default_factory=dict, json_schema_extra={"default": {}})
    uses_variables_in_content: Names = _list()


class Entry(Part):
    """A whole entry.

    Attributes:
        id: unique in its base.
        version: of the structure of entries; 1.
        entry_type: what kind of knowledge it is; `GROUP` has a meaning.
        displayName: for people, and the name that `{{{Name}}}` finds.
        content: what it says.
        activation_criteria: when it is wanted.
        usage_metadata: what becomes of it then.
        management_metadata: what authors and editors need.
        variable_handling: what it has to do with variables.
        extensions: what others keep in it, `sillytavern` among them (`model.sillytavern`).
    """

    id: Id
    version: Annotated[int, Field(ge=1)] = 1
    entry_type: Name = "lore_detail"
    displayName: Name | None = None
    content: Content = Content()
    activation_criteria: ActivationCriteria = _part(ActivationCriteria)
    usage_metadata: UsageMetadata = UsageMetadata()
    management_metadata: ManagementMetadata = _part(ManagementMetadata)
    variable_handling: VariableHandling | None = None
    extensions: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """What people call it: its name, else its id."""
        return self.displayName or self.id

    @property
    def text(self) -> str:
        """What it says, or ""."""
        return self.content.value or ""


def read_entry(document: Mapping[str, Any], where: str = "") -> tuple[Entry | None, list[Problem]]:
    """What this host reads in an entry's document.

    Args:
        document: plain data, as `json.loads` gives it; neither changed nor kept.
        where: its place in its file, for messages.

    Returns:
        the entry, and nothing wrong; or None, and everything that is wrong.
    """
    try:
        return Entry.model_validate(document), []
    except ValidationError as error:
        name = document.get("displayName") or document.get("id")
        return None, problems_of(error, where, str(name)[:100] if name else "")


def problems_of(error: ValidationError, where: str, entry: str = "") -> list[Problem]:
    """What pydantic found wrong, as problems.

    Args:
        error: what it raised.
        where: the place of the document in its file.
        entry: id or name of the entry that it is about.
    """
    found = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        place = path_of(where, each["loc"])
        found.append(Problem(place, each["msg"][:1].lower() + each["msg"][1:], entry))
    return found


def path_of(where: str, steps: Sequence[str | int]) -> str:
    """A place in a document, such as "entries[3].content".

    Args:
        where: where the steps begin, or "".
        steps: keys and positions; what pydantic adds for the branches of a union may be among them.
    """
    for step in steps:
        where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else step
    return where
