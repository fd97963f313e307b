"""`innkeeper kb bench` measures what it says; nothing here depends on a clock being fast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from innkeeper.bench import processes
from innkeeper.bench.knowledge import activation, aims, guest, importing, joined, runner, search, table, upsert
from innkeeper.bench.knowledge.report import KnowledgeReport
from innkeeper.bench.knowledge.rows import ROWS
from innkeeper.bench.measured import Figure
from innkeeper.cli.main import invoke
from innkeeper.errors import InternalError, UsageError
from innkeeper.knowledge.bench.clusters import clustered, near
from innkeeper.knowledge.bench.lore import LANGUAGES, read_lore, set_name
from innkeeper.knowledge.bench.overlap import FUNCTION_WORDS
from innkeeper.knowledge.bench.ranking import MODES, evaluate, steps_of
from innkeeper.knowledge.bench.sets import MOST_DOCUMENTS, MOST_FILE, MOST_QUESTIONS, DataSet, Question, document
from innkeeper.knowledge.bench.synthetic import KEYWORDS, Writer
from innkeeper.knowledge.embedding.interface import ModelIdentity, Vectors
from innkeeper.knowledge.retrieval.interface import Mode

OWN = [set_name(language) for language in LANGUAGES]


class Colours:
    """A model that knows two things: what is red, and what is blue."""

    identity = ModelIdentity("colours", "1", 2)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        made = np.array([[("red" in text) + 0.0, ("blue" in text) + 0.0] for text in texts], np.float32)
        return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9).astype(np.float32)


def scores(keyword: float, hybrid: float, name: str = "some") -> dict[str, Any]:
    score = {"keyword": keyword, "semantic": 0.5, "hybrid": hybrid}
    return {
        "name": name, "entries": 10, "questions": 5, "model": "m/2", "notes": [],
        "scores": {mode: {"ndcg": value, "recall": value} for mode, value in score.items()},
    }  # fmt: skip


def squad_folder(folder: Path, name: str = "tiny") -> Path:
    folder.mkdir(exist_ok=True)
    texts = [f"The {each} stone of the {each} river is {each}." for each in ("amber", "basalt", "chalk", "dusty")]
    paragraphs = [{"context": text, "qas": [{"question": f"Where is the {text.split()[1]} stone?"}]} for text in texts]
    (folder / f"{name}.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), "utf-8")
    return folder


# Sets


async def test_a_set_is_searched_by_words_by_meaning_and_by_both() -> None:
    entries = [document("r", "", "a red thing"), document("b", "", "a blue thing"), document("o", "", "an old hat")]
    questions = [Question("hat", {"o": 1.0}), Question("something like a red one", {"r": 1.0})]
    told: list[int] = []
    data = DataSet("tiny", entries, questions)
    found = await evaluate(data, Colours(), lambda entry: entry.text, told.append)
    assert (found.name, found.entries, found.questions, found.model) == ("tiny", 3, 2, "colours@1/2")
    assert set(found.scores) == set(MODES)
    # The model has nothing to say of hats; words find them.
    assert found.scores[Mode.KEYWORD].ndcg == 1
    assert found.scores[Mode.SEMANTIC].ndcg == 0.5
    assert found.scores[Mode.HYBRID].recall == 1
    assert sum(told) == steps_of(data)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_questions_in_other_words_are_answered_better_by_both_than_by_words_alone(language: str) -> None:
    async with joined.model() as model:
        found = await evaluate(read_lore(language), model, joined.embedded_text)
    report = KnowledgeReport()
    report.add_set(found.as_object())
    assert report.sets[0]["met"], report.sets
    # No word is shared, so what words find is chance.
    assert found.scores[Mode.KEYWORD].ndcg < 0.02


# Aims


@pytest.mark.parametrize(
    ("name", "words", "hybrid", "met"),
    [
        ("some", 0.5, 0.496, True), ("some", 0.5, 0.494, False),
        ("xquad.en", 0.9, 0.971, True), ("xquad.en", 0.9, 0.969, False), ("xquad.en", 0.99, 0.98, False),
        ("xquad.zh", 0.9, 0.961, True), ("xquad.zh", 0.9, 0.959, False),
        ("paraphrases.en", 0.0, 0.1, True), ("paraphrases.en", 0.01, 0.1, False),
        ("paraphrases.zh", 0.01, 0.01, True), ("paraphrases.zh", 0.01, 0.009, False),
    ],
)  # fmt: skip
def test_each_set_has_the_aims_that_were_promised(name: str, words: float, hybrid: float, met: bool) -> None:
    found = aims.aims_of(name, {"keyword": words, "semantic": 0.0, "hybrid": hybrid})
    assert all(aim.met for aim in found) == met
    report = KnowledgeReport()
    report.add_set(scores(words, hybrid, name))
    assert report.met == met


def test_a_row_is_met_on_the_right_side_of_its_aim() -> None:
    assert ROWS["index-recall"].met(0.99)
    assert not ROWS["index-recall"].met(0.98)
    assert ROWS["hybrid"].met(15.0)
    assert not ROWS["hybrid"].met(15.1)


def test_the_rows_have_the_aims_of_what_was_promised() -> None:
    assert {name: (row.aim, row.unit) for name, row in ROWS.items()} == {
        "index-recall": (0.99, ""), "hybrid": (15.0, "ms"), "activation": (10.0, "ms"), "upsert": (20.0, "ms"),
        "import": (3.0, "s"), "guest-search": (100.0, "us"),
    }  # fmt: skip


# Reports


def full_report() -> KnowledgeReport:
    report = KnowledgeReport()
    report.add_set(scores(0.5, 0.6))
    report.add_row(ROWS["hybrid"], Figure(1.23456, 1.0, 2.0, 30), {"slowest": 3.0})
    return report


def test_a_report_says_everything_in_json_and_in_tables() -> None:
    report = full_report()
    report.close()
    found = json.loads(json.dumps(report.as_object(), allow_nan=False))
    assert set(found) == {"met", "machine", "versions", "sets", "rows"}
    assert found["met"] is True
    (row,) = found["rows"]
    assert (row["median"], row["quartiles"], row["met"], row["extra"]) == (1.235, [1.0, 2.0], True, {"slowest": 3.0})
    (one,) = found["sets"]
    assert one["scores"]["hybrid"] == {"ndcg": 0.6, "recall": 0.6}
    assert one["aims"] == [{"least": "bm25 - 0.005", "value": 0.495, "met": True}]
    assert table.set_cells(one) == ("some", "10", "5", "0.5000", "0.5000", "0.6000", "0.6000", "bm25 - 0.005", "yes")
    assert len(table.set_cells(one)) == len(table.SETS)
    assert table.row_cells(row)[-3:] == ("1.24 (1 to 2)", "at most 15", "yes")
    assert len(table.row_cells(row)) == len(table.ROWS)
    assert any("m/2" in line for line in table.footnotes(report.sets, report.rows))


def test_what_could_not_be_measured_is_no_success_and_says_why() -> None:
    report = full_report()
    report.failed_row(ROWS["import"], "it broke")
    assert not report.met
    assert table.row_cells(report.rows[-1])[-3:] == ("-", "at most 3", "-")
    report.failed_set("gone", "it broke, too")
    assert table.set_cells(report.sets[-1]) == ("gone", *["-"] * 8)
    lines = table.footnotes(report.sets, report.rows)
    assert "import: not measured: it broke" in lines
    assert "gone: not measured: it broke, too" in lines


# Plans


def test_without_names_everything_is_measured_and_names_choose(tmp_path: Path) -> None:
    assert list(runner.planned(None, ()).sets) == OWN
    assert [row.name for row in runner.planned(None, ()).rows] == list(ROWS)
    plan = runner.planned(squad_folder(tmp_path / "data"), ("tiny", "hybrid"))
    assert (list(plan.sets), [row.name for row in plan.rows], plan.steps) == (["tiny"], ["hybrid"], 2)


def test_a_name_that_is_none_is_answered_with_all_of_them() -> None:
    with pytest.raises(UsageError, match=r"no set or row 'nope'; there are: paraphrases\.en, .*index-recall"):
        runner.planned(None, ("nope",))


def test_a_set_that_cannot_be_read_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    folder = squad_folder(tmp_path / "data")
    (folder / "bad.json").write_text('{"data": 5}', "utf-8")
    with pytest.raises(UsageError, match=r"bad\.json: "):
        runner.planned(folder, ())
    # What was not asked for is not looked at.
    assert list(runner.planned(folder, ("tiny",)).sets) == ["tiny"]


def test_a_set_may_not_take_the_name_of_a_row(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rename it"):
        runner.planned(squad_folder(tmp_path / "data", "hybrid"), ())


def test_a_process_that_fails_leaves_its_reason_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(process: object, longest: float) -> Any:
        raise InternalError("a measuring process failed (1): no")

    monkeypatch.setattr(processes, "start", lambda *arguments, group: None)
    monkeypatch.setattr(processes, "finish", fail)
    told: list[str] = []
    report = runner.run(runner.planned(None, ("paraphrases.en", "index-recall", "hybrid")), told.append)
    assert told == ["paraphrases.en", "index-recall", "hybrid"]
    assert [found["error"] for found in (*report.sets, *report.rows)] == ["a measuring process failed (1): no"] * 3
    assert not report.met


# The command


def test_the_command_measures_a_folder_and_ends_with_0_where_all_is_met(tmp_path: Path, capfdbinary: Any) -> None:
    folder = squad_folder(tmp_path / "data")
    assert invoke(["kb", "bench", "--data", str(folder), "--only", "tiny", "--json"]) == 0
    found = json.loads(capfdbinary.readouterr().out)
    (one,) = found["sets"]
    assert (one["name"], one["entries"], one["questions"], one["met"]) == ("tiny", 4, 4, True)
    assert one["scores"]["keyword"]["ndcg"] == 1
    assert one["model"].startswith("wordllama")
    assert found["rows"] == []


def test_a_missed_aim_ends_the_command_with_1(monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> None:
    monkeypatch.setattr(processes, "start", lambda *arguments, group: None)
    monkeypatch.setattr(processes, "finish", lambda process, longest: scores(0.5, 0.1, "paraphrases.zh"))
    assert invoke(["kb", "bench", "--only", "paraphrases.zh"]) == 1
    shown = capfdbinary.readouterr().out.decode()
    assert "paraphrases.zh" in shown
    assert shown.splitlines()[1].endswith("no")


def test_help_lists_sets_and_rows(tmp_path: Path, capfdbinary: Any) -> None:
    folder = squad_folder(tmp_path / "data")
    assert invoke(["kb", "bench", "--data", str(folder), "--only", "help"]) == 0
    shown = capfdbinary.readouterr().out.decode()
    assert all(name in shown for name in (*OWN, *ROWS, "tiny"))


def test_a_folder_that_is_none_is_a_mistake_of_its_user(capfdbinary: Any) -> None:
    assert invoke(["kb", "bench", "--data", "/nowhere/at/all"]) == 2
    assert b"Traceback" not in capfdbinary.readouterr().err


# Rows, each once and small


async def test_the_rows_of_search_count_and_time_what_they_say(tmp_path: Path) -> None:
    found = await search.measure(("index-recall", "hybrid"), tmp_path, entries=400, queries=20)
    assert found["index-recall"].figure.median == 1
    assert found["index-recall"].extra == {"through_index": 1}
    assert found["hybrid"].figure.median > 0
    assert found["hybrid"].figure.rounds == 20


async def test_the_row_of_activation_looks_at_a_whole_chat(tmp_path: Path) -> None:
    found = await activation.measure(("activation",), tmp_path, entries=60, rounds=2)
    extra = found["activation"].extra
    assert (extra["entries"], extra["keywords"]) == (60, 60 * KEYWORDS)
    assert extra["active"] >= activation.MESSAGES


async def test_the_row_of_changes_finds_each_of_them(tmp_path: Path) -> None:
    found = await upsert.measure(("upsert",), tmp_path, entries=50, rounds=3)
    assert found["upsert"].figure.rounds == 3
    assert found["upsert"].extra["entries"] == 50


async def test_the_row_of_imports_imports_a_book_of_its_size(tmp_path: Path) -> None:
    found = await importing.measure(("import",), tmp_path, size=50_000, rounds=2)
    assert 50_000 <= found["import"].extra["bytes"] < 60_000
    assert found["import"].extra["entries"] > 20


async def test_the_row_of_guests_searches_with_one_and_without(tmp_path: Path) -> None:
    found = await guest.measure(("guest-search",), tmp_path, entries=100, rounds=1)
    assert found["guest-search"].extra["itself"] > 0
    assert found["guest-search"].extra["from_guest"] > 0


# Made-up bases


def test_a_seed_gives_the_same_base_and_another_one_another() -> None:
    one, same, other = (list(Writer(seed).documents(30)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_no_two_entries_share_a_keyword_and_both_languages_are_there() -> None:
    made = list(Writer(3).entries(2000))
    keys = [key for entry in made for key in entry.activation_criteria.keywords]
    assert len(set(keys)) == len(keys) == 2000 * KEYWORDS
    languages = [entry.management_metadata.tags[0] for entry in made]
    assert 0.2 < languages.count("lang:zh") / len(languages) < 0.4


def test_made_up_vectors_have_length_1_and_lie_in_clusters() -> None:
    vectors = clustered(2000, 64, 1)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors, clustered(2000, 64, 1))
    queries = near(vectors, 50, 2)
    assert np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    likeness = np.sort(queries @ vectors.T, axis=1)
    assert likeness[:, -1].mean() > 0.6
    assert abs(likeness.mean()) < 0.05


# The page


def test_the_page_has_every_row_its_aim_and_the_words_that_questions_may_share() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "knowledge-bench.md").read_text("utf-8")
    for row in ROWS.values():
        limit = f"{'at least' if row.least else 'at most'} {row.aim:g} {row.unit}".strip()
        assert f"| `{row.name}` | {row.title} | {limit} |" in page
    assert page.rpartition("```text\n")[2].removesuffix("```\n").split() == sorted(FUNCTION_WORDS)
    assert f"{MOST_DOCUMENTS:,} documents,\n{MOST_QUESTIONS:,} questions and files of {MOST_FILE >> 20} MiB" in page


async def test_a_set_of_one_entry_and_one_without_any_text_are_measured() -> None:
    entries = [document("a", "", "")]
    found = await evaluate(DataSet("one", entries, [Question("red?", {"a": 1.0})]), Colours(), lambda entry: entry.text)
    assert {score.ndcg for score in found.scores.values()} == {0.0}
    entries = [document("a", "", "red")]
    found = await evaluate(DataSet("one", entries, [Question("red?", {"a": 1.0})]), Colours(), lambda entry: entry.text)
    assert {score.ndcg for score in found.scores.values()} == {1.0}


def test_a_file_whose_name_steers_terminals_is_shown_and_not_sent(tmp_path: Path, capfdbinary: Any) -> None:
    folder = squad_folder(tmp_path / "data", "\x1b[31mred")
    assert invoke(["kb", "bench", "--data", str(folder), "--only", "\x1b[31mred"]) == 0
    captured = capfdbinary.readouterr()
    assert b"\x1b" not in captured.out + captured.err
