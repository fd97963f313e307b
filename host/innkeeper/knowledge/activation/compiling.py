"""Makes an entry ready for activation, once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from innkeeper.knowledge.activation.compiled import CompiledEntry, Group, Key, all_keys
from innkeeper.knowledge.activation.conditions import read_conditions
from innkeeper.knowledge.activation.content import Piece, cut
from innkeeper.knowledge.activation.decorators import Decorators, split_decorators
from innkeeper.knowledge.keywords.boundaries import Mode
from innkeeper.knowledge.keywords.keys import MACRO, Pattern, pattern_of, regex_of
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import ALWAYS, GROUP, Affix, Entry
from innkeeper.knowledge.model.sillytavern import KEY, SillyTavern, read_sillytavern
from innkeeper.knowledge.regexes.interface import Regex

OWN: Final = "innkeeper"
"""Under which key of `extensions` and `kb_extensions` lies what this host adds: `match`, a value of `Mode`."""

MOST_GROUPS: Final = 32
"""Inclusion groups of one entry; further names are left out."""

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
    keywords, conditions = (
        keys(criteria.keywords),
        read_conditions([each.model_dump() for each in criteria.trigger_conditions]),
    )
    every, calling = all_keys(keywords, groups), _calling(keywords, groups)
    by_conditions = bool(conditions) and not (calling or criteria.use_semantic_search)
    return CompiledEntry(
        item=item,
        entry=entry,
        extra=extra,
        decorators=decorators,
        keywords=keywords,
        groups=tuple(groups),
        conditions=conditions,
        always=always,
        once=once,
        timed=once or decorators.keep_activate_after_match or bool(extra.sticky or extra.cooldown),
        scan_depth=extra.scanDepth if decorators.scan_depth is None else decorators.scan_depth,
        texts=frozenset(kind for field, kind in _TEXTS.items() if getattr(extra, field)),
        inclusion=tuple(dict.fromkeys(name.strip() for name in named if name.strip()))[:MOST_GROUPS],
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
        patterns=_words(every),
        calling=_words(calling),
        called=always or by_conditions or any(key.pattern is None for key in calling),
        has_macros=any(key.macro for key in every),
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


def _calling(keywords: Sequence[Key], groups: Sequence[Group]) -> Sequence[Key]:
    """The keys of which one must occur before an entry's words can be met."""
    if keywords:
        return keywords
    # Each of these groups must hold, so one of them is enough to look at.
    return min((group.keys for group in groups if group.logic in ("AND", "OR") and group.keys), key=len, default=())


def _words(keys: Sequence[Key]) -> tuple[Pattern, ...]:
    return tuple(dict.fromkeys(key.pattern for key in keys if key.pattern is not None))


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
