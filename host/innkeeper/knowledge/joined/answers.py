"""What activation and assembly answer, as plain data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from innkeeper.knowledge.activation.interface import Active, Line, Outcome, Result
from innkeeper.knowledge.assembly.assemble import Assembled

Traced = Literal["none", "active", "all"]
"""Which lines of a trace are given: none, those of entries that came into question, or all that there are."""

MOST_LINES = 2000
"""Lines of a trace that are given."""

_QUIET = (Outcome.NO_MATCH, Outcome.DISABLED, Outcome.SCOPE)


def result_value(result: Result, traced: Traced, explained: Collection[str] = ()) -> dict[str, Any]:
    """What `kb.activate` gives."""
    return {
        "active": [active_value(each) for each in result.active],
        "trace": [line_value(line) for line in lines_of(result.trace, traced, explained)],
        "looked_at": result.looked_at,
        "tokens": result.tokens,
        "budget": result.budget,
        "tokenizer": result.tokenizer,
        "variables": dict(result.variables),
        "seed": result.seed,
        "notes": list(result.notes),
    }


def lines_of(trace: Sequence[Line], traced: Traced, explained: Collection[str] = ()) -> list[Line]:
    """The lines that somebody wants, `MOST_LINES` at most: where there are more, first those of entries that are to be
    explained, then those of entries that came into question.

    Args:
        trace: all lines.
        traced: which ones.
        explained: ids of entries that it tells of in any case.
    """

    def rank(line: Line) -> int:
        return 0 if line.entry in explained else 2 if line.outcome in _QUIET else 1

    most = {"none": 0, "active": 1, "all": 2}[traced]
    wanted = [line for line in trace if rank(line) <= most]
    if len(wanted) <= MOST_LINES:
        return wanted
    kept = sorted(range(len(wanted)), key=lambda at: (rank(wanted[at]), at))[:MOST_LINES]
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
