"""What a prompt is put together from, and how much of it there may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from innkeeper.knowledge.activation.interface import Active, Message
from innkeeper.knowledge.assembly import bounds
from innkeeper.knowledge.assembly.template import Template, TextBlock
from innkeeper.knowledge.model.entry import CRITICAL, Affix, Entry
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

ROLES = ("system", "user", "assistant")


def unused(inputs: Inputs, template: Template) -> list[str]:
    """A sentence on each kind of input that the template has no block for."""
    kinds = {block.kind for block in template.blocks if block.is_enabled}
    given = {"history": inputs.history, "user_input": inputs.user_input, "examples": inputs.examples}
    return [
        f"the template has no block of the kind {kind!r}, so what was given of it is not in the prompt"
        for kind, value in given.items()
        if value and kind not in kinds
    ]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a template is filled with.

    Attributes:
        active: entries, in the order in which they are inserted.
        history: the conversation so far, the newest message last.
        user_input: what the user says now, or None.
        examples: dialogues, the most important first; each its messages, or its text.
        texts: by the names that blocks use.
        llm_parameters: passed on.
        names: of "user", "assistant" and "system", for messages without a name.
    """

    active: Sequence[Active] = ()
    history: Sequence[Message] = ()
    user_input: Message | str | None = None
    examples: Sequence[Sequence[Message] | str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    llm_parameters: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


def check_inputs(inputs: Inputs, template: Template) -> None:
    """Raises KnowledgeError, with everything that is wrong, where inputs are too many, too long or of no role.

    What they become is bounded, too: what a template repeats is short, and a text counts as often as it is used.
    """
    problems = [
        Problem(f"names.{role[:40]}", f"is longer than {bounds.MOST_NAME} characters")
        for role, name in list(inputs.names.items())[:10]
        if len(name) > bounds.MOST_NAME
    ]
    dialogues = [[each] if isinstance(each, str) else each for each in inputs.examples[: bounds.MOST_MESSAGES + 1]]
    for name, found, most in (
        ("active", len(inputs.active), bounds.MOST_ACTIVE),
        ("history", len(inputs.history), bounds.MOST_MESSAGES),
        ("examples", max(len(inputs.examples), sum(map(len, dialogues))), bounds.MOST_MESSAGES),
        ("texts", len(inputs.texts), bounds.MOST_TEXTS),
        ("llm_parameters", len(inputs.llm_parameters), bounds.MOST_TEXTS),
    ):
        if found > most:
            problems.append(Problem(name, f"has {found:,} items, the most is {most:,}"))
    if problems:
        raise KnowledgeError(problems)
    said = [("history", number, message) for number, message in enumerate(inputs.history)]
    said += [("examples", n, one) for n, each in enumerate(dialogues) for one in each if isinstance(one, Message)]
    if isinstance(inputs.user_input, Message):
        said.append(("user_input", 0, inputs.user_input))
    for where, number, message in said:
        if message.role not in ROLES:
            problems.append(Problem(f"{where}[{number}].role", f"is {message.role[:40]!r}; it must be one of {ROLES}"))
    for active in inputs.active:
        if active.role is not None and active.role not in ROLES:
            problems.append(Problem("role", f"is {active.role[:40]!r}; it must be one of {ROLES}", active.name[:100]))
    if problems:
        raise KnowledgeError(problems)
    characters = sum(len(message.content) + len(message.name) for _, _, message in said)
    characters += sum(len(each) for each in inputs.examples if isinstance(each, str))
    characters += sum(len(active.text) for active in inputs.active) + sum(map(len, inputs.texts.values()))
    used = [block.source for block in template.blocks if isinstance(block, TextBlock) and block.source is not None]
    characters += sum(len(inputs.texts.get(source, "")) for source in used)
    characters += len(inputs.user_input) if isinstance(inputs.user_input, str) else 0
    if characters > bounds.MOST_CHARACTERS:
        raise KnowledgeError(
            f"all inputs together have {characters:,} characters, the most is {bounds.MOST_CHARACTERS:,}"
        )


def active_of(base: str, entry: Entry) -> Active:
    """An entry as if it were active, for those who chose it by other means than activation.

    Args:
        base: id of its base.
        entry: its references and variables stay as they are written.
    """
    usage = entry.usage_metadata
    path = entry.content.path
    return Active(
        base=base,
        entry=entry.id,
        name=entry.name,
        text=_affix(usage.prefix) + entry.text + _affix(usage.suffix),
        priority=usage.priority,
        placement=usage.placement or "",
        role=usage.role,
        depth=usage.depth_offset,
        outlet="",
        tokens=0,
        exclude_from_history=usage.exclude_from_history,
        media=(path, entry.content.mime_type) if path else None,
        tags=tuple(entry.management_metadata.tags),
        entry_type=entry.entry_type,
        critical=usage.token_budget_impact == CRITICAL,
    )


def _affix(affix: Affix | None) -> str:
    return affix.text if affix is not None and affix.is_enabled else ""
