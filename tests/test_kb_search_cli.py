"""`innkeeper kb models|embed|search`, as people use them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from tests.retrieval_bases import Concepts

from innkeeper.cli.main import invoke
from innkeeper.knowledge.embedding.interface import EmbeddingError
from innkeeper.knowledge.embedding.offline import OfflineEmbedder
from innkeeper.knowledge.embedding.registry import Model, Models, offline_model
from innkeeper.knowledge.files.keeper import FileKeeper
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.retrieval import keeping
from innkeeper.knowledge.retrieval.keeping import EmbeddingKeeper
from innkeeper.knowledge.retrieval.kept import calibration_in

ENTRIES: list[dict[str, Any]] = [
    {
        "id": "wyrm",
        "displayName": "Red dragon",
        "content": {"value": "It sleeps on gold below the mountain."},
        "activation_criteria": {"keywords": ["drake"]},
        "management_metadata": {"tags": ["creature"]},
    },
    {"id": "inn", "displayName": "Inn", "content": {"value": "Travellers drink ale at the crossroads."}},
    {"id": "smith", "content": {"value": "Ysolde forges swords for the king's guard."}},
    {"id": "fever", "content": {"value": "A fever took many in the cold winter."}},
    *({"id": f"f{at}", "content": {"value": f"Ledger {at} lists barrels, nails and rope."}} for at in range(12)),
]

ASKED = "mythical beast asleep upon treasure"
"""Means the first entry, and shares no word with it."""


def write(folder: Path, entries: Sequence[dict[str, Any]] = ENTRIES, **info: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    head = {"kb_id": "world", "kb_displayName": "World", "schema_version": "1.1", **info}
    (folder / "knowledge.json").write_text(json.dumps({**head, "entries": list(entries)}))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    (made / "plugins").mkdir(parents=True)
    write(made / "knowledge" / "world")
    return made


@pytest.fixture
def run(home: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = invoke(["--home", str(home), "kb", *arguments])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


def test_the_models_are_listed_with_the_one_that_bases_get(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = run("models")
    assert code == 0
    assert "wordllama-l2-256@" in out
    found = json.loads(run("models", "--json")[1])
    assert found["default"] == "wordllama"
    assert found["models"][0]["dimension"] == 256
    assert found["models"][0]["default"] is True


def test_a_base_that_names_no_model_has_the_users(run: Callable[..., tuple[int, str, str]]) -> None:
    found = json.loads(run("search", "world", ASKED, "--json")[1])
    assert (found["mode"], found["hits"][0]["id"], found["notes"]) == ("hybrid", "wyrm", [])


def test_a_base_without_vectors_is_searched_by_words_and_says_how_to_make_some(
    run: Callable[..., tuple[int, str, str]], home: Path
) -> None:
    # One that is asked for money, or is not here, is asked for nothing by itself.
    (home / "innkeeper.toml").write_text('[knowledge]\nmodel = "ada"\n')
    code, out, err = run("search", "world", "dragons")
    assert code == 0
    assert "Red dragon" in out
    assert "dragon (name)" in out
    assert "kb embed" in err
    assert run("search", "world", "nothing of it", "--mode", "keyword")[1] == "nothing was found\n"


def test_after_embed_an_entry_is_found_by_what_it_means(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("embed", "world")
    assert (code, err) == (0, "")
    assert "16 vectors made with wordllama-l2-256@" in out
    code, out, err = run("search", "world", ASKED, "-k", "3", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["mode"] == "hybrid"
    assert found["notes"] == []
    assert found["hits"][0]["id"] == "wyrm"
    assert found["hits"][0]["matches"] == []
    assert found["hits"][0]["cosine"] > 0.1
    code, out, _ = run("search", "world", "red dragon")
    assert "z +" in out


def test_a_second_embed_makes_only_what_is_missing(run: Callable[..., tuple[int, str, str]], home: Path) -> None:
    assert json.loads(run("embed", "world", "--json")[1])["made"] == 16
    assert json.loads(run("embed", "world", "--json")[1])["made"] == 0
    document = json.loads((home / "knowledge/world/knowledge.json").read_text())
    assert document["embedding_model_id"].startswith("wordllama-l2-256@")
    assert calibration_in(document) is not None
    document["entries"][0]["content"]["value"] = "It flew away."
    (home / "knowledge/world/knowledge.json").write_text(json.dumps(document))
    assert json.loads(run("search", "world", ASKED, "--mode", "semantic", "--json")[1])["hits"][0]["id"] != ("wyrm"), (
        "the vector of another text is not used"
    )
    assert json.loads(run("embed", "world", "--json")[1])["made"] == 0, "the search made what was missing"
    document["entries"][0]["content"]["value"] = "It came back."
    (home / "knowledge/world/knowledge.json").write_text(json.dumps(document))
    assert json.loads(run("embed", "world", "--json")[1])["made"] == 1


def test_filters_narrow_a_search(run: Callable[..., tuple[int, str, str]]) -> None:
    assert json.loads(run("search", "world", "dragon", "--tag", "creature", "--json")[1])["hits"][0]["id"] == "wyrm"
    assert json.loads(run("search", "world", "dragon", "--tag", "place", "--json")[1])["hits"] == []
    assert json.loads(run("search", "world", "dragon", "--type", "fact", "--json")[1])["hits"] == []


def test_a_folder_that_is_no_global_base_is_searched_by_words(
    run: Callable[..., tuple[int, str, str]], home: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (home / "knowledge/world").rename(elsewhere)
    found = json.loads(run("search", str(elsewhere), "dragon", "--json")[1])
    assert (found["base"], found["mode"], found["hits"][0]["id"]) == ("world", "keyword", "wyrm")


def test_a_base_whose_file_is_broken_is_searched_as_it_was_and_says_so(
    run: Callable[..., tuple[int, str, str]], home: Path
) -> None:
    assert run("search", "world", "dragon")[0] == 0
    file = home / "knowledge/world/knowledge.json"
    for text, said in (('{"kb_id": "world", "entries": [\n{"id": 7}]}', "line 2"), ('{"kb_id": "wor', "line 1")):
        file.write_text(text)
        code, out, err = run("search", "world", "dragon")
        assert (code, "Red dragon" in out, said in err, "last good state" in err) == (0, True, True, True), err
        assert file.read_text() == text
    file.unlink()
    code, out, err = run("search", "world", "dragon")
    assert (code, "Red dragon" in out, "is gone" in err) == (0, True, True), err
    assert run("export", "world", "--out", str(home / "again.json"))[0] == 0
    assert len(json.loads((home / "again.json").read_text())["entries"]) == len(ENTRIES)


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "nobody"),
        ("embed", "world", "--model", "ada"),
        ("search", "nobody", "x"),
        ("search", "world", "x", "-k", "0"),
        ("search", "world", "x", "-k", "201"),
        ("search", "world", "x", "--mode", "magic"),
        ("search", "world", "x", *(["--tag", "t"] * 101)),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(
    run: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...]
) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("innkeeper: ")
    assert len(err.splitlines()) <= 3


def test_a_base_of_a_model_that_is_not_here_keeps_working_by_keywords_and_says_so(
    run: Callable[..., tuple[int, str, str]], home: Path
) -> None:
    run("embed", "world")
    path = home / "knowledge/world/knowledge.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "embedding_model_id": "text-embedding-ada-002"}))
    code, out, err = run("search", "world", "dragon")
    assert code == 0
    assert "Red dragon" in out
    assert "text-embedding-ada-002" in err
    code, _, err = run("embed", "world")
    assert code == 2
    assert "--model" in err
    assert run("embed", "world", "--model", "wordllama")[0] == 0


class Fragile(Concepts):
    """Fails after so many texts."""

    def __init__(self, texts: int) -> None:
        super().__init__({})
        self.left = texts

    async def embed(self, texts: Sequence[str]) -> Any:
        self.left -= len(texts)
        if self.left < 0:
            raise EmbeddingError("the endpoint is asleep")
        await trio.lowlevel.checkpoint()
        return await super().embed(texts)


@pytest.mark.parametrize("ending", ["fails", "cancelled"])
async def test_what_was_embedded_before_a_failure_or_ctrl_c_is_there_afterwards(
    home: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_BATCH", 4)
    model = Fragile(8 if ending == "fails" else 10_000)

    async def opened() -> Concepts:
        return model

    models = Models([Model("fragile", "concepts", "offline", "", opened)], "fragile")
    keeper = EmbeddingKeeper(FileKeeper(), models)
    known = Registry(home).find("world")
    with trio.CancelScope() as scope:

        def stop(done: int, total: int) -> None:
            if ending == "cancelled" and done >= 8:
                scope.cancel()

        if ending == "fails":
            with pytest.raises(KnowledgeError, match="8 of 16 vectors were made and are kept"):
                await keeper.embed(known, "fragile", progress=stop)
        else:
            await keeper.embed(known, "fragile", progress=stop)
    assert sum(len(each.ids) for each in await keeper.vectors(known)) == 8
    model.left = 10_000
    assert await keeper.embed(known, "fragile") == 8
    (found,) = await keeper.vectors(known)
    assert sorted(found.ids) == sorted(entry["id"] for entry in ENTRIES)
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(1, abs=1e-3)


async def test_a_base_that_cannot_keep_vectors_says_so_before_all_are_made(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_BATCH", 4)
    (home / "knowledge" / "world" / "knowledge.json").rename(home / "knowledge" / "alone.json")
    (home / "knowledge" / "world").rmdir()
    model = Concepts({})

    async def opened() -> Concepts:
        return model

    keeper = EmbeddingKeeper(FileKeeper(), Models([Model("m", "concepts", "offline", "", opened)], "m"))
    with pytest.raises(KnowledgeError, match="single file"):
        await keeper.embed(Registry(home).find("world"), "m")
    assert len(model.asked) == 1


async def test_the_keys_of_models_that_can_be_used_are_known() -> None:
    async def broken() -> OfflineEmbedder:
        raise EmbeddingError("gone")

    models = Models([offline_model(), Model("far", "far", "endpoint", "", broken)], "wordllama")
    (key,) = await EmbeddingKeeper(FileKeeper(), models).models()
    assert key.startswith("wordllama-l2-256@")
