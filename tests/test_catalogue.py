"""Every plugin of a home is found once, with its grant; one broken file never hides the others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fakes import module, ship
from innkeeper.plugins import home as home_module
from innkeeper.plugins import listing as listing_module
from innkeeper.plugins.catalogue import Catalogue, read_catalogue
from innkeeper.plugins.home import open_home

pytestmark = pytest.mark.usefixtures("later")


def manifest(plugin_id: str, *types: str, more: str = "") -> str:
    nodes = "".join(f'[[nodes]]\ntype = "{name}"\nfunction = "run"\n' for name in types)
    return f'id = "{plugin_id}"\nversion = "1.0"\n{more}\n{nodes}'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and a package that ships nothing until a test puts something there."""
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    for folder in ("home/plugins", "home/manifests", "package/shipped/plugins", "package/shipped/manifests"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path / "home"


def put(home: Path, name: str, data: bytes | str) -> None:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def read(home: Path) -> Catalogue:
    return read_catalogue(open_home(home))


def test_a_file_without_a_manifest_has_its_stem_as_id(home: Path) -> None:
    put(home, "plugins/deep/down/shout.wasm", module("run"))
    found = read(home)
    assert found.problems == []
    entry = found.entries["shout"]
    assert (entry.label, entry.grant_state, entry.shared) == ("plugins/deep/down/shout.wasm", "none", False)
    assert entry.module.digest == hashlib.sha256(module("run")).hexdigest()
    assert entry.module.manifest is None


def test_a_manifest_gives_the_id_and_the_nodes(home: Path) -> None:
    put(home, "plugins/inside.wasm", module("run", manifest=manifest("one", "A")))
    put(home, "plugins/beside.wasm", module("run", salt="b"))
    put(home, "plugins/beside.toml", manifest("two", "A", "B"))
    found = read(home)
    assert found.problems == []
    assert sorted(found.entries) == ["one", "two"]
    assert {full_type: plugin for full_type, (plugin, _) in found.nodes.items()} == {
        "one:A": "one",
        "two:A": "two",
        "two:B": "two",
    }


def test_a_stem_that_is_no_id_is_a_problem_that_says_what_would_be_right(home: Path) -> None:
    put(home, "plugins/My Plugin.wasm", module("run"))
    found = read(home)
    assert found.entries == {}
    assert found.problems == [
        "plugins/My Plugin.wasm: 'My Plugin' is not an id: rename the file to 1 to 64 of the characters "
        "a-z 0-9 . _ -, the first a letter or a digit, or give it a manifest"
    ]


def test_of_two_files_with_one_id_neither_is_loaded_and_both_are_named(home: Path) -> None:
    put(home, "plugins/a/echo.wasm", module("run"))
    put(home, "plugins/b/echo.wasm", module("run"))
    put(home, "plugins/other.wasm", module("run"))
    found = read(home)
    assert list(found.entries) == ["other"]
    assert len(found.problems) == 1
    assert "plugins/a/echo.wasm and plugins/b/echo.wasm: have the same id 'echo'" in found.problems[0]


def test_a_node_type_of_two_plugins_is_refused_and_both_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = module("run", manifest=manifest("a", "X", "Y", more='namespace = "n"'))
    two = module("run", manifest=manifest("b", "X", more='namespace = "n"'))
    ship(monkeypatch, one, two)
    put(home, "plugins/a.wasm", one)
    put(home, "plugins/b.wasm", two)
    found = read(home)
    assert sorted(found.entries) == ["a", "b"]
    assert list(found.nodes) == ["n:Y"]
    assert found.problems == ["the node type 'n:X' is defined by the plugins a and b, so it is refused; remove one"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"\x7fELF" + b"\0" * 100, "ELF"),
        (module("run")[:-3], ""),
        (module("run", manifest='id = 3\nversion = "1"'), "manifest: id is 3"),
        (module("run", manifest=b"\xff"), "manifest: is not UTF-8"),
        (module("run", manifest=b"#" * 300_000), "manifest: is 300000 bytes"),
        (module("run", manifest=b"#" * 1_500_000), "its section 'innkeeper.manifest' is too large"),
        (module("run", manifest=manifest("bad", "T").replace('"run"', '"gone"')), "'gone', which the module does not"),
        (
            module(
                "run",
                manifest=manifest("bad", more="[[capabilities]]\nname='later.thing'\nreason='r'\noptional=false"),
            ),
            "needs the capability 'later.thing', which is not available in this version",
        ),
    ],
)
def test_one_broken_file_is_a_problem_and_hides_no_other(home: Path, data: bytes, sentence: str) -> None:
    put(home, "plugins/aa.wasm", module("run"))
    put(home, "plugins/bad.wasm", data)
    put(home, "plugins/zz.wasm", module("run"))
    found = read(home)
    assert sorted(found.entries) == ["aa", "zz"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith("plugins/bad.wasm: ")
    assert sentence in found.problems[0]


def test_each_problem_of_a_file_is_one_text_that_names_the_file_once(home: Path) -> None:
    put(home, "plugins/inside.wasm", module("run", manifest="id = 3"))
    put(home, "plugins/beside.wasm", module("run"))
    put(home, "plugins/beside.toml", "version = 1")
    put(home, "plugins/real.wasm", module("run"))
    put(home, "manifests/real.toml", "x = 1\n[limits]\nmemry = 1")
    found = read(home).problems
    assert [problem.split(" is ")[0] for problem in found] == [
        "plugins/beside.toml: id",
        "plugins/beside.toml: version",
        "plugins/inside.wasm: manifest: id",
        "plugins/inside.wasm: manifest: version",
        "manifests/real.toml: x",
        "manifests/real.toml: sha256",
        "manifests/real.toml: limits.memry",
    ]
    assert all(problem.endswith("; the grant is not used") for problem in found[4:])


def test_what_keeps_a_plugin_away_is_known_by_its_id_and_by_its_file(home: Path) -> None:
    needs = manifest("needy", more="[[capabilities]]\nname='later.thing'\nreason='r'\noptional=false")
    put(home, "plugins/file.wasm", module("run", manifest=needs))
    put(home, "plugins/a/two.wasm", module("run"))
    put(home, "plugins/b/two.wasm", module("run"))
    put(home, "manifests/two.toml", "limit = 3")
    put(home, "plugins/broken.wasm", b"")
    found = read(home)
    assert sorted(found.causes) == ["broken", "file", "needy", "two"]
    assert found.causes["needy"] == found.causes["file"]
    assert "needs the capability 'later.thing'" in found.causes["needy"][0]
    assert "have the same id 'two'" in found.causes["two"][0]
    # The grant of a plugin that is not loaded is not looked at.
    assert len(found.problems) == 3


def test_a_capability_that_is_only_wished_for_keeps_no_plugin_away(home: Path) -> None:
    wish = manifest("wish", more="[[capabilities]]\nname='later.thing'\nreason='r'")
    put(home, "plugins/wish.wasm", module("run", manifest=wish))
    found = read(home)
    assert found.problems == []
    assert "wish" in found.entries


def test_only_shipped_plugins_may_use_the_namespace_core(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = module("run", manifest=manifest("mine", "T", more='namespace = "core"'))
    put(home, "plugins/mine.wasm", core)
    found = read(home)
    assert found.entries == {}
    assert "its namespace is 'core', which only plugins that come with Innkeeper may use" in found.problems[0]
    put(home.parent, "package/shipped/plugins/basics.wasm", module("run", manifest=manifest("b", "T")))
    (home / "plugins/mine.wasm").unlink()
    put(home.parent, "package/shipped/plugins/mine.wasm", core)
    ship(monkeypatch, core)
    found = read(home)
    assert found.problems == []
    assert found.nodes["core:T"][0] == "mine"


def test_what_is_shipped_is_known_by_its_bytes_and_not_by_where_it_lies(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = module("run", manifest=manifest("basics", "T", more='namespace = "core"'))
    put(home.parent, "package/shipped/plugins/basics.wasm", core)
    found = read(home)
    assert found.entries == {}
    assert "its bytes are not those that come with this version of Innkeeper" in found.problems[0]
    ship(monkeypatch, core)
    (home.parent / "package/shipped/plugins/basics.wasm").rename(home / "plugins/any.wasm")
    found = read(home)
    assert (found.problems, found.entries["basics"].shipped) == ([], True)
    put(home, "plugins/more/again.wasm", core)
    assert list(read(home).entries) == ["basics"]


def test_a_manifest_beside_shipped_bytes_is_not_what_came_with_innkeeper(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = module("run")
    ship(monkeypatch, bare)
    put(home, "plugins/bare.wasm", bare)
    put(home, "plugins/bare.toml", manifest("bare", "T", more='namespace = "core"'))
    assert read(home).entries == {}


def test_the_namespace_of_a_plugin_is_its_id(home: Path) -> None:
    put(home, "plugins/a.wasm", module("run", manifest=manifest("a", "T", more='namespace = "a"')))
    put(home, "plugins/b.wasm", module("run", manifest=manifest("b", "T", more='namespace = "a"')))
    put(home, "plugins/c.wasm", module("run", manifest=manifest("core", "T")))
    found = read(home)
    assert list(found.nodes) == ["a:T"]
    assert found.problems == [
        "plugins/b.wasm: its namespace is 'a', and only plugins that come with Innkeeper may have another than their "
        "id; leave it out to use the id",
        "plugins/c.wasm: its id is 'core', the namespace of the plugins that come with Innkeeper; take another",
    ]


def test_a_copy_of_a_shipped_plugin_is_that_plugin_and_another_file_of_its_id_is_a_clash(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = module("run", manifest=manifest("basics", "T", more='namespace = "core"'))
    ship(monkeypatch, core)
    put(home.parent, "package/shipped/plugins/basics.wasm", core)
    put(home, "plugins/basics.wasm", core)
    found = read(home)
    assert found.problems == []
    assert found.entries["basics"].shipped
    put(home, "plugins/basics.wasm", module("run", manifest=manifest("basics")))
    found = read(home)
    assert found.entries == {}
    assert "plugins/basics.wasm and shipped plugins/basics.wasm: have the same id 'basics'" in found.problems[0]


# --- grants ---------------------------------------------------------------------------------------------------------


def grant(wasm: bytes, more: str = "") -> str:
    return f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\n{more}'


def test_a_grant_for_these_bytes_is_in_force(home: Path) -> None:
    put(home, "plugins/shout.wasm", module("run"))
    put(home, "manifests/shout.toml", grant(module("run"), '[limits]\nmemory = "96MiB"\n[config]\nk = "v"\n'))
    entry = read(home).entries["shout"]
    assert entry.grant is not None
    assert (entry.grant_state, entry.limits.memory, entry.grant.config) == ("granted", 96 << 20, {"k": "v"})


def test_a_grant_for_other_bytes_is_not_used_and_said_to_be_so(home: Path) -> None:
    put(home, "plugins/shout.wasm", module("run"))
    put(home, "manifests/shout.toml", grant(b"other", '[limits]\nmemory = "96MiB"\n'))
    found = read(home)
    entry = found.entries["shout"]
    assert (entry.grant, entry.grant_state, entry.limits.memory) == (None, "changed", 64 << 20)
    assert found.problems == ["manifests/shout.toml: the file changed since it was granted; the grant is not used"]


@pytest.mark.parametrize("more", ["[limits]\nmemory = '64GiB'", "[limits]\nmemry = 1", "x = ["])
def test_a_broken_grant_is_a_problem_and_the_plugin_runs_without(home: Path, more: str) -> None:
    put(home, "plugins/shout.wasm", module("run"))
    put(home, "manifests/shout.toml", grant(module("run"), more))
    found = read(home)
    assert found.entries["shout"].grant_state == "unusable"
    assert len(found.problems) == 1
    assert found.problems[0].startswith("manifests/shout.toml: ")
    assert found.problems[0].endswith("; the grant is not used")


def test_a_grant_for_a_plugin_that_is_not_there_is_a_problem_that_says_what_may_be_meant(home: Path) -> None:
    put(home, "plugins/shout.wasm", module("run"))
    put(home, "plugins/file.wasm", module("run", manifest=manifest("inner")))
    put(home, "plugins/broken.wasm", b"")
    for name in ("shuot", "file", "zzz", "broken"):
        put(home, f"manifests/{name}.toml", grant(module("run")))
    put(home, "manifests/README.md", "not a grant")
    found = read(home).problems
    assert found[0].startswith("plugins/broken.wasm: ")
    assert found[1:] == [
        "manifests/file.toml: there is no plugin 'file'; plugins/file.wasm has the id 'inner'; the grant is not used",
        "manifests/shuot.toml: there is no plugin 'shuot'; did you mean 'shout'?; the grant is not used",
        "manifests/zzz.toml: there is no plugin 'zzz'; the grant is not used",
    ]


def test_a_thousand_grants_without_a_plugin_are_not_a_thousand_texts(home: Path) -> None:
    for number in range(300):
        put(home, f"manifests/g{number}.toml", "")
    found = read(home).problems
    assert len(found) == 51
    assert found[-1] == "manifests: 250 more grants are for plugins that are not there"


def test_a_shared_guest_needs_the_authors_wish_and_the_operators_leave(home: Path) -> None:
    wish = module("run", manifest=manifest("a", more='instance = "shared"'))
    plain = module("run", manifest=manifest("b"))
    put(home, "plugins/a.wasm", wish)
    put(home, "plugins/b.wasm", plain)
    assert not read(home).entries["a"].shared
    put(home, "manifests/a.toml", grant(wish, 'instance = "shared"'))
    put(home, "manifests/b.toml", grant(plain, 'instance = "shared"'))
    found = read(home)
    assert found.entries["a"].shared
    assert not found.entries["b"].shared


# --- the folder may be anything -------------------------------------------------------------------------------------


def test_links_out_of_the_folder_are_not_followed_and_links_inside_show_nothing_twice(home: Path) -> None:
    put(home, "outside/secret.wasm", module("run"))
    put(home, "plugins/real.wasm", module("run"))
    os.symlink(home / "outside/secret.wasm", home / "plugins/file.wasm")
    os.symlink(home / "outside", home / "plugins/folder")
    os.symlink("real.wasm", home / "plugins/again.wasm")
    os.symlink(".", home / "plugins/loop")
    found = read(home)
    assert list(found.entries) == ["real"]
    assert sorted(problem.split(":")[0] for problem in found.problems) == ["plugins/file.wasm", "plugins/folder"]


def test_a_manifest_beside_the_file_is_no_link_to_somewhere_else(home: Path) -> None:
    put(home, "plugins/real.wasm", module("run"))
    put(home, "secret", "token = 'x'")
    os.symlink(home / "secret", home / "plugins/real.toml")
    found = read(home)
    assert found.problems == ["plugins/real.toml: is a symbolic link, which is not followed here"] or (
        found.problems[0].startswith("plugins/real.wasm: plugins/real.toml: is a symbolic link")
    )


def test_depth_and_number_of_files_are_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "plugins/" + "d/" * listing_module.MAX_DEPTH + "in.wasm", module("run"))
    put(home, "plugins/" + "d/" * (listing_module.MAX_DEPTH + 1) + "out.wasm", module("run"))
    found = read(home)
    assert list(found.entries) == ["in"]
    assert "is more than 8 folders deep" in found.problems[0]
    monkeypatch.setattr(listing_module, "MAX_FILES", 3)
    for number in range(5):
        put(home, f"plugins/p{number}.wasm", module("run"))
    found = read(home)
    assert len(found.entries) == 3
    assert any("has more than 3 plugins" in problem for problem in found.problems)


def test_hidden_files_other_files_and_folders_that_are_set_aside_are_not_plugins(home: Path) -> None:
    for name in (".hidden.wasm", ".git/x.wasm", "_aside/x.wasm", "deep/_aside/more/x.wasm", "readme.md", "a.wat"):
        put(home, f"plugins/{name}", module("run"))
    found = read(home)
    assert (found.entries, found.problems) == ({}, [])
