"""`extensions.sillytavern`: what SillyTavern's world info knows and CAIU has no field for, under SillyTavern's names.

Importers write it, export reads it back, and activation honours it, whoever wrote it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from innkeeper.knowledge.model.entry import Entry, Key, Names, Part

KEY = "sillytavern"
"""Under which key of `extensions` it lies."""

Few = Annotated[int, Field(ge=0, le=1_000_000)]


class SillyTavern(Part):
    """What activation honours of it. Absent, null and of a wrong type all mean the default.

    Attributes:
        scanDepth: how many of the newest messages are looked at; None: as for all.
        caseSensitive, matchWholeWords, useGroupScoring: None: as for all.
        group: names of inclusion groups, separated by commas: one entry of each is active.
        groupOverride: whether it wins by order.
        groupWeight: its share where chance decides.
        sticky, cooldown, delay: in messages.
        excludeRecursion: whether what other entries say cannot activate it.
        preventRecursion: whether what it says activates no other.
        delayUntilRecursion: the level of recursion from which it can be active at all; true is 1.
        triggers: kinds of generation that it is for; empty: all.
        characterFilter: {isExclude, names, tags}: characters that it is for.
        match...: texts beside the messages that are looked at.
        useRegex: whether its keys are regular expressions without slashes (V3).
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=False, allow_inf_nan=False)

    scanDepth: Few | None = None
    caseSensitive: bool | None = None
    matchWholeWords: bool | None = None
    useGroupScoring: bool | None = None
    group: Key = ""
    groupOverride: bool = False
    groupWeight: Few = 100
    sticky: Few | None = None
    cooldown: Few | None = None
    delay: Few | None = None
    excludeRecursion: bool = False
    preventRecursion: bool = False
    delayUntilRecursion: bool | Few = 0
    triggers: Names = Field(default_factory=list)
    characterFilter: dict[str, Any] | None = None
    matchPersonaDescription: bool = False
    matchCharacterDescription: bool = False
    matchCharacterPersonality: bool = False
    matchCharacterDepthPrompt: bool = False
    matchScenario: bool = False
    matchCreatorNotes: bool = False
    useRegex: bool = False


def read_sillytavern(entry: Entry) -> SillyTavern:
    """What an entry's extensions say; fields of a wrong type are left out."""
    raw = (entry.extensions or {}).get(KEY)
    if not isinstance(raw, dict):
        return SillyTavern()
    try:
        return SillyTavern.model_validate(raw)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors(include_url=False, include_context=False, include_input=False)}
        return SillyTavern.model_validate({key: value for key, value in raw.items() if key not in wrong})
