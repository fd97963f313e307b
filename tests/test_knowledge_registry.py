"""Global bases are found by id, path or name; a project names its bases and reaches no others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import BusyError, UsageError
from innkeeper.knowledge.files import schema, writing
from innkeeper.knowledge.files.joining import Existing, joined, media_added
from innkeeper.knowledge.files.keeper import FileKeeper
from innkeeper.knowledge.files.known import decode_beginning
from innkeeper.knowledge.files.model_check import Fit, check_model, choose_model
from innkeeper.knowledge.files.names import folder_name, is_id, slug
from innkeeper.knowledge.files.project import MODEL, REFERENCES, Project, add_reference, read_project, resolve
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.files.relative import folded
from innkeeper.knowledge.files.step import StepFiles, base_of
from innkeeper.knowledge.files.vectors import VectorSet
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.model.problems import KnowledgeError

ROOT = Path(__file__).resolve().parent.parent


def make(folder: Path, base_id: str, *entries: Any, name: str = "knowledge.json", **top: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"kb_id": base_id, **top, "entries": list(entries)}))
    return folder


def a_base(*entries: Any, **top: Any) -> Base:
    return base_of({"kb_id": "w", **top}, entries)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    make(tmp_path / "home" / "knowledge" / "shire", "shire-1", {"id": "a"}, kb_displayName="The Shire")
    make(tmp_path / "home" / "knowledge" / "list", "x", name="other.json")
    (tmp_path / "home" / "knowledge" / "list" / "other.json").rename(tmp_path / "home" / "knowledge" / "single.json")
    return Registry(tmp_path / "home")


def refusal(registry: Registry, text: str) -> str:
    with pytest.raises(KnowledgeError) as caught:
        registry.find(text)
    return str(caught.value)


# --- the registry ---------------------------------------------------------------------------------------------------


def test_bases_of_the_home_and_registered_ones_are_found_by_id_alias_path_and_name(
    tmp_path: Path, registry: Registry
) -> None:
    far = make(tmp_path / "far", "far-1", {"id": "a"}, {"id": "b"}, kb_displayName="Far", embedding_model_id="m/4")
    known = registry.add(far, "away")
    assert (known.id, known.alias, known.entries, known.model, known.origin) == ("far-1", "away", 2, "m/4", "registry")
    for text in ("far-1", "away", "Far", str(far), str(far / "knowledge.json")):
        assert registry.find(text).path == far
    assert registry.find("The Shire").id == "shire-1"
    assert [each.id for each in registry.bases()] == ["shire-1", "x", "far-1"]
    assert [each.id for each in Registry(tmp_path / "home").bases()] == ["shire-1", "x", "far-1"]
    assert registry.forget("away") == far
    assert "is no global base" in refusal(registry, "far-1")
    assert far.exists()


def test_a_base_that_changed_is_read_again(registry: Registry) -> None:
    make(registry.folder / "shire", "shire-1", {"id": "a"}, {"id": "b"}, kb_displayName="The Old Shire")
    assert registry.find("shire-1").name == "The Old Shire"
    assert registry.find("shire-1").entries == 2


def test_a_large_base_is_found_by_its_beginning_and_counted_only_where_that_is_asked(registry: Registry) -> None:
    entries = [{"id": str(number), "content": {"value": "x" * 1000}} for number in range(200)]
    make(registry.folder / "large", "large", *entries, kb_displayName="Large \u9f99")
    make(registry.folder / "nameless", "nameless", *entries)
    found = {each.id: each.entries for each in registry.bases(whole=False)}
    assert found == {"large": -1, "nameless": 200, "shire-1": 1, "x": 0}
    assert registry.find("Large 龙").id == "large"
    assert {each.id: each.entries for each in registry.bases()}["large"] == 200


@given(data=st.binary(max_size=80) | st.text(alphabet='{}[],:"ab\\ 1e', max_size=40).map(str.encode))
@settings(deadline=None)
def test_any_beginning_is_an_object_or_nothing(data: bytes) -> None:
    for text in (data, b'{"kb_id": "x", ' + data, b"{" * 70_000):
        assert isinstance(decode_beginning(text), dict | None)


def test_two_that_register_at_once_undo_nothing_of_each_other(tmp_path: Path, registry: Registry) -> None:
    import threading

    folders = [make(tmp_path / f"far{number}", f"far{number}") for number in range(8)]
    homes = [Registry(tmp_path / "home") for _ in folders]
    threads = [threading.Thread(target=home.add, args=(far,)) for home, far in zip(homes, folders, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.id for each in registry.bases()} >= {f"far{number}" for number in range(8)}


def test_two_bases_with_one_id_are_both_named_and_neither_is_used(tmp_path: Path, registry: Registry) -> None:
    make(registry.folder / "copy", "shire-1")
    said = refusal(registry, "shire-1")
    assert "knowledge/copy" in said
    assert "knowledge/shire" in said
    assert str(tmp_path) not in said
    assert [bool(each.problem) for each in registry.bases()] == [True, True, False]
    with pytest.raises(KnowledgeError, match=r"shire-1.*knowledge/"):
        registry.check_free("shire-1")
    with pytest.raises(KnowledgeError, match="two bases cannot"):
        registry.add(make(tmp_path / "third", "x"))
    with pytest.raises(KnowledgeError, match="two bases cannot"):
        registry.add(make(tmp_path / "fourth", "y"), "x")


def test_a_name_that_several_bases_have_finds_none(registry: Registry) -> None:
    make(registry.folder / "b", "b", kb_displayName="The Shire")
    assert "means knowledge/b and knowledge/shire" in refusal(registry, "The Shire")


def test_a_broken_base_keeps_its_place_with_its_problem_and_the_others_work(registry: Registry) -> None:
    (registry.folder / "shire" / "knowledge.json").write_text('{\n"kb_id": "shire-1",,}')
    (broken,) = [each for each in registry.bases() if each.problem]
    assert (broken.path.name, "line 2" in broken.problem) == ("shire", True)
    assert registry.find("x").problem == ""
    (registry.folder / "shire" / "entries.json").write_text("[]")
    assert "has both" in registry.bases()[0].problem


def test_copies_hidden_files_and_others_are_no_bases(registry: Registry) -> None:
    for name in (".import-1", "empty", "a.bak"):
        (registry.folder / name).mkdir()
    make(registry.folder / ".import-1", "hidden")
    (registry.folder / "single.1.0.bak.json").write_text('{"kb_id": "old", "entries": []}')
    (registry.folder / "notes.txt").write_text("x")
    assert [each.id for each in registry.bases()] == ["shire-1", "x"]


def test_a_home_that_is_not_believed_has_no_bases_at_all(tmp_path: Path, registry: Registry) -> None:
    registry.add(make(tmp_path / "far", "far"))
    doubted = Registry(tmp_path / "home", "you have not accepted it")
    assert doubted.bases() == []
    for text in ("far", "shire-1", str(tmp_path / "far"), str(tmp_path / "home" / "knowledge" / "shire")):
        assert "you have not accepted it" in refusal(doubted, text)


@pytest.mark.parametrize(
    "rows", ["7", "[7]", '[{"id": "a"}]', '[{"id": "", "path": "/x"}]', '[{"id": "a", "path": "x/y"}]', "[{}, {}]"]
)
def test_a_broken_registry_is_one_clear_error(registry: Registry, rows: str) -> None:
    registry.file.write_text(f'{{"bases": {rows}}}')
    with pytest.raises(KnowledgeError, match=r"registry\.json"):
        registry.bases()


def test_what_others_keep_in_the_registry_stays(tmp_path: Path, registry: Registry) -> None:
    registry.file.write_text('{"note": [1, 2], "bases": []}')
    registry.add(make(tmp_path / "far", "far"))
    found = json.loads(registry.file.read_text())
    assert found == {"note": [1, 2], "bases": [{"id": "far", "path": str(tmp_path / "far")}]}
    registry.add(tmp_path / "far", "alias")
    assert len(json.loads(registry.file.read_text())["bases"]) == 1


def test_what_cannot_be_registered_is_refused(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(UsageError, match="lies in the home"):
        registry.add(registry.folder / "shire")
    with pytest.raises(UsageError, match="is not right"):
        registry.add(make(tmp_path / "far", "far"), "../evil")
    with pytest.raises(KnowledgeError, match=r"without knowledge\.json"):
        registry.add(tmp_path)
    with pytest.raises(KnowledgeError, match="no registered base"):
        registry.forget("nothing")


# --- names ----------------------------------------------------------------------------------------------------------


@given(texts=st.lists(st.text(max_size=12), min_size=2, max_size=2, unique=True))
@settings(deadline=None, max_examples=200)
def test_ids_get_folders_that_no_system_takes_for_another(texts: list[str]) -> None:
    folders = [folder_name(text) for text in texts]
    assert all(map(is_id, folders))
    assert folded(folders[0]) != folded(folders[1])
    assert is_id(slug(texts[0]))


def test_an_id_is_made_of_a_name() -> None:
    assert slug("My World") == "my-world"
    assert slug("北京") != slug("龙")
    assert folder_name("../../etc/passwd").startswith("etc-passwd-")


# --- projects -------------------------------------------------------------------------------------------------------


def project(folder: Path, references: Any, **others: Any) -> Project:
    folder.mkdir(exist_ok=True)
    document = {"id": "p", "z": {"kept": [1]}, REFERENCES: references, **others, "name": "My Project"}
    (folder / "project.json").write_text(json.dumps(document))
    return read_project(folder)


def test_references_of_both_shapes_lead_to_their_bases(tmp_path: Path, registry: Registry) -> None:
    make(tmp_path / "p" / "knowledgebases" / "lore", "lore")
    found = project(
        tmp_path / "p",
        [
            {"id": "one", "type": "local", "path": "knowledgebases/lore/", "name": "Lore", "source_id": None},
            {"id": "two", "type": "global", "path": None, "name": "Shire", "source_id": "shire-1"},
            {"source_id": "three", "name": "Lore again", "path": "knowledgebases/lore"},
            {"source_id": "x", "name": "X"},
            {"id": "five", "type": "global", "source_id": str(registry.folder / "shire")},
        ],
        **{MODEL: "wordllama-l2-256/256"},
    )
    assert found.embedding_model == "wordllama-l2-256/256"
    places = {each.id: resolve(found, each, registry) for each in found.references}
    lore, shire = tmp_path / "p" / "knowledgebases" / "lore", registry.folder / "shire"
    assert places == {
        "one": lore, "two": shire, "three": lore, "x": registry.folder / "single.json", "five": shire,
    }  # fmt: skip
    assert read_project(tmp_path / "p" / "project.json") == found


def test_every_mistake_of_the_references_is_said_with_its_reference(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError) as caught:
        project(
            tmp_path / "p",
            [
                {"id": "a", "type": "local", "path": "../secret"},
                {"id": "b", "type": "local", "path": "/etc"},
                {"id": "c", "type": "remote"},
                {"id": "d", "type": "global"},
                {"id": "e", "source_id": "x"},
                {"id": "e", "source_id": "y"},
                {"id": 7},
                "text",
                {},
            ],
            **{MODEL: 3},
        )
    places = [problem.where.removeprefix(REFERENCES) for problem in caught.value.problems]
    assert places == [
        "[0].path", "[1].path", "[2].type", "[3].source_id", "[5].id", "[6].id", "[7]", "[8].id", MODEL,
    ]  # fmt: skip


def test_no_reference_leads_out_of_the_project_or_to_a_base_that_the_home_does_not_know(
    tmp_path: Path, registry: Registry
) -> None:
    make(tmp_path / "secret", "secret")
    (tmp_path / "p" / "knowledgebases").mkdir(parents=True)
    (tmp_path / "p" / "knowledgebases" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "p" / "inner").symlink_to(tmp_path)
    rows = [
        {"id": "link", "type": "local", "path": "knowledgebases/link"},
        {"id": "behind", "type": "local", "path": "inner/secret"},
        {"id": "none", "type": "local", "path": "knowledgebases/none"},
        {"id": "path", "type": "global", "source_id": str(tmp_path / "secret")},
        {"id": "unknown", "type": "global", "source_id": "secret"},
    ]
    found = project(tmp_path / "p", rows)
    for each in found.references:
        with pytest.raises(KnowledgeError, match=f"'{each.id}'"):
            resolve(found, each, registry)
    with pytest.raises(KnowledgeError, match="no reference of the project"):
        found.reference("else")


def test_a_reference_is_added_once_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    before = project(tmp_path / "p", [{"id": "x", "type": "global", "source_id": "x"}], later=None)
    after, added = add_reference(before, "shire-1", name="Shire")
    assert added.id == "shire-1"
    assert list(after.document) == list(before.document)
    assert {**after.document, REFERENCES: before.document[REFERENCES]} == before.document
    assert add_reference(after, "shire-1")[1] == added
    _, local = add_reference(after, "shire-1", path="knowledgebases/shire")
    assert (local.id, local.path) == ("shire-1-2", "knowledgebases/shire")
    with pytest.raises(KnowledgeError, match="it must lead down"):
        add_reference(after, "evil", path="../evil")
    with pytest.raises(KnowledgeError, match="another reference"):
        add_reference(after, "new", reference_id="x")


def test_a_reference_has_the_shape_of_its_neighbours(tmp_path: Path) -> None:
    before = project(tmp_path / "p", [{"source_id": "x", "name": "X"}])
    after, _ = add_reference(before, "y", name="Y")
    assert after.document[REFERENCES][1] == {"source_id": "y", "name": "Y"}


# --- models ---------------------------------------------------------------------------------------------------------


def vectors(model: str, *ids: str) -> VectorSet:
    import numpy as np

    return VectorSet(model, list(ids), [""] * len(ids), np.ones((len(ids), 4), np.float32) / 2)


TEXTS = ({"id": "a", "content": {"value": "text " * 10}}, {"id": "b", "content": {"value": "龙"}}, {"id": "c"})


@pytest.mark.parametrize(
    ("recorded", "brought", "fit", "model", "texts"),
    [
        ("m@1/4", [vectors("m@1/4", "a", "b")], Fit.READY, "m@1/4", 0),
        ("m@1/4", [vectors("m@1/4", "a")], Fit.PARTLY, "m@1/4", 1),
        ("m@1/4", [vectors("m@0/4", "a", "b")], Fit.UNEMBEDDED, "m@1/4", 2),
        ("m", [vectors("m@1/4", "a", "b")], Fit.READY, "m@1/4", 0),
        ("m@1/4", [], Fit.UNEMBEDDED, "m@1/4", 2),
        ("ada", [vectors("ada", "a", "b")], Fit.OTHER, "", 2),
        ("ada", [vectors("m@1/4", "a", "b")], Fit.OTHER, "", 2),
        (None, [vectors("m@1/4", "a", "b")], Fit.READY, "m@1/4", 0),
        (None, [vectors("ada", "a", "b")], Fit.OTHER, "", 2),
        (None, [], Fit.PLAIN, "", 2),
    ],
)
def test_a_model_is_checked_before_vectors_are_used(
    recorded: str | None, brought: list[VectorSet], fit: Fit, model: str, texts: int
) -> None:
    base = a_base(*TEXTS, embedding_model_id=recorded)
    check = check_model(base, brought, lambda: ["m@1/4", "n/8"])
    assert (check.fit, check.model, check.texts, check.entries) == (fit, model, texts, 3)
    assert check.question == (fit not in (Fit.READY, Fit.PLAIN))
    if check.question:
        said = " ".join(check.sentences())
        assert f"{texts} of 3 entries" in said
        assert "m@1/4, n/8" in said
        assert f"{check.characters:,} characters" in said


def test_entries_that_want_to_be_found_by_meaning_make_a_question() -> None:
    base = a_base({"id": "a", "activation_criteria": {"use_semantic_search": True}})
    assert check_model(base, [], list).fit is Fit.UNKNOWN


def test_options_answer_the_question() -> None:
    check = check_model(a_base(*TEXTS, embedding_model_id="ada"), [], lambda: ["m@1/4"])
    assert choose_model(check, None, False) is None
    assert choose_model(check, None, True) == ""
    assert choose_model(check, "m", False) == "m@1/4"
    for embed, none, words in (("m", True, "not both"), ("ada", False, "no model that is here: m@1/4")):
        with pytest.raises(UsageError, match=words):
            choose_model(check, embed, none)


# --- joining and keeping --------------------------------------------------------------------------------------------


def test_what_becomes_of_entries_whose_id_is_there_is_said_by_its_option() -> None:
    target = a_base({"id": "a", "x": 1}, {"id": "same"}, {"id": "a-2"})
    base = a_base({"id": "a", "x": 2}, {"id": "same"}, {"id": "b", "management_metadata": {"child_ids": ["a", "same"]}})
    with pytest.raises(KnowledgeError, match="--existing") as caught:
        joined(target, base, Existing.REFUSE)
    assert [problem.entry for problem in caught.value.problems] == ["a"]
    assert joined(target, base, Existing.REPLACE) == [item.document for item in base.items]
    assert [each["id"] for each in joined(target, base, Existing.KEEP)] == ["same", "b"]
    renamed = joined(target, base, Existing.RENAME)
    assert [each["id"] for each in renamed] == ["a-3", "same", "b"]
    assert renamed[2]["management_metadata"]["child_ids"] == ["a-3", "same"]
    assert base.items[0].document["id"] == "a"


def test_media_are_added_or_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "base" / "media").mkdir(parents=True)
    (tmp_path / "base" / "media" / "a.png").write_bytes(b"A")
    (tmp_path / "base" / "media" / "out").symlink_to(tmp_path)

    def add(**media: bytes) -> int:
        named = {f"media/{name}.png": iter([data]) for name, data in media.items()}
        with media_added(tmp_path / "base", named) as count:
            return count

    assert add(a=b"A", b=b"B") == 1
    for media in ({"c": b"C", "a": b"other"}, {"c": b"C", "d": b"PK\x03\x04"}, {"c": b"C", "out/e": b"E"}):
        with pytest.raises(KnowledgeError):
            add(**media)
    with pytest.raises(ZeroDivisionError), media_added(tmp_path / "base", {"media/f.png": iter([b"F"])}):
        raise ZeroDivisionError
    names = sorted(each.name for each in (tmp_path / "base" / "media").iterdir())
    assert names == ["a.png", "b.png", "out"]
    assert not (tmp_path / "e.png").exists()


async def test_a_keeper_of_files_changes_all_or_nothing_and_drops_vectors_of_texts_that_changed(
    tmp_path: Path, registry: Registry
) -> None:
    make(registry.folder / "shire", "shire-1", *TEXTS)
    keeper, known = FileKeeper(), registry.find("shire-1")
    await keeper.keep_vectors(known, vectors("m/4", "a", "b"))
    assert registry.find("shire-1").model == "m/4"
    done = await keeper.change(
        known, [{**TEXTS[0], "x": 1}, {"id": "b", "content": {"value": "new"}}, {"id": "d"}], ["c"]
    )
    assert (done.created, done.changed, done.same, done.deleted) == (1, 2, 0, 1)
    assert [item.entry.id for item in (await keeper.read(known)).base.items] == ["a", "b", "d"]
    (left,) = await keeper.vectors(known)
    assert left.ids == ["a"]
    before = (registry.folder / "shire" / "knowledge.json").read_bytes()
    with pytest.raises(KnowledgeError):
        await keeper.change(known, [{"id": "e"}, {"id": 7}])
    assert (registry.folder / "shire" / "knowledge.json").read_bytes() == before


def test_a_store_that_keeps_in_step_writes_files_in_the_shape_of_their_authors(tmp_path: Path) -> None:
    files = StepFiles()
    file = tmp_path / "world" / "entries.json"
    file.parent.mkdir()
    file.write_text('[{"id": "a"}]')
    state = files.read(file)
    assert state.info["kb_id"] == "world"
    digest = files.write(file, state.info, [*state.documents, {"id": "b"}])
    assert json.loads(file.read_text()) == [{"id": "a"}, {"id": "b"}]
    assert files.read(file).digest == digest
    old = make(tmp_path / "old", "old", {"id": "a"}, schema_version="1.0") / "knowledge.json"
    StepFiles().write(old, {"kb_id": "old", "schema_version": "1.1"}, [])
    assert (tmp_path / "old" / "knowledge.1.0.bak.json").exists()
    newer = make(tmp_path / "new", "new", schema_version="9.0") / "knowledge.json"
    assert files.read(newer).read_only
    with pytest.raises(KnowledgeError, match="newer"):
        files.write(newer, {"kb_id": "new"}, [])


# --- schemas --------------------------------------------------------------------------------------------------------


def test_the_schemas_in_the_docs_are_those_of_the_models() -> None:
    for name, text in schema.files().items():
        assert (ROOT / "docs" / "schemas" / name).read_text(encoding="utf-8") == text, (
            "run: python -m innkeeper.knowledge.files.schema"
        )


def test_the_schemas_say_what_each_field_means() -> None:
    found = schema.base_schema()
    assert found["required"] == ["kb_id", "entries"]
    fields = found["$defs"]["UsageMetadata"]["properties"]
    assert all("description" in field for field in fields.values())
    assert os.linesep not in fields["role"]["description"]


def test_who_holds_a_folder_and_was_stopped_keeps_nobody_waiting_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PATIENCE", 0.05)
    with writing.locked(tmp_path), pytest.raises(BusyError, match="try again"), writing.locked(tmp_path):
        raise AssertionError("two at a time")
    with writing.locked(tmp_path):
        pass
