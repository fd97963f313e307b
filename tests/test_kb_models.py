"""Models of embeddings that are somewhere else: behind an endpoint, which costs the operator, and in a plugin."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from guests import assemble, text_block, wat
from innkeeper import Host
from innkeeper.knowledge.embedding.interface import EmbeddingError, ModelIdentity, Vectors
from innkeeper.knowledge.embedding.registry import Model, Models
from innkeeper.knowledge.joined import asking
from innkeeper.knowledge.joined.asking import Asking, TooOftenError
from innkeeper.knowledge.store import embedding
from innkeeper.storage.knowledge_model import Place
from kb_bases import numbers
from kb_homes import base_file, entry, guest_bases, home, opened, settings
from relays import ask, get, install, refused
from web_servers import Asked, Server, serving

__all__ = ["home"]

WORLD = {"base": "world"}
KEY = "sk-proj-0123456789abcdefXYZ"
MODEL = "vendor/embedding-3/8"


def letters(text: str) -> list[float]:
    """A vector of a text: which letters it has."""
    found = [0.01] * 8
    for letter in text.lower():
        if letter.isalpha():
            found[ord(letter) % 8] += 1
    return found


class Endpoint:
    """Answers as an embedding model does.

    Attributes:
        texts: all that it was asked for.
    """

    def __init__(self) -> None:
        self.texts: list[list[str]] = []
        self.keys: set[str] = set()
        self.status = "200 OK"
        self.wait = 0.0
        self.vector: Callable[[str], Sequence[float]] = letters

    async def speak(self, asked: Asked, stream: trio.abc.Stream) -> None:
        texts = json.loads(asked.body)["input"]
        self.texts.append(texts)
        self.keys.add(asked.headers.get("authorization", ""))
        await trio.sleep(self.wait)
        vectors = [struct.pack(f"<{len(v)}f", *v) for v in map(self.vector, texts)]
        data = [{"index": at, "embedding": base64.b64encode(each).decode()} for at, each in enumerate(vectors)]
        body = json.dumps({"data": data, "usage": {"prompt_tokens": 3}}).encode()
        if self.status[:3] != "200":
            body = json.dumps({"error": {"message": f"wrong key {KEY}"}}).encode()
        head = f"HTTP/1.1 {self.status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send_all(head.encode() + body)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setenv("INNKEEPER_SECRET_MODEL_KEY", KEY)
    return Endpoint()


def configured(home: Path, server: Server | str, more: str = "") -> None:
    url = server if isinstance(server, str) else f"{server.url}/v1"
    models = '[llm.endpoints.main.models]\nvectors = "vendor/embedding-3"\n'
    settings(home, f'[llm.endpoints.main]\nurl = "{url}"\nsecret = "MODEL_KEY"\n{models}{more}')


async def filled(host: Host) -> None:
    """A base whose entries have vectors of the endpoint."""
    for id, content in {"bees": "bbb bees buzz", "zoo": "zzz zoo", "cat": "a cat acts"}.items():
        await get(host, "lore", "put", id=id, content=content, keywords=[id], **WORLD)


async def away(host: Host) -> str:
    """What is said where no vector can be had; it may name the model, whose name may have any character."""
    answer = await ask(host, "lore", "embed", texts=["not known yet"], **WORLD)
    assert answer["error"]["kind"] == "unavailable", answer
    message: str = answer["error"]["message"]
    return message


async def test_a_base_of_an_endpoints_model_is_searched_activated_and_embedded_by_it(
    home: Path, endpoint: Endpoint
) -> None:
    base_file(home, "world", [], embedding_model_id=MODEL)
    async with serving(endpoint.speak) as server:
        configured(home, server)
        async with opened(home) as host:
            await filled(host)
            assert endpoint.keys == {f"Bearer {KEY}"}
            asked = len(endpoint.texts)
            for _ in range(3):
                found = await get(host, "lore", "search", query="bbbb", mode="semantic", k=1, **WORLD)
                assert ([hit["id"] for hit in found["hits"]], found["notes"]) == (["bees"], [])
            made = await get(host, "lore", "embed", texts=["bbbb", "zz"], **WORLD)
            assert (made["model"], made["dimension"], len(made["vectors"])) == (MODEL, 8, 2)
            # One query is one request, however often and in whatever way it is asked.
            assert endpoint.texts[asked:] == [["bbbb"], ["zz"]]
            criteria = {"use_semantic_search": True, "semantic_threshold": 0.9}
            await get(host, "lore", "patch", id="bees", fields={"activation_criteria": criteria}, **WORLD)
            found = await get(host, "lore", "activate", bases=["world"], messages=[{"content": "bbbb"}], session="s")
            assert [each["entry"] for each in found["active"]] == ["bees"]
            info = await get(host, "lore", "info", **WORLD)
            assert info["model"] == MODEL


async def test_what_guests_can_make_the_operator_pay_has_a_rate_for_each_base(
    home: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "OF_A_BASE", (0.0001, 10))
    for base in ("world", "other"):
        base_file(home, base, [entry("a", "abc", keywords=["abc"])], embedding_model_id=MODEL)
    async with serving(endpoint.speak) as server:
        configured(home, server)
        async with opened(home) as host:
            await get(host, "lore", "put", id="b", content="bbb", **WORLD)
            notes: list[str] = []
            for number in range(30):
                found = await get(host, "lore", "search", query=f"abc {number}", **WORLD)
                assert [hit["id"] for hit in found["hits"]][:1] == ["a"]
                notes += found["notes"]
            assert sum(map(len, endpoint.texts)) <= 12
            assert any("at most" in note for note in notes)
            error = await refused(host, "lore", "embed", "quota", texts=["new"], **WORLD)
            assert error["quota"] == "vectors"
            # What is known costs nothing, another base has its own, and a change is kept without its vector.
            assert (await get(host, "lore", "search", query="abc 1", mode="semantic", **WORLD))["hits"]
            assert (await get(host, "lore", "embed", base="other", texts=["new"]))["dimension"] == 8
            await get(host, "lore", "put", id="c", content="new words", **WORLD)
            assert (await get(host, "lore", "search", query="words", mode="keyword", **WORLD))["hits"]
            error = await refused(
                host, "lore", "embed", "quota", base="other", texts=[f"{n}" * 4000 for n in range(10, 20)]
            )
            store = (await guest_bases(host))._bases.library.store
            assert [each.id for each in await embedding.missing(store, Place("default_user", "world"), MODEL)] == [
                "a",
                "c",
            ]


@pytest.mark.parametrize("status", ["401 Unauthorized", "500 Internal Server Error", "302 Found"])
async def test_an_endpoint_that_refuses_costs_a_search_its_meaning_and_tells_no_secret(
    home: Path, endpoint: Endpoint, status: str
) -> None:
    base_file(home, "world", [], embedding_model_id=MODEL)
    async with serving(endpoint.speak) as server:
        configured(home, server)
        async with opened(home) as host:
            await filled(host)
            endpoint.status = status
            found = await get(host, "lore", "search", query="cat", **WORLD)
            assert [hit["id"] for hit in found["hits"]] == ["cat"]
            assert "words alone" in found["notes"][0]
            error = await away(host)
            found_too = await get(host, "lore", "activate", bases=["world"], messages=[{"content": "the cat"}])
            assert [each["entry"] for each in found_too["active"]] == ["cat"]
            for said in (found, error, found_too):
                for word in (KEY, "MODEL_KEY", "127.0.0.1", "://"):
                    assert word not in str(said)


async def test_a_model_that_hangs_is_waited_for_once_and_an_answer_by_words_is_in_time(
    home: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.3)
    monkeypatch.setattr(Asking.__init__, "__kwdefaults__", {**Asking.__init__.__kwdefaults__, "patience": 0.3})
    base_file(home, "world", [], embedding_model_id=MODEL)
    async with serving(endpoint.speak) as server:
        configured(home, server)
        async with opened(home) as host:
            await filled(host)
            endpoint.wait = 30.0
            before = len(endpoint.texts)
            with trio.fail_after(8):
                for number in range(10):
                    found = await get(host, "lore", "search", query=f"cat {number}", **WORLD)
                    assert [hit["id"] for hit in found["hits"]] == ["cat"]
                    assert "did not answer" in found["notes"][0]
                assert (await get(host, "lore", "search", query="cat", mode="keyword", **WORLD))["notes"] == []
                await get(host, "lore", "activate", bases=["world"], messages=[{"content": "the cat"}])
                await get(host, "lore", "put", id="late", content="late", **WORLD)
                await away(host)
            assert len(endpoint.texts) == before + 1


async def test_a_model_that_is_not_there_is_no_reason_not_to_find_anything(home: Path) -> None:
    base_file(home, "world", [entry("cat", "a cat")], embedding_model_id="nowhere/model-9/16")
    configured(home, "http://127.0.0.1:9/v1")
    async with opened(home) as host:
        found = await get(host, "lore", "search", query="cat", **WORLD)
        assert [hit["id"] for hit in found["hits"]] == ["cat"]
        assert "nowhere/model-9/16" in found["notes"][0]
        assert "nowhere" in await away(host)
    base_file(home, "world", [entry("cat", "a cat")], embedding_model_id=MODEL)
    async with opened(home) as host:
        for _ in range(2):
            found = await get(host, "lore", "search", query="cat", **WORLD)
            assert [hit["id"] for hit in found["hits"]] == ["cat"]


@pytest.mark.parametrize(
    "vector", [lambda text: [1.0] * 3, lambda text: [float("nan")] * 8, lambda text: []], ids=["short", "nan", "empty"]
)
async def test_a_vector_that_is_none_is_not_used(
    home: Path, endpoint: Endpoint, vector: Callable[[str], Sequence[float]]
) -> None:
    base_file(home, "world", [], embedding_model_id=MODEL)
    async with serving(endpoint.speak) as server:
        configured(home, server)
        async with opened(home) as host:
            await filled(host)
            endpoint.vector = vector
            found = await get(host, "lore", "search", query="cat", **WORLD)
            assert [hit["id"] for hit in found["hits"]] == ["cat"]
            assert found["notes"]
            await away(host)


async def test_vectors_of_large_models_are_as_many_as_one_answer_has_room_for(home: Path, endpoint: Endpoint) -> None:
    endpoint.vector = lambda text: [1.0] * 4096
    base_file(home, "world", [entry("a", "x")], embedding_model_id="vendor/embedding-3/4096")
    async with serving(endpoint.speak) as server:
        configured(home, server)
        async with opened(home) as host:
            error = await refused(host, "lore", "embed", "invalid", texts=[f"{n}" for n in range(17)], **WORLD)
            assert "16" in error["message"]
            made = await get(host, "lore", "embed", texts=[f"{n}" for n in range(16)], **WORLD)
            assert len(made["vectors"]) == 16


# --- plugins --------------------------------------------------------------------------------------------------------


def embedder(answer: bytes, mark: str = "") -> bytes:
    """A plugin that gives these bytes for whatever texts."""
    given = text_block("the answer", answer, "b")
    function = f"""(func (export "embed") (local $b i64) {given}
      (call $output_set (local.get $b) (i64.const {len(answer)}))) {mark}"""
    return assemble(wat(function, "alloc store_u8 output_set"))


def made(*vectors: Sequence[float]) -> bytes:
    return json.dumps({"vectors": [list(vector) for vector in vectors]}).encode()


@pytest.mark.parametrize("use", ["embed", "both"])
async def test_a_plugin_that_the_setting_names_is_a_model(home: Path, use: str) -> None:
    install(home, "maker", embedder(made([3, 4])), ())
    settings(home, f'[knowledge]\nmodel = "plugin:maker"\n[knowledge.plugins]\nmaker = "{use}"\n')
    base_file(home, "world", [entry("cat", "a cat")])
    async with opened(home) as host:
        library = (await guest_bases(host))._bases
        await library.adopt(Place("default_user", "world"), "plugin:maker")
        key = (await library.base(Place("default_user", "world"))).state.model
        # Other bytes are another model.
        assert key == f"plugin:maker@{host.plugins['maker'].digest[:12]}/2"
        await get(host, "lore", "put", id="dog", content="a dog", **WORLD)
        made_ = await get(host, "lore", "embed", texts=["anything"], **WORLD)
        assert made_["model"] == key
        assert made_["vectors"][0] == pytest.approx([0.6, 0.8])
        found = await get(host, "lore", "search", query="something", mode="semantic", **WORLD)
        assert [hit["id"] for hit in found["hits"]] == ["dog"]
        assert found["hits"][0]["cosine"] == pytest.approx(1, abs=1e-3)


ANSWERS: dict[str, bytes] = {
    "no JSON": b"\xff\xfe",
    "nothing": b"",
    "no vectors": b'{"vectors": 5}',
    "too few": b'{"vectors": []}',
    "texts": b'{"vectors": [["a", "b"]]}',
    "not finite": b'{"vectors": [[1e999, 1]]}',
    "deep": b'{"vectors": ' + b"[" * 300 + b"]" * 300 + b"}",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_plugin_that_answers_something_else_is_no_model(home: Path, answer: bytes) -> None:
    install(home, "maker", embedder(answer), ())
    settings(home, '[knowledge.plugins]\nmaker = "embed"\n')
    base_file(home, "world", [entry("cat", "a cat")], embedding_model_id="plugin:maker/2")
    async with opened(home) as host:
        found = await get(host, "lore", "search", query="cat", **WORLD)
        assert [hit["id"] for hit in found["hits"]] == ["cat"]
        await away(host)


async def test_a_plugin_that_the_setting_does_not_name_is_never_asked(home: Path) -> None:
    install(home, "maker", embedder(made([3, 4])), ())
    base_file(home, "world", [entry("cat", "a cat")], embedding_model_id="plugin:maker/2")
    for text in ("", '[knowledge.plugins]\nmaker = "conditions"\n', '[knowledge.plugins]\nother = "embed"\n'):
        settings(home, text)
        async with opened(home) as host:
            await away(host)


async def test_a_plugin_whose_bytes_change_is_not_compared_with_what_it_was(home: Path) -> None:
    install(home, "maker", embedder(made([3, 4])), ())
    settings(home, '[knowledge.plugins]\nmaker = "embed"\n')
    base_file(home, "world", [entry("cat", "a cat")])
    async with opened(home) as host:
        bases = (await guest_bases(host))._bases
        await bases.adopt(Place("default_user", "world"), "plugin:maker")
        await get(host, "lore", "embed", texts=["one"], **WORLD)
        install(home, "maker", embedder(made([4, 3]), '(func (export "other"))'), ())
        await host.reload()
        assert "maker" in await away(host)


# --- the bound by itself --------------------------------------------------------------------------------------------


class Counting:
    """An embedder that counts."""

    identity = ModelIdentity("m", "", 2)

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.append(list(texts))
        if "bad" in texts:
            raise EmbeddingError("one of the texts is bad")
        return numbers([[1.0, 0.0]] * len(texts))


def asked_of(kind: Any, inner: Counting, now: list[float], *, bounded: bool = True) -> Asking:
    async def open() -> Counting:
        return inner

    return Asking(Models([Model("m", "m", kind, "", open)], ""), bounded=bounded, now=lambda: now[0])


async def test_a_bucket_fills_again_and_a_text_counts_by_its_length() -> None:
    now, inner = [0.0], Counting()
    model = await asked_of("endpoint", inner, now).embedder("m/2", "base")
    await model.embed(["a" * 2000] * 3 + [f"{n}" for n in range(asking.OF_A_BASE[1] - 1)])
    assert [len(each) for each in inner.asked] == [asking.OF_A_BASE[1]]
    with pytest.raises(TooOftenError):
        await model.embed(["x"])
    now[0] += 4.0
    await model.embed(["x" * 8000])
    with pytest.raises(TooOftenError):
        await model.embed(["y"])
    await model.embed(["1", "2"])


async def test_all_bases_together_have_a_rate_too() -> None:
    now, inner = [0.0], Counting()
    them = asked_of("endpoint", inner, now)
    done = 0
    for base in range(20):
        model = await them.embedder("m/2", base)
        try:
            for number in range(asking.OF_A_BASE[1]):
                await model.embed([f"{base} {number}"])
                done += 1
        except TooOftenError:
            pass
    assert done == asking.OF_ALL[1]


async def test_one_bad_text_takes_the_model_from_nobody_and_a_command_may_ask_as_much_as_it_takes() -> None:
    now, inner = [0.0], Counting()
    model = await asked_of("endpoint", inner, now).embedder("m/2", "base")
    with pytest.raises(EmbeddingError):
        await model.embed(["bad"])
    assert (await model.embed(["good"])).shape == (1, 2)
    free = await asked_of("endpoint", inner, now, bounded=False).embedder("m/2", "base")
    for number in range(3000):
        await free.embed([f"{number}"])
    offline = await asked_of("offline", inner, now).embedder("m/2", "base")
    for number in range(3000):
        await offline.embed([f"{number}"])
