"""What a node is: its slots, its modes, and which of them are in effect.

The names on the wire are ComfyTavern's (`dataFlowType`, `modeConfigKey`), those in Python are snake_case. Fields that
this host does not know survive, so that an editor gets back what an author wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from innkeeper.errors import UsageError
from innkeeper.plugins.tables import shown

MAX_SLOTS = 256
"""Slots of one kind, and modes, of one node: far above what a person can wire, low enough to check at once."""

DataFlowType = Literal[
    "STRING", "INTEGER", "FLOAT", "BOOLEAN", "OBJECT", "ARRAY", "BINARY", "WILDCARD", "CONVERTIBLE_ANY"
]

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
"""A key of a slot, a node's type, a namespace, a mode's id."""

FunctionName = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class _Definition(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_camel, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _near_misses_are_errors(cls, data: Any) -> Any:
        # Unknown fields survive; one that differs from a known one by case or underscores only is a slip, and would
        # be ignored without a word.
        if isinstance(data, Mapping):
            known = {field.alias or name: name for name, field in cls.model_fields.items()}
            folded = {alias.lower(): alias for alias in known}
            for key in data:
                if isinstance(key, str) and key not in known:
                    meant = folded.get(key.replace("_", "").replace("-", "").lower())
                    if meant is not None:
                        raise ValueError(f"{key!r} is not a key: write {meant!r}")
        return data


class Slot(_Definition):
    """What inputs and outputs share.

    Attributes:
        data_flow_type: the type of the value. The legacy type STREAM is read as WILDCARD with `is_stream`.
        is_stream: whether chunks flow, and not one value.
        match_categories: categories that let slots of unequal types connect.
    """

    display_name: str | None = None
    data_flow_type: DataFlowType
    is_stream: bool = False
    match_categories: list[str] = Field(default_factory=list, max_length=MAX_SLOTS)
    allow_dynamic_type: bool = False
    hide_handle: bool = False

    @model_validator(mode="before")
    @classmethod
    def _legacy_stream(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("dataFlowType") == "STREAM":
            return {**data, "dataFlowType": "WILDCARD", "isStream": True}
        return data


class InputDefinition(Slot):
    """An input, or a field of the configuration.

    Attributes:
        required: whether a value must come from an edge, a preset or `config["default"]`. A bool only: ComfyTavern's
            function of the configuration cannot be written down.
        config: default, bounds and hints for editors (JSON-like values).
        multi: whether several edges may end here; the value is then a list.
        actions: buttons that an editor shows beside it (JSON-like tables); nothing here runs them.
    """

    description: str | None = None
    required: bool = False
    config: dict[str, Any] = Field(default_factory=dict)
    multi: bool = False
    max_connections: int | None = Field(default=None, ge=1)
    allow_more_connections: bool = False
    actions: list[dict[str, Any]] = Field(default_factory=list, max_length=MAX_SLOTS)


class OutputDefinition(Slot):
    """An output."""

    description: str | None = None


class BypassBehavior(_Definition):
    """What a bypassed node gives: outputs taken from inputs, and values for the others."""

    pass_through: dict[Name, Name] = Field(default_factory=dict, max_length=MAX_SLOTS)
    defaults: dict[Name, Any] = Field(default_factory=dict, max_length=MAX_SLOTS)


# Told apart by what is written, so that a mistake is reported once. Names in brackets are ours, not an author's.
Bypass = Annotated[
    Annotated[Literal["mute"], Tag("[word]")] | Annotated[BypassBehavior, Tag("[table]")],
    Discriminator(lambda value: "[word]" if isinstance(value, str) else "[table]"),
]

Inputs = Annotated[dict[Name, InputDefinition], Field(max_length=MAX_SLOTS)]
Outputs = Annotated[dict[Name, OutputDefinition], Field(max_length=MAX_SLOTS)]


class NodeModeDefinition(_Definition):
    """A mode of a node. Slots that it does not give are the node's own.

    Attributes:
        id: its key in the node's `modes` (the default, and nothing else is accepted).
    """

    id: Name | None = None
    display_name: str | None = None
    description: str | None = None
    inputs: Inputs | None = None
    outputs: Outputs | None = None
    config_schema: Inputs | None = None


class NodeDefinition(_Definition):
    """A function of a plugin that a workflow graph can place.

    Attributes:
        namespace: the plugin's namespace; with `type` it makes `full_type`.
        type: the node's name within its namespace.
        function: the guest's exported function; by default the type.
        config_schema: fields of the node's configuration, which is no part of the graph's wiring.
        modes: alternatives of slots, chosen by `config_values[mode_config_key]`, else `default_mode_id`.

    Example:
        >>> node = NodeDefinition.model_validate(
        ...     {"namespace": "demo", "type": "Shout", "inputs": {"text": {"dataFlowType": "STRING", "required": True}}}
        ... )
        >>> node.full_type, list(node.slots({})[0])
        ('demo:Shout', ['text'])
    """

    namespace: Name
    type: Name
    function: FunctionName = ""
    category: str = ""
    display_name: str = ""
    description: str = ""
    inputs: Inputs = Field(default_factory=dict)
    outputs: Outputs = Field(default_factory=dict)
    config_schema: Inputs = Field(default_factory=dict)
    config_values: dict[str, Any] = Field(default_factory=dict)
    modes: dict[Name, NodeModeDefinition] = Field(default_factory=dict, max_length=MAX_SLOTS)
    default_mode_id: Name | None = None
    mode_config_key: Name | None = None
    bypass_behavior: Bypass | None = None
    width: float | None = Field(default=None, gt=0)
    is_ui_node: bool = False
    is_preview_unsafe: bool = False
    deprecated: bool = False
    experimental: bool = False

    @model_validator(mode="before")
    @classmethod
    def _names_follow_the_type(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "type" in data:
            return {"function": data["type"], "displayName": data["type"], **data}
        return data

    @field_validator("modes")
    @classmethod
    def _ids_are_keys(cls, modes: dict[str, NodeModeDefinition]) -> dict[str, NodeModeDefinition]:
        for key, mode in modes.items():
            if mode.id not in (None, key):
                raise ValueError(f"the mode under the key {key!r} has the id {mode.id!r}: make them equal")
        return {key: mode.model_copy(update={"id": key}) for key, mode in modes.items()}

    @model_validator(mode="after")
    def _default_mode_exists(self) -> Self:
        if self.default_mode_id is not None and self.default_mode_id not in self.modes:
            known = ", ".join(self.modes) or "none"
            raise ValueError(f"defaultModeId is {self.default_mode_id!r}, which is not one of the modes ({known})")
        return self

    @property
    def full_type(self) -> str:
        """The name by which graphs call it (str): "namespace:type"."""
        return f"{self.namespace}:{self.type}"

    def mode(self, config_values: Mapping[str, Any]) -> NodeModeDefinition | None:
        """The mode in effect, or None where the node's own slots are.

        Args:
            config_values: the configuration of the node in its graph.

        Raises:
            UsageError: the configuration names a mode that the node does not have.
        """
        if not self.modes:
            return None
        wanted = config_values.get(self.mode_config_key) if self.mode_config_key is not None else None
        if wanted is None:
            wanted = self.default_mode_id
        if wanted is None:
            return None
        if not isinstance(wanted, str) or wanted not in self.modes:
            names = ", ".join(self.modes)
            raise UsageError(f"{self.full_type} has no mode {shown(wanted)} ({self.mode_config_key}); it has: {names}")
        return self.modes[wanted]

    def slots(
        self, config_values: Mapping[str, Any]
    ) -> tuple[Mapping[str, InputDefinition], Mapping[str, OutputDefinition]]:
        """The inputs and outputs in effect under a configuration.

        Raises:
            UsageError: as `mode`.
        """
        mode = self.mode(config_values)
        if mode is None:
            return self.inputs, self.outputs
        return (
            self.inputs if mode.inputs is None else mode.inputs,
            self.outputs if mode.outputs is None else mode.outputs,
        )
