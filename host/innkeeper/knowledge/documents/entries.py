"""Chunks become entries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from innkeeper.knowledge.documents.blocks import Parsed, tidy
from innkeeper.knowledge.documents.cut import Chunk
from innkeeper.knowledge.documents.keywords import keywords_of
from innkeeper.knowledge.documents.options import Options
from innkeeper.knowledge.model import bounds

SOURCE = "rag_chunk_id_"
"""How the `source` of an entry of a document begins; its id follows."""

ENTRY_TYPE = "document_chunk"

OURS = "innkeeper"
"""Under which key of `extensions` this host keeps what it knows: `document` is {path, digest, chunk}."""

ARROW = " › "

_DIGITS = 24


def entries_of(path: str, parsed: Parsed, chunks: Sequence[Chunk], options: Options) -> list[dict[str, Any]]:
    """The entries of a document, as plain data.

    An entry's id comes of the path, its headings and its text: as long as they stay, it stays, wherever it moves.

    Args:
        path: of the file, relative, with "/".
        parsed: the document.
        chunks: of it, in order.
        options: how it was cut.
    """
    words = keywords_of(chunks) if options.keywords else [[] for _ in chunks]
    seen: dict[str, int] = {}
    found = []
    for number, (chunk, keywords) in enumerate(zip(chunks, words, strict=True), 1):
        same = sha256("\0".join((path, *chunk.path, "", chunk.text)).encode("utf-8", "surrogatepass")).hexdigest()
        seen[same] = seen.get(same, 0) + 1
        identity = f"doc-{same[:_DIGITS]}" + (f"-{seen[same]}" if seen[same] > 1 else "")
        found.append(_entry(identity, path, parsed, chunk, number, keywords, options))
    return found


def _entry(
    identity: str, path: str, parsed: Parsed, chunk: Chunk, number: int, keywords: Sequence[str], options: Options
) -> dict[str, Any]:
    stem = tidy(path.rpartition("/")[2], bounds.MOST_NAME)
    name = ARROW.join(chunk.path) or parsed.title or stem
    if chunk.part > 1:
        name = f"{name[: bounds.MOST_NAME - 20]} ({chunk.part})"
    content: dict[str, Any] = {"mime_type": parsed.mime, "value": chunk.text}
    metadata: dict[str, Any] = {"headings": list(chunk.path)}
    if parsed.title:
        metadata["title"] = parsed.title
    if parsed.metadata:
        metadata["front_matter"] = parsed.metadata
    content["metadata"] = metadata
    usage: dict[str, Any] = {"placement": "before_prompt", "priority": 100}
    # What it belongs to, where its own text does not say so.
    above = chunk.above or ((parsed.title,) if parsed.title and not chunk.path else ())
    if options.context and above:
        usage["prefix"] = {"text": f"[{ARROW.join(above)[:2000]}]\n", "is_enabled": True}
    document: dict[str, Any] = {
        "id": identity,
        "version": 1,
        "entry_type": ENTRY_TYPE,
        "displayName": name[: bounds.MOST_NAME],
        "content": content,
        "activation_criteria": {
            # Words alone: what begins with a slash could be read as a regular expression of a stranger's.
            "keywords": [key for key in dict.fromkeys([*keywords, *parsed.keywords]) if not key.startswith("/")],
            "use_semantic_search": options.semantic,
        },
        "usage_metadata": usage,
        "management_metadata": {
            "tags": list(dict.fromkeys([*options.tags, *parsed.tags])),
            "source": SOURCE + identity,
            "is_enabled": True,
        },
    }
    document["extensions"] = {OURS: {"document": {"path": path, "digest": digest_of(document), "chunk": number}}}
    return document


def digest_of(document: Mapping[str, Any]) -> str:
    """What an entry says and does, as a digest: another one means that somebody changed it by hand. Times, and what
    others keep in its `extensions`, do not count."""
    counted = {key: value for key, value in document.items() if key != "extensions"}
    managed = counted.get("management_metadata")
    if isinstance(managed, Mapping):
        counted["management_metadata"] = {
            key: value for key, value in managed.items() if key not in ("created_at", "updated_at")
        }
    text = json.dumps(counted, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return sha256(text.encode()).hexdigest()[:_DIGITS]
