"""The scan of st-1.15: it says why, it stays within bounds, and an index finds what a plain search would find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.activation.interface import Message, Outcome, Request
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import ALWAYS, read_entry
from innkeeper.knowledge.regexes.interface import Regex, Verdict
from innkeeper.knowledge.worldinfo import index
from innkeeper.knowledge.worldinfo import scan as scanning
from innkeeper.knowledge.worldinfo.activate import activate_st115
from innkeeper.knowledge.worldinfo.books import Books
from innkeeper.knowledge.worldinfo.decorators import split_decorators
from innkeeper.knowledge.worldinfo.entry import MOST_GROUPS, WorldEntry, read_world_entry
from innkeeper.knowledge.worldinfo.index import Word, WordIndex, Work, occurs
from innkeeper.knowledge.worldinfo.javascript import rounded, trim
from innkeeper.knowledge.worldinfo.keys import make_key
from innkeeper.knowledge.worldinfo.lore import Lore
from innkeeper.knowledge.worldinfo.plan import Plan
from innkeeper.knowledge.worldinfo.scan import scan
from innkeeper.knowledge.worldinfo.scanned import Scanned
from innkeeper.knowledge.worldinfo.settings import Scene, Settings
from innkeeper.knowledge.worldinfo.timed import TimedEffects


def entry(uid: int, key: Sequence[str] = ("a",), content: str | None = None, **fields: Any) -> WorldEntry:
    raw = {"uid": uid, "key": list(key), "content": f"c{uid}" if content is None else content, **fields}
    return read_world_entry(raw, "w")


def run(
    entries: Sequence[WorldEntry],
    *messages: str,
    effects: TimedEffects | None = None,
    test: Callable[[Sequence[Regex], str], list[Verdict]] | None = None,
    scene: Scene | None = None,
    **given_settings: Any,
) -> Scanned:
    given_settings = Settings(**given_settings)
    return scan(
        Plan(Lore(everywhere=entries), given_settings),
        given_settings,
        scene or Scene(messages=messages, character="Al"),
        effects=TimedEffects() if effects is None else effects,
        random=lambda: 0.5,
        count=lambda text: len(text.split()),
        test=test,
    )


def uids(found: Scanned) -> list[int | str]:
    return [each.uid for each, _ in found.active]


# What is said


def test_every_entry_that_might_have_been_active_has_a_reason() -> None:
    filtered = {"isExclude": False, "names": ["Bo"], "tags": []}
    entries = [
        entry(0, ["a"], "one two b", order=900),
        entry(1, ["b"], excludeRecursion=True),
        entry(2, ["a"], disable=True),
        entry(3, ["a"], triggers=["continue"]),
        entry(4, ["a"], characterFilter=filtered),
        entry(5, ["a"], delay=9),
        entry(6, ["a"], keysecondary=["s", "t"], selectiveLogic=3),
        entry(7, ["a"], "@@dont_activate\nc7"),
        entry(8, ["a"], probability=1),
        entry(9, ["a"], group="g", groupOverride=True),
        entry(10, ["a"], group="g"),
        entry(11, ["a"], "three four five six seven", order=-5),
        entry(12, ["a"], "late", order=-6),
        entry(13, ["nowhere"]),
        entry(14, [], constant=True),
        entry(15, ["a"], delayUntilRecursion=7),
        entry(16, ["a"], "free", order=-7, ignoreBudget=True),
        entry(17, ["b"], delayUntilRecursion=7),
    ]
    found = run(entries, "x", "an a s", recursive=True, max_context=9, budget_percent=100, max_sweeps=1)
    told = {each.uid: (fate.outcome, fate.reason) for each, fate in found.fates.items()}
    assert told == {
        0: (Outcome.ACTIVE, "keyword 'a' in message 2 from the end"),
        2: (Outcome.DISABLED, "it is switched off"),
        3: (Outcome.TRIGGER, "it is for continue, and this is normal"),
        4: (Outcome.CHARACTER, "it is not for the character 'Al'"),
        5: (Outcome.DELAY, "it waits until the chat has 9 messages, and it has 2"),
        6: (Outcome.NO_MATCH, "keyword 'a' in message 2 from the end, but 1 of 2 secondary keys"),
        7: (Outcome.DECORATOR, "it begins with @@dont_activate"),
        8: (Outcome.PROBABILITY, "keyword 'a' in message 2 from the end; chance (1 %) was against it"),
        9: (Outcome.ACTIVE, "keyword 'a' in message 2 from the end"),
        10: (Outcome.GROUP, "keyword 'a' in message 2 from the end; group 'g' has '9'"),
        11: (Outcome.BUDGET, "keyword 'a' in message 2 from the end; its 5 tokens do not stay below the budget"),
        12: (Outcome.BUDGET, "keyword 'a' in message 2 from the end; the budget had ended before"),
        14: (Outcome.ACTIVE, "it is always active"),
        15: (Outcome.RECURSION, "it is active only by recursion"),
        16: (Outcome.ACTIVE, "keyword 'a' in message 2 from the end"),
    }
    assert found.overflowed
    first = found.fates[entries[0]]
    assert (first.sweep, first.tokens, first.left) == (0, 3, 9)


def test_a_reason_says_where_a_key_stood_and_in_which_sweep() -> None:
    entries = [
        entry(0, ["new"], "said"),
        entry(1, ["said"]),
        entry(2, ["noted"]),
        entry(3, ["desert"], matchScenario=True),
        entry(4, [" "]),
        entry(5, ["/N.W/i"]),
    ]
    scene = Scene(messages=["new"], injects=["noted"], texts={"scenario": "a desert", "persona_description": "said"})
    found = run(entries, scene=scene, recursive=True, test=lambda wanted, _: [Verdict.MATCH] * len(wanted))
    assert {each.uid: (fate.reason, fate.sweep) for each, fate in found.fates.items()} == {
        0: ("keyword 'new' in the newest message", 0),
        1: ("keyword 'said' in what other entries say", 1),
        2: ("keyword 'noted' in an injected text", 0),
        3: ("keyword 'desert' in the scenario", 0),
        4: ("a blank key, which is everywhere, in what it looks at", 0),
        5: ("expression '/N.W/i' in what it looks at", 0),
    }


def test_expressions_that_take_too_long_match_nothing_are_asked_for_once_and_are_named() -> None:
    asked: list[Regex] = []

    def test(wanted: Sequence[Regex], text: str) -> list[Verdict]:
        asked.extend(wanted)
        return [Verdict.TIMEOUT if "slow" in regex.pattern else Verdict.MATCH for regex in wanted]

    entries = [entry(0, ["/slow/"], "x"), entry(1, ["/quick/"], "y"), entry(2, ["a"], keysecondary=["/slow/"])]
    found = run(entries, "a", recursive=True, test=test)
    assert uids(found) == [1]
    assert asked.count(Regex("slow")) == 1
    assert found.notes == ["regular expressions took too long, or nothing could test them, and match nothing: /slow/"]
    assert uids(run(entries, "a")) == []


def test_expressions_are_asked_for_in_one_batch_for_each_text() -> None:
    batches: list[tuple[int, str]] = []

    def test(wanted: Sequence[Regex], text: str) -> list[Verdict]:
        batches.append((len(wanted), text))
        return [Verdict.NO_MATCH] * len(wanted)

    run(
        [entry(at, [f"/{at}/", "/all/"]) for at in range(30)] + [entry(99, ["/all/"], scanDepth=1)], "a", "b", test=test
    )
    assert batches == [(31, "\x01a\n\x01b"), (1, "\x01a")]


def test_an_expression_that_does_not_compile_is_a_word_even_across_messages() -> None:
    entries = [entry(0, ["/a[/"]), entry(1, ["/b\x01[/"]), entry(2, ["b\n\x01say"]), entry(3, ["B\n\x01Say"])]

    def test(wanted: Sequence[Regex], text: str) -> list[Verdict]:
        return [Verdict.INVALID] * len(wanted)

    found = run(entries, "it is /b", "say /a[/ then /b\x01[/", test=test)
    assert uids(found) == [0, 1, 2, 3]


# Bounds


def test_a_chain_of_entries_without_end_ends() -> None:
    entries = [entry(at, [f"<{at}>"], f"<{at + 1}>") for at in range(scanning.MOST_SWEEPS + 50)]
    found = run(entries, "<0>", recursive=True, max_context=None)
    assert len(found.active) == scanning.MOST_SWEEPS
    assert found.notes == [
        f"the activation ended after {scanning.MOST_SWEEPS} sweeps, though entries still called for others"
    ]


def test_entries_that_are_looked_at_again_and_again_end_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MOST_LOOKS", 500)
    waiting = [entry(at, ["a"], keysecondary=["never"]) for at in range(100)]
    chain = [entry(at, [f"<{at}>"], f"<{at + 1}>") for at in range(200, 300)]
    found = run([*waiting, *chain], "a <200>", recursive=True, max_context=None)
    assert len(found.active) == 5
    assert "the activation ended after 5 sweeps" in found.notes[0]


@pytest.mark.parametrize("whole", [False, True])
def test_words_that_are_everywhere_end_in_a_note(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    monkeypatch.setattr(index, "MOST_HITS", 20_000)
    monkeypatch.setattr(Work.__init__, "__defaults__", (20_000,))
    entries = [entry(at, ["a" * (at + 1)]) for at in range(500)]
    found = run([*entries, entry(1000, [], "a" * 5000, constant=True)], "b", recursive=True, whole_words=whole)
    assert 1000 in uids(found)
    assert found.notes[0].startswith("there were more keys in longer texts than one activation may search")


def test_macros_cannot_make_more_text_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MOST_TEXT", 5000)
    scene = Scene(messages=["a"], character="x" * 1000)
    entries = [entry(0, content="{{char}}" * 3), entry(1, content="{{char}}" * 3), entry(2, ["no"])]
    found = run(entries, scene=scene, max_context=None)
    assert uids(found) == [0]
    assert found.fates[entries[1]].outcome is Outcome.FAILED


def test_a_check_ends_a_scan_between_two_sweeps() -> None:
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("enough")

    entries = [entry(at, [f"<{at}>"], f"<{at + 1}>") for at in range(50)]
    plan = Plan(Lore(everywhere=entries), Settings(recursive=True))
    with pytest.raises(RuntimeError, match="enough"):
        scan(
            plan,
            plan.settings,
            Scene(messages=["<0>"]),
            effects=TimedEffects(),
            random=lambda: 0.5,
            count=len,
            test=None,
            check=check,
        )
    assert len(calls) == 3


# Words

LETTERS = st.text(alphabet="aAbB1_ -éÉßΣσς龙İ\n", min_size=1, max_size=5)


@settings(deadline=None, max_examples=400)
@given(
    words=st.lists(st.tuples(LETTERS.filter(str.strip), st.booleans(), st.booleans()), max_size=8),
    texts=st.lists(st.text(alphabet="aAbB1_ -éÉßΣσς龙İ\n", max_size=30), max_size=4),
)
def test_an_index_finds_what_a_search_of_the_whole_text_finds(
    words: list[tuple[str, bool, bool]], texts: list[str]
) -> None:
    made = [key.word for text, case, whole in words if (key := make_key(text, case_sensitive=case, whole=whole))]
    wanted = [word for word in made if word is not None]
    found = WordIndex(wanted).find(texts, Work())
    for word in wanted:
        having = [at for at, text in enumerate(texts) if occurs(word, text if word.case_sensitive else text.lower())]
        assert found.get(word, -1) == (having[0] if having else -1)
        whole = "\x01" + "\n\x01".join(texts)
        assert occurs(word, whole if word.case_sensitive else whole.lower()) == bool(having)


def test_words_longer_than_an_automaton_knows_and_texts_longer_than_a_piece_are_found() -> None:
    long = "x" * index.PREFIX
    words = [Word(long + "1", True, False), Word(long + "2", True, True), Word(long, True, False)]
    for at in (0, index.PIECE - 30, index.PIECE - 1, index.PIECE, 3 * index.PIECE - 64):
        text = "-" * at + long + "2"
        assert WordIndex(words).find(["", text], Work()) == {words[1]: 1, words[2]: 1}
    assert WordIndex([]).find(["text"], Work()) == {}


def test_texts_are_trimmed_and_numbers_rounded_as_javascript_does() -> None:
    assert trim("\ufeff \u3000a\x1f\x85 \n") == "a\x1f\x85"
    assert [rounded(number) for number in (0.5, 1.5, 2.5, -0.5, 2.4)] == [1, 2, 3, 0, 2]


@pytest.mark.parametrize(
    ("content", "found", "rest"),
    [
        ("@@activate\ntext", {"@@activate"}, "text"),
        ("@@activate", {"@@activate"}, "@@activate"),
        ("@@unknown\n@@@activate\n@@@dont_activate\ntext", {"@@activate"}, "text"),
        ("@@@activate\ntext", set(), "text"),
        ("text\n@@activate", set(), "text\n@@activate"),
        ("", set(), ""),
    ],
)
def test_decorators_are_lines_in_front(content: str, found: set[str], rest: str) -> None:
    assert split_decorators(content) == (found, rest)


# Timed effects


def test_effects_survive_being_kept_as_plain_data() -> None:
    effects = TimedEffects()
    entries = [entry(0, ["k"], sticky=3, cooldown=2)]
    assert uids(run(entries, "k", effects=effects)) == [0]
    kept = effects.document()
    read = TimedEffects.read(kept)
    assert read.document() == kept
    assert uids(run(entries, "x", "k", effects=read)) == [0]
    assert TimedEffects.read({"sticky": [["w", 0, "d", "1", 2, True], 3], "cooldown": {}}).document() == {
        "sticky": [],
        "cooldown": [],
    }


def test_a_copy_changes_nothing() -> None:
    effects = TimedEffects()
    run([entry(0, sticky=3)], "a", effects=effects.copy())
    assert effects.document() == {"sticky": [], "cooldown": []}


# Entries of ours


def item(id_: str, keywords: Sequence[str] = (), value: str = "", **usage: Any) -> Item:
    document = {
        "id": id_,
        "displayName": id_.title(),
        "content": {"value": value or f"text of {id_}"},
        "activation_criteria": {"keywords": list(keywords)},
        "usage_metadata": usage,
        "management_metadata": {"tags": [ALWAYS] if not keywords else ["t"]},
        "variable_handling": {"defines_variables": {f"{id_}_seen": True}},
    }
    read, problems = read_entry(document)
    assert read is not None, problems
    return Item(document, read)


def to_world(given_item: Item) -> dict[str, Any]:
    """Like the exchange's, as far as these tests need it."""
    read = given_item.entry
    at_depth = read.usage_metadata.depth_offset is not None
    return {
        "uid": 0,
        "key": read.activation_criteria.keywords,
        "content": read.text,
        "constant": ALWAYS in read.management_metadata.tags,
        "order": read.usage_metadata.priority,
        "position": 4 if at_depth else 7 if read.usage_metadata.placement is None else 0,
        "depth": read.usage_metadata.depth_offset,
        "outletName": "o",
        "role": 1,
        "sticky": 3 if read.id == "sticky" else 0,
    }


class Words:
    name = "words"

    def count(self, text: str) -> int:
        return len(text.split())


@dataclass
class Answering:
    asked: list[str] = field(default_factory=list)

    async def test(self, regexes: Sequence[Regex], text: str) -> list[Verdict]:
        await trio.lowlevel.checkpoint()
        self.asked.append(text)
        return [Verdict.MATCH] * len(regexes)


def books(*items: Item, **given_settings: Any) -> Books:
    return Books([("kb", items)], to_world, Settings(**given_settings))


TALK = Request(messages=[Message("an old dragon"), Message("hello", name="Bo")], scan_depth=2, seed=1)


async def test_a_base_is_asked_and_answers_as_with_any_profile() -> None:
    made = books(
        item("low", ["dragon"], priority=1),
        item("high", ["hello"], "{{user}} and {{char}}", priority=9, prefix={"text": "<", "is_enabled": True}),
        item("deep", ["hello"], depth_offset=2),
        item("out", ["hello"], placement=None),
        item("regex", ["/^\\x01Bo: hello/"], exclude_from_history=True),
        item("absent", ["absent"]),
    )
    engine = Answering()
    result = await activate_st115(made, replace(TALK, user="Eve", character="Al"), counter=Words(), regexes=engine)
    assert [(each.entry, each.text, each.role, each.depth, each.outlet) for each in result.active] == [
        ("low", "text of low", None, None, ""),
        ("high", "<Eve and Al", None, None, ""),
        ("regex", "text of regex", None, None, ""),
        ("deep", "text of deep", "user", 2, ""),
        ("out", "text of out", None, None, "o"),
    ]
    assert engine.asked == ["\x01Bo: hello\n\x01an old dragon"]
    assert result.active[2].exclude_from_history
    assert (result.looked_at, result.tokens, result.tokenizer, result.seed) == (6, 15, "words", 1)
    assert set(result.variables) == {"low_seen", "high_seen", "deep_seen", "out_seen", "regex_seen"}
    assert {line.entry: line.outcome for line in result.trace} == dict.fromkeys(
        ["low", "high", "deep", "out", "regex"], Outcome.ACTIVE
    )
    assert result.notes == []


async def test_scope_force_and_budget_are_those_of_the_request() -> None:
    made = books(item("a", ["dragon"]), item("b", ["nowhere"]), item("always"))
    result = await activate_st115(
        made, replace(TALK, scope=["t"], force=["b"], budget=7), counter=Words(), regexes=None
    )
    assert [each.entry for each in result.active] == ["b", "a"]
    outcomes = {line.entry: (line.outcome, line.budget) for line in result.trace}
    assert outcomes == {"a": (Outcome.ACTIVE, 7), "b": (Outcome.ACTIVE, 4), "always": (Outcome.SCOPE, None)}
    result = await activate_st115(made, replace(TALK, budget=6, force=["b"]), counter=Words(), regexes=None)
    assert [each.entry for each in result.active] == ["a"]


async def test_recursion_goes_as_many_steps_as_the_request_says() -> None:
    made = books(*(item(f"e{at}", [f"<{at}>" if at else "dragon"], f"<{at + 1}>") for at in range(6)))
    for steps in (0, 1, 3, 9):
        result = await activate_st115(made, replace(TALK, recursion=steps), counter=Words(), regexes=None)
        assert len(result.active) == min(steps + 1, 6)


async def test_a_session_keeps_its_effects_and_a_dry_run_leaves_them() -> None:
    made = books(item("sticky", ["hello"]))
    later = replace(TALK, messages=[*TALK.messages, Message("x"), Message("y")])
    effects = TimedEffects()
    for dry, expected in ((True, 0), (False, 1)):
        request = replace(TALK, dry_run=dry)
        result = await activate_st115(made, request, counter=Words(), regexes=None, effects=effects)
        assert len(result.active) == 1
        result = await activate_st115(
            made, replace(later, dry_run=True), counter=Words(), regexes=None, effects=effects
        )
        assert len(result.active) == expected


async def test_a_scan_that_waits_for_an_expression_can_be_cancelled() -> None:
    entries = [item(f"e{at}", [f"<{at}>" if at else "dragon"], f"<{at + 1}>") for at in range(300)]

    class Stuck:
        async def test(self, regexes: Sequence[Regex], text: str) -> list[Verdict]:
            await trio.sleep_forever()
            raise AssertionError

    made = books(*entries, item("regex", ["/x/"]))
    with trio.move_on_after(0.05) as scope:
        await activate_st115(made, replace(TALK, recursion=400), counter=Words(), regexes=Stuck())
    assert scope.cancelled_caught


def test_an_entry_is_in_so_many_groups_and_no_more() -> None:
    made = read_world_entry({"group": ",".join(map(str, range(5000)))})
    assert len(made.groups) == MOST_GROUPS
    assert made.groups[-1] == str(MOST_GROUPS - 1)


def test_a_long_chat_without_enough_entries_still_reaches_delayed_levels() -> None:
    delayed = [entry(0, [], constant=True, delayUntilRecursion=7), entry(1, ["nowhere"], delayUntilRecursion=1)]
    scanned = run(delayed, *["x"] * 1000, recursive=True, min_activations=5)
    assert uids(scanned) == [0]
    assert scanned.notes == []
