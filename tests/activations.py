"""What tests of activation need: entries in few words, and stand-ins for what activation asks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from innkeeper.knowledge.activation.base import CompiledBase, compile_base
from innkeeper.knowledge.activation.interface import Line, Message, Request
from innkeeper.knowledge.activation.native import Activation, activate
from innkeeper.knowledge.activation.questions import Likeness
from innkeeper.knowledge.model.base import BaseInfo, Item
from innkeeper.knowledge.model.entry import ALWAYS, read_entry
from innkeeper.knowledge.regexes.interface import Regex, Verdict


def item(id: str, *keywords: str, text: str | None = None, st: Mapping[str, Any] | None = None, **fields: Any) -> Item:
    """An entry; `fields` are those of all its parts, by their names."""
    criteria = {"keywords": list(keywords)}
    usage: dict[str, Any] = {}
    management: dict[str, Any] = {}
    document: dict[str, Any] = {"id": id, "content": {"value": f"text of {id}" if text is None else text}}
    for name, value in fields.items():
        if name in (
            "key_groups",
            "use_semantic_search",
            "semantic_threshold",
            "trigger_conditions",
            "trigger_probability",
        ):
            criteria[name] = value
        elif name in ("tags", "child_ids", "related_ids", "is_enabled"):
            management[name] = value
        elif name == "always":
            management.setdefault("tags", []).append(ALWAYS)
        elif name == "content":
            document["content"] = value
        elif name in ("entry_type", "displayName", "extensions"):
            document[name] = value
        elif name == "defines":
            document["variable_handling"] = {"defines_variables": value}
        else:
            usage[name] = value
    if st is not None:
        document.setdefault("extensions", {})["sillytavern"] = dict(st)
    document |= {"activation_criteria": criteria, "usage_metadata": usage, "management_metadata": management}
    entry, problems = read_entry(document)
    assert entry is not None, problems
    return Item(document, entry)


def base(*items: Item, id: str = "lore", name: str = "Lore", **kb: Any) -> CompiledBase:
    return compile_base(id, items, info=BaseInfo(kb_id=id, kb_displayName=name, kb_extensions=kb or None))


def said(*texts: str | Message) -> list[Message]:
    return [text if isinstance(text, Message) else Message(text) for text in texts]


class Words:
    """A token for each word."""

    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())


class PythonRegexes:
    """Python's own regular expressions, for those that mean the same in JavaScript."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def test(self, regexes: Sequence[Regex], text: str) -> list[Verdict]:
        return [self._test(regex, text) for regex in regexes]

    def _test(self, regex: Regex, text: str) -> Verdict:
        self.asked.append((regex.pattern, text))
        if regex.pattern == "explodes":
            return Verdict.TIMEOUT
        flags = re.IGNORECASE if "i" in regex.flags else 0
        try:
            return Verdict.MATCH if re.search(regex.pattern, text, flags) else Verdict.NO_MATCH
        except re.error:
            return Verdict.INVALID


class Scores:
    """Likeness that a test chooses."""

    def __init__(self, scores: Mapping[str, float], threshold: float = 0.5, **more: Any) -> None:
        self._likeness = Likeness(scores, threshold, **more)
        self.queries: list[str] = []

    async def likeness(self, base: str, query: str) -> Likeness | None:
        self.queries.append(query)
        return self._likeness


async def ask(
    items: Sequence[Item] | CompiledBase | Sequence[CompiledBase],
    *texts: str | Message,
    regexes: Any = None,
    semantic: Any = None,
    plugins: Any = None,
    remembered: Mapping[str, Any] | None = None,
    **request: Any,
) -> Activation:
    """Activates entries for messages, the newest last, with seed 0."""
    if isinstance(items, CompiledBase):
        bases: list[CompiledBase] = [items]
    else:
        bases = [each for each in items if isinstance(each, CompiledBase)]
        made = [each for each in items if isinstance(each, Item)]
        bases = bases or [base(*made)]
    return await activate(
        bases,
        Request(messages=said(*texts), **{"seed": 0, **request}),
        counter=Words(),
        regexes=PythonRegexes() if regexes is None else regexes,
        semantic=semantic,
        plugins=plugins,
        remembered=remembered,
    )


def active(found: Activation) -> list[str]:
    """Ids in the order in which they are inserted."""
    return [each.entry for each in found.result.active]


def line(found: Activation, id: str) -> Line:
    """What the trace says of an entry."""
    (one,) = [line for line in found.result.trace if line.entry == id]
    return one


def text_of(found: Activation, id: str) -> str:
    (one,) = [each for each in found.result.active if each.entry == id]
    return one.text
