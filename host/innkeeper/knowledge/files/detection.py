"""What a file is that is no knowledge base, in a sentence that says what to do with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ZIP: Final = b"PK\x03\x04"
EMPTY_ZIP: Final = b"PK\x05\x06"

PACKED: Final = (
    ZIP,
    EMPTY_ZIP,
    b"PK\x07\x08",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"\x28\xb5\x2f\xfd",
)
"""How archives and compressed files begin."""

_IMPORT = "`innkeeper kb import` reads it"
_CARD = "`innkeeper card import` reads it"

_BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", f"is a PNG picture, and no knowledge base; if it is a character card, {_CARD}"),
    (b"\xff\xd8\xff", f"is a JPEG picture, and no knowledge base; if it is a character card, {_CARD}"),
    (b"%PDF-", "is a PDF document: save its text as .txt or .md, and `innkeeper kb import` reads that"),
    (b"\x1f\x8b", "is packed with gzip: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: a base is packed as .zip or .ctkbz"),
    (b"Rar!", "is a RAR archive: a base is packed as .zip or .ctkbz"),
    (b"SQLite format 3\0", "is a database: `innkeeper kb export` writes a base of it"),
    (b"\0asm", "is a WebAssembly module"),
)


def is_archive(data: bytes) -> bool:
    """Whether bytes begin as a ZIP archive does (bool)."""
    return data.startswith((ZIP, EMPTY_ZIP))


def looks_like_json(data: bytes) -> bool:
    """Whether bytes begin as an object or an array of JSON does (bool)."""
    return data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[:1] in (b"{", b"[")


def no_base(data: bytes) -> str:
    """What bytes are that are neither JSON nor an archive, as the rest of a sentence (str)."""
    for beginning, sentence in _BEGINNINGS:
        if data.startswith(beginning):
            return sentence
    if not data.strip():
        return "is empty"
    if b"\0" in data[:4096] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return "is neither JSON nor an archive of a knowledge base"
    return f"is text, and no JSON: if it is a document, {_IMPORT}"


def other_document(top: Mapping[str, Any], entries: object) -> str:
    """What an object of JSON is that is no base, as the rest of a sentence (str); "" if it is meant as one.

    Args:
        top: its keys without `entries`.
        entries: what is under `entries`, or None.
    """
    if "kb_id" in top:
        return ""
    if "knowledgeBaseReferences" in top:
        return "is a project, and no knowledge base: name a folder below its knowledgebases/"
    spec = top.get("spec")
    if (isinstance(spec, str) and spec.startswith("chara_card")) or {"first_mes", "personality"} <= top.keys():
        return f"is a character card, and no knowledge base: {_CARD}"
    if (
        isinstance(entries, dict)
        or "lorebookVersion" in top
        or top.get("kind") == "memory"
        or top.get("type") == "risu"
    ):
        return f"is a lorebook of another program: {_IMPORT}"
    if spec == "lorebook_v3" or _of_others(entries):
        return f"is a lorebook of another program: {_IMPORT}"
    if "nodes" in top and ("edges" in top or "interfaceInputs" in top):
        return "is a workflow, and no knowledge base"
    if isinstance(top.get("bases"), list) and entries is None:
        return "is a registry of knowledge bases, and none itself"
    if entries is None and {"content", "activation_criteria"} & top.keys():
        return 'is a single entry: put it into {"kb_id": "...", "entries": [...]}'
    return ""


def _of_others(entries: object) -> bool:
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        return False
    return isinstance(entries[0].get("content"), str) and bool({"keys", "key", "secondary_keys"} & entries[0].keys())
