"""An entry as activation needs it, made once and never changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from innkeeper.knowledge.activation.conditions import Node, read_conditions
from innkeeper.knowledge.activation.content import Piece, cut
from innkeeper.knowledge.activation.decorators import Decorators, split_decorators
from innkeeper.knowledge.keywords.boundaries import Mode
from innkeeper.knowledge.keywords.keys import MACRO, Pattern, pattern_of, regex_of
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import ALWAYS, CRITICAL, GROUP, Affix, Entry
from innkeeper.knowledge.model.sillytavern import KEY, SillyTavern, read_sillytavern
from innkeeper.knowledge.regexes.interface import Regex

OWN: Final = "innkeeper"
"""Under which key of `extensions` and `kb_extensions` lies what this host adds: `match`, a value of `Mode`."""

VARIABLES: Final = "application/json+comfytavern-variable-definition"
"""The MIME type of an entry whose text is a JSON object of variables that it defines; it is not inserted."""

GROUP_TAG: Final = "st_inclusion_group:"
"""Begins a tag that names an inclusion group."""

MOST_DEFINED: Final = 1 << 16
"""Characters of JSON that an entry of `VARIABLES` may have."""

_TEXTS = {
    "matchPersonaDescription": "persona_description",
    "matchCharacterDescription": "character_description",
    "matchCharacterPersonality": "character_personality",
    "matchCharacterDepthPrompt": "character_depth_prompt",
    "matchScenario": "scenario",
    "matchCreatorNotes": "creator_notes",
}

_OUTLET = 7


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an entry: exactly one of the three, or none of them for a key that is never met.

    Attributes:
        written: as the author wrote it.
        pattern: of a word.
        regex: of a regular expression.
        macro: whether its text hangs on the conversation, with the pattern's case and mode.
    """

    written: str
    pattern: Pattern | None = None
    regex: Regex | None = None
    macro: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Keys that count together."""

    name: str
    logic: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class CompiledEntry:
    """An entry.

    Attributes:
        item: what it was made of.
        entry: the same, for short.
        extra: what SillyTavern adds.
        decorators: at the head of its text.
        keywords: one of them is enough; blank ones are left out.
        groups: each must hold.
        conditions: all must hold.
        always: it is active whatever is said.
        once: it may be active once in a session.
        timed: something hangs on when it was active.
        scan_depth: of its own, or None.
        texts: kinds of other texts that it looks at.
        inclusion: names of its inclusion groups.
        delayed: the level of recursion from which it can be active; 0: at once.
        pieces: its text without decorators.
        prefix, suffix: around it, in pieces.
        defines: variables that it sets.
        placement, role, depth, reverse_depth, outlet: where it goes.
        media: path and MIME type, or None.
        is_group: its own text is never inserted.
        mode, sensitive: of its keys, for those with macros.
    """

    item: Item
    entry: Entry
    extra: SillyTavern
    decorators: Decorators
    keywords: tuple[Key, ...]
    groups: tuple[Group, ...]
    conditions: tuple[Node, ...]
    always: bool
    once: bool
    timed: bool
    scan_depth: int | None
    texts: frozenset[str]
    inclusion: tuple[str, ...]
    delayed: int
    pieces: tuple[Piece, ...]
    prefix: tuple[Piece, ...]
    suffix: tuple[Piece, ...]
    defines: dict[str, Any]
    placement: str
    role: str | None
    depth: int | None
    reverse_depth: int | None
    outlet: str
    media: tuple[str, str] | None
    is_group: bool
    mode: Mode
    sensitive: bool

    @property
    def id(self) -> str:
        """Its id."""
        return self.entry.id

    @property
    def critical(self) -> bool:
        """Whether it must be there whatever the budget."""
        return self.entry.usage_metadata.token_budget_impact == CRITICAL

    @property
    def asks_words(self) -> bool:
        """Whether there are words that could be met."""
        return bool(self.keywords) or any(group.logic in ("AND", "OR") and group.keys for group in self.groups)

    @property
    def asks_conditions_only(self) -> bool:
        """Whether nothing but its conditions can activate it."""
        semantic = self.entry.activation_criteria.use_semantic_search
        return bool(self.conditions) and not (self.asks_words or semantic or self.always)


def compile_entry(item: Item, mode: Mode) -> CompiledEntry:
    """Makes an entry ready.

    Args:
        item: the entry.
        mode: where keywords count, as its base says.
    """
    entry, extra = item.entry, read_sillytavern(item.entry)
    usage, management = entry.usage_metadata, entry.management_metadata
    decorators, text = split_decorators(entry.text)
    mode, sensitive = mode_of(entry, extra, mode), bool(extra.caseSensitive)

    def keys(written: list[str] | tuple[str, ...]) -> tuple[Key, ...]:
        made = (compile_key(key, sensitive=sensitive, mode=mode, bare=extra.useRegex) for key in written)
        return tuple(key for key in made if key is not None)

    criteria = entry.activation_criteria
    groups = [Group(group.group_id, group.logic, keys(group.keys)) for group in criteria.key_groups]
    if decorators.additional_keys:
        groups.append(Group("@@additional_keys", "OR", keys(decorators.additional_keys)))
    if decorators.exclude_keys:
        groups.append(Group("@@exclude_keys", "NOT_ANY", keys(decorators.exclude_keys)))
    always = ALWAYS in management.tags or decorators.activate
    once = usage.once_per_session or decorators.dont_activate_after_match
    named = [*extra.group.split(","), *(tag.removeprefix(GROUP_TAG) for tag in _group_tags(management.tags))]
    defines = dict(entry.variable_handling.defines_variables) if entry.variable_handling else {}
    content = entry.content
    if content.mime_type == VARIABLES:
        defines.update(defined_in(text) or {})
        text = ""
    is_media = content.path is not None and not content.mime_type.startswith("text/")
    if is_media and not text:
        text = content.alt_text or content.caption or ""
    return CompiledEntry(
        item=item,
        entry=entry,
        extra=extra,
        decorators=decorators,
        keywords=keys(criteria.keywords),
        groups=tuple(groups),
        conditions=read_conditions([each.model_dump() for each in criteria.trigger_conditions]),
        always=always,
        once=once,
        timed=once or decorators.keep_activate_after_match or bool(extra.sticky or extra.cooldown),
        scan_depth=extra.scanDepth if decorators.scan_depth is None else decorators.scan_depth,
        texts=frozenset(kind for field, kind in _TEXTS.items() if getattr(extra, field)),
        inclusion=tuple(dict.fromkeys(name.strip() for name in named if name.strip())),
        delayed=int(extra.delayUntilRecursion),
        pieces=() if entry.entry_type == GROUP else cut(text),
        prefix=_affix(usage.prefix),
        suffix=_affix(usage.suffix),
        defines=defines,
        placement=decorators.position or usage.placement or "before_prompt",
        role=decorators.role or usage.role,
        depth=_depth(decorators, usage.depth_offset),
        reverse_depth=None if decorators.position or decorators.depth is not None else decorators.reverse_depth,
        outlet=_outlet(entry),
        media=(content.path, content.mime_type) if is_media and content.path else None,
        is_group=entry.entry_type == GROUP,
        mode=mode,
        sensitive=sensitive,
    )


def compile_key(written: str, *, sensitive: bool, mode: Mode, bare: bool = False) -> Key | None:
    """Makes a key ready.

    Args:
        written: as the author wrote it.
        sensitive: whether its case counts.
        mode: where it counts.
        bare: whether it is a regular expression without slashes.

    Returns:
        None for a blank key.
    """
    regex = regex_of(written.strip())
    if regex is None and bare and written.strip():
        regex = Regex(written.strip(), "" if sensitive else "i")
    macro = MACRO in written
    if regex is not None:
        return Key(written, regex=regex, macro=macro)
    pattern = pattern_of(written, sensitive=sensitive, mode=mode)
    return None if pattern is None else Key(written, pattern=None if macro else pattern, macro=macro)


def mode_of(entry: Entry, extra: SillyTavern, base: Mode) -> Mode:
    """Where an entry's keywords count: `extensions.innkeeper.match`, else matchWholeWords, else as its base says."""
    own = own_mode(entry.extensions)
    if own is not None:
        return own
    if extra.matchWholeWords is None:
        return base
    if not extra.matchWholeWords:
        return Mode.SUBSTRING
    return Mode.UNICODE if base is Mode.SUBSTRING else base


def own_mode(extensions: dict[str, Any] | None) -> Mode | None:
    """What `match` under `OWN` says, or None where it says nothing that is known."""
    own = (extensions or {}).get(OWN)
    match = own.get("match") if isinstance(own, dict) else None
    return Mode(match) if isinstance(match, str) and match in {mode.value for mode in Mode} else None


def defined_in(text: str) -> dict[str, Any] | None:
    """The variables of an entry of `VARIABLES`; None where its text is no JSON object."""
    try:
        found = json.loads(text, parse_constant=_refuse) if len(text) <= MOST_DEFINED else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _group_tags(tags: list[str]) -> list[str]:
    return [tag for tag in tags if tag.startswith(GROUP_TAG)]


def _affix(affix: Affix | None) -> tuple[Piece, ...]:
    return cut(affix.text) if affix is not None and affix.is_enabled else ()


def _depth(decorators: Decorators, own: int | None) -> int | None:
    if decorators.position:
        return None
    return own if decorators.depth is None else decorators.depth


def _outlet(entry: Entry) -> str:
    raw = (entry.extensions or {}).get(KEY)
    if not isinstance(raw, dict) or raw.get("position") != _OUTLET:
        return ""
    name = raw.get("outletName")
    return name if isinstance(name, str) else ""
