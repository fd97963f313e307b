"""Documents read from files: which, in which encoding, how much of them; and what changes when they are read again."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.knowledge.documents import bounds
from innkeeper.knowledge.documents.blocks import Parsed
from innkeeper.knowledge.documents.changes import changes
from innkeeper.knowledge.documents.cut import cut
from innkeeper.knowledge.documents.decode import decode
from innkeeper.knowledge.documents.entries import SOURCE, entries_of
from innkeeper.knowledge.documents.markdown import read_markdown
from innkeeper.knowledge.documents.options import Options
from innkeeper.knowledge.documents.read import Document, Documents, read_documents
from innkeeper.knowledge.model import bounds as model_bounds
from innkeeper.knowledge.model.entry import read_entry
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.tokens.named import counter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "lore"
    made.mkdir()
    return made


def paths(found: Documents) -> list[str]:
    return [file.path for file in found.files]


def said(found: Documents) -> list[str]:
    return [entry["content"]["value"] for entry in found.entries]


# Files and folders


def test_a_folder_is_read_in_the_order_of_names_from_its_own_name_on(folder: Path) -> None:
    (folder / "b").mkdir()
    for name in ("c.md", "a.txt", "b/x.HTML", "picture.png", ".hidden.md"):
        (folder / name).write_text("Text.")
    found = read_documents([folder])
    assert paths(found) == ["lore/a.txt", "lore/b/x.HTML", "lore/c.md"]
    assert [file.kind for file in found.files] == ["plain", "html", "markdown"]
    assert (found.passed, found.roots, found.problems) == (2, ["lore"], [])
    assert "lore/.hidden.md" in paths(read_documents([folder], Options(hidden=True)))


def test_an_entry_says_where_it_comes_from(folder: Path) -> None:
    (folder / "a.md").write_text("---\ntags: [river]\n---\n# Ferry\n\n## Fares\n\nCopper.\n")
    (entry,) = read_documents([folder], Options(tags=("imported",))).entries
    assert entry["management_metadata"]["source"] == SOURCE + entry["id"]
    assert entry["management_metadata"]["tags"] == ["imported", "river"]
    assert entry["displayName"] == "Ferry › Fares"
    assert entry["content"]["metadata"]["headings"] == ["Ferry", "Fares"]
    document = entry["extensions"]["innkeeper"]["document"]
    assert (document["path"], document["chunk"]) == ("lore/a.md", 1)
    assert read_entry(entry)[1] == []


def test_what_stands_above_an_entry_is_inserted_with_it_where_its_text_does_not_say_it(folder: Path) -> None:
    (folder / "a.md").write_text("# Ferry\n\nx\n\n## Fares\n\n" + "Copper. " * 400)
    entries = read_documents([folder]).entries
    prefixes = [entry["usage_metadata"].get("prefix", {}).get("text") for entry in entries]
    assert prefixes[:3] == [None, "[Ferry]\n", "[Ferry › Fares]\n"]
    assert [entry["displayName"] for entry in entries][1:3] == ["Ferry › Fares", "Ferry › Fares (2)"]
    plain = read_documents([folder], Options(context=False)).entries
    assert all("prefix" not in entry["usage_metadata"] for entry in plain)


def test_links_inside_of_a_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("secret")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key.md").write_text("secret")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    (folder / "inner").symlink_to(tmp_path / "secrets")
    (folder / "loop").symlink_to(folder)
    (folder / "own.md").write_text("own")
    found = read_documents([folder])
    assert (paths(found), found.passed) == (["lore/own.md"], 3)


def test_a_file_that_becomes_a_link_while_it_is_read_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.md").write_text("secret")
    (folder / "a.md").write_text("own")
    real = os.stat

    def swapping(name: Any, *args: Any, **more: Any) -> os.stat_result:
        result = real(name, *args, **more)
        if name == "a.md" and more.get("dir_fd") is not None:
            (folder / "a.md").unlink()
            (folder / "a.md").symlink_to(tmp_path / "secret.md")
        return result

    monkeypatch.setattr(os, "stat", swapping)
    found = read_documents([folder])
    assert said(found) == []
    assert "symbolic link" in found.problems[0].message
    assert found.failed == ["lore/a.md"]


def test_pipes_and_devices_are_passed_over_and_never_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    assert read_documents([folder]).passed == 1
    with pytest.raises(UsageError, match="not a regular file"):
        read_documents([folder / "pipe.md"])


def test_a_path_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.md: no such file"):
        read_documents([folder / "none.md"])


def test_links_that_lead_nowhere_and_folders_that_are_closed_are_errors_without_a_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    for name in (folder / "a", "nul\0l"):
        with pytest.raises(UsageError):
            read_documents([name])

    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError, match="cannot be opened: Permission denied"):
        read_documents([folder])


def test_a_document_writes_no_regular_expression(folder: Path) -> None:
    (folder / "a.md").write_text("---\nkeywords: [ferry, /(a+)+$/]\n---\n# /etc/x\n\nText.\n")
    (entry,) = read_documents([folder]).entries
    assert entry["activation_criteria"]["keywords"] == ["ferry"]


def test_a_file_of_any_ending_that_a_user_names_is_read_as_text(folder: Path) -> None:
    (folder / "notes.log").write_text("Text.")
    assert said(read_documents([folder / "notes.log"])) == ["Text."]


def test_two_files_of_one_path_are_not_mixed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.md").write_text(name)
    found = read_documents([tmp_path / "a" / "x.md", tmp_path / "b" / "x.md"])
    assert said(found) == ["a"]
    assert "was read before" in found.problems[0].message


def test_one_bad_file_is_a_problem_of_its_own(folder: Path) -> None:
    (folder / "a.md").write_bytes(b"\xff\xfe\xfa\x00\xd8")
    (folder / "b.md").write_text("good")
    (folder / "c.txt").write_bytes(b"\x89PNG\0\0\0")
    (folder / "d.md").write_bytes(b"x" * (bounds.MOST_FILE + 1))
    found = read_documents([folder])
    assert said(found) == ["good"]
    assert sorted(problem.where for problem in found.problems) == ["lore/a.md", "lore/c.txt", "lore/d.md"]
    assert sorted(found.failed) == ["lore/a.md", "lore/c.txt", "lore/d.md"]


def test_names_that_are_no_text_are_named_harmlessly(folder: Path) -> None:
    try:
        (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\x1b[31m.md"))).write_text("x")
    except OSError:
        pytest.skip("this file system takes no such names")
    (problem,) = read_documents([folder]).problems
    assert "\x1b" not in problem.where
    assert "UTF-8" in problem.message


@pytest.mark.parametrize(
    ("bound", "value", "part"),
    [("MOST_FILES", 3, "documents"), ("MOST_NAMES", 3, "files and folders"), ("MOST_BYTES", 8, "documents")],
)
def test_of_too_much_nothing_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, part: str
) -> None:
    monkeypatch.setattr(bounds, bound, value)
    for number in range(5):
        (folder / f"{number}.md").write_text("text")
    with pytest.raises(KnowledgeError, match=part):
        read_documents([folder])


def test_too_many_entries_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_bounds, "MOST_ENTRIES", 2)
    (folder / "a.md").write_text("# a\n\nx\n\n# b\n\nx\n\n# c\n\nx")
    with pytest.raises(KnowledgeError, match="entries"):
        read_documents([folder])


def test_folders_deeper_than_allowed_are_named(folder: Path) -> None:
    deep = folder
    for _ in range(bounds.MOST_FOLDERS + 2):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "a.md").write_text("x")
    (folder / "a.md").write_text("y")
    found = read_documents([folder])
    assert said(found) == ["y"]
    assert "deeper than 32" in found.problems[0].message


def test_no_descriptor_stays_open_whatever_ends_the_reading(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}").mkdir()
        (folder / f"{number}" / "a.md").write_text("x")

    def stop(files: int, size: int, path: str) -> None:
        raise KeyboardInterrupt

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(KeyboardInterrupt):
        read_documents([folder], progress=stop)
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_progress_is_told_after_each_file(folder: Path) -> None:
    (folder / "a.md").write_text("12345")
    (folder / "b.md").write_text("123")
    told: list[tuple[int, int, str]] = []
    read_documents([folder], progress=lambda *each: told.append(each))
    assert told == [(1, 5, "lore/a.md"), (2, 8, "lore/b.md")]


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_8_and_utf_16_are_read_with_and_without_a_mark(encoding: str) -> None:
    text = "The ferry leaves at six.\nMarta rows, 玛尔塔摇橹."
    assert decode(text.encode(encoding), "x") == text


def test_ends_of_lines_are_made_one_kind() -> None:
    assert decode(b"a\r\nb\rc\n", "x") == "a\nb\nc\n"


@pytest.mark.parametrize("encoding", ["gb18030", "shift_jis", "euc-kr", "windows-1251", "big5", "ISO-8859-1"])
def test_a_page_may_name_its_encoding(encoding: str) -> None:
    word = {"gb18030": "渡船", "shift_jis": "渡し船", "euc-kr": "나룻배", "windows-1251": "Паром", "big5": "渡船"}.get(
        encoding, "café"
    )
    page = f'<html><head><meta http-equiv=x content="text/html; charset={encoding}"></head>{word}'
    assert word in decode(page.encode(encoding), "x", html=True)


@pytest.mark.parametrize("name", ["zlib", "rot13", "unicode_escape", "idna", "base64", "x" * 300, "utf-16", "nothing"])
def test_a_page_cannot_name_what_is_no_encoding_of_text(name: str) -> None:
    page = f"<meta charset={name}>é".encode()
    assert "é" in decode(page, "x", html=True)


def test_what_is_no_utf_8_is_refused_with_what_to_do() -> None:
    with pytest.raises(KnowledgeError, match=r"x\.md: is not UTF-8 text \(byte 4\); save it as UTF-8"):
        decode(b"caf \xe9 au", "x.md")


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_text_or_one_clear_error(data: bytes, html: bool) -> None:
    try:
        text = decode(data, "x", html=html)
    except KnowledgeError:
        return
    assert "\0" not in text
    text.encode()


# Read again


def read(text: str, path: str = "lore/a.md", **options: Any) -> Documents:
    parsed: Parsed = read_markdown(text)
    chosen = Options(**options)
    entries = entries_of(path, parsed, cut(parsed.blocks, chosen, counter()), chosen)
    return Documents([Document(path, "markdown", "", "0", entries)], roots=["lore"])


SECTIONS = "# A\n\nFirst.\n\n# B\n\nSecond.\n\n# C\n\nThird.\n"


def test_only_what_changed_changes() -> None:
    before = read(SECTIONS).entries
    found = changes(before, read(SECTIONS.replace("Second", "New").replace("# C", "# Added\n\nMore.\n\n# C")))
    assert [entry["content"]["value"] for entry in found.put] == ["# B\n\nNew.", "# Added\n\nMore."]
    assert found.delete == [before[1]["id"]]
    assert (found.unchanged, found.edited, found.missing) == (2, [], [])


def test_reading_the_same_again_changes_nothing() -> None:
    found = changes(read(SECTIONS).entries, read(SECTIONS))
    assert (found.put, found.delete, found.unchanged) == ([], [], 3)


def test_entries_that_no_document_made_are_never_touched() -> None:
    others = [{"id": "mine", "content": {"value": "x"}}, {"id": "odd", "extensions": {"innkeeper": {"document": 5}}}]
    found = changes([*others, *read(SECTIONS).entries], read("# A\n\nOther."), remove_missing=True, overwrite=True)
    assert not {"mine", "odd"} & set(found.delete)
    assert len(found.delete) == 3


def test_what_was_changed_by_hand_stays_unless_one_says_otherwise() -> None:
    before = copy.deepcopy(read(SECTIONS).entries)
    before[0]["activation_criteria"]["keywords"] = ["mine"]
    before[1]["content"]["value"] = "My own words."
    before[2]["management_metadata"]["updated_at"] = "2026-01-01T00:00:00Z"
    found = changes(before, read(SECTIONS.replace("Second", "New")))
    assert (found.unchanged, found.edited, found.delete) == (2, [before[1]["id"]], [])
    assert [entry["displayName"] for entry in found.put] == ["B"]
    assert changes(before, read(SECTIONS.replace("Second", "New")), overwrite=True).delete == [before[1]["id"]]


def test_other_options_change_entries_and_leave_what_others_keep_in_them() -> None:
    before = copy.deepcopy(read(SECTIONS).entries)
    before[0]["extensions"]["theirs"] = {"a": 1}
    before[1]["activation_criteria"]["keywords"] = ["mine"]
    found = changes(before, read(SECTIONS, tags=("new",)))
    assert [entry["id"] for entry in found.put] == [before[0]["id"], before[2]["id"]]
    assert found.put[0]["extensions"]["theirs"] == {"a": 1}
    assert found.edited == [before[1]["id"]]


def test_a_file_that_is_gone_is_named_and_its_entries_go_only_if_one_says_so() -> None:
    gone = read("# Gone\n\nx", "lore/gone.md").entries
    elsewhere = read("# Else\n\nx", "other/gone.md").entries
    now = read(SECTIONS)
    found = changes([*gone, *elsewhere, *now.entries], now)
    assert (found.missing, found.delete) == (["lore/gone.md"], [])
    assert changes([*gone, *elsewhere], now, remove_missing=True).delete == [gone[0]["id"]]


def test_a_file_that_cannot_be_read_is_not_a_file_that_is_gone() -> None:
    old = read("# Old\n\nx", "lore/sub/a.md").entries
    now = read(SECTIONS)
    for failed in ("lore/sub/a.md", "lore/sub", "lore"):
        now.failed[:] = [failed]
        assert changes(old, now, remove_missing=True).delete == []


def test_a_single_file_says_nothing_about_others() -> None:
    now = read(SECTIONS)
    now.roots.clear()
    assert changes(read("# X\n\nx", "lore/x.md").entries, now, remove_missing=True).missing == []


section = st.tuples(st.sampled_from("ABCD"), st.sampled_from(["one", "two", "three"]))


@settings(deadline=None)
@given(st.lists(section, max_size=6), st.lists(section, max_size=6))
def test_after_the_changes_a_base_has_what_the_documents_have(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    def written(sections: list[tuple[str, str]]) -> Documents:
        return read("".join(f"# {title}\n\n{text}\n\n" for title, text in sections))

    base = {entry["id"]: entry for entry in written(first).entries}
    found = changes(base.values(), written(second))
    for identity in found.delete:
        del base[identity]
    base.update({entry["id"]: entry for entry in found.put})
    expected = {entry["id"]: entry["content"]["value"] for entry in written(second).entries}
    assert {identity: entry["content"]["value"] for identity, entry in base.items()} == expected
    again = changes(base.values(), written(second))
    assert (again.put, again.delete) == ([], [])
