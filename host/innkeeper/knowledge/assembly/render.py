"""Messages as a model's interface takes them: a list, or one string."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from innkeeper.knowledge.assembly.drafts import Draft
from innkeeper.knowledge.assembly.media import Images
from innkeeper.knowledge.assembly.template import Template

_PLACES = re.compile(r"\{(content|name|role)\}")
_NOT_IN_NAMES = re.compile(r"[\s<|\\/>]+")
_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}
_MOST_NAME = 64


def name_of(template: Template, draft: Draft) -> str:
    """The `name` of a message in a list (str), or ""."""
    if template.names != "field":
        return ""
    return _NOT_IN_NAMES.sub("_", draft.name.strip())[:_MOST_NAME].strip("_")


def one_string(template: Template, drafts: Sequence[Draft]) -> str:
    """All messages as one text (str), each as the template has it for its role."""
    texts = template.role_texts.model_dump()

    def said(draft: Draft) -> str:
        values = {"content": draft.text, "name": draft.name or _NAMES[draft.role], "role": draft.role}
        # One pass: what a message says is never looked at for places.
        return _PLACES.sub(lambda place: values[place.group(1)], texts[draft.role])

    return "".join(map(said, drafts))


def structured(template: Template, drafts: Sequence[Draft], images: Images) -> list[tuple[Draft, dict[str, Any]]]:
    """Each message that says or shows something, as `{role, content}`: the content is a text, or a list of parts where
    there are images."""
    found = []
    for draft in drafts:
        text = draft.text
        parts = images.parts(draft.media)
        content: str | list[dict[str, Any]] = text
        if parts:
            content = [{"type": "text", "text": text}, *parts] if text.strip() else parts
        elif not text.strip():
            continue
        message: dict[str, Any] = {"role": draft.role, "content": content}
        if name := name_of(template, draft):
            message["name"] = name
        found.append((draft, message))
    return found
