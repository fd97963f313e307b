"""Character cards V1, V2 and V3, whatever they come in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from innkeeper.knowledge.interchange.png import SIGNATURE, Text, chunks, read_texts
from innkeeper.knowledge.interchange.reading import MOST_JSON, read_base64, read_json
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

LOOKS_LIKE_A_CARD: Final = frozenset({"first_mes", "mes_example", "char_name", "char_persona", "char_greeting"})
"""Keys of the top level that only cards have."""

KEYWORDS: Final = ("ccv3", "chara")
"""Of text chunks with a card; the first that is there counts."""

ASSET: Final = "chara-ext-asset_:"
"""The beginning of the keyword of a text chunk with an asset (V3), before its path."""

V1_FIELDS: Final = ("name", "description", "personality", "scenario", "first_mes", "mes_example")

TEXTS: Final = (*V1_FIELDS, "creator_notes", "system_prompt", "post_history_instructions", "creator",
                "character_version", "nickname")  # fmt: skip
"""Fields of one text."""

LISTS: Final = ("alternate_greetings", "group_only_greetings", "tags", "source")
"""Fields of a list of texts."""

_PYGMALION: Final = {
    "char_name": "name",
    "char_persona": "description",
    "char_greeting": "first_mes",
    "example_dialogue": "mes_example",
    "world_scenario": "scenario",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A character card.

    Attributes:
        document: the whole card as it was written, the truth; never changed in place.
        version: 1, 2 or 3.
        container: "json", "png" or "charx".
        data: where the fields lie: `document["data"]`, or the document itself.
        problems: fields that are not what they should be, with what is read instead.
        files: paths of the other files of a CHARX archive, or of the assets in a PNG, with their sizes in bytes.
    """

    document: dict[str, Any]
    version: int
    container: str = "json"
    data: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the character is called."""
        return self.text("name")

    @property
    def called(self) -> str:
        """What `{{char}}` says: the nickname (V3), else the name."""
        return self.text("nickname") or self.name

    @property
    def book(self) -> dict[str, Any] | None:
        """Its lorebook as it was written, or None."""
        for place in (self.data, self.document):
            found = place.get("character_book")
            if isinstance(found, dict):
                return found
        return None

    def text(self, key: str) -> str:
        """A field of one text; "" where it is not there or no text."""
        value = self.data.get(key)
        if value is None:
            value = self.document.get(key)
        return value if isinstance(value, str) else ""

    def texts(self, key: str) -> list[str]:
        """A field of a list of texts; one text alone counts as a list of one."""
        value = self.data.get(key)
        if isinstance(value, str):
            return [value] if value else []
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def is_card_container(data: bytes) -> bool:
    """Whether a file begins as a picture or an archive does that can hold a card."""
    return data.startswith((SIGNATURE, b"PK\x03\x04", b"\xff\xd8\xff"))


def read_card(data: bytes, name: str) -> Card:
    """A card of a JSON, PNG, APNG or CHARX file. It computes: not for trio's thread.

    Args:
        data: the file.
        name: its name, without its folders.

    Raises:
        KnowledgeError: it has no card (says what was found), or one that cannot be read.
    """
    if data.startswith(SIGNATURE):
        return _of_png(data, name)
    if data[:2000].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return card_of(read_json(data, name), name, "json")
    if b"PK\x03\x04" in data:
        from innkeeper.knowledge.interchange.charx import read_charx

        raw, files = read_charx(data, name)
        return card_of(raw, name, "charx", files)
    said = "is no character card: neither JSON nor PNG nor CHARX (cards as YAML are not read)"
    raise KnowledgeError(said, source=name)


def card_of(raw: Any, name: str, container: str, files: Mapping[str, int] | None = None) -> Card:
    """A card of plain data.

    Args:
        raw: the card; never changed.
        name: of the file, for messages.
        container: "json", "png" or "charx".
        files: as of `Card`.

    Raises:
        KnowledgeError: it is no card.
    """
    if not isinstance(raw, dict):
        raise KnowledgeError("is no character card: it should be an object", source=name)
    spec = raw.get("spec")
    inner = raw.get("data")
    if spec is not None and not isinstance(inner, dict) and str(spec).startswith("chara_card"):
        raise KnowledgeError(Problem("data", f"should be an object with the fields of {str(spec)[:40]}"), source=name)
    if isinstance(inner, dict) and (str(spec).startswith("chara_card") or "name" in inner):
        version = 3 if spec == "chara_card_v3" or (spec != "chara_card_v2" and _version(raw) >= 3) else 2
        data = inner
    elif raw.keys() & _PYGMALION.keys():
        version, data = 1, {ours: raw[theirs] for theirs, ours in _PYGMALION.items() if theirs in raw}
    elif "name" in raw and raw.keys() & {"description", "first_mes", "personality", "mes_example"}:
        version, data = 1, raw
    else:
        found = ", ".join(repr(str(key)[:40]) for key in list(raw)[:10]) or "nothing"
        raise KnowledgeError(f"is no character card: at its top level it has {found}", source=name)
    return Card(raw, version, container, data, _problems(data), dict(files or {}))


def _version(raw: Mapping[str, Any]) -> float:
    try:
        return float(str(raw.get("spec_version"))[:10])
    except ValueError:
        return 0.0


def _problems(data: Mapping[str, Any]) -> list[Problem]:
    found = []
    for key in TEXTS:
        if data.get(key) is not None and not isinstance(data[key], str):
            found.append(Problem(f"data.{key}", "should be text; it is read as none"))
        elif isinstance(data.get(key), str) and len(data[key]) > bounds.MOST_CONTENT:
            said = f"has {len(data[key]):,} characters; an entry can hold {bounds.MOST_CONTENT:,}"
            found.append(Problem(f"data.{key}", said))
    for key in LISTS:
        value = data.get(key)
        if isinstance(value, str):
            found.append(Problem(f"data.{key}", "should be a list of texts; the one text is read as a list of one"))
        elif value is not None and (not isinstance(value, list) or not all(isinstance(item, str) for item in value)):
            found.append(Problem(f"data.{key}", "should be a list of texts; what is none is left out"))
    book = data.get("character_book")
    if book is not None and not isinstance(book, dict):
        found.append(Problem("data.character_book", "should be an object or absent; it is read as none"))
    if "extensions" in data and not isinstance(data["extensions"], dict | None):
        found.append(Problem("data.extensions", "should be an object; it is read as none"))
    return found


def _of_png(data: bytes, name: str) -> Card:
    texts = read_texts(data, name)
    for keyword in KEYWORDS:
        for text in texts:
            if text.keyword.lower() == keyword:
                return card_of(_card_of_text(text, name), name, "png", _assets(texts))
    kinds: dict[str, int] = {}
    for chunk in chunks(data, name):
        kind = chunk.kind.decode("ascii")
        kinds[kind] = kinds.get(kind, 0) + 1
    found = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in list(kinds.items())[:20])
    words = ", ".join(repr(text.keyword[:40]) for text in texts[:20])
    said = f"has no character card: no text chunk 'chara' or 'ccv3'. Its chunks: {found}"
    raise KnowledgeError(said + (f"; its texts: {words}" if words else "; it has no texts"), source=name)


def _assets(texts: Sequence[Text]) -> dict[str, int]:
    # Base64: three bytes in four characters.
    return {
        text.keyword[len(ASSET) :]: len(text.text) * 3 // 4
        for text in texts
        if text.keyword.lower().startswith(ASSET) and len(text.keyword) > len(ASSET)
    }


def _card_of_text(text: Text, name: str) -> Any:
    if text.text.lstrip()[:1] == b"{":
        # Some write the card as it is.
        return read_json(text.text, name)
    what = f"the text chunk {text.keyword!r}"
    return read_json(read_base64(text.text, what, name, MOST_JSON), f"{name}, {text.keyword}")


def written(document: Mapping[str, Any]) -> bytes:
    """A card as JSON in UTF-8 (bytes).

    Raises:
        KnowledgeError: it has what JSON cannot say.
    """
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise KnowledgeError(f"the card cannot be written as JSON: {error}") from None
