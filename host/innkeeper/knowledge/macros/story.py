"""Story strings of text presets: the part of Handlebars that they use, carried out by the same engine."""

from __future__ import annotations

import re

from innkeeper.knowledge.macros.context import MOST_TEXT, Context
from innkeeper.knowledge.macros.engine import rendered

_ALONE = re.compile(
    r"^[ \t]*+(\{\{(?:#(?:if|unless)\s[^{}\n]*+|/(?:if|unless)|else|!(?:--)?[^{}\n]*+)\s*+\}\})[ \t]*+(?:\r?\n|\Z)",
    re.MULTILINE,
)
_COMMENT = re.compile(r"\{\{!(?:--)?[^{}]*+\}\}")


def render_story(text: str, context: Context) -> str:
    """A story string as text: `{{#if x}}`, `{{#unless x}}`, `{{else}}`, `{{/if}}`, names of values, and macros.

    Args:
        text: the template, of anybody.
        context: its `values` are what the template names; those that are not there are empty.

    Returns:
        the text; as it was where a bound was met. A block's tag alone on its line takes the line with it.
    """
    if len(text) > MOST_TEXT:
        return text
    plain = _COMMENT.sub("", _ALONE.sub(r"\1", text))
    return rendered(plain, context, template=True).text
