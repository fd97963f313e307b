"""A preset as a workflow: its items become nodes before a context assembler, its samplers parameters of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from innkeeper.knowledge.interchange import node_types as types
from innkeeper.knowledge.interchange.graph import Graph, Node
from innkeeper.knowledge.interchange.presets import Item, Preset
from innkeeper.knowledge.interchange.samplers import CHAT, model_of, samplers_of
from innkeeper.knowledge.interchange.text_workflow import text_graph
from innkeeper.knowledge.model.entry import ALWAYS

_TEXTS: Final = {
    "personaDescription": "persona_description",
    "charDescription": "character_description",
    "charPersonality": "character_personality",
    "scenario": "scenario",
}
"""Markers that are texts of the session, with the assembler's names of them."""

_USED: Final = frozenset(
    {
        *CHAT, "prompts", "prompt_order", "openai_max_context", "squash_system_messages", "names_behavior",
        "new_example_chat_prompt",
    }
)  # fmt: skip


def workflow_of(
    preset: Preset, *, stored: bool = False, llm: bool = True, chosen: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A workflow with what a preset says. Of the same preset it makes the same workflow.

    Args:
        preset: of any kind.
        stored: whether it is written as an editor stores it, instead of as an execution payload.
        llm: whether it has the node that asks the model; without, it gives the messages and the model's parameters.
        chosen: by node type (`node_types.RESOURCES`) the card, chat or base that its node loads.

    Returns:
        plain data for JSON. What no node has a place for lies under `extensions.sillytavern`.
    """
    graph = chat_graph(preset, llm=llm) if preset.kind == "chat" else text_graph(preset, llm=llm)
    for node in graph.nodes:
        if (choice := (chosen or {}).get(node.type)) is not None:
            node.config[types.RESOURCES[node.type]] = choice
    return graph.document() if stored else graph.payload()


def chat_graph(preset: Preset, *, llm: bool = True) -> Graph:
    """A chat preset as a graph; `llm` as for `workflow_of`."""
    graph = Graph(preset.name, "Made of a chat preset of SillyTavern.")
    frame = Frame(graph, llm=llm)
    blocks: list[dict[str, Any]] = []
    deep: list[dict[str, Any]] = []
    for item in preset.items:
        if item.depth is not None and item.content:
            deep.append(_injected(item, len(deep)))
        else:
            blocks += frame.block(item, len(blocks), preset.document)
    if not any(block["kind"] == "history" for block in blocks):
        blocks.append({"id": "history", "kind": "history"})
    # What the user says now is the last of the conversation there: instructions after it come after that, too.
    after = next(at for at, block in enumerate(blocks) if block["kind"] == "history") + 1
    blocks.insert(after, {"id": "user input", "kind": "user_input"})
    for at, entry in enumerate(deep):
        node = graph.add(Node(f"injected-{at}", types.STATIC, entry["displayName"], config={"entries": [entry]}))
        graph.connect(node, "caiu_list", frame.assembler, "lore_caiu_list_aux")
    template: dict[str, Any] = {"blocks": blocks}
    most, answer = preset.document.get("openai_max_context"), preset.document.get("openai_max_tokens")
    if _is_count(most):
        template["budget"] = most
        if _is_count(answer) and answer <= most:
            template["reserve"] = answer
    if preset.document.get("squash_system_messages") is True:
        template["squash"] = "system"
    # 0 none, 1 a field of the message, 2 before the text.
    behaviour = preset.document.get("names_behavior")
    template["names"] = {1: "field", 2: "prefix"}.get(behaviour if isinstance(behaviour, int) else 0, "none")
    frame.assembler.config["template"] = template
    inputs, further = samplers_of(preset.document, CHAT)
    frame.ask(inputs, further, model_of(preset.document))
    graph.extensions = {"sillytavern": {key: value for key, value in preset.document.items() if key not in _USED}}
    return graph


_ANSWER: Final = {"response": {"displayName": "Response", "dataFlowType": "STRING"}}
_PROMPT: Final = {
    "messages": {"displayName": "Messages", "dataFlowType": "STRING"},
    "parameters": {"displayName": "Parameters of the model", "dataFlowType": "OBJECT"},
}


class Frame:
    """What workflows of presets have in common: sources, the assembler, and the node that asks the model."""

    def __init__(self, graph: Graph, *, llm: bool = True) -> None:
        """Args:
        graph: is filled.
        llm: whether it has the node that asks the model.
        """
        self.graph = graph
        self._llm = llm
        self._sources: dict[str, Node] = {}
        self._texts = 0
        graph.interface = (
            {
                "user_input": {"key": "user_input", "displayName": "User input", "dataFlowType": "STRING"},
                "session": {
                    "key": "session",
                    "displayName": "Session",
                    "customDescription": "Names and texts beside the card's, such as user and persona; variables",
                    "dataFlowType": "OBJECT",
                    "config": {"default": {}},
                },
            },
            {key: {"key": key, **slot} for key, slot in (_ANSWER if llm else _PROMPT).items()},
        )
        self.input = graph.add(Node("input", types.INPUT))
        self.assembler = graph.add(Node("assembler", types.ASSEMBLER, "Context assembler", column=2))
        graph.connect(self.input, "user_input", self.assembler, "current_user_input")
        self.character()
        self._knows(self.assembler)

    def ask(self, inputs: Mapping[str, Any], further: Mapping[str, Any], model: str) -> None:
        """Adds the node that asks the model, or gives what it would be asked."""
        if not self._llm:
            parameters = {**inputs, **further, **({"model": model} if model else {})}
            if parameters:
                self.assembler.config["llm_parameters"] = parameters
            self.graph.outputs["messages"] = (self.assembler.id, "prompt_data")
            self.graph.outputs["parameters"] = (self.assembler.id, "llm_parameters")
            return
        given = {**inputs, **({"parameters": dict(further)} if further else {})}
        if model:
            given["activated_model_id"] = model
        node = self.graph.add(Node("llm", types.LLM, "Language model", given, column=3))
        self.graph.connect(self.assembler, "prompt_data", node, "messages")
        self.graph.outputs["response"] = (node.id, "responseText")

    def text(self, text: str, name: str, *, syntax: str = "macros", **values: str) -> str:
        """Adds a node that makes a text of a template and values, and gives the assembler's name of it."""
        at = self._texts
        self._texts += 1
        node = Node(f"text-{at}", types.APPLICATOR, name, {"template": text}, {"syntax": syntax}, column=1)
        if values:
            node.config["values"] = values
        self.graph.add(node)
        self._knows(node)
        self.graph.connect(node, "text", self.assembler, "static_text_inputs")
        if syntax == "story" and "lore" in self._sources:
            self.graph.connect(self._sources["lore"], "caiu_list", node, "caiu_list")
        return f"static_text_{at}"

    def character(self) -> None:
        """Adds the node that loads the character, once."""
        if "character" not in self._sources:
            self._sources["character"] = self.graph.add(Node("character", types.CHARACTER, "Character card"))

    def _knows(self, node: Node) -> None:
        # Macros ask for the card and the session wherever they stand; what is said later goes over what was before.
        self.graph.connect(self._sources["character"], "characterData", node, "session_state")
        self.graph.connect(self.input, "session", node, "session_state")

    def history(self) -> None:
        """Adds the node that loads the conversation, once."""
        self._source(types.HISTORY, "history", "Conversation", "historyMessages", "history_messages")

    def lore(self) -> None:
        """Adds the node that finds the lore, once."""
        if "lore" in self._sources:
            return
        node = self._source(types.LORE, "lore", "Lore", "caiu_list", "lore_caiu_list_main")
        self._knows(node)
        self.history()
        self.graph.connect(self._sources["history"], "historyMessages", node, "history_messages")
        self.graph.connect(self.input, "user_input", node, "current_user_input")

    def block(self, item: Item, at: int, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The blocks of the assembler's template for an item, with the nodes that fill them."""
        id_ = f"{at} {item.name}"[:200]
        block: dict[str, Any] = {"id": id_, "kind": "text", "role": item.role}
        match item.identifier:
            case "worldInfoBefore" | "worldInfoAfter":
                self.lore()
                placement = "before_prompt" if item.identifier == "worldInfoBefore" else "after_prompt"
                return [{"id": id_, "kind": "entries", "role": item.role, "placements": [placement]}]
            case "chatHistory":
                self.history()
                return [{"id": id_, "kind": "history"}]
            case "dialogueExamples":
                self.character()
                before = document.get("new_example_chat_prompt")
                short = before if isinstance(before, str) and len(before) <= 200 else ""
                return [{"id": id_, "kind": "examples", "before_each": short}]
            case identifier if identifier in _TEXTS:
                self.character()
                return [{**block, "source": _TEXTS[identifier]}]
        if not item.content:
            return []
        return [{**block, "source": self.text(item.content, item.name)}]

    def _source(self, kind: str, id_: str, name: str, output: str, slot: str) -> Node:
        if id_ not in self._sources:
            self._sources[id_] = self.graph.add(Node(id_, kind, name))
            self.graph.connect(self._sources[id_], output, self.assembler, slot)
        return self._sources[id_]


def _injected(item: Item, at: int) -> dict[str, Any]:
    return {
        "id": f"preset-{at}",
        "entry_type": "instruction",
        "displayName": item.name,
        "content": {"mime_type": "text/plain", "value": item.content},
        "usage_metadata": {"priority": item.order, "depth_offset": item.depth, "role": item.role},
        "management_metadata": {"tags": [ALWAYS], "source": "st_import_v1", "is_enabled": True},
        **({"extensions": {"sillytavern_preset": item.rest}} if item.rest else {}),
    }


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 100_000_000
