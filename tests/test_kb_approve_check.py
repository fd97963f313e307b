"""`innkeeper kb approve`, `kb check`, and what sessions changed: what an operator sees of a base, and decides."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from innkeeper.bridge.bridge import FILE
from innkeeper.cli.knowledge.document_differences import Difference, differences, lines_of_difference
from innkeeper.cli.main import invoke
from innkeeper.knowledge.opening import open_library
from innkeeper.knowledge.store.values import Change, Origin
from innkeeper.plugins.home import STATE
from innkeeper.storage.database import open_database
from kb_bases import WORLD

Run = Callable[..., tuple[int, str, str]]

ENTRIES: list[dict[str, Any]] = [
    {"id": "dragon", "displayName": "Ignis", "content": {"value": "It sleeps.\nOn gold."}},
    {"id": "inn", "content": {"value": "It is warm."}, "activation_criteria": {"keywords": ["inn"]}},
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    write(folder, ENTRIES)
    return folder


def write(home: Path, entries: list[dict[str, Any]], **info: Any) -> None:
    (home / "knowledge" / "world").mkdir(parents=True, exist_ok=True)
    document = {"kb_id": "world", "schema_version": "1.1", **info, "entries": entries}
    (home / "knowledge" / "world" / "knowledge.json").write_text(json.dumps(document))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], home: Path) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = invoke(("--home", str(home), *arguments))
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return command


def kept(home: Path, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with open_database(home / STATE / FILE) as db:
            library = open_library(db)
            try:
                return await work(library)
            finally:
                await library.aclose()

    return trio.run(main)


def propose(home: Path, *changes: Change, author: str = "scribe") -> list[int]:
    async def work(library: Any) -> list[int]:
        return [await library.proposals.propose(WORLD, change, author) for change in changes]

    found: list[int] = kept(home, work)
    return found


# --- approve --------------------------------------------------------------------------------------------------------


def test_changes_of_plugins_wait_are_shown_field_by_field_and_are_done_or_dropped(home: Path, run: Run) -> None:
    assert "nothing waits; what plugins write is done at once" in run("kb", "approve", "world")[1]
    code, out, _ = run("kb", "approve", "world", "--on")
    assert (code, "waits for your consent" in out) == (0, True)
    new = {"id": "dragon", "displayName": "Ignis", "content": {"value": "It wakes.\nOn gold."}, "x": {"y": [1]}}
    numbers = propose(home, Change("dragon", new), Change("fox", {"id": "fox"}), Change("inn", None), author="scribe")
    code, out, _ = run("kb", "approve", "world")
    assert code == 0
    for line in (
        f"{numbers[0]}: change dragon (Ignis), by scribe, ",
        "      - It sleeps.",
        "      + It wakes.",
        "        On gold.",
        "    x.y\n      + [1]",
        f"{numbers[1]}: create fox, by scribe",
        f"{numbers[2]}: delete inn, by scribe",
        "3 changes wait: `innkeeper kb approve world --accept N`",
    ):
        assert line in out, out
    found = json.loads(run("kb", "approve", "world", "--json")[1])
    assert found["approval"] is True
    assert [each["what"] for each in found["waiting"]] == ["change", "create", "delete"]
    assert [each["field"] for each in found["waiting"][0]["differences"]] == ["content.value", "x.y"]
    accept, refuse = ("--accept", str(numbers[0])), ("--refuse", str(numbers[2]))
    code, out, _ = run("kb", "approve", "world", *accept, *refuse)
    assert (code, "dragon by scribe: accepted" in out, "inn by scribe: refused" in out) == (0, True, True)
    entries = json.loads((home / "knowledge/world/knowledge.json").read_text())["entries"]
    assert [each["content"]["value"] for each in entries] == ["It wakes.\nOn gold.", "It is warm."]
    assert [each["entry"] for each in json.loads(run("kb", "approve", "world", "--json")[1])["waiting"]] == ["fox"]
    steps = json.loads(run("kb", "undo", "world", "--list", "--json")[1])["steps"]
    assert (steps[0]["what"], steps[0]["by"]) == ("accepted", "scribe")
    records = json.loads(run("audit", "--kind", "approval", "--json")[1])["records"]
    assert [(each["plugin"], each["details"]["decision"], each["details"]["entry"]) for each in records] == [
        ("scribe", "refused", "inn"),
        ("scribe", "accepted", "dragon"),
    ]
    assert run("kb", "approve", "world", "--off")[0] == 0
    assert json.loads(run("kb", "approve", "world", "--json")[1])["approval"] is False


def test_a_change_of_an_entry_that_was_changed_since_can_only_be_refused(home: Path, run: Run) -> None:
    run("kb", "approve", "world", "--on")
    (number,) = propose(home, Change("inn", {"id": "inn", "content": {"value": "theirs"}}))
    assert run("kb", "edit", "world", "inn", "--set", "content.value=mine")[0] == 0
    assert "it can only be refused" in run("kb", "approve", "world")[1]
    code, _, err = run("kb", "approve", "world", "--accept", str(number), "--accept", "999")
    assert (code, "can only be refused" in err, "number 999" in err) == (2, True, True)
    entries = json.loads((home / "knowledge/world/knowledge.json").read_text())["entries"]
    assert entries[1]["content"]["value"] == "mine"
    assert run("kb", "approve", "world", "--refuse", str(number))[0] == 0
    assert "nothing waits" in run("kb", "approve", "world")[1]
    assert len(json.loads(run("audit", "--json")[1])["records"]) == 1


def test_a_plugin_that_proposes_very_much_holds_nobody_up(home: Path, run: Run) -> None:
    run("kb", "approve", "world", "--on")
    texts = ["\n".join(str(line % 7) for line in range(at, at + 2000)) for at in range(120)]
    propose(home, *(Change("dragon", {"id": "dragon", "content": {"value": each}}) for each in texts))
    code, out, _ = run("kb", "approve", "world")
    assert (code, "and 20 more" in out, "120 changes wait" in out) == (0, True, True)
    assert len(out) < 1_000_000
    found = json.loads(run("kb", "approve", "world", "--json")[1])
    assert (len(found["waiting"]), found["more"]) == (100, 20)


def test_what_a_plugin_proposed_steers_no_terminal(home: Path, run: Run) -> None:
    run("kb", "approve", "world", "--on")
    evil = {"id": "a", "displayName": "\x1b[2J", "content": {"value": "\x1b]0;x\x07\n\u202e1"}, "\x1b[1m": "\r"}
    propose(home, Change("a", evil))
    out = run("kb", "approve", "world")[1]
    assert not any(character in out for character in "\x1b\x07\r\u202e")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "no global base"),
        (("world", "--accept", "1", "--refuse", "1"), "each number once"),
        (("world", "--accept", "1"), "number 1"),
        (("world", "--accept", "0"), "--accept"),
        (("world", "--accept", "x"), "--accept"),
        (("world", *(word for at in range(1, 102) for word in ("--accept", str(at)))), "at most 100"),
    ],
)
def test_a_decision_that_makes_no_sense_is_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    code, out, err = run("kb", "approve", *words)
    assert (code, out) == (2, "")
    assert said in err


PLAIN_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(max_size=4), PLAIN_DATA, max_size=4)


@given(DOCUMENTS, DOCUMENTS)
@settings(deadline=None)
def test_documents_differ_exactly_where_something_is_told(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert differences(before, before) == []
    found = differences(before, after)
    assert all(each.before != each.after or type(each.before) is not type(each.after) for each in found)
    if json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True):
        assert found == []
    assert all(isinstance(line, str) for each in found for line in lines_of_difference(each))


def test_a_deep_or_endless_difference_is_bounded() -> None:
    deep: Any = "end"
    for _ in range(50_000):
        deep = {"a": deep}
    (one,) = differences({}, {"x": deep})
    assert one.after == "end"
    assert len(differences({}, {str(at): at for at in range(5000)})) == 100
    many = lines_of_difference(Difference("a", "\n".join(map(str, range(9000))), "x" * 100_000))
    assert len(many) <= 61
    assert max(map(len, many)) < 420


# --- sessions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def played(home: Path, run: Run) -> Path:
    """A session that changed an entry, left one out, and made one."""
    assert run("kb", "list", "world")[0] == 0
    assert run("kb", "search", "world", "x")[0] == 0

    async def work(library: Any) -> None:
        woke = {**ENTRIES[0], "content": {"value": "It is awake."}}
        await library.sessions.put(WORLD, "mira", "dragon", woke, author="scribe")
        await library.sessions.put(WORLD, "mira", "inn", None)
        await library.sessions.put(WORLD, "mira", "fox", {"id": "fox", "content": {"value": "A fox."}})

    kept(home, work)
    return home


def test_what_a_session_changed_is_listed(played: Path, run: Run) -> None:
    rows = json.loads(run("kb", "list", "world", "--session", "mira", "--json")[1])["entries"]
    assert [(each["id"], each["what"], each["by"]) for each in rows] == [
        ("dragon", "changed", "scribe"),
        ("fox", "made", None),
        ("inn", "left out", None),
    ]
    out = run("kb", "list", "world", "--session", "mira")[1]
    assert "It is awake." in out
    assert "changed nothing" in run("kb", "list", "world", "--session", "nobody")[1]
    assert run("kb", "list", "--session", "mira")[0] == 2
    assert run("kb", "list", "world", "--session", "\n")[0] == 2


def test_a_playthrough_is_exported_as_a_book_and_the_base_stays(played: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "played.json"
    assert run("kb", "export", "world", "--session", "mira", "--out", str(file))[0] == 0
    entries = json.loads(file.read_text())["entries"]
    assert [(each["id"], each["content"]["value"]) for each in entries] == [
        ("dragon", "It is awake."),
        ("fox", "A fox."),
    ]
    assert run("kb", "export", "world", "--out", str(file), "--force")[0] == 0
    assert json.loads(file.read_text())["entries"] == ENTRIES
    assert run("kb", "export", str(file), "--session", "mira", "--out", str(tmp_path / "x.json"))[0] == 2


def test_the_vectors_of_what_a_session_changed_stay_behind(played: Path, run: Run, tmp_path: Path) -> None:
    assert run("kb", "embed", "world")[0] == 0
    words = ("kb", "export", "world", "--vectors", "--json", "--out")
    assert json.loads(run(*words, str(tmp_path / "a.zip"))[1])["vectors"] == 2
    assert json.loads(run(*words, str(tmp_path / "b.zip"), "--session", "mira")[1])["vectors"] == 0


def test_a_base_that_plugins_made_is_listed_read_and_exported(home: Path, run: Run, tmp_path: Path) -> None:
    assert run("kb", "search", "world", "x")[0] == 0

    async def work(library: Any) -> None:
        from innkeeper.storage.knowledge_model import Place

        await library.change(Place("default_user", "notes"), [Change("n", {"id": "n"})], Origin(author="scribe"))

    kept(home, work)
    rows = {each["id"]: each["path"] for each in json.loads(run("kb", "list", "--json")[1])["bases"]}
    assert (set(rows), rows["notes"]) == ({"world", "notes"}, None)
    assert "plugins made it" in run("kb", "list")[1]
    assert run("kb", "list", "notes")[1].splitlines()[1].startswith("n ")
    assert run("kb", "export", "notes", "--out", str(tmp_path / "n.json"))[0] == 0
    assert json.loads((tmp_path / "n.json").read_text())["entries"] == [{"id": "n"}]


# --- check ----------------------------------------------------------------------------------------------------------


def test_a_sound_base_has_nothing_wrong(home: Path, run: Run) -> None:
    write(home, [ENTRIES[1]])
    code, out, _ = run("kb", "check", "world")
    assert (code, out) == (0, "1 entry, 0 never active, 0 findings\n")
    assert json.loads(run("kb", "check", "world", "--json")[1])["wrong"] is False


def remarks(run: Run, code: int) -> list[tuple[str, bool, str]]:
    got, out, err = run("kb", "check", "world", "--json")
    assert got == code, out + err
    return [(each["about"], each["wrong"], each["message"]) for each in json.loads(out)["remarks"]]


def test_names_that_mean_two_and_entries_beyond_a_plugin_are_told_and_no_mistake(home: Path, run: Run) -> None:
    entry = {"activation_criteria": {"keywords": ["x"]}, "content": {"value": "y"}}
    long = {**entry, "displayName": "c" * 900}
    write(
        home,
        [{"id": "a", "displayName": "Two", **entry}, {"id": "b", "displayName": "Two", **entry}, {"id": "c", **long}],
    )
    (names, plugins) = remarks(run, 0)
    assert (names[0], names[1], "'Two' is the name of 2 entries (a, b)" in names[2]) == ("names", False, True)
    assert (plugins[0], plugins[1], "at most" in plugins[2]) == ("plugins", False, True)


def test_a_model_that_is_not_here_or_vectors_that_are_missing_are_wrong(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNKEEPER_KNOWLEDGE_MODEL", "nothing")
    wanting = {"id": "a", "content": {"value": "gold"}, "activation_criteria": {"use_semantic_search": True}}
    write(home, [wanting])
    ((about, wrong, message),) = remarks(run, 1)
    assert (about, wrong, "names no model" in message, "kb embed world" in message) == ("model", True, True, True)
    # The user's model is asked where a base says none, and where it costs nothing.
    monkeypatch.delenv("INNKEEPER_KNOWLEDGE_MODEL")
    assert remarks(run, 0) == []
    assert run("kb", "embed", "world")[0] == 0
    assert remarks(run, 0) == []
    write(home, [wanting], embedding_model_id="ada-002")
    ((about, wrong, message),) = remarks(run, 1)
    assert (about, wrong, "'ada-002'" in message, "words alone" in message) == ("model", True, True, True)


def test_a_file_that_is_broken_is_told_with_its_line_and_the_last_good_state_is_checked(home: Path, run: Run) -> None:
    write(home, [ENTRIES[1]])
    assert remarks(run, 0) == []
    file = home / "knowledge" / "world" / "knowledge.json"
    file.write_text('{"kb_id": "world", "entries": [\n {"id": "inn", "content": 7}]}')
    found = remarks(run, 1)
    assert {about for about, _, _ in found} == {"file"}
    assert any("line 2" in message and "entries[0].content" in message for _, _, message in found)


def test_what_the_store_has_is_compared_with_its_documents(home: Path, run: Run) -> None:
    write(home, [ENTRIES[1]])
    assert remarks(run, 0) == []

    async def main() -> None:
        async with open_database(home / STATE / FILE) as db:
            await db.write(lambda connection: connection.execute(text("update kb_entries set digest = 'other'")))

    trio.run(main)
    (about, wrong, message) = remarks(run, 1)[-1]
    assert (about, wrong, "'inn'" in message, "vector" in message) == ("store", True, True, True)


def test_a_lorebook_of_others_is_checked_as_a_file(run: Run, tmp_path: Path) -> None:
    entries = {"0": {"uid": 0, "key": [], "content": "x", "comment": "never"}}
    (tmp_path / "book.json").write_text(json.dumps({"entries": entries}))
    code, out, _ = run("kb", "check", str(tmp_path / "book.json"))
    assert (code, "never active" in out) == (1, True)


def test_a_base_that_cannot_be_kept_is_one_error_and_nothing_of_it_remains(
    run: Run, home: Path, tmp_path: Path
) -> None:
    big = {"kb_id": "big", "schema_version": "1.1", "kb_extensions": {"x": "y" * (2 << 20)}, "entries": ENTRIES}
    (tmp_path / "big.json").write_text(json.dumps(big))
    code, _, err = run("kb", "import", str(tmp_path / "big.json"), "--no-embed")
    assert (code, "cannot be kept" in err) == (2, True), err
    assert sorted(path.name for path in (home / "knowledge").iterdir() if path.is_dir()) == ["world"]
    assert [each["id"] for each in json.loads(run("kb", "list", "--json")[1])["bases"]] == ["world"]
    (home / "knowledge" / "big").mkdir()
    (home / "knowledge" / "big" / "knowledge.json").write_text(json.dumps(big))
    for words in (("search", "big", "x"), ("edit", "big", "inn", "--set", "a=1"), ("check", "big")):
        code, _, err = run("kb", *words)
        assert (code, "cannot be kept" in err) == (2, True), err


def test_a_base_whose_file_is_gone_is_listed_with_that(run: Run, home: Path) -> None:
    assert run("kb", "search", "world", "x")[0] == 0
    (home / "knowledge" / "world" / "knowledge.json").unlink()
    (known,) = json.loads(run("kb", "list", "--json")[1])["bases"]
    assert (known["id"], known["entries"], "is gone" in known["problem"]) == ("world", 2, True)


def test_a_card_is_made_of_a_base_whose_file_is_broken(run: Run, home: Path, tmp_path: Path) -> None:
    assert run("kb", "search", "world", "x")[0] == 0
    (home / "knowledge" / "world" / "knowledge.json").write_text("{")
    code, _, err = run("card", "export", "world", "--out", str(tmp_path / "card.json"))
    assert (code, "last good state" in err) == (0, True)
    assert len(json.loads((tmp_path / "card.json").read_text())["data"]["character_book"]["entries"]) == 2
