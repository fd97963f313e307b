"""Archives that somebody made to harm whoever restores them: nothing is written outside, and nothing is believed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innkeeper.composition.restoring import put_in_place
from innkeeper.composition.staging import staged
from innkeeper.errors import BusyError, InnkeeperError, RejectedError
from innkeeper.storage.backup.header import BLOCK, HeaderError, padded, read_extended, read_header, write_header
from innkeeper.storage.backup.names import why_not
from innkeeper.storage.backup.reading import Bounds, open_archive
from innkeeper.storage.backup.writing import FIRST, LAST, writing

Members = list[tuple[str, bytes]]

GOOD: Members = [("plugins/a.wasm", b"wasm"), ("innkeeper.toml", b""), ("files/deep/er/note", b"n" * 3000)]


def sums(members: Members) -> bytes:
    return b"".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode() for name, data in members)


def packed(members: Members, *, first: object = None, last: bytes | None = None) -> bytes:
    """An archive as ours are, of whatever members."""
    said = {"format": 1} if first is None else first
    all_ = [(FIRST, json.dumps(said).encode()), *members, (LAST, sums(members) if last is None else last)]
    raw = b"".join(write_header(name, len(data), 0) + padded(data) for name, data in all_) + bytes(2 * BLOCK)
    return gzip.compress(raw)


def made_by_tar(*infos: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        first = tarfile.TarInfo(FIRST)
        data = b'{"format": 1}'
        first.size = len(data)
        archive.addfile(first, io.BytesIO(data))
        for info in infos:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


def read_whole(archive: io.BytesIO) -> dict[str, bytes]:
    return {name: b"".join(pieces) for name, pieces in open_archive(archive).members()}


@pytest.fixture
def restore(tmp_path: Path) -> Callable[..., set[str]]:
    """Restores an archive into a new home; gives the names of all files that are anywhere then."""

    def run(data: bytes, bounds: Bounds | None = None) -> set[str]:
        (tmp_path / "b.tar.gz").write_bytes(data)
        with staged(tmp_path / "b.tar.gz", tmp_path / "home", bounds=bounds) as made:
            put_in_place(made, tmp_path / "home")
        return everything(tmp_path)

    return run


def everything(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if not each.is_dir() or each.is_symlink()}


@pytest.fixture(autouse=True)
def _nothing_stays_of_what_was_refused(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "home" in os.listdir(tmp_path):
        assert not [each for each in os.listdir(tmp_path / "home") if each.startswith(".innkeeper")]


def test_a_good_archive_of_this_test_is_restored(restore: Callable[..., set[str]]) -> None:
    assert restore(packed(GOOD)) == {"b.tar.gz", *(f"home/{name}" for name, _ in GOOD)}


@pytest.mark.parametrize(
    "name",
    [
        "../out", "plugins/../../out", "/etc/out", "plugins//a", "plugins/./a", "plugins/", "", "out", "plugins",
        "state/../../out", "knowledge/a\nb", "plugins/" + "x" * 256, "a/" * 70 + "b", ".ssh/authorized_keys",
        "innkeeper.toml/a", "secrets.toml/a", "state/innkeeper.db-wal", "state/scheduler.lock", "work/own.json",
        FIRST,
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(restore: Callable[..., set[str]], name: str, tmp_path: Path) -> None:
    with pytest.raises(RejectedError):
        restore(packed([*GOOD, (name, b"x")]))
    assert everything(tmp_path) == {"b.tar.gz"}


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_members_that_are_no_files_are_refused(restore: Callable[..., set[str]], kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("plugins/a")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(RejectedError, match="a link, a folder or a device"):
        restore(made_by_tar(info))
    assert everything(tmp_path) == {"b.tar.gz"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("plugins/a", b"1"), ("plugins/a", b"2")], "twice"),
        ([("plugins/a", b"1"), ("plugins/a/b", b"2")], "below what is a file"),
        ([("plugins/a/b", b"1"), ("plugins/a", b"2")], "as a folder too"),
    ],
)
def test_names_that_meet_are_refused(restore: Callable[..., set[str]], members: Members, said: str) -> None:
    with pytest.raises(RejectedError, match=said):
        restore(packed(members))


@pytest.mark.parametrize(
    "last",
    [
        b"",
        sums(GOOD[:2]),
        sums([*GOOD, ("plugins/b", b"")]),
        sums([*GOOD, GOOD[0]]),
        sums([("plugins/a.wasm", b"another"), *GOOD[1:]]),
        sums(GOOD)[:-1],
        sums(GOOD).replace(b"  ", b"\t "),
        b"\n" + sums(GOOD),
        b"x" * 3_000_000,
        sums(GOOD).upper(),
    ],
)
def test_digests_that_do_not_fit_are_refused(restore: Callable[..., set[str]], last: bytes, tmp_path: Path) -> None:
    with pytest.raises(RejectedError):
        restore(packed(GOOD, last=last))
    assert everything(tmp_path) == {"b.tar.gz"}


@pytest.mark.parametrize("first", [{}, [], {"format": 2}, {"format": True}, {"format": "1"}, "x" * 100_000, None])
def test_what_does_not_say_its_format_is_refused(restore: Callable[..., set[str]], first: object) -> None:
    data = packed(GOOD, first=first) if first is not None else gzip.compress(b"{" * 5000)
    with pytest.raises(RejectedError):
        restore(data)


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", b"\x1f\x8b", gzip.compress(b""), gzip.compress(bytes(4096)), bytes(10_000)]
)
def test_what_is_no_archive_is_refused(restore: Callable[..., set[str]], data: bytes) -> None:
    with pytest.raises(RejectedError):
        restore(data)


def test_an_archive_that_ends_early_is_refused_wherever_it_does(tmp_path: Path) -> None:
    whole = packed(GOOD)
    for end in range(0, len(whole) - 1, 7):
        archive = io.BytesIO(whole[:end])
        with pytest.raises(RejectedError):
            read_whole(archive)


def test_something_behind_the_end_is_refused(restore: Callable[..., set[str]]) -> None:
    with pytest.raises(RejectedError, match="behind"):
        restore(packed(GOOD) + gzip.compress(b"more"))
    with pytest.raises(RejectedError, match="behind"):
        restore(packed(GOOD) + gzip.compress(bytes(3 << 20)))


def test_zeros_that_unpack_to_more_than_the_bound_are_refused_before_they_are_written(
    restore: Callable[..., set[str]], tmp_path: Path
) -> None:
    header = write_header("plugins/zeros", 1 << 40, 0)
    raw = write_header(FIRST, 13, 0) + padded(b'{"format": 1}') + header + bytes(1 << 20)
    with pytest.raises(RejectedError, match="when it is unpacked"):
        restore(gzip.compress(raw))
    with pytest.raises(RejectedError, match="more than 5,000 bytes"):
        restore(packed([("plugins/a", bytes(4000)), ("plugins/b", bytes(4000))]), Bounds(total=5000))
    with pytest.raises(RejectedError, match="more than 2 files"):
        restore(packed(GOOD), Bounds(files=2))


def test_a_disk_that_would_be_full_stops_it(
    restore: Callable[..., set[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("innkeeper.composition.staging.ROOM", 1 << 62)
    with pytest.raises(BusyError, match="disk is full"):
        restore(packed(GOOD))
    assert everything(tmp_path) == {"b.tar.gz"}


@pytest.mark.parametrize(
    "records",
    [
        b"9999 path=a\n", b"0 path=a\n", b"-1 path=a\n", b"path=a\n", b"12 path=a", b"\xff", b"10 pathxa\n",
        b"12 path=\xff\xfe\n", b"14 size=-1234\n", b"30 size=99999999999999999999\n", b"5 a=\n5 a=\n" + b"x",
        "٣ path=a\n".encode(),
    ],
)  # fmt: skip
def test_broken_extended_headers_are_refused(records: bytes) -> None:
    with pytest.raises(HeaderError):
        read_extended(records)


def test_an_extended_header_is_bounded_and_has_a_file_behind_it(restore: Callable[..., set[str]]) -> None:
    first = write_header(FIRST, 13, 0) + padded(b'{"format": 1}')
    long = tarfile.TarInfo("pax")
    long.type, long.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(RejectedError, match="the most is 8,192"):
        restore(gzip.compress(first + long.tobuf(tarfile.USTAR_FORMAT)))
    long.size = 9
    twice = (long.tobuf(tarfile.USTAR_FORMAT) + padded(b"9 path=a\n")) * 2
    with pytest.raises(RejectedError, match="nothing follows"):
        restore(gzip.compress(first + twice + bytes(4096)))


NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=400).filter(lambda n: not why_not(n))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=6), st.integers(-5, 1 << 40))
def test_what_is_written_is_read_again(files: dict[str, bytes], at: int) -> None:
    out = io.BytesIO()
    with writing(out, {"at": 5}) as archive:
        for name, data in files.items():
            archive.add(name, io.BytesIO(data), at)
    out.seek(0)
    opened = open_archive(out)
    assert {name: b"".join(pieces) for name, pieces in opened.members()} == files
    assert opened.said["at"] == 5
    out.seek(0)
    with tarfile.open(fileobj=out) as read:
        assert [each.name.encode() for each in read][1:-1] == [name.encode() for name in files]


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=300), st.integers(0, 1 << 50))
def test_a_header_says_what_it_was_given(name: str, size: int) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    if "\0" in name or len(name.encode()) > 1024:
        return
    data = write_header(name, size, 0)
    header = read_header(data[:BLOCK])
    assert header is not None
    if header.extended:
        found = read_extended(data[BLOCK : BLOCK + header.size])
        assert (found[0] or name, found[1] or size) == (name, size)
    else:
        assert (header.name, header.size) == (name, size)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 6), outer=st.booleans())
def test_an_archive_in_which_bytes_were_changed_is_the_same_or_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int, outer: bool
) -> None:
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("changed")
    data = bytearray(packed(GOOD) if outer else gzip.decompress(packed(GOOD)))
    for _ in range(changes):
        data[chance.randrange(len(data))] = chance.choice((0, 0xFF, 0x2F, 0x2E, chance.randrange(256)))
    (folder / "b.tar.gz").write_bytes(bytes(data) if outer else gzip.compress(bytes(data)))
    try:
        with staged(folder / "b.tar.gz", folder / "home") as made:
            put_in_place(made, folder / "home")
    except InnkeeperError:
        assert everything(folder) == {"b.tar.gz"}
    else:
        assert {name: (folder / "home" / name).read_bytes() for name, _ in GOOD} == dict(GOOD)
        assert everything(folder) == {"b.tar.gz", *(f"home/{name}" for name, _ in GOOD)}
