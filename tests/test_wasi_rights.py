"""What grants of files make of a guest's folders."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.plugins.capabilities import parse_capability
from innkeeper.plugins.folders import Folders
from innkeeper.plugins.rights import NONE, Rights
from innkeeper.plugins.scopes import read_files
from innkeeper.plugins.settings import FilesSettings
from innkeeper.plugins.wasi_rights import guest_folders, problems, wasi_rights
from innkeeper.sandbox.wasi.rights import WasiRights


def rights_of(*capabilities: str) -> Rights:
    return Rights(tuple(map(parse_capability, capabilities)))


_parts = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4).map("/".join)
_scopes = st.builds(lambda root, path: f"{root}://{path}", st.sampled_from(["user", "shared"]), _parts)


@given(st.lists(_scopes, max_size=5), st.lists(_scopes, max_size=5), _scopes)
@settings(deadline=None, max_examples=500)
def test_the_longest_folder_that_holds_a_path_gives_what_all_grants_together_give(
    read: list[str], write: list[str], use: str
) -> None:
    rights = rights_of(*(f"files.read:{each}" for each in read), *(f"files.write:{each}" for each in write))
    found = guest_folders(rights)
    place = "/" + use.replace("://", "/") + "/"
    holding = [each for each in found if place.startswith(each.name + "/") or place == each.name + "//"]
    longest = max(holding, key=lambda each: len(each.name), default=None)
    allowed = (
        any(read_files(each).allows(use) for each in read),
        any(read_files(each).allows(use) for each in write),
    )
    assert allowed == ((False, False) if longest is None else (longest.readable, longest.writable))
    assert len({each.name for each in found}) == len(found)
    # No folder is there for nothing, and each says something that the one above it does not.
    assert all(each.readable or each.writable for each in found)


def test_a_plugin_without_such_rights_has_none_of_wasi() -> None:
    for rights in (NONE, rights_of("kv", "log", "http:*")):
        assert not rights.wasi
        assert wasi_rights(rights, Folders()) is None
        assert problems(rights, Folders()) == []
    assert wasi_rights(rights_of("clock"), Folders()) == WasiRights(clock=True)
    assert wasi_rights(rights_of("random"), Folders()) == WasiRights(random=True)
    # What is not there is no right at all.
    assert wasi_rights(rights_of("files.read:user://"), Folders()) is None


def test_quotas_are_those_of_the_configuration_and_a_folder_is_measured_once_for_all_who_write_to_it() -> None:
    given_to = FilesSettings(quota=7, entries=8, folder_bytes=9, folder_entries=10)
    folders = Folders(given_to, {"user": Path("/nowhere/user")})
    first = wasi_rights(rights_of("files.write:user://a", "files.read:user://b"), folders)
    second = wasi_rights(rights_of("files.write:user://a"), folders)
    assert first is not None
    assert second is not None
    written, read = first.files
    assert (written.quota, written.entries, written.writable, written.readable) == (7, 8, True, False)
    assert (read.writable, read.tree) == (False, None)
    assert written.tree is second.files[0].tree
    assert written == second.files[0]
