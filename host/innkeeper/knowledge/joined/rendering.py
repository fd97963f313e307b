"""Texts with macros, of the arguments of `kb.render`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from innkeeper.knowledge.macros.context import Context
from innkeeper.knowledge.macros.engine import rendered
from innkeeper.knowledge.macros.story import render_story


def render(request: Mapping[str, Any]) -> dict[str, Any]:
    """What `kb.render` gives. For a thread where the text is long.

    Args:
        request: the arguments, checked.
    """
    context = Context(
        char=request["character"],
        user=request["user"],
        values={name: _text(value) for name, value in request["values"].items()},
        variables={name: _text(value) for name, value in request["variables"].items()},
        seed=request["seed"],
    )
    if request["syntax"] == "story":
        return {"text": render_story(request["template"], context), "variables": dict(context.variables), "note": ""}
    done = rendered(request["template"], context)
    return {"text": done.text, "variables": dict(done.variables), "note": done.note}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
