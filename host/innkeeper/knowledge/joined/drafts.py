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
    text = content if isinstance(content, str) else ""
    return Entry(_head(stored, document), text, _metadata(document), document)


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
    if not draft.fields:
        return document
    found = merged(document, draft.fields)
    # Whatever the way by which it is said: the bounds of guests are the same.
    check_draft(_said_in(found, draft), old_entry)
    return found


def _said_in(document: Mapping[str, Any], draft: Draft) -> Draft:
    """What a document says of what guests know; of what is of the wrong type what the draft said: the model of entries
    refuses that with its name."""
    title, content = document.get("displayName"), _part(document, "content").get("value")
    keywords = _part(document, "activation_criteria").get("keywords")
    priority = _part(document, "usage_metadata").get("priority")
    texts = isinstance(keywords, list) and all(isinstance(each, str) for each in keywords)
    return Draft(
        title if isinstance(title, str) else "",
        content if isinstance(content, str) else "",
        tuple(keywords) if isinstance(keywords, list) and texts else (),
        int(priority) if isinstance(priority, int | float) and abs(priority) < 1 << 53 else draft.priority,
        draft.enabled,
        _metadata(document),
    )


_OURS: Final = ("id", "version")
"""Fields of a document that nobody sets."""


def merged(document: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A document with further fields: maps are merged into those that are there, None takes a field away.

    Raises:
        ValueError: a field is one that nobody sets, or is no data that JSON has.
    """
    for name in _OURS:
        if name in fields:
            raise ValueError(f"fields.{name}: cannot be set")
    plain = to_json(dict(fields))
    assert isinstance(plain, dict)
    return _merged(document, plain)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(old)
    for key, value in new.items():
        there = found.get(key)
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            found[key] = _merged(there if isinstance(there, dict) else {}, value)
        else:
            found[key] = value
    return found


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
    if old is None or draft.metadata != old.metadata:
        size = len(msgpack.packb(dict(draft.metadata)))
        if size > MOST_METADATA:
            raise ValueError(f"the metadata has {size} bytes as msgpack: the most is {MOST_METADATA}")


def _check_line(text: str, what: str) -> None:
    # It is shown to people, in terminals too.
    if any(unicodedata.category(character) == "Cc" for character in text[:MOST_TITLE]):
        raise ValueError(f"the {what} has a control character: leave it out")
