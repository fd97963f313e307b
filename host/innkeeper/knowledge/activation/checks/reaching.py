"""Whether anything can ever activate an entry, and keys and conditions that have no effect."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from innkeeper.knowledge.activation.checks.finding import Finding
from innkeeper.knowledge.activation.compiled import CompiledEntry, Key
from innkeeper.knowledge.activation.compiling import OWN, VARIABLES, defined_in, own_mode
from innkeeper.knowledge.activation.conditions import Node
from innkeeper.knowledge.activation.sweeps import MOST_SWEEPS
from innkeeper.knowledge.keywords.boundaries import Mode
from innkeeper.knowledge.regexes.interface import Regex

_KEYWORDS = "activation_criteria.keywords"
_GROUPS = "activation_criteria.key_groups"
_CONDITIONS = "activation_criteria.trigger_conditions"
_TRIGGERS = frozenset({"normal", "continue", "impersonate", "swipe", "regenerate", "quiet"})


def reaching(
    entry: CompiledEntry, *, brought: bool, invalid: Collection[Regex], most_likeness: float | None
) -> Iterator[Finding]:
    """What is the matter with what an entry asks for.

    Args:
        entry: which.
        brought: whether others bring it: a container, a reference, a related entry.
        invalid: regular expressions that do not compile.
        most_likeness: the largest cosine that can be expected, or None.
    """

    def finding(where: str, message: str, *, never: bool = False) -> Finding:
        return Finding(entry.id, entry.entry.name, where, message, never)

    criteria, extra = entry.entry.activation_criteria, entry.extra
    yield from _keys(entry, invalid)
    words = _words_can_be_met(entry, invalid)
    threshold = criteria.semantic_threshold
    too_high = threshold is not None and most_likeness is not None and threshold > most_likeness
    semantic = criteria.use_semantic_search and not too_high
    if criteria.use_semantic_search and too_high:
        message = f"is {threshold:g}, and the model says at most {most_likeness:.2f} of two texts; leave it out"
        yield finding("activation_criteria.semantic_threshold", message, never=not (words or entry.always or brought))
    elif not (words or semantic or entry.always or brought or entry.asks_conditions_only):
        yield finding("activation_criteria", _why_unreachable(entry), never=True)
    if criteria.trigger_probability == 0:
        yield finding("activation_criteria.trigger_probability", "is 0: chance never lets it through", never=True)
    for node in entry.conditions:
        if node.kind == "broken":
            yield finding(_CONDITIONS, f"has a condition that never holds: {node.problem}", never=True)
        elif problem := _inner_problem(node):
            yield finding(_CONDITIONS, f"has a condition inside of others that never holds: {problem}")
    if entry.decorators.dont_activate and not entry.decorators.activate:
        yield finding("content.value", "says @@dont_activate", never=True)
    if entry.delayed > MOST_SWEEPS:
        message = f"is {entry.delayed:,}, and recursion goes {MOST_SWEEPS} deep at most"
        yield finding("extensions.sillytavern.delayUntilRecursion", message, never=True)
    if extra.triggers and not _TRIGGERS & set(extra.triggers):
        message = f"names no kind of generation that there is; there are {', '.join(sorted(_TRIGGERS))}"
        yield finding("extensions.sillytavern.triggers", message, never=True)
    yield from _content(entry)
    own = (entry.entry.extensions or {}).get(OWN)
    if isinstance(own, dict) and "match" in own and own_mode(entry.entry.extensions) is None:
        modes = ", ".join(mode.value for mode in Mode)
        yield finding(f"extensions.{OWN}.match", f"is none of {modes}, and has no effect")


def _content(entry: CompiledEntry) -> Iterator[Finding]:
    is_variables = entry.entry.content.mime_type == VARIABLES
    if is_variables and defined_in(entry.entry.text) is None:
        yield Finding(entry.id, entry.entry.name, "content.value", "is no JSON object of variables")
    says = entry.pieces or entry.is_group or entry.media or entry.defines or is_variables
    if not says and not entry.entry.management_metadata.child_ids:
        yield Finding(entry.id, entry.entry.name, "content", "is empty: nothing is inserted when it is active")


def _keys(entry: CompiledEntry, invalid: Collection[Regex]) -> Iterator[Finding]:
    criteria = entry.entry.activation_criteria
    written = [(_KEYWORDS, criteria.keywords), *((_GROUPS, group.keys) for group in criteria.key_groups)]
    for where, keys in written:
        if any(not key.strip() for key in keys):
            yield Finding(entry.id, entry.entry.name, where, "has a blank key, which is as if not written")
        folded = [key.strip().casefold() for key in keys if key.strip()]
        if len(set(folded)) < len(folded) and not entry.sensitive:
            yield Finding(entry.id, entry.entry.name, where, "has the same key twice")
    for group in criteria.key_groups:
        if not any(key.strip() for key in group.keys):
            name = f"{group.group_id!r} " if group.group_id else ""
            yield Finding(entry.id, entry.entry.name, _GROUPS, f"group {name}has no keys, and asks for nothing")
    for key in entry.keys:
        if key.regex in invalid:
            where = _KEYWORDS if key in entry.keywords else _GROUPS
            yield Finding(entry.id, entry.entry.name, where, f"{key.written[:100]} does not compile in JavaScript")
    yield from _shadowed(entry)


def _shadowed(entry: CompiledEntry) -> Iterator[Finding]:
    """Keywords of which another is a part: where parts of words count, the shorter one is met first."""
    if entry.mode is not Mode.SUBSTRING or len(entry.keywords) > 50:
        return
    texts = [key.pattern.text for key in entry.keywords if key.pattern is not None]
    for text in texts:
        shorter = next((other for other in texts if other != text and other in text), None)
        if shorter is not None:
            message = f"{text!r} has no effect: {shorter!r} is a part of it, and enough"
            yield Finding(entry.id, entry.entry.name, _KEYWORDS, message)


def _can_be_met(key: Key, invalid: Collection[Regex]) -> bool:
    return key.regex is None or key.regex not in invalid


def _words_can_be_met(entry: CompiledEntry, invalid: Collection[Regex]) -> bool:
    if not entry.asks_words:
        return False
    forbidden = {key for group in entry.groups if group.logic == "NOT_ANY" for key in group.keys}
    keywords = [key for key in entry.keywords if _can_be_met(key, invalid) and key not in forbidden]
    if entry.keywords and not keywords:
        return False
    for group in entry.groups:
        possible = [key for key in group.keys if _can_be_met(key, invalid) and key not in forbidden]
        if group.logic == "OR" and group.keys and not possible:
            return False
        if group.logic == "AND" and len(possible) < len(group.keys):
            return False
    return True


def _why_unreachable(entry: CompiledEntry) -> str:
    if entry.asks_words:
        return "asks for words that can never be met together: they do not compile, or a NOT_ANY group forbids them"
    if any(group.logic.startswith("NOT") for group in entry.groups):
        return "has negative groups only, which hold it back and never call for it; give it keywords"
    return (
        "can never be active: it has no keywords, no semantic search, no condition, and nothing that brings it; "
        "the tag activation_trigger:always_active makes it always active"
    )


def _inner_problem(node: Node) -> str:
    for each in node.nodes:
        if problem := each.problem or _inner_problem(each):
            return problem
    return ""
