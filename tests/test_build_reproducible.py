"""The modules in plugins/ are what their sources give, as far as that shows without tools and network.

`python pdk-samples/build.py --check` shows the whole: it builds in an empty folder and compares every byte.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from innkeeper.plugins.home import shipped_place
from innkeeper.plugins.manifest import parse_manifest
from innkeeper.plugins.module import read_plugin_file
from innkeeper.plugins.shipped import DIGESTS
from innkeeper.sandbox.wasm import parse

ROOT = Path(__file__).parent.parent
MANIFESTS = sorted(ROOT.glob("pdk-samples/*/*/manifest.toml"))
_spec = importlib.util.spec_from_file_location("digests", ROOT / "pdk-samples/digests.py")
assert _spec is not None
assert _spec.loader is not None
digests = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(digests)
AGAIN = "run `make plugins` and commit what it writes"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def records() -> dict[str, Any]:
    recorded = tomllib.loads((ROOT / "plugins" / "SOURCES.toml").read_text("utf-8"))
    return {name: record for name, record in recorded.items() if name != "tools"}


def test_every_sample_plugin_is_built_and_recorded() -> None:
    names = {f"{manifest.parent.name}.wasm" for manifest in MANIFESTS}
    assert names == set(records())
    assert names <= {path.name for path in (ROOT / "plugins").glob("*.wasm")}


@pytest.mark.parametrize("name", records())
def test_a_module_is_the_one_that_was_recorded(name: str) -> None:
    assert digest(ROOT / "plugins" / name) == records()[name]["sha256"], AGAIN


def test_the_host_knows_the_digests_of_what_it_ships() -> None:
    assert digests.TARGET.read_text("utf-8") == digests.source(), AGAIN
    assert {record["sha256"] for record in records().values()} == DIGESTS
    for place in shipped_place().plugins.glob("*.wasm"):
        module = read_plugin_file(place, label=place.name, size_limit=5_000_000)
        assert module.digest in DIGESTS
        assert module.manifest is not None
        assert module.manifest.embedded


def test_the_demos_grant_is_for_the_module_that_lies_here_and_for_its_two_books_alone() -> None:
    assert {path: path.read_text("utf-8") for path in digests.grants()} == digests.grants(), AGAIN
    (grant,) = digests.GRANTS.glob("*.toml")
    said = tomllib.loads(grant.read_text("utf-8"))
    assert (grant.stem, said["sha256"]) == ("kb", records()["kb.wasm"]["sha256"])
    assert set(said) == {"sha256", "capabilities"}
    assert said["capabilities"] == ["kb.read:lantern-inn", "kb.read:lantern-inn-zh"]


@pytest.mark.parametrize("name", records())
def test_a_modules_sources_are_those_that_were_recorded(name: str) -> None:
    recorded = records()[name]["sources"]
    assert {path: digest(ROOT / path) for path in recorded} == recorded, AGAIN


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.parent.name)
def test_every_source_of_a_plugin_is_recorded(manifest: Path) -> None:
    recorded = records()[f"{manifest.parent.name}.wasm"]["sources"]
    own = [path for path in manifest.parent.rglob("*") if path.is_file()]
    kit = [path for path in manifest.parent.parent.iterdir() if path.is_file() and path.suffix != ".md"]
    if manifest.parent.parent.name == "javascript":
        # A plugin that may ask for nothing has nothing of what asks.
        asked = {each["name"].partition(":")[0] for each in tomllib.loads(manifest.read_text()).get("capabilities", ())}
        parts = [*(["bridge"] if asked else []), *(["files"] if "files.read" in asked else [])]
        kit += [path for part in parts for path in (manifest.parent.parent / part).iterdir()]
    present = {path.relative_to(ROOT).as_posix() for path in (*own, *kit)} | {"pdk-samples/build.py"}
    assert present == set(recorded), AGAIN


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.parent.name)
def test_a_module_carries_its_manifest_and_it_is_valid(manifest: Path) -> None:
    module = parse((ROOT / "plugins" / f"{manifest.parent.name}.wasm").read_bytes())
    assert module.custom["innkeeper.manifest"] == [manifest.read_bytes()]
    read = parse_manifest(manifest.read_bytes(), where=manifest.parent.name, exports=set(module.exports))
    assert read.id == manifest.parent.name
    assert {node.function for node in read.nodes} <= set(module.exports)


@pytest.mark.parametrize("name", records())
def test_a_module_carries_the_licences_of_what_is_in_it(name: str) -> None:
    module = parse((ROOT / "plugins" / name).read_bytes())
    (licences,) = module.custom["licenses"]
    assert b"Permission is hereby granted" in licences
    written = {path.parent.name for path in (ROOT / "pdk-samples" / "javascript").glob("*/manifest.toml")}
    assert (b"QuickJS" in licences) == (name.removesuffix(".wasm") in written)


@pytest.mark.parametrize("name", records())
def test_a_module_carries_no_path_of_the_machine_that_built_it(name: str) -> None:
    module = (ROOT / "plugins" / name).read_bytes()
    assert re.search(rb"/(home|root|tmp|usr|Users)/|zig-cache", module) is None
    assert f"{ROOT}/".encode() not in module


@pytest.mark.parametrize("name", records())
def test_a_module_stays_below_five_megabytes(name: str) -> None:
    assert (ROOT / "plugins" / name).stat().st_size < 5_000_000
