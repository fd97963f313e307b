"""What a guest says of an entry, as a document, and back.

A guest knows title, content, keywords, priority, enabled and metadata. Whatever else an author put into a document
stays as it is when a guest changes one of these. Metadata lies in `extensions.innkeeper.metadata`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

import msgpack

from innkeeper.knowledge.store.values import Stored
from innkeeper.storage.knowledge_model import (
    MOST_CONTENT,
    MOST_KEYWORD,
    MOST_KEYWORDS,
    MOST_METADATA,
    MOST_PRIORITY,
    MOST_TITLE,
    Draft,
    Entry,
    Head,
)
from innkeeper.storage.plain_json import from_json, to_json

KEY: Final = "innkeeper"
"""Under which key of `extensions` lies what only this host knows."""


def head_of(stored: Stored) -> Head:
    """All of an entry but its content and metadata, as guests read it."""
    return _head(stored, stored.plain())


def entry_of(stored: Stored) -> Entry:
    """A whole entry, as guests read it."""
    document = stored.plain()
    content = _part(document, "content").get("value")
    return Entry(_head(stored, document), content if isinstance(content, str) else "", _metadata(document))


def _head(stored: Stored, document: Mapping[str, Any]) -> Head:
    title = document.get("displayName")
    return Head(
        stored.id,
        title if isinstance(title, str) else "",
        tuple(_part(document, "activation_criteria").get("keywords") or ()),
        priority_of(document),
        stored.enabled,
        stored.source,
        stored.author,
        stored.version,
        stored.created,
        stored.updated,
    )


def priority_of(document: Mapping[str, Any]) -> int:
    """The priority of an entry, as guests read it: a whole number."""
    return int(_part(document, "usage_metadata").get("priority", 100))


def _metadata(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found = from_json(_part(_part(document, "extensions"), KEY).get("metadata"))
    return found if isinstance(found, dict) else {}


def _part(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def as_document(id: str, draft: Draft, old: Mapping[str, Any] | None, old_entry: Entry | None) -> dict[str, Any]:
    """The document of an entry that a guest writes.

    Args:
        id: of the entry.
        draft: what the guest says.
        old, old_entry: what is there now.

    Raises:
        ValueError: something that the guest changes is out of bounds.
    """
    check_draft(draft, old_entry)
    document: dict[str, Any] = {"id": id} if old is None else dict(old)
    if draft.title or "displayName" in document:
        document["displayName"] = draft.title
    _set(document, "content", "value", draft.content)
    _set(document, "activation_criteria", "keywords", list(draft.keywords))
    # A fraction that an author wrote is not lost to a guest that does not know it.
    if old is None or priority_of(old) != draft.priority:
        _set(document, "usage_metadata", "priority", draft.priority)
    _set(document, "management_metadata", "is_enabled", draft.enabled)
    if draft.metadata or _metadata(document):
        extensions = dict(_part(document, "extensions"))
        extensions[KEY] = {**_part(extensions, KEY), "metadata": to_json(dict(draft.metadata))}
        document["extensions"] = extensions
    return document


def _set(document: dict[str, Any], part: str, key: str, value: Any) -> None:
    document[part] = {**_part(document, part), key: value}


def check_draft(draft: Draft, old: Entry | None) -> None:
    """Makes sure that a draft is within the bounds of guests, apart from what is there already: an author may have
    written more.

    Raises:
        ValueError: something is out of bounds.
    """
    if old is None or draft.title != old.head.title:
        if len(draft.title) > MOST_TITLE:
            raise ValueError(f"a title has at most {MOST_TITLE} characters")
        _check_line(draft.title, "title")
    if old is None or draft.content != old.content:
        if len(draft.content) > MOST_CONTENT or len(draft.content.encode()) > MOST_CONTENT:
            raise ValueError(f"a content has at most {MOST_CONTENT} bytes")
        if "\0" in draft.content:
            raise ValueError("the content has a NUL character: leave it out")
    if old is None or draft.keywords != old.head.keywords:
        if len(draft.keywords) > MOST_KEYWORDS or any(len(each) > MOST_KEYWORD for each in draft.keywords):
            raise ValueError(f"an entry has at most {MOST_KEYWORDS} keywords of at most {MOST_KEYWORD} characters")
        for keyword in draft.keywords:
            _check_line(keyword, "keyword")
            if not keyword:
                raise ValueError("a keyword must have at least one character")
    if not -MOST_PRIORITY <= draft.priority <= MOST_PRIORITY and (old is None or draft.priority != old.head.priority):
        raise ValueError(f"the priority must be -{MOST_PRIORITY} to {MOST_PRIORITY}")
    metadata: bytes = msgpack.packb(dict(draft.metadata))
    if len(metadata) > MOST_METADATA:
        raise ValueError(f"the metadata has {len(metadata)} bytes as msgpack: the most is {MOST_METADATA}")


def _check_line(text: str, what: str) -> None:
    # It is shown to people, in terminals too.
    if any(unicodedata.category(character) == "Cc" for character in text[:MOST_TITLE]):
        raise ValueError(f"the {what} has a control character: leave it out")
