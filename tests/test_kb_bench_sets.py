"""Data sets of others are read as they are meant; a crafted one ends in one error that says everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.knowledge.bench import sets
from innkeeper.knowledge.bench.beir import read_beir
from innkeeper.knowledge.bench.folder import read_set, sets_in
from innkeeper.knowledge.bench.squad import read_squad, squad_of
from innkeeper.knowledge.model.problems import KnowledgeError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "paragraphs", "context", "qas", "question", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def squad(*paragraphs: tuple[str, list[str]]) -> dict[str, Any]:
    made = [{"context": text, "qas": [{"question": each} for each in asked]} for text, asked in paragraphs]
    return {"data": [{"paragraphs": made}]}


def beir(folder: Path, corpus: list[Any], queries: list[Any], qrels: str) -> Path:
    folder.mkdir()
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus), "utf-8")
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries), "utf-8")
    (folder / "qrels.tsv").write_text(qrels, "utf-8")
    return folder


# SQuAD


def test_each_question_belongs_to_its_paragraph_and_the_name_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.en.json"
    path.write_text(json.dumps(squad(("One.", ["a?", "b?"]), ("Two.", ["c?"]))), "utf-8")
    found = read_squad(path)
    assert found.name == "tiny.en"
    assert [entry.text for entry in found.entries] == ["One.", "Two."]
    assert [(each.text, dict(each.gains)) for each in found.questions] == [
        ("a?", {"p0": 1}), ("b?", {"p0": 1}), ("c?", {"p1": 1}),
    ]  # fmt: skip


def test_a_paragraph_that_is_there_twice_is_one_entry() -> None:
    found = squad_of(json.dumps(squad(("Same.", ["a?"]), ("Same.", ["b?"]))).encode(), "x.json")
    assert len(found.entries) == 1
    assert [dict(each.gains) for each in found.questions] == [{"p0": 1}, {"p0": 1}]


def test_questions_without_an_answer_are_left_out_and_that_is_said() -> None:
    raw = squad(("One.", ["a?", "b?"]))
    raw["data"][0]["paragraphs"][0]["qas"][1]["is_impossible"] = True
    found = squad_of(json.dumps(raw).encode(), "x.json")
    assert [each.text for each in found.questions] == ["a?"]
    assert found.notes == ["1 questions that have no answer were left out"]


def test_everything_that_is_wrong_is_said_at_once_with_its_place() -> None:
    raw = squad(("One.", ["a?"]))
    raw["data"][0]["paragraphs"] += [7, {"context": 5, "qas": []}, {"context": "T", "qas": [{"question": 1}]}]
    raw["data"].append({"paragraphs": None})
    with pytest.raises(KnowledgeError) as caught:
        squad_of(json.dumps(raw).encode(), "x.json")
    assert [each.where for each in caught.value.problems] == [
        "data[0].paragraphs[1]", "data[0].paragraphs[2].context", "data[0].paragraphs[3].qas[0].question",
        "data[1].paragraphs",
    ]  # fmt: skip
    assert str(caught.value).startswith("x.json: ")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"data": []}',
        b"[]",
        b"null",
        b"1" * 5000,
        b'{"data": [{"paragraphs": [{}]}]}',
    ],
)
def test_what_is_no_squad_is_one_error(data: bytes) -> None:
    with pytest.raises(KnowledgeError):
        squad_of(data, "x.json")


@settings(deadline=None)
@given(JSON)
def test_any_json_is_a_set_or_one_error(raw: Any) -> None:
    try:
        found = squad_of(json.dumps(raw).encode(), "x.json")
    except KnowledgeError:
        return
    assert found.questions
    known = {entry.id for entry in found.entries}
    assert all(set(each.gains) <= known for each in found.questions)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "MOST_FILE", 1 << 20)
    path = tmp_path / "large.json"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(KnowledgeError, match="larger than 1 MiB"):
        read_squad(path)


def test_a_flood_of_mistakes_is_given_up_after_some() -> None:
    raw = {"data": [{"paragraphs": [1] * 10_000}]}
    with pytest.raises(KnowledgeError) as caught:
        squad_of(json.dumps(raw).encode(), "x.json")
    assert len(caught.value.problems) == sets.MOST_PROBLEMS


def test_a_file_of_millions_of_values_is_refused_before_anything_is_built() -> None:
    with pytest.raises(KnowledgeError, match="values"):
        squad_of(b"[" + b"{}," * 1_100_000 + b"{}]", "x.json")


# BEIR


def test_a_folder_of_beir_is_read_with_titles_and_grades(tmp_path: Path) -> None:
    folder = beir(
        tmp_path / "tiny",
        [{"_id": "x", "title": "T", "text": "One."}, {"_id": 7, "text": "Two."}],
        [{"_id": "q", "text": "a?"}, {"_id": "unjudged", "text": "b?"}],
        "query-id\tcorpus-id\tscore\nq\tx\t2\nq\t7\t1\n",
    )
    found = read_beir(folder)
    assert (found.name, len(found.entries)) == ("tiny", 2)
    assert (found.entries[0].displayName, found.entries[0].text) == ("T", "One.")
    assert [(each.text, dict(each.gains)) for each in found.questions] == [("a?", {"d0": 2, "d1": 1})]


def test_the_header_of_judgements_may_be_missing_and_strange_ids_are_left_out_with_a_note(tmp_path: Path) -> None:
    folder = beir(
        tmp_path / "s", [{"_id": "x", "text": "One."}], [{"_id": "q", "text": "a?"}], "q\tx\t1\nq\tgone\t1\nz\tx\t1\n"
    )
    found = read_beir(folder)
    assert len(found.questions) == 1
    assert found.notes == ["2 judgements of unknown queries or documents were left out"]


def test_mistakes_of_a_file_name_their_lines(tmp_path: Path) -> None:
    folder = beir(
        tmp_path / "s",
        [{"_id": "x", "text": "One."}, 5, {"_id": "x", "text": "Two."}, {"text": "Three."}, {"_id": "y", "text": 1}],
        [{"_id": "q", "text": "a?"}],
        "q\tx\t1\n",
    )
    with pytest.raises(KnowledgeError) as caught:
        read_beir(folder)
    assert [(each.line, each.where) for each in caught.value.problems] == [(2, ""), (3, "_id"), (4, "_id"), (5, "text")]
    assert "s/corpus.jsonl" in str(caught.value)


@pytest.mark.parametrize(
    "qrels", ["", "q\tx\n", "h\tc\ts\nq\tx\tmany\n", "q\tx\t0\n", "q x 1\n", "q\tx\tnan\n\n", "h\n\nq\tx\t1e300\n"]
)
def test_judgements_that_judge_nothing_are_one_error(tmp_path: Path, qrels: str) -> None:
    folder = beir(tmp_path / "s", [{"_id": "x", "text": "One."}], [{"_id": "q", "text": "a?"}], qrels)
    with pytest.raises(KnowledgeError, match="qrels"):
        read_beir(folder)


def test_a_file_of_the_layout_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"_id": "x", "text": "One."}\n', "utf-8")
    with pytest.raises(KnowledgeError, match=r"queries\.jsonl"):
        read_beir(folder)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=60))
def test_any_bytes_are_a_set_or_one_error(corpus: bytes, queries: bytes, qrels: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        for name, data in (("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels.tsv", qrels)):
            (folder / name).write_bytes(data)
        with pytest.raises(KnowledgeError):
            read_beir(folder)


def test_a_file_of_line_breaks_alone_takes_no_memory_and_lines_of_windows_are_read(tmp_path: Path) -> None:
    folder = beir(tmp_path / "s", [{"_id": "x", "text": "One."}], [{"_id": "q", "text": "a?"}], "q\tx\t1\r\n")
    with (folder / "corpus.jsonl").open("ab") as file:
        file.write(b"\n" * 300_000)
    assert dict(read_beir(folder).questions[0].gains) == {"d0": 1}


# Folders


def test_a_folder_gives_its_files_and_its_folders_in_order_and_skips_the_rest(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(squad(("One.", ["a?"]))), "utf-8")
    beir(tmp_path / "a", [{"_id": "x", "text": "One."}], [{"_id": "q", "text": "a?"}], "q\tx\t1\n")
    (tmp_path / "README.md").write_text("no set", "utf-8")
    (tmp_path / ".hidden.json").write_text("{}", "utf-8")
    (tmp_path / "notes").mkdir()
    found = sets_in(tmp_path)
    assert list(found) == ["a", "b"]
    assert [len(read_set(path).questions) for path in found.values()] == [1, 1]


def test_a_folder_without_sets_says_what_it_should_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"SQuAD's format nor a sub-folder with corpus\.jsonl"):
        sets_in(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        sets_in(tmp_path / "gone")


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}", "utf-8")
    beir(tmp_path / "a", [], [], "")
    with pytest.raises(UsageError, match="both called 'a'"):
        sets_in(tmp_path)
