"""Archives of bases: the same bytes for the same base, and nothing that a crafted one says is believed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.knowledge.files import archive as archives
from innkeeper.knowledge.files import media as media_files
from innkeeper.knowledge.files import placing
from innkeeper.knowledge.files.archive import Bounds, open_archive
from innkeeper.knowledge.files.media import open_media, read_media
from innkeeper.knowledge.files.packing import write_archive
from innkeeper.knowledge.files.reading import read_base
from innkeeper.knowledge.files.relative import folded, why_not
from innkeeper.knowledge.files.unpacking import opened_archive, place_base
from innkeeper.knowledge.files.vectors import VectorSet, pack, unpack
from innkeeper.knowledge.model.problems import KnowledgeError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
DOCUMENT = {
    "kb_id": "world",
    "schema_version": "1.1",
    "entries": [{"id": "a", "content": {"path": "media/a.png"}}, {"id": "b", "content": {"value": "text"}}],
}


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], mode: int = zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", mode) as archive:
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(name, data)
    return path


def document(**top: Any) -> bytes:
    return json.dumps({**DOCUMENT, **top}).encode()


def base_folder(folder: Path) -> Path:
    (folder / "media").mkdir(parents=True)
    (folder / "knowledge.json").write_bytes(document())
    (folder / "media" / "a.png").write_bytes(PNG)
    return folder


def a_set(model: str = "m@1/4", ids: tuple[str, ...] = ("a", "b")) -> VectorSet:
    rows = np.array([[1, 0, 0, 0], [0.5, -0.5, 0.5, 0.5]], np.float32)[: len(ids)]
    return VectorSet(model, list(ids), ["00"] * len(ids), rows)


def refusal(path: Path, target: Path | None = None) -> str:
    """What is said of an archive; nothing of it remains."""
    target = target or path.parent / "home" / "world"
    with pytest.raises(KnowledgeError) as caught, opened_archive(path) as opened:
        opened.place(target)
    assert not target.parent.exists() or list(target.parent.iterdir()) == []
    return str(caught.value)


# --- there and back -------------------------------------------------------------------------------------------------


def test_a_base_goes_into_an_archive_and_out_of_it_with_media_and_vectors(tmp_path: Path) -> None:
    read = read_base(base_folder(tmp_path / "base"))
    packed = write_archive(tmp_path / "w.ctkbz", read.base, folder=tmp_path / "base", vectors=[a_set(), a_set("n/4")])
    assert (packed.media, packed.vectors, packed.problems) == (1, 4, [])
    with opened_archive(tmp_path / "w.ctkbz") as opened:
        opened.place(tmp_path / "home" / "world")
    given = opened.given
    assert given.read.base == read.base
    assert [found.model for found in given.vectors] == ["m@1/4", "n/4"]
    assert given.vectors[0].ids == ["a", "b"]
    assert np.allclose(given.vectors[0].vectors, a_set().vectors)
    assert read_base(tmp_path / "home" / "world").base == read.base
    assert (tmp_path / "home" / "world" / "media" / "a.png").read_bytes() == PNG
    assert read_base(tmp_path / "w.ctkbz").base == read.base


def test_the_same_base_gives_the_same_bytes_whenever_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_base(base_folder(tmp_path / "base"))
    found = []
    for moment in (1e9, 2e9):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        os.utime(tmp_path / "base" / "media" / "a.png", (moment, moment))
        write_archive(tmp_path / "x.zip", read.base, folder=tmp_path / "base", vectors=[a_set("n/4"), a_set()])
        found.append((tmp_path / "x.zip").read_bytes())
    assert found[0] == found[1]


def test_media_that_are_not_there_or_lead_elsewhere_are_named_and_left_out(tmp_path: Path) -> None:
    base_folder(tmp_path / "base")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "base" / "media" / "link.png").symlink_to(tmp_path / "secret.png")
    paths = ["media/none.png", "../secret.png", "media/link.png", "knowledge.json", "media/a.png"]
    items = [{"id": path, "content": {"path": path}} for path in paths]
    (tmp_path / "base" / "knowledge.json").write_bytes(document(entries=items))
    packed = write_archive(tmp_path / "x.zip", read_base(tmp_path / "base").base, folder=tmp_path / "base")
    assert packed.media == 1
    assert [problem.where for problem in packed.problems] == [f"entries[{i}].content.path" for i in range(4)]
    assert b"secret" not in (tmp_path / "x.zip").read_bytes().replace(b"secret.png", b"")


def test_a_folder_that_was_packed_as_a_whole_is_read_as_well_and_strangers_in_it_are_named(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "x.zip",
        ("World/", b""),
        ("World/entries.json", b'[{"id": "a"}]'),
        ("World/media/a.png", PNG),
        ("World/media/run.exe", b"MZ"),
        ("World/README.txt", b"hello"),
        ("elsewhere.txt", b"hello"),
        ("__MACOSX/World/._a", b"x"),
        ("World/.DS_Store", b"x"),
    )
    with opened_archive(path) as opened:
        opened.place(tmp_path / "home" / "world")
    assert {problem.where for problem in opened.given.problems} == {"media/run.exe", "README.txt", "elsewhere.txt"}
    assert opened.given.read.base.info.kb_id == "world"
    files = [str(file.relative_to(tmp_path / "home")) for file in sorted((tmp_path / "home").rglob("*"))]
    assert files == ["world", "world/knowledge.json", "world/media", "world/media/a.png"]


# --- crafted archives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/passwd.png", "absolute"),
        ("media/../../x.png", "'..'"),
        ("media\\..\\x.png", "backslash"),
        ("C:/x.png", "colon"),
        ("media//x.png", "''"),
        ("media/./x.png", "'.'"),
        ("media/x.png\x00.exe", "cannot be seen"),
        ("media/x\u202egnp.exe", "cannot be seen"),
        ("media/" + "d/" * 20 + "x.png", "folders inside"),
        ("media/" + "x" * 300, "more than 255"),
        ("media/x" + "/yyyyyyyy" * 200, "at most 1,000"),
        ("media/con.png", "not every system"),
        ("media/x.png.", "not every system"),
        ("media/x.png ", "not every system"),
    ],
)
def test_names_that_lead_elsewhere_or_mean_two_things_are_refused(tmp_path: Path, name: str, words: str) -> None:
    info = zipfile.ZipInfo("x")
    # The library itself would cut some of them.
    info.filename = name
    assert words in refusal(zipped(tmp_path / "x.zip", ("knowledge.json", document()), (info, PNG)))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("media/a.png")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    said = refusal(zipped(tmp_path / "x.zip", ("knowledge.json", document()), (info, b"/etc/passwd")))
    assert "link" in said or "folder at once" in said


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("media/a.png", "media/a.png", "twice"),
        ("media/a.png", "media/A.PNG", "same file"),
        ("media/é.png", "media/e\u0301.png", "same file"),
        ("media/straße.png", "media/STRASSE.png", "same file"),
        ("media/a.png", "media/a.png/b.png", "below the file"),
        ("media/A.png", "media/a.png/b.png", "below the file"),
    ],
)
def test_names_that_some_system_takes_for_the_same_are_refused(
    tmp_path: Path, one: str, other: str, words: str
) -> None:
    path = zipped(tmp_path / "x.zip", ("knowledge.json", document()), (one, PNG), (other, PNG))
    assert words in refusal(path)


def test_all_that_is_wrong_with_an_archive_is_said_at_once(tmp_path: Path) -> None:
    said = refusal(zipped(tmp_path / "x.zip", ("../a", b""), ("/b", b""), ("c:d", b"")))
    assert ("'..'" in said, "absolute" in said, "colon" in said) == (True, True, True)


def test_what_shrinks_too_well_or_is_too_large_is_refused(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "x.zip", ("knowledge.json", document()), ("media/a.bmp", bytes(4 << 20)))
    assert "200 times" in refusal(bomb)
    large = zipped(tmp_path / "y.zip", ("a", b"12345"), ("b", b"67890"), mode=zipfile.ZIP_STORED)
    for bounds in (Bounds(total=9), Bounds(member=4), Bounds(members=1), Bounds(size=50)):
        with pytest.raises(KnowledgeError, match="the most is"), open_archive(large, "y.zip", bounds):
            raise AssertionError


def test_encrypted_members_and_other_methods_are_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = zipped(tmp_path / "x.zip", ("knowledge.json", document()), mode=method)
        assert "pack it with deflate" in refusal(path)
    data = bytearray(zipped(tmp_path / "y.zip", ("knowledge.json", document())).read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    (tmp_path / "y.zip").write_bytes(data)
    assert "encrypted" in refusal(tmp_path / "y.zip")


def test_sizes_that_lie_do_not_help(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "x.zip", ("knowledge.json", document()), ("media/a.png", PNG)).read_bytes())
    for claimed in (1, 1 << 20):
        changed = bytearray(data)
        at = changed.rindex(b"PK\x01\x02")
        struct.pack_into("<L", changed, at + 24, claimed)
        (tmp_path / "x.zip").write_bytes(changed)
        assert "is broken" in refusal(tmp_path / "x.zip")


def test_members_that_lie_on_top_of_each_other_are_refused(tmp_path: Path) -> None:
    # One stored body, and many entries of the table of contents that point to it.
    body = os.urandom(1000)
    one = zipped(tmp_path / "x.zip", ("media/00.png", body), mode=zipfile.ZIP_STORED).read_bytes()
    at, end = one.index(b"PK\x01\x02"), one.index(b"PK\x05\x06")
    entry = one[at:end]
    directory = b"".join(entry.replace(b"00.png", b"%02d.png" % number) for number in range(50))
    tail = bytearray(one[end:])
    struct.pack_into("<HHLL", tail, 8, 50, 50, len(directory), at)
    with pytest.raises(KnowledgeError, match="on top of each other"), open_archive(one[:at] + directory + tail, "x"):
        raise AssertionError


def test_a_table_of_contents_is_bounded_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "x.zip", *((f"media/{number}.png", b"") for number in range(2000)))
    monkeypatch.setattr(archives, "MOST_DIRECTORY", 70_000)
    with pytest.raises(KnowledgeError, match="table of contents"), open_archive(path, "x.zip"):
        raise AssertionError


def test_archives_inside_are_refused_whatever_they_are_called(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", ("a", b"b")).read_bytes()
    for data in (inner, b"\x1f\x8b\x08" + bytes(50), b"7z\xbc\xaf\x27\x1c" + bytes(50)):
        path = zipped(tmp_path / "x.zip", ("knowledge.json", document()), ("media/a.png", data))
        assert "archive inside" in refusal(path)


def test_an_archive_without_a_base_or_with_two_says_what_it_is(tmp_path: Path) -> None:
    assert "neither" in refusal(zipped(tmp_path / "x.zip", ("a/b/knowledge.json", document())))
    assert "card import" in refusal(zipped(tmp_path / "x.zip", ("card.json", b"{}")))
    assert "office" in refusal(zipped(tmp_path / "x.zip", ("word/document.xml", b"")))
    two = zipped(tmp_path / "x.zip", ("knowledge.json", document()), ("entries.json", b"[]"))
    assert "alone" in refusal(two)


def test_a_broken_medium_leaves_nothing_behind(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", ("knowledge.json", document()), ("media/a.png", PNG), ("media/b.png", PNG))
    data = bytearray(path.read_bytes())
    at = data.index(b"media/b.png") + len("media/b.png") + 3
    data[at] ^= 0xFF
    path.write_bytes(data)
    assert "is broken" in refusal(path)


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_an_archive_with_any_bytes_changed_is_a_base_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    stem, header, numbers = pack(a_set())
    path = zipped(
        folder / "x.zip",
        ("knowledge.json", document()),
        ("media/a.png", PNG),
        (f"vectors/{stem}.json", header),
        (f"vectors/{stem}.f16", numbers),
    )
    found = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(found[: data.draw(st.integers(len(found) // 2, len(found)))])
    target = folder / "home" / "world"
    placed = False
    try:
        with opened_archive(path, strict=False) as opened:
            opened.place(target)
        placed = True
    except UsageError:
        pass
    assert target.exists() == placed
    assert not target.parent.exists() or [each.name for each in target.parent.iterdir()] == ["world"] * placed


# --- folders appear whole -------------------------------------------------------------------------------------------


def test_a_folder_that_is_there_stays(tmp_path: Path) -> None:
    base = read_base(base_folder(tmp_path / "base")).base
    before = (tmp_path / "base" / "knowledge.json").read_bytes()
    with pytest.raises(KnowledgeError, match="there already"):
        place_base(base, tmp_path / "base")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KnowledgeError, match="there already"):
        place_base(base, tmp_path / "link")
    assert (tmp_path / "base" / "knowledge.json").read_bytes() == before
    assert not (tmp_path / "elsewhere").exists()


def test_two_that_make_the_same_folder_get_one_and_an_error(tmp_path: Path) -> None:
    base = read_base(base_folder(tmp_path / "base")).base
    slower = placing.placed(tmp_path / "x")
    (slower.__enter__() / "theirs").write_text("lost")
    place_base(base, tmp_path / "x")
    with pytest.raises(KnowledgeError, match="there already"):
        slower.__exit__(None, None, None)
    assert [each.name for each in (tmp_path / "x").iterdir()] == ["knowledge.json"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["base", "x"]


def test_what_a_process_that_died_was_filling_is_removed_and_what_lives_stays(tmp_path: Path) -> None:
    dead = tmp_path / f"{placing.PREFIX}dead"
    (dead / "media").mkdir(parents=True)
    os.utime(dead, (1, 1))
    young = tmp_path / f"{placing.PREFIX}young"
    young.mkdir()
    with placing.placed(tmp_path / "one") as held:
        os.utime(held, (1, 1))
        with placing.placed(tmp_path / "two"):
            assert (held.exists(), young.exists(), dead.exists()) == (True, True, False)


# --- media ----------------------------------------------------------------------------------------------------------


def test_a_medium_is_opened_with_its_type_and_size(tmp_path: Path) -> None:
    base_folder(tmp_path / "base")
    with open_media(tmp_path / "base", "media/a.png") as medium:
        assert (medium.mime_type, medium.size, medium.file.read()) == ("image/png", len(PNG), PNG)
    assert read_media(tmp_path / "base", "media/a.png") == (PNG, "image/png")


def links(base: Path) -> None:
    (base.parent / "secret.png").write_bytes(b"secret")
    (base / "media" / "link.png").symlink_to(base.parent / "secret.png")
    (base / "media" / "folder").symlink_to(base.parent)
    os.mkfifo(base / "media" / "pipe.png")
    (base / "media" / "folder.png").mkdir()
    (base / "media" / "x.svg").write_text("<svg/>")


@pytest.mark.parametrize(
    "path",
    [
        "media/link.png", "media/folder/secret.png", "media/../../secret.png", "/etc/hostname", "media/pipe.png",
        "media/folder.png", "media/none.png", "media", "media/", "", "knowledge.json", "media/x.svg", "media/\0.png",
        "media\\a.png", "media/\ud800.png", "file:media/a.png",
    ],
)  # fmt: skip
def test_a_medium_that_leads_out_or_is_none_is_refused_without_the_folder(tmp_path: Path, path: str) -> None:
    links(base_folder(tmp_path / "base"))
    with pytest.raises(KnowledgeError) as caught, open_media(tmp_path / "base", path):
        raise AssertionError
    assert str(tmp_path) not in str(caught.value)


def test_media_are_bounded(tmp_path: Path) -> None:
    base_folder(tmp_path / "base")
    with pytest.raises(KnowledgeError, match="the most is 10"):
        read_media(tmp_path / "base", "media/a.png", most=10)


def test_a_folder_that_is_swapped_for_a_link_while_it_is_walked_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_folder(tmp_path / "base")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(b"secret")
    real = os.open

    def swapping(name: Any, *arguments: Any, **options: Any) -> int:
        if name == "a.png":
            (base / "media").rename(base / "moved")
            (base / "media").symlink_to(tmp_path / "other")
        return real(name, *arguments, **options)

    monkeypatch.setattr(media_files.os, "open", swapping)
    assert read_media(base, "media/a.png")[0] == PNG


# --- names ----------------------------------------------------------------------------------------------------------


@given(path=st.text(max_size=30))
@settings(deadline=None)
def test_a_path_that_is_taken_leads_down_on_every_system(path: str) -> None:
    if why_not(path) == "":
        assert os.path.normpath(path) == path
        assert not os.path.isabs(path)
        assert set(path).isdisjoint("\\:\0\n")
        assert folded(path) == folded(path.upper()) or folded(path.upper()) != ""


# --- vectors --------------------------------------------------------------------------------------------------------

numbers_of = st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=3).filter(lambda row: max(map(abs, row)) > 0.01)


@given(rows=st.lists(numbers_of, max_size=5))
@settings(deadline=None)
def test_vectors_come_back_with_length_one_and_in_their_direction(rows: list[list[float]]) -> None:
    ids = [str(number) for number in range(len(rows))]
    given_ = np.array(rows, np.float32).reshape(len(rows), 3)
    _, header, data = pack(VectorSet("m/3", ids, [""] * len(ids), given_))
    found = unpack(header, data, "x", ids)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert np.allclose(found.vectors * np.linalg.norm(given_, axis=1, keepdims=True), given_, atol=2e-3)


def changed(**fields: Any) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    return lambda header, data: ({**header, **fields}, data)


def renumbered(*numbers: float) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    data = np.array([*numbers, 1, 0, 0, 0], "<f2").tobytes()
    return lambda header, _: ({**header, "sha256": hashlib.sha256(data).hexdigest()}, data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(format="npy"), "format"),
        (changed(model=""), "model"),
        (changed(model=["m"]), "model"),
        (changed(count=True), "count"),
        (changed(count=-1), "count"),
        (changed(count=10**18), "count"),
        (changed(dimension=0), "dimension"),
        (changed(dimension=10**9), "dimension"),
        (changed(dimension=5), "are 16 bytes"),
        (changed(ids=["a", "a"]), "none twice"),
        (changed(ids=["a"]), "as many ids"),
        (changed(ids=["a", "z"]), "no such entry"),
        (changed(ids=["a", ["b"]]), "as many ids"),
        (changed(texts=["0"]), "digests"),
        (changed(texts=["0", "zz"]), "digests"),
        (changed(sha256="0" * 64), "were changed"),
        (changed(sha256=None), "64 hexadecimal"),
        (lambda header, data: (header, data + b"\0"), "are 17 bytes"),
        (renumbered(float("nan"), 0, 0, 0), "not finite"),
        (renumbered(float("inf"), 0, 0, 0), "not finite"),
        (renumbered(0, 0, 0, 0), "only zeros"),
    ],
)
def test_vectors_are_checked_number_by_number(change: Any, words: str) -> None:
    _, header, data = pack(a_set())
    head, numbers = change(json.loads(header), data)
    with pytest.raises(KnowledgeError, match=words):
        unpack(json.dumps(head).encode(), numbers, "x.json", {"a", "b"})


def test_what_is_no_set_of_vectors_is_not_written() -> None:
    for wrong in (
        replace(a_set(), ids=["a", "a"]),
        replace(a_set(), digests=["0"]),
        replace(a_set(), vectors=np.zeros((2, 4), np.float32)),
        replace(a_set(), vectors=np.full((2, 4), np.nan, np.float32)),
    ):
        with pytest.raises(ValueError, match="row"):
            pack(wrong)


def test_vectors_of_an_archive_whose_numbers_are_missing_are_refused(tmp_path: Path) -> None:
    stem, header, _ = pack(a_set())
    path = zipped(tmp_path / "x.zip", ("knowledge.json", document()), (f"vectors/{stem}.json", header))
    assert "no file of numbers" in refusal(path)


def test_an_index_or_a_pickle_in_an_archive_is_never_opened(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "x.zip",
        ("knowledge.json", document()),
        ("vectors/index.usearch", b"usearch" + bytes(100)),
        ("vectors/a.npy", b"\x93NUMPY"),
    )
    with opened_archive(path) as opened:
        assert opened.given.vectors == []
    assert {problem.where for problem in opened.given.problems} == {"vectors/index.usearch", "vectors/a.npy"}


def test_an_archive_in_memory_is_read_like_one_in_a_file() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("card.json", "{}")
    # As programs write it that put a picture before it.
    with open_archive(b"\xff\xd8\xff junk" + data.getvalue(), "card.charx") as opened:
        assert opened.read("card.json", most=10) == b"{}"
        with pytest.raises(KnowledgeError, match="more than 1 bytes"):
            opened.read("card.json", most=1)
