"""Nothing native runs unless its operator turned it on and trusted every byte; any change asks again."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import py_compile
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import module, ship
from innkeeper import UsageError
from innkeeper.errors import InnkeeperError
from innkeeper.plugins import home as home_module
from innkeeper.plugins.catalogue import read_catalogue
from innkeeper.plugins.home import open_home
from innkeeper.plugins.native import snapshot as snapshot_module
from innkeeper.plugins.native.importing import TrustedModules
from innkeeper.plugins.native.snapshot import digest_of, take_snapshot
from innkeeper.plugins.native.trust import Trust, format_trust, parse_trust, read_trust, remove_trust, write_trust
from innkeeper.plugins.tables import ManifestError, TableError
from native_homes import House, node, run

pytestmark = pytest.mark.usefixtures("later")

MARK = 'open({path!r}, "w").close()\n'


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return House(tmp_path / "home")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once code of a plugin has run."""
    return tmp_path / "it-ran"


def marking(mark: Path) -> str:
    return f"{MARK.format(path=str(mark))}\ndef setup(api): pass\n"


def ran(mark: Path) -> bool:
    return mark.exists()


def state(house: House, name: str = "p") -> str:
    return read_catalogue(open_home(house.path)).native[name].state


async def problems(house: House) -> list[str]:
    async with house.host() as host:
        assert not host.native
        return host.problems


# --- what keeps code from running -----------------------------------------------------------------------------------


async def test_trusted_code_runs(house: House, mark: Path) -> None:
    house.native("p", marking(mark))
    async with house.host() as host:
        assert list(host.native) == ["p"]
        assert host.problems == []
    assert ran(mark)
    assert [change.text for change in house.said] == [
        "plugins/p: runs natively as the plugin 'p', with all rights of the host"
    ]


async def test_with_native_plugins_off_nothing_runs_though_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: Path
) -> None:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    house = House(tmp_path / "home", on=False)
    house.native("p", marking(mark))
    found = await problems(house)
    assert found == [
        "plugins/p: is a native plugin, and those are off, so it is not run; `native_plugins = true` in innkeeper.toml "
        "turns them on"
    ]
    assert not ran(mark)


@pytest.mark.parametrize("value", ['"true"', "1", "[]"])
def test_only_true_turns_them_on(house: House, value: str) -> None:
    (house.path / "innkeeper.toml").write_text(f"native_plugins = {value}\n")
    with pytest.raises(UsageError, match=r"native_plugins is .*: it must be true or false"):
        open_home(house.path)


async def test_what_was_not_trusted_does_not_run(house: House, mark: Path) -> None:
    house.native("p", marking(mark), trust=False)
    assert "is a native plugin that you have not trusted" in (await problems(house))[0]
    assert not ran(mark)


async def test_a_changed_file_asks_again(house: House, mark: Path) -> None:
    house.native("p", "def setup(api): pass\n")
    house.put("p/main.py", marking(mark))
    assert "changed since you trusted it (main.py differs), so it is not run" in (await problems(house))[0]
    house.trust("p")
    async with house.host() as host:
        assert list(host.native) == ["p"]


@pytest.mark.parametrize(
    "name", ["more.py", "data.txt", ".hidden", "__pycache__/main.cpython-311.pyc", "deep/er/x", "plugin.yaml.bak"]
)
async def test_a_file_that_came_after_trust_asks_again(house: House, mark: Path, name: str) -> None:
    house.native("p", marking(mark))
    house.put(f"p/{name}", "x = 1")
    assert f"({name} is new)" in (await problems(house))[0]
    assert not ran(mark)


async def test_a_file_that_went_asks_again(house: House, mark: Path) -> None:
    house.native("p", marking(mark), files={"data.txt": "x"})
    (house.path / "plugins/p/data.txt").unlink()
    assert "(data.txt is gone)" in (await problems(house))[0]
    assert not ran(mark)


async def test_the_manifest_is_one_of_the_files(house: House, mark: Path) -> None:
    house.native("p", "def setup(api): pass\n", files={"other.py": marking(mark)})
    house.put("p/plugin.json", json.dumps({"id": "p", "version": "1.0", "python": "other:setup"}))
    assert "(plugin.json differs)" in (await problems(house))[0]
    assert not ran(mark)


async def test_a_planted_pycache_is_never_run(house: House, mark: Path, tmp_path: Path) -> None:
    house.native("p", "value = 'source'\ndef setup(api): pass\n", trust=False)
    source = house.path / "plugins/p/main.py"
    evil = tmp_path / "evil.py"
    evil.write_text(marking(mark))
    # As Python would find it: made for this source, valid without a look at it.
    cached = Path(importlib.util.cache_from_source(str(source)))
    py_compile.compile(str(evil), cfile=str(cached), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    sourceless = house.path / "plugins/p/extra.pyc"
    py_compile.compile(str(evil), cfile=str(sourceless))
    # Trusted by mistake, together with all that lies there.
    house.trust("p")
    async with house.host() as host:
        version = host.native["p"].version
        assert sys.modules[f"{version.modules.name}.main"].value == "source"
        with pytest.raises(ModuleNotFoundError):
            version.modules.load("extra")
    assert not ran(mark)


def test_code_is_compiled_from_what_was_digested_not_from_the_file(house: House, mark: Path) -> None:
    house.native("p", "from . import words\ndef setup(api): return words.value\n", files={"words.py": "value = 7"})
    taken = take_snapshot(house.path / "plugins/p", label="p")
    house.put("p/main.py", marking(mark))
    house.put("p/words.py", marking(mark))
    modules = TrustedModules("p", taken.files)
    modules.install()
    try:
        assert modules.load("main").setup(None) == 7
    finally:
        modules.remove()
    assert not ran(mark)
    assert not [name for name in sys.modules if name.startswith(modules.name)]


def test_no_module_is_looked_for_outside_of_the_folder(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.native("p", "from . import beside\n")
    house.put("beside.py", "value = 1")
    monkeypatch.syspath_prepend(str(house.path / "plugins"))
    monkeypatch.syspath_prepend(str(house.path / "plugins/p"))
    modules = TrustedModules("p", take_snapshot(house.path / "plugins/p", label="p").files)
    modules.install()
    try:
        with pytest.raises(ImportError, match="beside"):
            modules.load("main")
        with pytest.raises(ModuleNotFoundError, match="has no module 'os'"):
            modules.load("os")
        with pytest.raises(ModuleNotFoundError):
            modules.load("..beside")
    finally:
        modules.remove()


@pytest.mark.parametrize(
    "entry", ["os:system", "../main:setup", "main", "main:setup:x", "a b:c", ":f", "main.py:setup", ".main:f"]
)
async def test_an_entry_that_is_none_of_the_folder_is_refused(house: House, entry: str) -> None:
    house.native("p", "def setup(api): pass\n", python=entry)
    found = (await problems(house))[0]
    assert "python is " in found or "ModuleNotFoundError" in found


async def test_what_needs_a_capability_that_is_not_there_does_not_run(house: House, mark: Path) -> None:
    needs = [{"name": "later.thing", "reason": "serves", "optional": False}]
    house.native("p", marking(mark), capabilities=needs)
    assert "plugins/p: needs the capability 'later.thing'" in (await problems(house))[0]
    assert not ran(mark)


# --- links and odd files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["main.py", "linked", "data.txt"])
async def test_a_link_in_the_folder_is_refused(house: House, mark: Path, tmp_path: Path, name: str) -> None:
    house.native("p", marking(mark))
    target = tmp_path / "target"
    if name == "linked":
        target.mkdir()
    else:
        target.write_text(marking(mark))
    file = house.path / "plugins/p" / name
    file.unlink(missing_ok=True)
    os.symlink(target, file)
    assert f"plugins/p/{name}: is a link, which a native plugin cannot have" in (await problems(house))[0]
    assert not ran(mark)


async def test_a_folder_that_is_a_link_is_not_followed(house: House, mark: Path, tmp_path: Path) -> None:
    house.native("p", marking(mark))
    os.rename(house.path / "plugins/p", tmp_path / "out")
    os.symlink(tmp_path / "out", house.path / "plugins/p")
    await problems(house)
    assert not ran(mark)


def test_what_is_no_file_or_too_much_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.native("p", "def setup(api): pass\n")
    folder = house.path / "plugins/p"
    os.mkfifo(folder / "pipe")
    with pytest.raises(ManifestError, match="pipe: is not a regular file"):
        take_snapshot(folder, label="p")
    (folder / "pipe").unlink()
    (folder / "a\nb").write_text("")
    with pytest.raises(ManifestError, match="use visible characters"):
        take_snapshot(folder, label="p")
    (folder / "a\nb").unlink()
    monkeypatch.setattr(snapshot_module, "MAX_BYTES", 50)
    with pytest.raises(ManifestError, match="its files have more than 50 bytes"):
        take_snapshot(folder, label="p")
    monkeypatch.setattr(snapshot_module, "MAX_FOLDER_ENTRIES", 1)
    with pytest.raises(ManifestError, match="more than 1 files and folders"):
        take_snapshot(folder, label="p")


def test_a_name_and_a_content_cannot_stand_for_each_other() -> None:
    one, two = "0" * 64, "1" * 64
    assert digest_of({"a": one, "b": two}) != digest_of({"a": two, "b": one})
    assert digest_of({"a": one}) != digest_of({"a": one, f"b {two}": two})


# --- the record -----------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=80).filter(str.isprintable)
DIGESTS = st.dictionaries(NAMES, st.from_regex("[0-9a-f]{64}", fullmatch=True), max_size=5)


@given(DIGESTS)
@settings(deadline=None)
def test_a_record_says_what_was_written(digests: dict[str, str]) -> None:
    trust = Trust("p", digests)
    assert parse_trust(format_trust(trust), plugin_id="p") == trust


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o666), "others may write to it"),
        (lambda path: path.chmod(0o664), "others may write to it"),
        (lambda path: path.write_text('id = "q"\n[files]\n'), "the file's name says 'p'"),
        (lambda path: path.write_text("files = 3"), "id is missing"),
        (lambda path: path.write_text('id = "p"\n[files]\n"main.py" = "x"\n'), "it must be a sha256"),
        (lambda path: path.write_text('id = "p"\nall = true\n[files]\n'), "all is not a key here"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a regular file"),
        (lambda path: (path.rename(path.with_suffix(".x")), path.symlink_to(path.with_suffix(".x"))), "is a link"),
    ],
)
async def test_a_record_that_somebody_else_could_have_written_trusts_nothing(
    house: House, mark: Path, spoil: object, words: str
) -> None:
    house.native("p", marking(mark))
    assert callable(spoil)
    spoil(house.path / "manifests/trust/p.toml")
    assert words in (await problems(house))[0]
    assert state(house) == "unusable"
    assert not ran(mark)


def test_a_record_of_another_user_trusts_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.native("p", "def setup(api): pass\n")
    mine = os.geteuid()
    real = os.fstat

    def fstat(descriptor: int) -> object:
        found = list(real(descriptor))
        found[4] = mine + 1
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", fstat)
    found = read_trust(house.path, "p")
    assert found is not None
    assert found.trust is None
    assert "belongs to another user" in (found.problem or "")


async def test_what_ships_with_a_package_trusts_nobody(house: House, mark: Path, tmp_path: Path) -> None:
    house.native("p", marking(mark))
    shipped = tmp_path / "package/shipped/manifests"
    shipped.mkdir(parents=True)
    os.rename(house.path / "manifests/trust", shipped / "trust")
    assert "you have not trusted" in (await problems(house))[0]
    assert not ran(mark)


def test_a_record_whose_plugin_is_not_there_is_said(house: House) -> None:
    write_trust(house.path, Trust("gone", {}))
    assert read_catalogue(open_home(house.path)).problems == [
        "manifests/trust/gone.toml: there is no native plugin 'gone'; `innkeeper distrust gone` removes the record"
    ]
    assert remove_trust(house.path, "gone")
    assert not remove_trust(house.path, "gone")


def test_a_record_is_no_grant_and_a_grant_no_record(house: House) -> None:
    house.native("p", "def setup(api): pass\n", trust=False)
    digest = take_snapshot(house.path / "plugins/p", label="p").digest
    (house.path / "manifests").mkdir()
    (house.path / "manifests/p.toml").write_text(f'sha256 = "{digest}"\n')
    assert state(house) == "untrusted"


def test_a_record_that_cannot_be_written_is_an_error_in_one_sentence(house: House) -> None:
    (house.path / "manifests").write_text("")
    with pytest.raises(InnkeeperError, match=r"manifests/trust/p\.toml: cannot be written"):
        write_trust(house.path, Trust("p", {}))
    with pytest.raises(TableError):
        parse_trust(b"\xff", plugin_id="p")


# --- among other plugins --------------------------------------------------------------------------------------------


async def test_a_native_plugin_never_takes_the_id_of_another(house: House, mark: Path) -> None:
    house.put("p.wasm", module("run"))
    house.native("p", marking(mark))
    async with house.host() as host:
        assert list(host.plugins) == ["p"]
        assert not host.native
        assert host.problems == ["plugins/p: has the id 'p', which a Wasm plugin has; give it another id"]
    assert not ran(mark)


async def test_of_two_with_one_id_none_runs(house: House, mark: Path) -> None:
    house.native("p", marking(mark))
    house.put("q/main.py", marking(mark))
    house.put("q/plugin.json", (house.path / "plugins/p/plugin.json").read_bytes())
    assert "plugins/p and plugins/q: have the same id 'p'" in (await problems(house))[0]
    assert not ran(mark)


@pytest.mark.parametrize("namespace", ["core", "another"])
async def test_native_code_has_no_namespace_but_its_own(house: House, mark: Path, namespace: str) -> None:
    house.native("p", marking(mark), namespace=namespace)
    wrong = f"its namespace is {namespace!r}: a native plugin's is its id, and not 'core'"
    assert wrong in (await problems(house))[0]
    assert not ran(mark)


async def test_a_node_type_that_is_there_stays_with_whom_it_belongs_to(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = module(
        "run", manifest='id = "w"\nversion = "1.0"\nnamespace = "p"\n[[nodes]]\ntype = "N"\nfunction = "run"\n'
    )
    ship(monkeypatch, own)
    house.put("w.wasm", own)
    house.native("p", node("return {}"))
    async with house.host() as host:
        assert host.node("p:N")[0].id == "w"
        assert host.problems == [
            "the node type 'p:N' stays with the plugin w, which had it first; p (native) defines it too; remove one"
        ]


async def test_nothing_calls_a_native_plugin_by_its_id(house: House) -> None:
    house.native("p", node("return {}"))
    async with house.host() as host:
        with pytest.raises(UsageError, match="'p' is a native plugin: its nodes run in workflows"):
            host.plugin("p")
        assert "p" not in host.plugins


# --- while the host runs --------------------------------------------------------------------------------------------


async def test_a_change_takes_it_out_of_service_and_trust_brings_the_new_one(house: House) -> None:
    house.native("p", node("return {'out': 'one'}"))
    async with house.host() as host:
        first = host.native["p"]
        assert (await run(host, a="p:N")).nodes["a"].outputs() == {"out": "one"}
        house.put("p/main.py", node("return {'out': 'two'}"))
        said = await host.reload()
        assert [change.kind for change in said] == ["problem", "removed"]
        assert "changed since you trusted it (main.py differs)" in said[1].text
        assert host.node_types() == []
        assert not host.native
        with pytest.raises(UsageError, match="changed since you trusted it"):
            await first.call("N", b"\x80")
        house.trust("p")
        assert [change.kind for change in await host.reload()] == ["added"]
        assert (await run(host, a="p:N")).nodes["a"].outputs() == {"out": "two"}
        assert host.problems == []


async def test_a_host_that_watches_notices_by_itself(house: House) -> None:
    house.native("p", node("return {}"))
    async with house.host(watch=True) as host:
        assert list(host.native) == ["p"]
        house.put("p/main.py", node("return {'out': 2}"))
        await house.until("removed")
        assert not host.native
        house.trust("p")
        await house.until("added", count=2)
        assert list(host.native) == ["p"]


async def test_a_trust_that_is_taken_away_ends_at_once(house: House) -> None:
    house.native("p", node("return {}"))
    async with house.host() as host:
        remove_trust(house.path, "p")
        assert [change.kind for change in await host.reload()] == ["problem", "removed"]
        assert not host.native
        house.trust("p")
        await host.reload()
        (house.path / "manifests/trust/p.toml").chmod(0o666)
        await host.reload()
        assert not host.native


async def test_a_plugin_that_takes_long_to_set_up_keeps_nothing_in_force_that_was_taken_away(
    house: House, mark: Path
) -> None:
    entered, hold = threading.Event(), threading.Event()
    sys.modules["native_test_hold"] = SimpleNamespace(entered=entered, hold=hold)  # type: ignore[assignment]
    house.put("w.wasm", module("run"))
    house.native("a", node("return {}"))
    grant = house.path / "manifests/w.toml"
    grant.write_text(f'sha256 = "{hashlib.sha256(module("run")).hexdigest()}"\n')
    try:
        async with house.host(watch=True) as host:
            guest = host.plugins["w"]
            assert guest.grant is not None
            # One that takes long, and one whose turn comes after it.
            house.native(
                "m", "import native_test_hold as t\ndef setup(api):\n    t.entered.set()\n    t.hold.wait(25)\n"
            )
            house.native("z", marking(mark))
            with trio.fail_after(20):
                await trio.to_thread.run_sync(entered.wait, 20)
                grant.unlink()
                for name in ("a", "z"):
                    remove_trust(house.path, name)
                await house.until("removed")
                await house.until("changed")
            assert guest.grant is None
            assert not hold.is_set()
            assert not host.native
            hold.set()
            await house.until("added", count=2)
            await host.reload()
            assert list(host.native) == ["m"]
            assert not ran(mark)
    finally:
        hold.set()
        del sys.modules["native_test_hold"]


async def test_a_plugin_that_is_removed_is_gone_and_its_modules_with_it(house: House) -> None:
    house.native("p", node("return {}"))
    async with house.host() as host:
        name = host.native["p"].version.modules.name
        assert f"{name}.main" in sys.modules
        for file in ("plugin.json", "main.py"):
            (house.path / "plugins/p" / file).unlink()
        await host.reload()
        assert not host.native
        assert not [each for each in sys.modules if each.startswith(name)]
