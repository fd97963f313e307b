"""What a conversation calls for and what becomes of it: `kb.activate` and `kb.assemble`, asked by a guest."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from guests import assemble, text_block, wat
from innkeeper import Host
from kb_homes import ALL, base_file, entry, home, opened, settings
from relays import ask, get, install, refused, relay

__all__ = ["home"]


async def activate(host: Host, text: str, *, plugin: str = "lore", **more: Any) -> Any:
    asked = {"bases": ["world"], "messages": [{"content": text}], **more}
    return await get(host, plugin, "activate", **asked)


def names(found: Any) -> list[str]:
    return [each["entry"] for each in found["active"]]


def outcomes(found: Any) -> dict[str, str]:
    return {each["entry"]: each["outcome"] for each in found["trace"]}


ENTRIES = [
    entry("gate", "The gate is shut.", keywords=["gate"], usage_metadata={"priority": 5}),
    entry("inn", "The inn is full.", keywords=["inn"], usage_metadata={"priority": 9, "role": "user"}),
    entry("far", "Nobody goes there.", keywords=["far"], management_metadata={"tags": ["far"]}),
    entry("off", "Not now.", keywords=["gate"], management_metadata={"is_enabled": False}),
]


@pytest.mark.parametrize("profile", ["native", "st-1.15"])
async def test_both_profiles_answer_in_the_same_form(home: Path, profile: str) -> None:
    base_file(home, "world", ENTRIES)
    async with opened(home) as host:
        found = await activate(host, "From the gate to the inn", profile=profile, trace="all", seed=7)
        assert set(names(found)) == {"gate", "inn"}
        assert found["seed"] == 7
        assert found["looked_at"] == 4
        assert found["tokens"] == sum(each["tokens"] for each in found["active"]) > 0
        assert set(outcomes(found)) == {"gate", "inn", "far", "off"}
        assert (outcomes(found)["gate"], outcomes(found)["off"]) == ("active", "disabled")
        assert set(found["trace"][0]) == {
            "base", "entry", "name", "outcome", "reason", "sweep", "score", "tokens", "budget",
        }  # fmt: skip
        assert set(found["active"][0]) == {
            "base", "entry", "name", "text", "priority", "placement", "role", "depth", "outlet", "tokens",
            "exclude_from_history", "media", "tags", "entry_type", "critical",
        }  # fmt: skip


async def test_a_trace_tells_as_much_as_is_wanted_and_of_whom_one_asks(home: Path) -> None:
    base_file(home, "world", ENTRIES)
    async with opened(home) as host:
        assert (await activate(host, "the gate", trace="none"))["trace"] == []
        assert outcomes(await activate(host, "the gate")) == {"gate": "active"}
        for profile in ("native", "st-1.15"):
            asked = {"profile": profile, "explain": ["far", "nothing"]}
            told = outcomes(await activate(host, "the gate", **asked))
            assert (told["gate"], told["far"]) == ("active", "no match")
            assert "inn" not in told
            assert outcomes(await activate(host, "the gate", trace="none", **asked)) == {"far": "no match"}
            whole = outcomes(await activate(host, "the gate", trace="all", profile=profile))
            assert set(whole) == {"gate", "inn", "far", "off"}


async def test_force_scope_budget_depth_and_recursion_do_what_they_say(home: Path) -> None:
    more = entry("deep", "Leads to the gate.", keywords=["stairs"])
    base_file(home, "world", [*ENTRIES, more])
    async with opened(home) as host:
        assert names(await activate(host, "nothing", force=["far", "nowhere"])) == ["far"]
        assert names(await activate(host, "gate far", scope=["far"])) == ["far"]
        cut = await activate(host, "gate inn", budget=6, trace="all")
        assert names(cut) == ["inn"]
        assert outcomes(cut)["gate"] == "budget"
        assert cut["budget"] == 6
        chat = [{"content": "gate"}, {"content": "x"}, {"content": "y"}]
        asked = {"bases": ["world"], "messages": chat}
        assert names(await get(host, "lore", "activate", scan_depth=2, **asked)) == []
        assert names(await get(host, "lore", "activate", scan_depth=3, **asked)) == ["gate"]
        assert set(names(await activate(host, "stairs"))) == {"deep", "gate"}
        assert names(await activate(host, "stairs", recursion=0)) == ["deep"]


async def test_chance_is_that_of_the_seed(home: Path) -> None:
    many = [
        entry(f"{n}", "x", activation_criteria={"keywords": ["gate"], "trigger_probability": 0.5}) for n in range(40)
    ]
    base_file(home, "world", many)
    async with opened(home) as host:
        one, again, other = [names(await activate(host, "gate", seed=seed)) for seed in (1, 1, 2)]
        assert one == again
        assert one != other
        assert 5 < len(one) < 35
        free = await activate(host, "gate")
        assert names(await activate(host, "gate", seed=free["seed"])) == names(free)


async def test_meaning_activates_what_no_word_does_and_can_be_left_out(home: Path) -> None:
    criteria = {"use_semantic_search": True, "semantic_threshold": 0.5}
    sleep = entry("inn", "Travellers sleep at the inn.", activation_criteria=criteria)
    base_file(home, "world", [sleep, *ENTRIES[2:], *(entry(f"e{n}", f"Of the number {n}.") for n in range(10))])
    async with opened(home) as host:
        text = "Where can travellers find a bed and sleep?"
        found = await activate(host, text, explain=["inn"])
        assert names(found) == ["inn"]
        assert found["trace"][0]["score"] > 0.5
        assert names(await activate(host, text, settings={"semantic": False})) == []


async def test_a_regular_expression_that_explodes_is_a_note_and_the_host_goes_on(home: Path) -> None:
    evil = [entry(f"evil{n}", "x", activation_criteria={"keywords": [f"/(a+)+b{n}/"]}) for n in range(4)]
    good = entry("good", "found", activation_criteria={"keywords": ["/drag(?=on)/i", "/(broken/"]})
    base_file(home, "world", [*evil, good])
    async with opened(home) as host:
        for profile in ("native", "st-1.15"):
            with trio.fail_after(30):
                found = await activate(host, f"the DRAGON {'a' * 60}!", profile=profile)
            assert names(found) == ["good"]
            assert any("took too long" in note for note in found["notes"]), found["notes"]
            assert names(await activate(host, "a dragon", profile=profile)) == ["good"]


# --- plugins in conditions ------------------------------------------------------------------------------------------


def weather(answer: bytes, body: str = "") -> bytes:
    """A plugin whose function `rain` gives these bytes."""
    given = text_block("the answer", answer, "b")
    rain = f"""(func (export "rain") (local $b i64) {body} {given}
      (call $output_set (local.get $b) (i64.const {len(answer)})))"""
    return assemble(wat(rain, "alloc store_u8 output_set"))


def asking(plugin: str, *, id: str = "storm", function: str = "rain") -> dict[str, Any]:
    condition = {"type": "plugin", "plugin": plugin, "function": function, "arguments": {"place": "harbour"}}
    return entry(id, "It rains.", activation_criteria={"keywords": ["sea"], "trigger_conditions": [condition]})


async def test_a_condition_asks_only_a_plugin_that_the_setting_names(home: Path) -> None:
    install(home, "weather", weather(b"true"), ())
    base_file(home, "world", [asking("weather"), asking("lore", id="self", function="get")])
    for text, active in {
        "": [],
        '[knowledge.plugins]\nother = "both"\n': [],
        '[knowledge.plugins]\nweather = "embed"\n': [],
        '[knowledge.plugins]\nweather = "conditions"\n': ["storm"],
        '[knowledge.plugins]\nweather = "both"\n': ["storm"],
    }.items():
        settings(home, text)
        async with opened(home) as host:
            found = await activate(host, "the sea", trace="all")
            assert names(found) == active, text
            assert outcomes(found)["self"] == "condition"
            assert any("weather" in note or "plugins cannot be asked" in note for note in found["notes"]) == (
                not active
            ), found["notes"]


@pytest.mark.parametrize(
    "answer",
    [b"false", b"1", b'"true"', b'{"ok": true}', b"not json", b"", b"[" * 100_000, b"true true"],
    ids=["no", "one", "text", "map", "none", "nothing", "deep", "two"],
)
async def test_only_a_plain_yes_is_one(home: Path, answer: bytes) -> None:
    install(home, "weather", weather(answer[:2000]), ())
    settings(home, '[knowledge.plugins]\nweather = "conditions"\n')
    base_file(home, "world", [asking("weather")])
    async with opened(home) as host:
        assert names(await activate(host, "the sea")) == []


async def test_a_plugin_with_a_codec_is_asked_in_it(home: Path) -> None:
    node = '[[nodes]]\ntype = "rain"\n'
    install(home, "weather", weather(b"\xc3"), (), more=f'codec = "msgpack"\n{node}')
    settings(home, '[knowledge.plugins]\nweather = "conditions"\n')
    base_file(home, "world", [asking("weather")])
    async with opened(home) as host:
        found = await activate(host, "the sea")
        assert names(found) == ["storm"], found["notes"]


@pytest.mark.parametrize(
    "body", ["unreachable", "(loop (br 0))", "(loop (drop (call $alloc (i64.const 1000000))) (br 0))"],
    ids=["a trap", "an endless loop", "memory"],
)  # fmt: skip
async def test_a_plugin_that_fails_is_a_note_without_its_words(home: Path, body: str) -> None:
    install(home, "weather", weather(b"true", body), (), more="[limits]\ncpu = 0.2\n")
    settings(home, '[knowledge.plugins]\nweather = "conditions"\n')
    base_file(home, "world", [asking("weather"), entry("gate", "x", keywords=["sea"])])
    async with opened(home) as host:
        found = await activate(host, "the sea")
        assert names(found) == ["gate"]
        assert any("weather.rain" in note for note in found["notes"])
        assert not any("/" in note for note in found["notes"])


async def test_plugins_that_ask_for_conditions_that_ask_them_come_to_an_end(home: Path) -> None:
    import msgpack

    asked = msgpack.packb({"bases": ["world"], "messages": [{"content": "sea"}]})
    given = text_block("arguments", asked, "a")
    body = f"""(func (export "rain") (local $a i64) (local $b i64) {given}
      (drop (call $innkeeper_kb_activate (local.get $a)))
      {text_block("yes", b"true", "b")} (call $output_set (local.get $b) (i64.const 4)))"""
    wasm = relay("kb", body, "alloc store_u8")
    install(home, "weather", wasm, ALL)
    settings(home, '[knowledge.plugins]\nweather = "conditions"\n')
    base_file(home, "world", [asking("weather")])
    async with opened(home) as host:
        begun = time.monotonic()
        with trio.fail_after(60):
            found = await activate(host, "the sea")
        assert names(found) in (["storm"], [])
        assert time.monotonic() - begun < 30
        # Nobody is left over, and the plugin can be asked again.
        assert names(await activate(host, "nothing")) == []


async def test_a_plugin_that_takes_its_time_leaves_room_for_an_answer(home: Path) -> None:
    sleeping = wat(
        """(func (export "rain")
          (drop (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
        (memory (export "memory") 1)
        (data (i32.const 16) "\\00") (data (i32.const 24) "\\00\\94\\35\\77\\03\\00\\00\\00")""",
        wasi="poll_oneoff",
    )
    install(home, "weather", assemble(sleeping), (), more="[limits]\nwall = 60\n")
    settings(home, '[knowledge.plugins]\nweather = "conditions"\n')
    base_file(home, "world", [asking("weather"), entry("gate", "x", keywords=["sea"])])
    (home / "manifests/lore.toml").write_text(
        (home / "manifests/lore.toml").read_text() + '\n[limits]\nhost_call = "2s"\n'
    )
    async with opened(home) as host:
        found = await activate(host, "the sea")
        assert names(found) == ["gate"]
        assert any("weather.rain" in note for note in found["notes"]), found["notes"]


# --- assembling -----------------------------------------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def picture(base: str = "world", path: str = "media/map.png", mime: str = "image/png") -> dict[str, Any]:
    return {"base": base, "entry": "map", "text": "A map", "media": [path, mime], "placement": "before_prompt"}


async def test_a_prompt_is_messages_or_one_text_within_a_budget(home: Path) -> None:
    base_file(home, "world", ENTRIES)
    async with opened(home) as host:
        found = await activate(host, "gate inn")
        history = [{"content": f"message {n}", "role": "user"} for n in range(50)]
        asked = {"active": found["active"], "history": history, "user_input": "Hello"}
        given = await get(host, "lore", "assemble", **asked)
        text = str(given["messages"])
        assert "The gate is shut." in text
        assert text.index("message 3'") < text.index("Hello")
        assert (given["text"], given["tokenizer"], given["over"]) == (None, "estimate", 0)
        assert {each["entry"] for row in given["sources"] for each in row} >= {"gate", "inn"}
        cut = await get(host, "lore", "assemble", budget=60, **asked)
        assert cut["tokens"] <= 60
        assert any(each["cut"] for each in cut["report"])
        plain = await get(host, "lore", "assemble", form="text", **asked)
        assert "The inn is full." in plain["text"]
        blocks = [{"name": "only", "kind": "text", "text": "Nothing else."}]
        template = {"version": 1, "blocks": blocks}
        own = await ask(host, "lore", "assemble", template=template, **asked)
        assert "error" in own or own["ok"]["messages"] == [{"role": "system", "content": "Nothing else."}]
        for wrong in ({"template": {"blocks": 5}}, {"tokenizer": "magic"}, {"form": "poem"}, {"budget": -1}):
            error = await refused(host, "lore", "assemble", "invalid", **asked, **wrong)
            assert len(error["message"]) > 10
        await refused(host, "lore", "assemble", "invalid", active=[5])
        for each in ([{"base": 5}], [{"media": ["a"]}], [{"depth": -1}], [{"tokens": True}]):
            assert "active[0]" in (await refused(host, "lore", "assemble", "invalid", active=each))["message"]


async def test_a_picture_comes_from_its_base_and_from_nowhere_else(home: Path) -> None:
    base_file(home, "world", ENTRIES)
    secret = base_file(home, "secret", ENTRIES)
    install(home, "half", relay("kb"), ALL, ("kb.read:world",))
    for folder in (home / "knowledge/world", secret.parent):
        (folder / "media").mkdir()
        (folder / "media/map.png").write_bytes(PNG)
    (home / "outside.png").write_bytes(PNG)
    (home / "knowledge/world/media/link.png").symlink_to(home / "outside.png")
    (home / "knowledge/world/media/folder").symlink_to(home)
    os.mkfifo(home / "knowledge/world/media/pipe.png")
    async with opened(home) as host:

        async def shown(plugin: str, active: dict[str, Any]) -> tuple[bool, Any]:
            with trio.fail_after(10):
                given = await get(host, plugin, "assemble", active=[active])
            return "base64" in str(given["messages"]), given

        assert (await shown("half", picture()))[0]
        assert (await shown("lore", picture("secret")))[0]
        attacks = [
            picture("secret"),
            picture("nowhere"),
            picture("../secret"),
            picture(""),
            picture("*"),
            picture(path="media/../../secret/media/map.png"),
            picture(path="../secret/media/map.png"),
            picture(path=str(home / "outside.png")),
            picture(path="media/link.png"),
            picture(path="media/folder/outside.png"),
            picture(path="media/pipe.png"),
            picture(path="media/"),
            picture(path="knowledge.json"),
            picture(path="media/map.png\0.txt"),
            picture(path="media//map.png/../../../outside.png"),
        ]
        for attack in attacks:
            there, given = await shown("half", attack)
            assert not there, attack
            assert str(home) not in str(given) or str(home) in str(attack)
            assert "A map" in str(given["messages"])
            assert given["notes"] or any(row["cut"] for row in given["report"]), attack
