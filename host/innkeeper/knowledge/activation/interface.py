"""What activation is asked and what it answers, whatever the profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a conversation.

    Attributes:
        content: its text.
        role: "system", "user" or "assistant".
        name: who says it, or "".
    """

    content: str
    role: str = "user"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What activation is asked.

    Attributes:
        messages: the conversation, the newest last.
        texts: other texts that entries can look at, by what they are: "persona_description", "character_description",
            "character_personality", "character_depth_prompt", "scenario", "creator_notes".
        injected: texts that every entry looks at, such as an author's note.
        scan_depth: how many of the newest messages are looked at.
        budget: tokens that active entries may have together; None: no bound but the host's.
        recursion: whether what active entries say activates others, and how often at most; 0: not at all.
        variables: values by name, as plain data.
        session: under which once-per-session, timed effects and the overlay live, or "".
        seed: of what chance decides; None: another one each time, named in the result.
        trigger: the kind of generation: "normal", "continue", "impersonate", "swipe", "regenerate" or "quiet".
        character: name of the character, or "".
        character_tags: of the character.
        user: name of the user, or "".
        scope: tags of which an entry must have at least one; empty: all entries.
        force: ids of entries that are active whatever their criteria say.
        dry_run: whether nothing of the session is changed.
        length: how many messages the conversation has altogether, where `messages` are only its newest; None: those.
        greeting: the number of the greeting that the conversation began with, or None where nobody knows.
        related: whether entries that belong to active ones are brought, as the budget allows.
        explain: ids of entries that the trace must have a line of, also where they did not match.
        unmatched: how many other entries without a match the trace may list.
    """

    messages: Sequence[Message] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    injected: Sequence[str] = ()
    scan_depth: int = 4
    budget: int | None = None
    recursion: int = 3
    variables: Mapping[str, Any] = field(default_factory=dict)
    session: str = ""
    seed: int | None = None
    trigger: str = "normal"
    character: str = ""
    character_tags: Sequence[str] = ()
    user: str = ""
    scope: Sequence[str] = ()
    force: Sequence[str] = ()
    dry_run: bool = False
    length: int | None = None
    greeting: int | None = None
    related: bool = True
    explain: Sequence[str] = ()
    unmatched: int = 0


class Outcome(Enum):
    """What became of an entry. Every entry that was looked at has exactly one."""

    ACTIVE = "active"
    NO_MATCH = "no match"
    DISABLED = "disabled"
    CONDITION = "condition"
    PROBABILITY = "probability"
    ONCE = "once per session"
    COOLDOWN = "cooldown"
    DELAY = "delay"
    TRIGGER = "trigger"
    CHARACTER = "character"
    SCOPE = "scope"
    RECURSION = "recursion"
    GROUP = "group"
    BUDGET = "budget"
    DECORATOR = "decorator"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Line:
    """What a trace says of one entry.

    Attributes:
        base: id of its base.
        entry: its id.
        name: what people call it.
        outcome: what became of it.
        reason: why, as a sentence for its author, such as "keyword 'dragon' in the newest message".
        sweep: in which pass over the entries it was decided, from 0.
        score: of its likeness to the conversation, or None.
        tokens: that it has, or None where nobody counted.
        budget: tokens that were left before it was inserted, or None.
    """

    base: str
    entry: str
    name: str
    outcome: Outcome
    reason: str
    sweep: int = 0
    score: float | None = None
    tokens: int | None = None
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Active:
    """An entry that is active, ready to be inserted.

    Attributes:
        base: id of its base.
        entry: its id.
        name: what people call it.
        text: what is inserted: references resolved, variables applied, prefix and suffix around it.
        priority: larger stands nearer to the end.
        placement: the block that it goes to.
        role: whose words they are, or None.
        depth: `depth_offset`, or None.
        outlet: name of the outlet that it goes to, or "".
        tokens: of the text.
        exclude_from_history: whether whoever keeps the conversation should leave it out later.
        media: path of a media file in the base's folder with its MIME type, or None.
        tags, entry_type: of the entry.
        critical: whether it must be there whatever the budget.
    """

    base: str
    entry: str
    name: str
    text: str
    priority: float
    placement: str
    role: str | None
    depth: int | None
    outlet: str
    tokens: int
    exclude_from_history: bool
    media: tuple[str, str] | None = None
    tags: Sequence[str] = ()
    entry_type: str = ""
    critical: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What activation answers.

    Attributes:
        active: in the order in which they are inserted: the last stands nearest to the end.
        trace: a line for each entry that was looked at; those that did not match may be left out, see `looked_at`.
        looked_at: how many entries were looked at.
        tokens: of all that is active.
        budget: what there was, or None.
        tokenizer: what counted them.
        variables: what active entries define, by name.
        seed: that chance had.
        notes: sentences on what did not work as it should: a regular expression that took too long, a base without its
            model, a plugin that failed.
    """

    active: Sequence[Active]
    trace: Sequence[Line]
    looked_at: int
    tokens: int
    budget: int | None
    tokenizer: str
    variables: Mapping[str, Any]
    seed: int
    notes: Sequence[str] = ()
