"""Cards of every version and container: read with what is wrong said, written with everything that was there."""

from __future__ import annotations

import base64
import copy
import io
import json
import struct
import zipfile
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.interchange.books import read_character_book
from innkeeper.knowledge.interchange.card_base import card_base, card_of_base, has_book
from innkeeper.knowledge.interchange.card_export import card_charx, card_document, card_png, new_card, with_book
from innkeeper.knowledge.interchange.cards import Card, read_card, written
from innkeeper.knowledge.interchange.charx import asset_path, read_assets, write_charx
from innkeeper.knowledge.interchange.detect import read_lorebook
from innkeeper.knowledge.interchange.png import SIGNATURE, _chunk, blank, chunks, read_texts, with_texts
from innkeeper.knowledge.model.problems import KnowledgeError
from interchange_samples import PLAIN, TEXTS, base_of, character_books
from test_interchange_books import edited, same

V2: dict[str, Any] = {
    "spec": "chara_card_v2", "spec_version": "2.0", "name": "Ignis", "avatar": "none", "talkativeness": "0.5",
    "data": {
        "name": "Ignis", "description": "A dragon.", "personality": "hot", "scenario": "", "first_mes": "Hello.",
        "mes_example": "<START>", "creator_notes": "for people", "system_prompt": "Be {{char}}. {{original}}",
        "post_history_instructions": "Stay hot.", "alternate_greetings": ["Hi.", "Oi."], "tags": ["a"], "creator": "c",
        "character_version": "1", "unknown": [1],
        "extensions": {"depth_prompt": {"prompt": "note", "depth": 3, "role": "user"}, "fav": True, "x": {"y": 1}},
        "character_book": {
            "name": "Lore", "extensions": {},
            "entries": [
                {"id": 0, "keys": ["cave"], "content": "A cave.", "extensions": {}, "enabled": True,
                 "insertion_order": 5}
            ],
        },
    },
}  # fmt: skip
CARD_KEYS = st.sampled_from(
    ["name", "description", "first_mes", "alternate_greetings", "tags", "extensions", "character_book", "assets",
     "source", "nickname", "creation_date", "group_only_greetings"]
)  # fmt: skip


def png(*texts: tuple[str, bytes]) -> bytes:
    return with_texts(blank(), texts, (), "x")


def packed(value: Any) -> bytes:
    return base64.b64encode(json.dumps(value).encode())


@st.composite
def cards(draw: st.DrawFn) -> dict[str, Any]:
    """A card of V1, V2 or V3 with odd and unknown fields."""
    data = draw(st.dictionaries(CARD_KEYS | TEXTS, PLAIN, max_size=6))
    data |= {"name": draw(TEXTS), "description": draw(TEXTS)}
    if draw(st.booleans()):
        data["character_book"] = draw(character_books())
    version = draw(st.integers(1, 3))
    if version == 1:
        return {key: value for key, value in data.items() if key not in ("data", "spec", "entries")}
    outer = draw(st.dictionaries(TEXTS, PLAIN, max_size=3))
    return {**outer, "spec": f"chara_card_v{version}", "spec_version": f"{version}.0", "data": data}


@given(cards())
@settings(deadline=None, max_examples=70)
def test_a_card_imported_and_exported_again_is_equal_field_by_field(raw: dict[str, Any]) -> None:
    card = read_card(json.dumps(raw).encode(), "c.json")
    same(card.document, raw)
    if card.version > 1:
        same(card_document(card, card.version), raw)
        picture = read_card(card_png(card), "c.png")
        if card.version == 3:
            same(picture.document, raw)
            same(read_card(card_charx(card), "c.charx").document, raw)
    if card.book is not None and isinstance(card.book.get("entries"), list):
        for fields in (False, True):
            base, _ = card_base(card, b"", fields=fields)
            kept, book = card_of_base(base)
            if kept is not None and len(book.items) == len(card.book["entries"]):
                same(with_book(kept, book), raw)


@example({"name": "", "description": "", "extensions": "0", "character_book": "x"}, 2)
@given(cards(), st.sampled_from([2, 3]))
@settings(deadline=None, max_examples=50)
def test_another_version_keeps_all_that_was_there(raw: dict[str, Any], version: int) -> None:
    card = read_card(json.dumps(raw).encode(), "c.json")
    other = read_card(written(card_document(card, version)), "d.json")
    assert other.version == version
    if card.version == version:
        return
    for key, value in card.data.items():
        if key == "extensions" and isinstance(value, str | int):
            assert other.data["extensions"]["innkeeper"]["extensions"] == value
        elif key in other.data and isinstance(value, str | int) and key not in ("alternate_greetings", "tags"):
            assert other.text(key) == card.text(key)
    assert {key for key in card.data if key != "character_book"} <= other.data.keys()
    for key in ("name", "first_mes", "system_prompt", "character_version"):
        assert isinstance(other.data[key], str)
    for key in ("alternate_greetings", "tags"):
        assert all(isinstance(each, str) for each in other.data[key])
    assert isinstance(other.data["extensions"], dict)


def test_both_chunks_are_written_and_everything_else_of_the_picture_stays() -> None:
    animated = blank()[:-12] + _chunk(b"acTL", bytes(8)) + _chunk(b"tEXt", b"Comment\0mine") + blank()[-12:] + b"tail"
    old = with_texts(animated, [("Chara", packed({"name": "old", "description": ""}))], (), "x")
    made = card_png(read_card(written(V2), "c.json"), None, old, "old.png")
    assert read_texts(made, "x")[0].text == b"mine"
    assert [text.keyword for text in read_texts(made, "x")] == ["Comment", "chara", "ccv3"]
    pictures = [
        [file[chunk.start : chunk.end] for chunk in chunks(file, "x") if chunk.kind != b"tEXt"]
        for file in (animated, made)
    ]
    assert pictures[0] == pictures[1]
    texts = {text.keyword: json.loads(base64.b64decode(text.text)) for text in read_texts(made, "x")[1:]}
    same(texts["chara"], V2)
    assert texts["ccv3"]["spec"] == "chara_card_v3"
    assert texts["ccv3"]["data"]["group_only_greetings"] == []


def test_the_newer_chunk_counts_and_keywords_are_read_in_any_case() -> None:
    two = {**V2, "data": {**V2["data"], "name": "two"}}
    three = {**V2, "spec": "chara_card_v3", "data": {**V2["data"], "name": "three"}}
    card = read_card(png(("CHARA", packed(two)), ("CcV3", packed(three))), "c.png")
    assert (card.name, card.version, card.container) == ("three", 3, "png")
    assert read_card(png(("Chara", packed(two))), "c.png").version == 2


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iTXt-"])
def test_compressed_and_international_texts_are_read(kind: bytes) -> None:
    text = packed(V2)
    data = {
        b"zTXt": b"chara\0\0" + zlib.compress(text),
        b"iTXt": b"chara\0\1\0en\0\0" + zlib.compress(text),
        b"iTXt-": b"chara\0\0\0\0\0" + text,
    }[kind]
    file = blank()[:-12] + _chunk(kind[:4], data) + blank()[-12:]
    assert read_card(file, "c.png").name == "Ignis"


def test_assets_in_a_picture_are_listed_and_stay_there() -> None:
    file = png(("chara", packed(V2)), ("chara-ext-asset_:a.png", base64.b64encode(bytes(30))))
    card = read_card(file, "c.png")
    assert card.files == {"a.png": 30}
    assert read_card(card_png(card, None, file, "c.png"), "c.png").files == {"a.png": 30}


def test_a_picture_without_a_card_says_what_was_found_in_it() -> None:
    with pytest.raises(KnowledgeError) as raised:
        read_card(png(("Comment", b"x"), ("parameters", b"y")), "plain.png")
    said = str(raised.value)
    assert "plain.png" in said
    for words in ("IHDR", "IDAT", "2 tEXt", "'Comment'", "'parameters'", "no text chunk 'chara' or 'ccv3'"):
        assert words in said


BOMB = zlib.compress(bytes(60 << 20))


def with_size(size: int) -> bytes:
    return SIGNATURE + struct.pack(">I", size) + b"IHDR" + bytes(30)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (SIGNATURE, "cut short"),
        (with_size(0xFFFFFFFF), "longer than the file"),
        (blank()[:-4] + b"oops", "wrong checksum"),
        (blank()[:8] + blank()[33:], "IHDR"),
        (blank()[:-12], "cut short"),
        (blank()[:-12] + _chunk(b"\0\1\2\3", b""), "no name"),
        (blank()[:-12] + _chunk(b"zTXt", b"chara\0\0" + zlib.compress(bytes(65 << 20))), "more than"),
        (blank()[:-12] + _chunk(b"aaAa", b"") * 50_001, "more than 50,000 chunks"),
        (blank()[:-12] + _chunk(b"zTXt", b"chara\0\0" + BOMB[:-9]) * 8, "more than"),
        (png(("chara", b" " * 5_000_000 + b"A")), "'chara' is no base64"),
        (b"MZ" + bytes(9000) + b"PK\x03\x04", "ZIP"),
        (png(("chara", b"*")), "'chara' is no base64"),
        (png(("chara", base64.b64encode(b"{"))), "is not JSON"),
        (png(("chara", base64.b64encode(b"\xff{"))), "UTF-8"),
        (png(("chara", base64.b64encode(b"[" * 100_000))), "inside each other"),
        (png(("chara", base64.b64encode(b"[]"))), "should be an object"),
        (b"", "neither JSON nor PNG nor CHARX"),
        (b"char: a", "YAML"),
        (b'{"a": 1}', "'a'"),
        (b'{"spec": "chara_card_v2", "data": null}', "data: should be an object"),
        (b"PK\x03\x04", "ZIP"),
    ],
)
def test_a_crafted_card_ends_in_one_clear_error(data: bytes, words: str) -> None:
    with pytest.raises(KnowledgeError) as raised:
        read_card(data, "bad")
    assert words in str(raised.value)
    assert str(raised.value).startswith("bad")


def test_lenient_fields_are_read_and_said() -> None:
    raw = copy.deepcopy(V2)
    raw["data"] |= {"character_book": None, "alternate_greetings": "Hi.", "personality": 7, "tags": ["a", 1]}
    card = read_card(written(raw), "c.json")
    assert (card.book, card.texts("alternate_greetings"), card.texts("tags")) == (None, ["Hi."], ["a"])
    assert card.text("personality") == ""
    assert [problem.where for problem in card.problems] == [
        "data.personality", "data.alternate_greetings", "data.tags",
    ]  # fmt: skip
    same(card.document, raw)


def test_cards_of_older_programs_are_read() -> None:
    card = read_card(b'{"char_name": "A", "char_persona": "B", "char_greeting": "C", "world_scenario": "D"}', "c.json")
    assert (card.version, card.name, card.text("description"), card.text("scenario")) == (1, "A", "B", "D")
    assert read_card(b'{"name": "A", "first_mes": "x", "character_book": {"entries": []}}', "c").book == {"entries": []}


def charx(files: dict[str, bytes], before: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return before + out.getvalue()


def test_a_charx_is_read_also_behind_a_picture_and_its_assets_go_along() -> None:
    files = {"card.json": written(V2), "assets/icon/images/main.png": blank()}
    for before in (b"", b"\xff\xd8\xff\xe0 a picture", b"MZ a program"):
        card = read_card(charx(files, before), "c.charx")
        assert (card.name, card.container) == ("Ignis", "charx")
        assert card.files == {"assets/icon/images/main.png": len(blank())}
    made = card_charx(card, None, charx(files), "c.charx")
    assert read_assets(made, "x") == {"assets/icon/images/main.png": blank()}
    assert read_card(made, "x").version == 3
    assert made == card_charx(card, None, charx(files), "c.charx")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"other.json": b"{}"}, "no card.json"),
        ({"card.json": b"{}", "../evil": b""}, "'..'"),
        ({"card.json": b"{}", "/evil": b""}, "absolute"),
        ({"card.json": b"{" + b" " * 5_000_000}, "times larger"),
        ({"card.json": b"{"}, "is not JSON"),
        ({"card.json": b"{}", **{f"assets/{at}": b"" for at in range(5001)}}, "the most is 5,000"),
    ],
)
def test_a_crafted_archive_ends_in_one_clear_error(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(KnowledgeError) as raised:
        read_card(charx(files), "bad.charx")
    assert words in str(raised.value)
    assert read_lorebook(charx({"card.json": written(V2)}), "c.charx") is not None


def test_addresses_of_assets_are_read_in_each_spelling() -> None:
    assert asset_path("embeded://assets/a.png") == asset_path("embedded://assets/a.png") == "assets/a.png"
    assert asset_path("__asset:0") == "0"
    assert asset_path("https://example.org/a.png") is asset_path("ccdefault:") is None


def test_a_card_becomes_entries_of_its_fields_and_its_lorebook() -> None:
    card = read_card(written(V2), "c.json")
    base, problems = card_base(card, b"data")
    assert problems == []
    found = {item.entry.id: item.entry for item in base.items}
    assert list(found) == [
        "0", "card-system_prompt", "card-description", "card-personality", "card-mes_example",
        "card-post_history_instructions", "card-depth_prompt", "card-first_mes", "card-alternate_greetings-1",
        "card-alternate_greetings-2",
    ]  # fmt: skip
    assert found["card-description"].entry_type == "st_character_description_fragment"
    assert found["card-post_history_instructions"].usage_metadata.placement == "after_prompt"
    note = found["card-depth_prompt"]
    assert (note.entry_type, note.usage_metadata.depth_offset, note.usage_metadata.role) == (
        "st_authors_note",
        3,
        "user",
    )
    assert "activation_trigger:always_active" not in found["card-first_mes"].management_metadata.tags
    said = "\n".join(entry.text for entry in found.values())
    assert "for people" not in said
    kept, book = card_of_base(base)
    assert kept is not None
    same(with_book(kept, book), V2)


def test_edited_fields_show_in_the_exported_card() -> None:
    base, _ = card_base(read_card(written(V2), "c.json"), b"data")
    ids = [item.entry.id for item in base.items]
    for id_, text in (
        ("card-description", "new"),
        ("card-alternate_greetings-2", "Oh."),
        ("card-depth_prompt", "deep"),
    ):
        base = edited(base, ids.index(id_), {"content": {"value": text}})
    kept, book = card_of_base(base)
    assert kept is not None
    expected = copy.deepcopy(V2)
    expected["data"] |= {"description": "new", "alternate_greetings": ["Hi.", "Oh."]}
    expected["data"]["extensions"]["depth_prompt"]["prompt"] = "deep"
    same(with_book(kept, book), expected)


def test_a_card_without_a_lorebook_becomes_entries_and_comes_back() -> None:
    raw = {**V2, "data": {**V2["data"], "character_book": None}}
    base, _ = card_base(read_card(written(raw), "c.json"), b"data")
    kept, book = card_of_base(base)
    assert kept is not None
    assert (book.items, has_book(base)) == ([], False)
    same(kept.document, raw)


def test_an_edited_lorebook_shows_in_the_exported_card_and_nothing_else_does() -> None:
    card = read_card(written(V2), "c.json")
    base = edited(card_base(card, b"", fields=False)[0], 0, {"content": {"value": "A deep cave."}})
    made = with_book(card, card_of_base(base)[1])
    assert made["data"]["character_book"]["entries"][0].pop("content") == "A deep cave."
    expected = copy.deepcopy(V2)
    del expected["data"]["character_book"]["entries"][0]["content"]
    same(made, expected)


def test_a_base_alone_becomes_a_card() -> None:
    native = base_of({"kb_id": "k", "kb_displayName": "K"}, [{"id": "n", "content": {"value": "x"}}])
    card = read_card(card_png(new_card("K", native)), "k.png")
    assert (card.name, card.version) == ("K", 3)
    assert card.book is not None
    back, _ = read_character_book({**card.book}, "x", "x")
    same([item.document for item in back.items], [item.document for item in native.items])


def test_a_character_filter_comes_back_from_a_card() -> None:
    chosen = {"isExclude": True, "names": ["Ada"], "tags": []}
    raw = {"entries": {"0": {"key": ["a"], "characterFilter": chosen}}}
    imported = read_lorebook(json.dumps(raw).encode(), "w.json")
    assert imported is not None
    card = read_card(card_png(new_card("K", imported.base)), "k.png")
    assert card.book is not None
    assert card.book["entries"][0]["extensions"]["character_filter"] == chosen


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
@settings(deadline=None, max_examples=70)
def test_a_damaged_picture_is_read_or_refused(extra: bytes, at: int, value: int) -> None:
    data = bytearray(png(("chara", packed(V2))) + extra)
    data[at % len(data)] = value
    with suppress(KnowledgeError):
        assert isinstance(read_card(bytes(data), "x"), Card)


def test_an_archive_is_never_larger_than_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innkeeper.knowledge.interchange.charx.MOST_CHARX", 10)
    with pytest.raises(KnowledgeError, match="more than 10 bytes"):
        write_charx(b"{}", {"a": bytes(9)}, "x.charx")
