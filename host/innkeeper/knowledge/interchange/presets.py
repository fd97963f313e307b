"""Presets of SillyTavern: which kind a file is, and what is in it without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from innkeeper.knowledge.interchange.reading import read_json
from innkeeper.knowledge.interchange.secret_fields import without_secrets
from innkeeper.knowledge.model.problems import KnowledgeError, Problem
from innkeeper.printable import printable

PARTS: Final = ("instruct", "context", "sysprompt", "preset", "reasoning")
"""Keys of a file that has several text presets (a "master export")."""

MOST_ITEMS: Final = 180
"""Items of one chat preset; those in the wild have about fifty, and an assembler's template has 200 blocks."""

GLOBAL_ORDER: Final = 100001
DEFAULT_ORDER: Final = 100000

_LEGACY: Final = {"main_prompt": "main", "nsfw_prompt": "nsfw", "jailbreak_prompt": "jailbreak"}
_CHAT: Final = frozenset({"prompts", "prompt_order", "chat_completion_source", "openai_max_context", *_LEGACY})
_SAMPLERS: Final = frozenset({"temp", "rep_pen", "top_k", "top_p", "sampler_order", "samplers", "typical_p"})


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a chat preset that is switched on, in the order of the prompt.

    Attributes:
        identifier: names it: "main", "chatHistory" and so on, or what its author's program made up.
        name: for people.
        role: "system", "user" or "assistant".
        content: its text with macros; "" for a marker.
        depth: None: in the prompt's order; N: in the conversation, before the N-th message from its end.
        order: of those at one depth; larger stands nearer to the end.
        rest: its other fields.
    """

    identifier: str
    name: str
    role: str
    content: str
    depth: int | None
    order: float
    rest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset that was read.

    Attributes:
        kind: "chat", or "text" for one or several of `PARTS` and of samplers.
        name: of the file without its ending, or what the preset says.
        document: what it says, without secrets.
        parts: for "text": its parts by name; samplers are "preset".
        items: for "chat": what the prompt is made of.
        dropped: places of fields that were dropped since they can hold a secret; their values are gone.
        problems: what is not as it should be.
    """

    kind: str
    name: str
    document: dict[str, Any]
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_preset(data: bytes, name: str) -> Preset:
    """A chat or text preset of any kind. It computes: not for trio's thread.

    Args:
        data: the file.
        name: its name, without its folders.

    Raises:
        KnowledgeError: it is none, or cannot be read.
    """
    raw = read_json(data, name)
    if not isinstance(raw, dict):
        raise KnowledgeError("is no preset: it should be an object", source=name)
    document, dropped = without_secrets(raw)
    stem = printable(name.rpartition(".")[0] or name)[:200] or "preset"
    if document.keys() & _CHAT:
        items, problems = _items(document)
        return Preset("chat", stem, document, items=items, dropped=dropped, problems=problems)
    parts = _parts(document)
    if not parts:
        found = ", ".join(repr(str(key)[:40]) for key in list(raw)[:10]) or "nothing"
        raise KnowledgeError(f"is no preset that is known: at its top level it has {found}", source=name)
    called = document.get("name")
    called = printable(called)[:200] if isinstance(called, str) else ""
    return Preset("text", called or stem, document, parts, dropped=dropped)


def _parts(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    several = {key: document[key] for key in PARTS if isinstance(document.get(key), dict)}
    if several:
        return several
    if isinstance(document.get("story_string"), str):
        return {"context": document}
    if {"input_sequence", "output_sequence"} & document.keys():
        return {"instruct": document}
    if len(document.keys() & _SAMPLERS) >= 2:
        return {"preset": document}
    if isinstance(document.get("content"), str) and "name" in document:
        return {"sysprompt": document}
    if {"prefix", "suffix"} <= document.keys():
        return {"reasoning": document}
    return {}


def _items(document: Mapping[str, Any]) -> tuple[list[Item], list[Problem]]:
    problems: list[Problem] = []
    prompts: dict[str, Mapping[str, Any]] = {}
    given = document.get("prompts")
    if given is not None and not isinstance(given, list):
        problems.append(Problem("prompts", "should be a list; none is used"))
    for at, prompt in enumerate(given if isinstance(given, list) else []):
        if isinstance(prompt, Mapping) and isinstance(prompt.get("identifier"), str):
            prompts[prompt["identifier"]] = prompt
        else:
            problems.append(Problem(f"prompts[{at}]", "should be an object with an 'identifier'; it is left out"))
    for key, identifier in _LEGACY.items():
        text = document.get(key)
        if identifier not in prompts and isinstance(text, str) and text:
            prompts[identifier] = {"identifier": identifier, "role": "system", "content": text}
    items = []
    order = _order(document, prompts, problems)
    if len(order) > MOST_ITEMS:
        problems.append(Problem("prompt_order", f"has {len(order):,} items; the first {MOST_ITEMS:,} are used"))
    for identifier in order[:MOST_ITEMS]:
        items.append(_item(identifier, prompts.get(identifier, {"identifier": identifier}), problems))
    return items, problems


def _order(document: Mapping[str, Any], prompts: Mapping[str, Any], problems: list[Problem]) -> list[str]:
    orders = document.get("prompt_order")
    lists: dict[int, list[Any]] = {}
    for each in orders if isinstance(orders, list) else []:
        if not isinstance(each, Mapping):
            continue
        of, order = each.get("character_id"), each.get("order")
        if isinstance(of, int) and isinstance(order, list):
            lists[of] = order
    chosen = lists.get(GLOBAL_ORDER, lists.get(DEFAULT_ORDER))
    if chosen is None:
        # As old presets are: the texts around the conversation.
        markers = [name for name in DEFAULT_MARKERS if name not in prompts]
        before = [name for name in prompts if name not in ("jailbreak", "chatHistory")]
        after = ["chatHistory", *(name for name in ("jailbreak",) if name in prompts)]
        return [*before, *(name for name in markers if name != "chatHistory"), *after]
    found: dict[str, None] = {}
    for at, each in enumerate(chosen):
        identifier = each.get("identifier") if isinstance(each, Mapping) else None
        if not isinstance(identifier, str):
            problems.append(Problem(f"prompt_order[{at}]", "should have an 'identifier'; it is left out"))
        elif identifier in found:
            problems.append(Problem(f"prompt_order[{at}]", f"{identifier[:60]!r} is there twice; the first counts"))
        elif each.get("enabled") is True:
            if identifier in prompts or identifier in DEFAULT_MARKERS:
                found[identifier] = None
            else:
                problems.append(Problem(f"prompt_order[{at}]", f"there is no prompt {identifier[:60]!r}"))
    return list(found)


DEFAULT_MARKERS: Final = (
    "worldInfoBefore", "personaDescription", "charDescription", "charPersonality", "scenario", "worldInfoAfter",
    "dialogueExamples", "chatHistory",
)  # fmt: skip
"""Items whose content comes from elsewhere."""


def _item(identifier: str, prompt: Mapping[str, Any], problems: list[Problem]) -> Item:
    role, content, name = prompt.get("role"), prompt.get("content"), prompt.get("name")
    if content is not None and not isinstance(content, str):
        problems.append(Problem(f"prompts.{identifier[:60]}.content", "should be text; none is used"))
    depth: int | None = None
    if prompt.get("injection_position") == 1:
        given = prompt.get("injection_depth", 4)
        whole = isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 1_000_000
        if not whole:
            problems.append(Problem(f"prompts.{identifier[:60]}.injection_depth", "should be a number; 4 is used"))
        depth = given if whole else 4
    order = prompt.get("injection_order", 100)
    known = ("identifier", "name", "role", "content")
    return Item(
        identifier[:200],
        name[:200] if isinstance(name, str) and name else identifier[:200],
        role if role in ("system", "user", "assistant") else "system",
        content if isinstance(content, str) else "",
        depth,
        order if isinstance(order, int | float) and not isinstance(order, bool) and abs(order) <= 1e9 else 100,
        {key: value for key, value in prompt.items() if key not in known},
    )
