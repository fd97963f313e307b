"""Entries of knowledge bases as guests read them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from innkeeper.storage.knowledge_model import Change, Draft, Entry, Head, Hit


def head_value(head: Head) -> dict[str, Any]:
    """All of an entry but its content and metadata."""
    return {
        "id": head.id,
        "title": head.title,
        "keywords": list(head.keywords),
        "priority": head.priority,
        "enabled": head.enabled,
        "source": head.source,
        "author": head.author,
        "version": head.version,
        "created": head.created,
        "updated": head.updated,
    }


def as_draft(entry: Entry) -> Draft:
    """What an entry is, for somebody who changes a part of it."""
    head = entry.head
    return Draft(head.title, entry.content, head.keywords, head.priority, head.enabled, entry.metadata)


def entry_value(entry: Entry, whole: bool) -> dict[str, Any]:
    """An entry, with its document where the whole of it is wanted."""
    value = {**head_value(entry.head), "content": entry.content, "metadata": dict(entry.metadata)}
    return {**value, "document": dict(entry.document)} if whole else value


def change_value(change: Change) -> dict[str, Any]:
    """A change of an entry."""
    return asdict(change)


def hit_value(hit: Hit) -> dict[str, Any]:
    """An entry that was found, and why."""
    matches = [{"term": match.term, "field": match.field} for match in hit.matches]
    return {
        **head_value(hit.head),
        "content": hit.content,
        "score": hit.score,
        "cosine": hit.cosine,
        "matches": matches,
    }
