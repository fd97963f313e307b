"""What stands above a Markdown text between lines of three dashes."""

from __future__ import annotations

import json
import re
from typing import Any

from innkeeper.knowledge.documents import bounds
from innkeeper.knowledge.documents.blocks import Parsed, tidy
from innkeeper.plugins.documents import parse_yaml
from innkeeper.plugins.tables import TableError

_END = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)
_MOST_KEPT = 4096
_NAMES = {"tags": "tags", "categories": "tags", "keywords": "keywords", "aliases": "keywords"}


def take_front_matter(text: str, parsed: Parsed) -> str:
    """Reads what stands above a text, if something does, into `parsed`.

    Title, tags (also `categories`) and keywords (also `aliases`) get a meaning, the rest is kept as it is. What cannot
    be read stays text, and is noted.

    Returns:
        the text without it.
    """
    if not re.match(r"---[ \t]*\n", text):
        return text
    start = text.index("\n") + 1
    end = _END.search(text, start, start + bounds.MOST_FRONT_MATTER + 4)
    if end is None:
        return text
    raw = text[start : end.start()]
    if not raw.strip():
        return text[end.end() :]
    if ":" not in raw.split("\n\n")[0]:
        # Two lines in the text, and no keys between them.
        return text
    try:
        found = parse_yaml(raw.encode("utf-8", "surrogatepass"), "what stands above the text")
    except TableError as error:
        parsed.notes.append(f"{error.problems[0]}; it is kept as text")
        return text
    title = found.pop("title", None)
    if isinstance(title, str):
        parsed.title = tidy(title, bounds.MOST_HEADING)
    for name, field in _NAMES.items():
        values = _texts(found.get(name))
        if values is not None:
            getattr(parsed, field).extend(values)
            del found[name]
    for name in ("tags", "keywords"):
        values = list(dict.fromkeys(getattr(parsed, name)))
        if len(values) > bounds.MOST_TAGS:
            parsed.notes.append(f"has {len(values)} {name} above its text; the first {bounds.MOST_TAGS} are used")
        setattr(parsed, name, values[: bounds.MOST_TAGS])
    kept = _bounded(found)
    if len(kept) < len(found):
        parsed.notes.append("has more above its text than is kept; the longest of it is left out")
    parsed.metadata = kept
    return text[end.end() :]


def _texts(value: Any) -> list[str] | None:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(each, str | int | float) for each in value):
        return None
    return [text for each in value if (text := tidy(str(each), 100))]


def _bounded(found: dict[str, Any]) -> dict[str, Any]:
    left = _MOST_KEPT
    kept = {}
    for key, value in found.items():
        size = len(json.dumps({key: value}, ensure_ascii=True))
        if size <= left:
            kept[key] = value
            left -= size
    return kept
