"""Bases are read with line and key of every mistake, and come out of a file as they went in."""

from __future__ import annotations

import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.knowledge.files import decoding, parsing, scanning, upgrades
from innkeeper.knowledge.files.bounds import MOST_PROBLEMS
from innkeeper.knowledge.files.collecting import no_collections
from innkeeper.knowledge.files.decoding import decode, decode_object
from innkeeper.knowledge.files.encoding import base_pieces, pretty
from innkeeper.knowledge.files.reading import read_base
from innkeeper.knowledge.files.writing import write_base
from innkeeper.knowledge.model.base import SCHEMA_VERSION
from innkeeper.knowledge.model.bounds import MOST_DEPTH
from innkeeper.knowledge.model.problems import KnowledgeError, Problem

texts = st.text(st.characters(codec="utf-8"), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
entries = st.lists(
    st.fixed_dictionaries({"id": st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)}, optional={
        "content": st.fixed_dictionaries({"value": texts, "later": plain}),
        "extensions": st.dictionaries(texts, plain, max_size=3),
        "x": plain,
    }),
    max_size=5,
    unique_by=lambda entry: entry["id"],
)  # fmt: skip
tops = st.fixed_dictionaries(
    {"kb_id": st.just("world"), "schema_version": st.just(SCHEMA_VERSION)},
    optional={"kb_extensions": st.dictionaries(texts, plain, max_size=3), "later": plain, "tags": st.lists(texts)},
)
quick = settings(deadline=None, max_examples=60)


def base(folder: Path, text: str | bytes, name: str = "knowledge.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def refused(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(KnowledgeError) as caught:
        read_base(path)
    return caught.value.problems


def of(*items: Any, **top: Any) -> str:
    return json.dumps({"kb_id": "world", **top, "entries": list(items)}, indent=2)


# --- what is read ---------------------------------------------------------------------------------------------------


@given(value=plain)
@quick
def test_what_is_written_is_what_the_standard_library_writes(value: Any) -> None:
    assert pretty(value) == json.dumps(value, indent=2, ensure_ascii=False)


@given(top=tops, items=entries, at=st.none() | st.integers(0, 5))
@quick
def test_a_document_comes_out_of_a_file_as_it_went_in_keys_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, top: dict[str, Any], items: list[Any], at: int | None
) -> None:
    file = tmp_path_factory.mktemp("base") / "knowledge.json"
    file.write_bytes(b"".join(base_pieces(top, items, at)))
    text = file.read_bytes()
    found = read_base(file)
    assert found.problems == []
    assert found.base.document == top
    assert [item.document for item in found.base.items] == items
    assert not write_base(found.base, file, found.source).changed
    file.write_bytes(b"{}")
    assert write_base(found.base, file, found.source).changed
    assert file.read_bytes() == text
    assert list(json.loads(text)) == list(decode_object(text, "x", most=1 << 20))


@given(items=entries)
@quick
def test_an_array_of_entries_stays_an_array(tmp_path_factory: pytest.TempPathFactory, items: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("shire")
    file = folder / "entries.json"
    file.write_text(json.dumps(items))
    found = read_base(folder)
    assert [item.document for item in found.base.items] == items
    assert found.base.info.kb_id == folder.name
    write_base(found.base, file, found.source)
    assert json.loads(file.read_text()) == items


def test_a_base_is_a_folder_a_file_or_an_array_in_a_folder(tmp_path: Path) -> None:
    text = of({"id": "a"})
    for path in (base(tmp_path / "one", text), base(tmp_path / "two", text, "entries.json")):
        assert read_base(path).base.info.kb_id == "world"
    for name in ("x.json", "y.ckb", "z"):
        (tmp_path / name).write_text(text)
        found = read_base(tmp_path / name)
        assert (found.source.kind, found.source.folder) == ("file", tmp_path)
    assert read_base(base(tmp_path / "My World", '[{"id": "a"}]', "entries.json")).base.info.kb_id == "my-world"


def test_a_mark_of_byte_order_is_no_mistake(tmp_path: Path) -> None:
    assert len(read_base(base(tmp_path, b"\xef\xbb\xbf" + of({"id": "a"}).encode())).base.items) == 1


# --- mistakes have a line and a key ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{\n "kb_id": "w",\n "entries": [\n  {"id": "a",}\n ]\n}', 4, "a comma stands before '}'"),
        ('{\n "kb_id": "w",\n "entries": [\n  {"id": "a"},\n ]\n}', 5, "a comma stands before ']'"),
        ('{\n "kb_id": "w",\n "entries": [{"id": "a"}\n {"id": "b"}]}', 4, "a comma is missing"),
        ('{\n "kb_id": "w", // it\n "entries": []}', 2, "no comments"),
        ("{\n 'kb_id': 1}", 2, "straight double quotes"),
        ('{"kb_id": "w", "entries": [{"id": "a\n"}]}', 1, "goes on over the end of its line"),
        ('{"kb_id": "w",\n "entries": [', 2, "ends too early"),
        ('{"kb_id": "w", "entries": [{"id": "C:\\x"}]}', 1, "a backslash"),
        ('{"kb_id": "w", "entries": []}\n}', 2, "something follows"),
        ('{"kb_id" "w"}', 1, "':'"),
    ],
)
def test_a_file_that_does_not_parse_names_line_and_column(tmp_path: Path, text: str, line: int, words: str) -> None:
    (problem,) = refused(base(tmp_path, text))
    assert problem.line == line
    assert words in problem.message
    assert f"(line {line}, column " in problem.message


def test_every_mistake_of_a_file_is_said_at_once_with_entry_field_and_line(tmp_path: Path) -> None:
    text = """{
  "kb_id": "world",
  "entries": [
    {"id": "good"},
    {
      "id": "bad",
      "displayName": "The Bad",
      "usage_metadata": {
        "priority": "high"
      },
      "activation_criteria": {"keywords": ["a",
        7]}
    },
    {"displayName": "nameless"},
    3,
    {"id": "good", "displayName": "Another"},
    {"id": "twice", "x": 1,
     "x": 2, "y": NaN, "z": 1e999, "n": 123456789012345678901234567890},
    {"id": "half", "t": "\\ud800"}
  ]
}"""
    found = {problem.where: problem for problem in refused(base(tmp_path, text))}
    lines = {where: problem.line for where, problem in found.items()}
    assert lines == {
        "entries[1].usage_metadata.priority": 9,
        "entries[1].activation_criteria.keywords[1]": 12,
        "entries[2].id": 14,
        "entries[3]": 15,
        "entries[4].id": 16,
        "entries[5].x": 18,
        "entries[5].y": 18,
        "entries[5].z": 18,
        "entries[5].n": 18,
        "entries[6].t": 19,
    }
    assert found["entries[1].usage_metadata.priority"].entry == "The Bad"
    assert "entries[0]" in found["entries[4].id"].message
    lenient = read_base(tmp_path, strict=False)
    assert [item.entry.id for item in lenient.base.items] == ["good"]
    assert {problem.where for problem in lenient.problems} == set(found)


def test_mistakes_of_the_top_level_refuse_a_file_with_their_lines(tmp_path: Path) -> None:
    rows = ("{", '"kb_id": 7,', '"tags": "x",', '"schema_version": "newest",', '"author": "a",', '"author": "b",')
    base(tmp_path, "\n".join((*rows, '"entries": []}')))
    with pytest.raises(KnowledgeError) as caught:
        read_base(tmp_path, strict=False)
    found = {(problem.where, problem.line) for problem in caught.value.problems}
    assert found == {("kb_id", 2), ("tags", 3), ("schema_version", 4), ("author", 6)}
    assert "schema_version" in str(caught.value)


def test_a_thousand_mistakes_are_listed_and_the_rest_are_counted(tmp_path: Path) -> None:
    problems = refused(base(tmp_path, of(*({"id": 1} for _ in range(MOST_PROBLEMS + 50)))))
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1].message == "and 50 more problems"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n....", "card import"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"Once upon a time", "kb import"),
        (b"\x00\x01\x02", "neither JSON nor an archive"),
        (b'{"kb_id": "\xff"}', "not UTF-8"),
        ('{"kb_id": "x"}'.encode("utf-16"), "UTF-16"),
        (b'{"knowledgeBaseReferences": []}', "is a project"),
        (b'{"entries": {"0": {"key": ["a"], "content": "b"}}}', "lorebook of another program"),
        (b'{"entries": [{"keys": ["a"], "content": "b"}]}', "lorebook of another program"),
        (b'{"lorebookVersion": 5, "entries": []}', "lorebook of another program"),
        (b'{"spec": "chara_card_v2", "data": {}}', "character card"),
        (b'{"nodes": [], "edges": []}', "workflow"),
        (b'{"id": "a", "content": {"value": "x"}}', "single entry"),
        (b'{"kb_id": "x"}', "entries: is missing"),
        (b'{"kb_id": "x", "entries": null}', "is null: it must be an array"),
    ],
)
def test_what_is_no_base_is_said_in_a_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(KnowledgeError, match="file") as caught:
        read_base(tmp_path / "file")
    assert words in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_folders_without_a_base_with_two_or_of_a_project_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match="without"):
        read_base(tmp_path)
    base(tmp_path, "{}", "project.json")
    with pytest.raises(KnowledgeError, match="is a project"):
        read_base(tmp_path)
    base(base(tmp_path, "{}"), "[]", "entries.json")
    with pytest.raises(KnowledgeError, match="both"):
        read_base(tmp_path)


def test_links_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(of())
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "knowledge.json").symlink_to(secret)
    with pytest.raises(UsageError, match="link"):
        read_base(tmp_path / "base")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="regular"):
        read_base(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no such file"):
        read_base(tmp_path / "nothing")


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_depth_is_bounded_exactly_and_named_by_its_line(tmp_path: Path) -> None:
    # The top, its entries, the entry and its extensions are four.
    inner = "[" * (MOST_DEPTH - 4) + "]" * (MOST_DEPTH - 4)
    text = '{"kb_id": "w",\n "entries": [\n{"id": "a", "extensions": {"[[[[\\"[[": %s}}]}'
    assert read_base(base(tmp_path, text % inner)).problems == []
    (problem,) = refused(base(tmp_path, text % f"[{inner}]"))
    assert (problem.line, "64 objects and arrays" in problem.message) == (3, True)


def test_numbers_of_containers_and_of_values_are_bounded_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scanning, "MOST_CONTAINERS", 1000)
    monkeypatch.setattr(scanning, "MOST_VALUES", 5000)
    with pytest.raises(KnowledgeError, match="1,000 objects"):
        decode(b"[" + b"{}," * 1001 + b"{}]", "x")
    with pytest.raises(KnowledgeError, match="5,000 values"):
        decode(b"[" + b"1," * 5001 + b"1]", "x")
    decode(b'["' + b"{}[],,," * 5001 + b'"]', "x")
    with pytest.raises(KnowledgeError, match="the most is 10"):
        decode(b'{"a": 1234567}', "x", most=10)


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b'\\"' * 500_000, b'{"a": "' + b"\\" * 500_001, b'"a' * 300_000,
        b"[" * 900_000, b"]" * 900_000, b'{"a":' * 300_000,
    ],
    ids=["escaped quotes", "backslashes", "quotes", "opening", "closing", "objects"],
)  # fmt: skip
def test_hostile_texts_end_soon_in_one_error(text: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(KnowledgeError):
        decode(text, "x")
    # Quadratic work would take minutes; what it takes is about 20 ms.
    assert time.process_time() - begun < 5


def test_an_entry_that_is_too_large_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    base(tmp_path, of({"id": "a"}, {"id": "big", "extensions": {"x": "y" * (1 << 20)}}))
    (problem,) = refused(tmp_path)
    assert (problem.where, problem.entry) == ("entries[1]", "big")
    assert len(read_base(tmp_path, strict=False).base.items) == 1


def test_what_follows_a_value_is_no_part_of_it(tmp_path: Path) -> None:
    (problem,) = refused(base(tmp_path, '{"kb_id": "w", "x": %s\ufeff, "entries": []}'.replace("%s", "9" * 40)))
    assert "is not JSON" in problem.message


def test_keys_that_cannot_be_shown_are_shown_as_escapes_and_cut(tmp_path: Path) -> None:
    long = "k" * 5000
    texts = (
        '{"kb_id": "w", "\\ud800": 1, "entries": []}',
        '{"\\ud800" 1}',
        f'{{"{long}" 1}}',
        f'{{"kb_id": "w", "entries": [{{"id": "a", "x": {{"{long}": NaN, "\\ud800": NaN}}}}]}}',
        f'{{"kb_id": "w", "entries": [{{"id": "a", "variable_handling": {{"defines_variables": {{"{long}": 1}}}}}}]}}',
    )
    for text in texts:
        for problem in refused(base(tmp_path, text)):
            assert len(str(problem).encode()) < 600


def test_crafted_files_full_of_mistakes_end_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = "{" + ",".join(['"a":1'] * 100_000) + "}"
    wrong = json.dumps({"id": "x" * 129, "content": 7})
    tagged = json.dumps({"id": "a", "management_metadata": {"tags": [1] * 9999}})

    def with_entries(*entries: str, extensions: str = "{}") -> str:
        return f'{{"kb_id": "w", "kb_extensions": {extensions}, "entries": [{",".join(entries)}]}}'

    many = with_entries(*[wrong] * 30_000)
    texts = (with_entries(extensions=twice), with_entries(*[twice] * 4), many, with_entries(tagged))
    for text in texts:
        begun = time.process_time()
        assert len(refused(base(tmp_path, text))) <= MOST_PROBLEMS + 1
        # Each takes a fraction of a second.
        assert time.process_time() - begun < 10
    monkeypatch.setattr(parsing, "MOST_MISTAKES", 5000)
    with pytest.raises(KnowledgeError) as caught:
        read_base(base(tmp_path, many), strict=False)
    assert "more than 5,000 more" in caught.value.problems[-1].message
    monkeypatch.setattr(decoding, "MOST_VALUE", 1000)
    (problem,) = refused(base(tmp_path, with_entries(extensions=json.dumps("y" * 1000)).replace("kb_extensions", "x")))
    assert (problem.where, "at most 1,000" in problem.message) == ("x", True)


@given(data=st.binary(max_size=200) | st.text(alphabet='{}[],:"\\ \n1eE.-ntu/NaI', max_size=60).map(str.encode))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_a_base_or_one_clear_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("any") / "x.json"
    file.write_bytes(data)
    said = ""
    try:
        read_base(file)
    except UsageError as error:
        said = str(error)
    assert not said or "x.json" in said


def test_garbage_is_looked_for_again_after_the_last_of_several_readers_however_it_ends() -> None:
    assert gc.isenabled()
    one, other = no_collections(), no_collections()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert not gc.isenabled()
    other.__exit__(None, None, None)
    with pytest.raises(KnowledgeError):
        read_base(Path(__file__))
    assert gc.isenabled()
    gc.disable()
    try:
        with no_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


# --- structures -----------------------------------------------------------------------------------------------------


def test_an_older_structure_is_upgraded_and_a_copy_is_kept_when_it_is_written(tmp_path: Path) -> None:
    base(tmp_path, of({"id": "a"}, schema_version="1.0"))
    before = (tmp_path / "knowledge.json").read_bytes()
    found = read_base(tmp_path)
    assert found.base.document["schema_version"] == SCHEMA_VERSION
    assert found.source.upgraded
    assert (tmp_path / "knowledge.json").read_bytes() == before
    written = write_base(found.base, found.source.file, found.source)
    assert written.copy == tmp_path / "knowledge.1.0.bak.json"
    assert written.copy.read_bytes() == before
    assert not read_base(tmp_path).source.upgraded
    # Another old file under the same name does not overwrite the copy of the first.
    base(tmp_path, of({"id": "b"}, schema_version="1.0"))
    found = read_base(tmp_path)
    assert write_base(found.base, found.source.file, found.source).copy == tmp_path / "knowledge.1.0.bak.2.json"
    assert (tmp_path / "knowledge.1.0.bak.json").read_bytes() == before


def test_steps_follow_each_other_and_each_sees_what_the_one_before_made() -> None:
    steps = {
        "0.8": upgrades.Step("0.9", lambda top: {**top, "a": 1}, lambda entry: {**entry, "n": [1]}),
        "0.9": upgrades.Step("1.0", lambda top: {**top, "b": top["a"]}, lambda entry: {**entry, "n": [*entry["n"], 2]}),
    }
    found = upgrades.chain("0.8", steps)
    assert upgrades.upgrade_top({"schema_version": "0.8"}, found) == {"schema_version": "1.0", "a": 1, "b": 1}
    assert upgrades.upgrade_entry({}, found) == {"n": [1, 2]}
    assert upgrades.chain("0.8", {"0.8": upgrades.Step("0.8", dict, dict)}) != []


@pytest.mark.parametrize("version", ["1.2", "2.0", "10.0"])
def test_a_newer_structure_is_read_as_far_as_it_is_known_and_never_written(tmp_path: Path, version: str) -> None:
    base(tmp_path, of({"id": "a"}, {"id": "b", "content": {"value": ["new"]}}, schema_version=version))
    found = read_base(tmp_path)
    assert found.source.read_only
    assert [item.entry.id for item in found.base.items] == ["a"]
    assert [problem.where for problem in found.problems] == ["entries[1].content.value"]
    with pytest.raises(KnowledgeError, match="newer than this host"):
        write_base(found.base, found.source.file, found.source)


@pytest.mark.parametrize("version", ["", "latest", "1", "1.0.0", "01.0", "1.99999", 1.0, None])
def test_a_version_that_is_none_is_refused(tmp_path: Path, version: Any) -> None:
    assert refused(base(tmp_path, of(schema_version=version)))[0].where == "schema_version"


# --- writing --------------------------------------------------------------------------------------------------------


def test_a_write_follows_no_link_and_leaves_the_file_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_base(base(tmp_path / "base", of({"id": "a"})))
    victim = tmp_path / "victim.json"
    victim.write_text("mine")
    link = tmp_path / "link.json"
    link.symlink_to(victim)
    with pytest.raises(UsageError, match="is a link"):
        write_base(found.base, link)
    assert victim.read_text() == "mine"
    file = tmp_path / "out.json"
    file.write_text("before")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_base(found.base, file)
    assert file.read_text() == "before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["base", "link.json", "out.json", "victim.json"]
