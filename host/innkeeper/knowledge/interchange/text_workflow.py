"""Text presets as a workflow: the story string, the conversation with its sequences, and the samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from innkeeper.knowledge.interchange.graph import Graph
from innkeeper.knowledge.interchange.samplers import TEXT, samplers_of
from innkeeper.knowledge.model.problems import Problem

if TYPE_CHECKING:
    from innkeeper.knowledge.interchange.presets import Preset

_SEQUENCES: Final = {
    "user": ("input_sequence", "input_suffix"),
    "assistant": ("output_sequence", "output_suffix"),
    "system": ("system_sequence", "system_suffix"),
}
_MOST: Final = 200
"""Characters around one message."""


def text_graph(preset: Preset, *, llm: bool = True) -> Graph:
    """A text preset, or several in one file, as a graph; `llm` as for `workflow_of`."""
    from innkeeper.knowledge.interchange.preset_workflow import Frame

    graph = Graph(preset.name, "Made of a text preset of SillyTavern.")
    frame = Frame(graph, llm=llm)
    context, instruct = preset.parts.get("context", {}), preset.parts.get("instruct", {})
    prompt = preset.parts.get("sysprompt", {})
    blocks: list[dict[str, Any]] = []
    story = context.get("story_string")
    system = prompt.get("content")
    if isinstance(story, str) and story:
        frame.lore()
        frame.character()
        values = {"system": system} if isinstance(system, str) and system else {}
        source = frame.text(story, "Story string", syntax="story", **values)
        blocks.append({"id": "story", "kind": "text", "source": source})
    elif isinstance(system, str) and system:
        blocks.append({"id": "system", "kind": "text", "source": frame.text(system, "System prompt")})
    start = context.get("chat_start")
    if isinstance(start, str) and start:
        blocks.append({"id": "chat start", "kind": "text", "source": frame.text(start, "Start of the chat")})
    frame.history()
    blocks += [{"id": "history", "kind": "history"}, {"id": "user input", "kind": "user_input"}]
    after = prompt.get("post_history")
    if isinstance(after, str) and after:
        blocks.append({"id": "post-history", "kind": "text", "source": frame.text(after, "After the history")})
    template: dict[str, Any] = {"blocks": blocks, "output": "single_string"}
    if instruct:
        template["role_texts"] = {role: _around(preset, instruct, role) for role in _SEQUENCES}
    frame.assembler.config["template"] = template
    inputs, further = samplers_of(preset.parts.get("preset", {}), TEXT)
    stop = instruct.get("stop_sequence")
    if isinstance(stop, str) and stop:
        further["stop"] = [stop]
    frame.ask(inputs, further, "")
    graph.extensions = {"sillytavern": _rest(preset)}
    return graph


def _around(preset: Preset, instruct: dict[str, Any], role: str) -> str:
    before, after = (instruct.get(key) for key in _SEQUENCES[role])
    texts = [text.replace("{{name}}", "{name}") if isinstance(text, str) else "" for text in (before, after)]
    wrapped = "\n" if instruct.get("wrap", True) is True else ""
    made = f"{texts[0]}{wrapped if texts[0] else ''}{{content}}{texts[1]}{wrapped}"
    if len(made) > _MOST or made.count("{content}") != 1 or made.count("{name}") > 1:
        said = f"the sequences of {role!r} cannot be put around a message; its plain text is used"
        preset.problems.append(Problem(f"instruct.{_SEQUENCES[role][0]}", said))
        return "{content}\n"
    return made


def _rest(preset: Preset) -> dict[str, Any]:
    used = {
        "context": {"story_string", "chat_start"},
        "instruct": {"stop_sequence", *(key for keys in _SEQUENCES.values() for key in keys)},
        "sysprompt": {"content", "post_history"},
        "preset": set(TEXT),
        "reasoning": set(),
    }
    rest: dict[str, Any] = {
        name: {key: value for key, value in part.items() if key not in used[name]}
        for name, part in preset.parts.items()
    }
    if not any(part is preset.document for part in preset.parts.values()):
        rest |= {key: value for key, value in preset.document.items() if key not in preset.parts}
    return rest
