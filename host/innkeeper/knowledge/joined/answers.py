"""What activation and assembly answer, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from innkeeper.knowledge.activation.interface import Active, Line, Outcome, Result
from innkeeper.knowledge.assembly.assemble import Assembled

Traced = Literal["none", "active", "all"]
"""Which lines of a trace are given: none, those of entries that came into question, or all that there are."""

MOST_LINES = 2000
"""Lines of a trace that are given."""

_QUIET = (Outcome.NO_MATCH, Outcome.DISABLED, Outcome.SCOPE)


def result_value(result: Result, traced: Traced) -> dict[str, Any]:
    """What `kb.activate` gives."""
    return {
        "active": [active_value(each) for each in result.active],
        "trace": [line_value(line) for line in lines_of(result.trace, traced)],
        "looked_at": result.looked_at,
        "tokens": result.tokens,
        "budget": result.budget,
        "tokenizer": result.tokenizer,
        "variables": dict(result.variables),
        "seed": result.seed,
        "notes": list(result.notes),
    }


def lines_of(trace: Sequence[Line], traced: Traced) -> list[Line]:
    """The lines that somebody wants, `MOST_LINES` at most, those of active entries first where there are more."""
    if traced == "none":
        return []
    wanted = [line for line in trace if traced == "all" or line.outcome not in _QUIET]
    if len(wanted) <= MOST_LINES:
        return wanted
    kept = sorted(range(len(wanted)), key=lambda at: (wanted[at].outcome in _QUIET, at))[:MOST_LINES]
    return [wanted[at] for at in sorted(kept)]


def active_value(active: Active) -> dict[str, Any]:
    """An active entry."""
    return {
        "base": active.base,
        "entry": active.entry,
        "name": active.name,
        "text": active.text,
        "priority": active.priority,
        "placement": active.placement,
        "role": active.role,
        "depth": active.depth,
        "outlet": active.outlet,
        "tokens": active.tokens,
        "exclude_from_history": active.exclude_from_history,
        "media": None if active.media is None else list(active.media),
        "tags": list(active.tags),
        "entry_type": active.entry_type,
        "critical": active.critical,
    }


def line_value(line: Line) -> dict[str, Any]:
    """A line of a trace."""
    return {
        "base": line.base,
        "entry": line.entry,
        "name": line.name,
        "outcome": line.outcome.value,
        "reason": line.reason,
        "sweep": line.sweep,
        "score": line.score,
        "tokens": line.tokens,
        "budget": line.budget,
    }


def assembled_value(assembled: Assembled) -> dict[str, Any]:
    """What `kb.assemble` gives."""
    plain = assembled.plain()
    return {
        "messages": assembled.messages,
        "text": assembled.prompt,
        "parameters": plain["llm_parameters"],
        "sources": plain["sources"],
        "tokens": assembled.tokens,
        "tokenizer": assembled.tokenizer,
        "budget": assembled.budget,
        "over": assembled.over,
        "report": plain["report"],
        "notes": assembled.notes,
    }
