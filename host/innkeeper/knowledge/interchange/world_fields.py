"""The fields of SillyTavern's world info: their names, their defaults, and their names in a `character_book`."""

from __future__ import annotations

from typing import Any, Final

TEMPLATE: Final[dict[str, Any]] = {
    "uid": 0,
    "key": [],
    "keysecondary": [],
    "comment": "",
    "content": "",
    "constant": False,
    "vectorized": False,
    "selective": True,
    "selectiveLogic": 0,
    "addMemo": False,
    "order": 100,
    "position": 0,
    "disable": False,
    "ignoreBudget": False,
    "excludeRecursion": False,
    "preventRecursion": False,
    "matchPersonaDescription": False,
    "matchCharacterDescription": False,
    "matchCharacterPersonality": False,
    "matchCharacterDepthPrompt": False,
    "matchScenario": False,
    "matchCreatorNotes": False,
    "delayUntilRecursion": 0,
    "probability": 100,
    "useProbability": True,
    "depth": 4,
    "outletName": "",
    "group": "",
    "groupOverride": False,
    "groupWeight": 100,
    "scanDepth": None,
    "caseSensitive": None,
    "matchWholeWords": None,
    "useGroupScoring": None,
    "automationId": "",
    "role": 0,
    "sticky": None,
    "cooldown": None,
    "delay": None,
    "triggers": [],
}
"""Every field of an entry with its default; `characterFilter` and `extensions` are there only where they are set."""

MAPPED: Final = frozenset(
    {
        "uid", "key", "keysecondary", "comment", "content", "constant", "vectorized", "selective", "selectiveLogic",
        "order", "position", "disable", "ignoreBudget", "probability", "useProbability", "depth", "role", "group",
    }
)  # fmt: skip
"""Fields that are made from fields of CAIU. All others lie under their own names in `extensions.sillytavern`."""

SOURCE: Final = "_source"
"""In `extensions.sillytavern`: {"format", "residue", ...}: where an entry was read, and what the translation lost."""

NATIVE: Final = "innkeeper"
"""In the `extensions` of what is exported: what CAIU knows and SillyTavern does not."""

LOGIC: Final = ("OR", "NOT_ALL", "NOT_ANY", "AND")
"""`selectiveLogic` 0 to 3 as the logic of a key group."""

SECONDARY: Final = "secondary"
"""The `group_id` of `keysecondary`."""

AT_DEPTH: Final = 4
OUTLET: Final = 7

CATEGORY: Final = "st_content_category:"
CATEGORIES: Final = {
    0: "persona_supplement",
    1: "persona_elaboration",
    2: "pre_authors_note",
    3: "post_authors_note",
    5: "pre_send_modifier",
    6: "post_receive_modifier",
    7: "outlet",
}
"""The tag of each position; position 4 is `depth_offset`."""

PLACEMENTS: Final[dict[int, str | None]] = {
    0: "before_prompt",
    1: "after_prompt",
    2: "scratchpad_notes",
    3: "scratchpad_notes",
    4: "before_prompt",
    5: "before_prompt",
    6: "before_prompt",
    7: None,
}
"""The `placement` of each position."""

INCLUSION: Final = "st_inclusion_group:"

ROLES: Final = ("system", "user", "assistant")

BOOK_EXTENSIONS: Final = {
    "position": "position",
    "exclude_recursion": "excludeRecursion",
    "prevent_recursion": "preventRecursion",
    "delay_until_recursion": "delayUntilRecursion",
    "display_index": "displayIndex",
    "probability": "probability",
    "useProbability": "useProbability",
    "depth": "depth",
    "selectiveLogic": "selectiveLogic",
    "outlet_name": "outletName",
    "group": "group",
    "group_override": "groupOverride",
    "group_weight": "groupWeight",
    "scan_depth": "scanDepth",
    "match_whole_words": "matchWholeWords",
    "case_sensitive": "caseSensitive",
    "use_group_scoring": "useGroupScoring",
    "automation_id": "automationId",
    "role": "role",
    "vectorized": "vectorized",
    "sticky": "sticky",
    "cooldown": "cooldown",
    "delay": "delay",
    "match_persona_description": "matchPersonaDescription",
    "match_character_description": "matchCharacterDescription",
    "match_character_personality": "matchCharacterPersonality",
    "match_character_depth_prompt": "matchCharacterDepthPrompt",
    "match_scenario": "matchScenario",
    "match_creator_notes": "matchCreatorNotes",
    "triggers": "triggers",
    "ignore_budget": "ignoreBudget",
    "character_filter": "characterFilter",
}
"""In a `character_book`: which key of an entry's `extensions` is which field of world info. SillyTavern itself loses
`characterFilter` there; here it has a key of the same style."""
