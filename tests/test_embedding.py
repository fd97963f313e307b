"""Models give vectors that can be compared, or one clear error; the one in the package never fetches anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval_bases import Concepts, entry_of

from innkeeper.errors import BusyError
from innkeeper.knowledge.embedding.checked import checked
from innkeeper.knowledge.embedding.endpoint import BATCH, BATCH_CHARACTERS, batches, open_endpoint
from innkeeper.knowledge.embedding.filling import fill
from innkeeper.knowledge.embedding.interface import EmbeddingError, ModelIdentity, Vectors
from innkeeper.knowledge.embedding.offline import OfflineEmbedder, open_offline
from innkeeper.knowledge.embedding.plugin import open_plugin
from innkeeper.knowledge.embedding.registry import Model, Models, endpoint_model, offline_model, plugin_model
from innkeeper.knowledge.embedding.texts import MOST_TEXT, embedding_text

# --- the one in the package ------------------------------------------------------------------------------------------


@pytest.fixture
async def offline() -> OfflineEmbedder:
    return await open_offline()


async def test_texts_of_one_meaning_are_nearer_than_others(offline: OfflineEmbedder) -> None:
    dragon, wyrm, tax = await offline.embed(["a dragon breathes fire", "flames of a winged reptile", "the tax office"])
    assert dragon @ wyrm > dragon @ tax + 0.1
    assert offline.identity.id == "wordllama-l2-256"
    assert offline.identity.dimension == 256
    assert offline.identity.version


async def test_an_empty_text_is_zeros_and_every_other_has_length_1(offline: OfflineEmbedder) -> None:
    texts = ["", " \n", "龙", "\ud800", "x" * 100_000, "\0", "🐉", "the"]
    vectors = await offline.embed(texts)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths[:2].tolist() == [0, 0]
    assert lengths[2:] == pytest.approx(1, abs=1e-5)
    assert (await offline.embed([])).shape == (0, 256)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=50), max_size=6))
def test_a_text_has_the_same_vector_in_any_company(texts: list[str]) -> None:
    async def main() -> None:
        model = await open_offline()
        together = await model.embed(texts)
        for at, text in enumerate(texts):
            assert np.allclose(together[at], model.embed_now([text])[0], atol=1e-6)

    trio.run(main)


async def test_long_work_is_not_done_on_the_thread_of_trio(offline: OfflineEmbedder, monkeypatch: Any) -> None:
    threads = []
    original = OfflineEmbedder.embed_now

    def noted(self: OfflineEmbedder, texts: Sequence[str]) -> Vectors:
        threads.append(trio.lowlevel.in_trio_run())
        return original(self, texts)

    monkeypatch.setattr(OfflineEmbedder, "embed_now", noted)
    await offline.embed(["short"])
    await offline.embed(["word " * 1000] * 100)
    assert threads == [True, False, False]


def test_the_package_works_without_a_network_and_without_importing_wordllama() -> None:
    code = """
import socket, sys, os
def blocked(*a, **k): raise AssertionError("somebody reached for the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = blocked
os.environ["HF_HUB_OFFLINE"] = "0"
import trio
from innkeeper.knowledge.embedding.registry import Models, offline_model
async def main():
    chosen = await Models([offline_model()], "wordllama").choose()
    vectors = await chosen.embedder.embed(["a dragon", ""])
    print(vectors.shape, [m for m in ("wordllama", "requests", "huggingface_hub") if m in sys.modules])
trio.run(main)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60, text=True).stdout
    assert said.strip() == "(2, 256) []"


async def test_a_package_that_was_changed_is_an_error_and_no_crash(monkeypatch: Any, tmp_path: Any) -> None:
    from innkeeper.knowledge.embedding import offline as module

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "l2_supercat_256.safetensors").write_bytes(b"\xff" * 100)

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    for spec, message in ((Spec(), "install it again"), (None, "pip install")):
        monkeypatch.setattr(module, "find_spec", lambda name, spec=spec: spec)
        module._load.cache_clear()
        try:
            with pytest.raises(EmbeddingError, match=message) as caught:
                await open_offline()
            assert str(tmp_path) not in str(caught.value)
        finally:
            module._load.cache_clear()


# --- vectors of others -----------------------------------------------------------------------------------------------

GOOD = np.array([3, 4], "<f4").tobytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "list of vectors"),
        ({"vectors": []}, "list of vectors"),
        ([], "0 vectors for 2"),
        ([GOOD], "1 vectors for 2"),
        ([GOOD, GOOD[:4]], "1 numbers, and the others have 2"),
        ([GOOD, b"abc"], "0 numbers"),
        ([GOOD, np.array([1, np.nan], "<f4").tobytes()], "not finite"),
        ([[1.0, float("inf")], GOOD], "not finite"),
        ([[1.0, "x"], GOOD], "something else than numbers"),
        ([[1.0, True], GOOD], "something else than numbers"),
        ([[1.0, 10**400], GOOD], "something else than numbers"),
        ([[], []], "vectors of 0 numbers"),
        ([[0.0] * 9000, [0.0] * 9000], "vectors of 9000 numbers"),
        ([None, GOOD], "vectors of 0 numbers"),
        (["ab", "cd"], "vectors of 0 numbers"),
    ],
)
def test_vectors_that_are_none_are_one_clear_error(given: object, message: str) -> None:
    with pytest.raises(EmbeddingError, match=message):
        checked(given, 2, None, "the model 'x'")


def test_vectors_get_length_1_and_zeros_stay() -> None:
    assert checked([GOOD, [0.0, 0.0]], 2, 2, "m").tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.binary(max_size=9) | st.text(max_size=3), st.lists))
def test_whatever_somebody_gives_it_is_vectors_or_an_error(given: object) -> None:
    try:
        made = checked(given, 2, None, "m")
    except EmbeddingError:
        return
    assert made.shape[0] == 2
    assert np.isfinite(made).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 20_000).map(lambda length: "x" * length), max_size=150))
def test_requests_are_bounded_and_leave_out_empty_texts_alone(texts: list[str]) -> None:
    found = batches(texts)
    assert [at for batch in found for at in batch] == [at for at, text in enumerate(texts) if text]
    for batch in found:
        assert len(batch) <= BATCH
        assert sum(min(len(texts[at]), MOST_TEXT) for at in batch) <= BATCH_CHARACTERS


class Client:
    def __init__(self, dimension: int = 3) -> None:
        self.dimension = dimension
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    async def embed(self, model: str, texts: Sequence[str]) -> list[bytes]:
        assert all(texts)
        self.asked.append(list(texts))
        if self.error is not None:
            raise self.error
        return [np.full(self.dimension, len(text), "<f4").tobytes() for text in texts]


async def test_an_endpoint_is_asked_in_batches_and_never_for_an_empty_text() -> None:
    client = Client()
    model = await open_endpoint(client, "small", "embed-3-small")
    assert model.identity == ModelIdentity("embed-3-small", "", 3)
    vectors = await model.embed(["", *["text"] * 100, "x" * 50_000])
    assert vectors.shape == (102, 3)
    assert not vectors[0].any()
    assert vectors[1:] == pytest.approx(1 / np.sqrt(3), abs=1e-5)
    assert [len(asked) for asked in client.asked] == [1, 64, 37]
    assert len(client.asked[-1][-1]) == MOST_TEXT


async def test_an_endpoint_whose_model_became_another_is_an_error() -> None:
    client = Client()
    model = await open_endpoint(client, "small")
    client.dimension = 4
    with pytest.raises(EmbeddingError, match="another by now"):
        await model.embed(["x"])


async def test_an_endpoint_that_fails_says_so_in_a_sentence() -> None:
    client = Client()
    client.error = BusyError("the endpoint 'far' is busy", bound="http requests")
    with pytest.raises(EmbeddingError, match="the model 'small' cannot be asked: the endpoint 'far' is busy"):
        await open_endpoint(client, "small")


async def test_a_plugin_is_a_model_whose_bytes_are_its_version() -> None:
    async def call(plugin: str, function: str, payload: Any) -> Any:
        assert (plugin, function) == ("hasher", "embed")
        return {"vectors": [[1.0, float(len(text))] for text in payload["texts"]]}

    model = await open_plugin(call, "hasher", "abc123")
    assert model.identity.key == "plugin:hasher@abc123/2"
    assert (await model.embed(["", "ab"])).tolist() == [
        [0, 0],
        [pytest.approx(0.4472, abs=1e-3), pytest.approx(0.8944, abs=1e-3)],
    ]


@pytest.mark.parametrize(
    "answer", [None, [], {"vectors": "x"}, {"vectors": [[1.0], [2.0]]}, {"vectors": [[float("nan")]]}]
)
async def test_a_plugin_that_answers_something_else_is_an_error(answer: Any) -> None:
    async def call(plugin: str, function: str, payload: Any) -> Any:
        return answer

    with pytest.raises(EmbeddingError, match="hasher"):
        await open_plugin(call, "hasher", "1")


# --- which of them ---------------------------------------------------------------------------------------------------


def models(client: Client | None = None, default: str = "words") -> Models:
    async def concepts() -> Concepts:
        return Concepts({})

    words = Model("words", "concepts", "offline", "", concepts)
    return Models([words, endpoint_model(client or Client(), "small", "BAAI/bge-m3", "far")], default)


async def test_the_model_of_the_base_comes_first_then_the_projects_then_the_users() -> None:
    found = models()
    for wanted, origin, name in (
        ({"base": "small", "project": "words"}, "base", "small"),
        ({"base": "BAAI/bge-m3/3", "project": "words"}, "base", "small"),
        ({"base": "BAAI/bge-m3"}, "base", "small"),
        ({"base": "concepts/16"}, "base", "words"),
        ({"project": "small"}, "project", "small"),
        ({"user": "small"}, "user", "small"),
        ({}, "user", "words"),
    ):
        chosen = await found.choose(**wanted)  # type: ignore[arg-type]
        assert (chosen.origin, chosen.name) == (origin, name)


@pytest.mark.parametrize(
    "base", ["text-embedding-ada-002", "concepts/768", "concepts@2/16", "small@9/3", "", "x" * 5000]
)
async def test_a_base_of_a_model_that_is_not_here_is_not_searched_with_another(base: str) -> None:
    if not base:
        with pytest.raises(EmbeddingError, match="no model is set"):
            await models(default="").choose(base=base)
        return
    with pytest.raises(EmbeddingError, match=r"base was embedded with.*kb embed --model"):
        await models().choose(base=base, project="words")


async def test_a_model_is_opened_once_however_many_want_it() -> None:
    client = Client()
    found = models(client)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(found.open, "small")
    assert client.asked == [["dimension"]]


async def test_a_model_that_failed_to_open_is_tried_again() -> None:
    client = Client()
    client.error = EmbeddingError("asleep")
    found = models(client)
    with pytest.raises(EmbeddingError, match="asleep"):
        await found.open("small")
    client.error = None
    assert (await found.open("small")).identity.dimension == 3


def test_models_have_names_that_people_can_write() -> None:
    async def call(plugin: str, function: str, payload: Any) -> Any:
        return None

    async def version(plugin: str) -> str:
        return "1"

    assert offline_model().name == "wordllama"
    assert plugin_model(call, "hasher", version).name == "plugin:hasher"


# --- texts and many of them ------------------------------------------------------------------------------------------


def test_the_text_of_an_entry_is_its_name_and_what_it_says() -> None:
    assert embedding_text(entry_of("e", "It sleeps.", "Dragon", ["wyrm"])) == "Dragon\nIt sleeps."
    assert embedding_text(entry_of("e", "", None, ["wyrm", "/x+/", "drake"])) == "wyrm, drake"
    assert embedding_text(entry_of("e", content={"value": None, "alt_text": "A cave"})) == "A cave"
    assert embedding_text(entry_of("e", "never said", "Group", entry_type="group_container")) == "Group"
    assert embedding_text(entry_of("e")) == ""
    assert len(embedding_text(entry_of("e", "x" * 200_000))) == MOST_TEXT


async def test_what_was_embedded_is_kept_when_the_model_fails_and_the_rest_is_made_the_next_time() -> None:
    model = Concepts({})
    kept: dict[int, Any] = {}
    told: list[int] = []

    async def missing(after: int | None) -> list[int]:
        return [at for at in range(1000) if at not in kept and (after is None or at > after)][:300]

    async def keep(part: Sequence[int], vectors: Vectors) -> None:
        kept.update(zip(part, vectors, strict=True))
        if len(kept) > 500:
            model.failure = EmbeddingError("gone")

    with pytest.raises(EmbeddingError, match="gone"):
        await fill(model, missing, str, keep, told.append)
    assert 500 < len(kept) == sum(told) < 1000
    model.failure = None
    before = len(kept)

    async def keep_rest(part: Sequence[int], vectors: Vectors) -> None:
        kept.update(zip(part, vectors, strict=True))

    assert await fill(model, missing, str, keep_rest, told.append) == 1000 - before
    assert len(kept) == 1000
