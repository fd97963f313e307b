"""What lets an entry through that is called for: gates, time, chance, groups, recursion, budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activations import active, ask, base, item, line, text_of
from innkeeper.knowledge.activation.chance import Chance
from innkeeper.knowledge.activation.interface import Message, Outcome


async def test_gates_keep_entries_back_and_say_why() -> None:
    entries = [
        item("off", "x", is_enabled=False),
        item("scope", "x", tags=["other"]),
        item("trigger", "x", tags=["t"], st={"triggers": ["swipe"]}),
        item("name", "x", tags=["t"], st={"characterFilter": {"isExclude": False, "names": ["Bob"], "tags": []}}),
        item("not", "x", tags=["t"], st={"characterFilter": {"isExclude": True, "names": ["Ann"], "tags": []}}),
        item("both", "x", tags=["t"], st={"characterFilter": {"isExclude": False, "names": ["Ann"], "tags": ["elf"]}}),
        item(
            "good",
            "x",
            tags=["t"],
            st={"characterFilter": {"isExclude": False, "names": ["Ann"]}, "triggers": ["normal"]},
        ),
    ]
    found = await ask(entries, "x", scope=["t"], character="Ann", character_tags=["orc"], explain=["off"])
    assert active(found) == ["good"]
    outcomes = {each.entry: each.outcome for each in found.result.trace}
    assert outcomes == {
        "off": Outcome.DISABLED,
        "scope": Outcome.SCOPE,
        "trigger": Outcome.TRIGGER,
        "name": Outcome.CHARACTER,
        "not": Outcome.CHARACTER,
        "both": Outcome.CHARACTER,
        "good": Outcome.ACTIVE,
    }
    assert all(each.reason for each in found.result.trace)


async def test_always_active_and_forced_entries_need_no_words() -> None:
    entries = [item("a", "never", always=True), item("b", "never"), item("c", "never", is_enabled=False)]
    found = await ask(entries, "x", force=["b", "c", "nobody"])
    assert active(found) == ["a", "b"]
    assert line(found, "b").reason == "it was asked for by its id"


async def test_forced_entries_pass_their_criteria_but_not_the_rest() -> None:
    condition = {"type": "variable_check", "variable": "n", "operator": "exists"}
    entries = [item("a", trigger_conditions=[condition], trigger_probability=0), item("b", st={"delay": 5}, text="b")]
    assert active(await ask(entries, "x", force=["a", "b"])) == ["a"]


async def play(entries: list[Any], turns: int, text: str = "k", **request: Any) -> list[list[str]]:
    """Activates with 1, 2, 3 ... messages in one session."""
    session, found = None, []
    for length in range(1, turns + 1):
        turn = await ask(entries, *[text] * length, remembered=session, **request)
        session = turn.remembered
        found.append(active(turn))
    return found


async def test_sticky_cooldown_and_delay_take_turns() -> None:
    turns = await play([item("a", "k", st={"sticky": 3, "cooldown": 2, "delay": 2})], 10)
    assert [bool(turn) for turn in turns] == [False, True, True, True, False, False, True, True, True, False]


async def test_sticky_needs_no_words_and_cooldown_ignores_them() -> None:
    entry = item("a", "k", st={"sticky": 2, "cooldown": 2})
    first = await ask([entry], "k")
    second = await ask([entry], "k", "x", remembered=first.remembered)
    assert line(second, "a").reason == "still active from before (sticky)"
    third = await ask([entry], "k", "x", "k", remembered=second.remembered)
    assert line(third, "a").outcome is Outcome.COOLDOWN
    assert line(third, "a").reason == "it rests for 2 more messages"


async def test_a_turn_that_is_generated_again_takes_its_effects_back() -> None:
    entry = item("a", "k", st={"cooldown": 5})
    first = await ask([entry], "x", "k")
    again = await ask([entry], "x", "k", remembered=first.remembered)
    assert active(again) == ["a"]
    later = await ask([entry], "x", "k", "k", remembered=again.remembered)
    assert active(later) == []


async def test_an_entry_that_may_be_active_once_is_so_once_in_a_session() -> None:
    for entry in (item("a", "k", once_per_session=True), item("a", "k", text="@@dont_activate_after_match\nx")):
        assert await play([entry], 3) == [["a"], [], []]
        assert active(await ask([entry], "k")) == ["a"], "another session"


async def test_an_entry_that_was_left_out_is_not_remembered() -> None:
    entry = item("a", "k", text="far too long for it", once_per_session=True)
    assert await play([entry], 2, budget=2) == [[], []]
    assert (await ask([entry], "k", budget=2)).remembered["active"] == {}


async def test_a_dry_run_changes_nothing() -> None:
    entry = item("a", "k", once_per_session=True)
    session = (await ask([entry], "k", dry_run=True, remembered={})).remembered
    assert session == {}


async def test_the_length_of_the_conversation_can_be_more_than_the_messages() -> None:
    entry = item("a", "k", st={"delay": 50})
    assert active(await ask([entry], "k")) == []
    assert active(await ask([entry], "k", length=50)) == ["a"]


@settings(deadline=None)
@given(
    plain=st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(st.sampled_from(["version", "active", "lore", "a"]), inner, max_size=3),
        max_leaves=8,
    )
)
def test_a_session_that_somebody_spoilt_counts_as_forgotten(plain: Any) -> None:
    from innkeeper.knowledge.activation.session import Session

    session = Session(plain if isinstance(plain, dict) else {"version": 1, "active": plain}, 10)
    assert session.plain()["version"] == 1


async def test_chance_is_the_same_for_a_seed_whatever_else_there_is() -> None:
    entries = [item(f"e{number}", "x", trigger_probability=0.5) for number in range(60)]
    some = active(await ask(entries, "x", seed=7))
    assert 10 < len(some) < 50
    assert active(await ask(entries[::-1], "x", seed=7)) == some[::-1]
    assert active(await ask(entries[:20], "x", seed=7)) == [each for each in some if int(each[1:]) < 20]
    assert active(await ask(entries, "x", seed=8)) != some
    assert active(await ask(entries, "y", "x", seed=7)) != some, "another turn has luck of its own"


def test_chance_is_the_same_on_every_machine() -> None:
    chance = Chance(42, 3)
    assert chance.number("probability", "lore", "a") == 16_083_530_956_625_013_980
    assert [chance.pick([1, 2, 3], "group", str(number)) for number in range(8)] == [2, 2, 2, 2, 1, 2, 2, 2]


async def test_probability_zero_is_never_and_one_is_always() -> None:
    entries = [item("never", "x", trigger_probability=0), item("always", "x", trigger_probability=1)]
    for seed in range(40):
        assert active(await ask(entries, "x", seed=seed)) == ["always"]


async def test_a_seed_that_nobody_gave_is_named() -> None:
    entries = [item(f"e{number}", "x", trigger_probability=0.5) for number in range(40)]
    found = await ask(entries, "x", seed=None)
    assert active(await ask(entries, "x", seed=found.result.seed)) == active(found)


def grouped(id: str, group: str = "g", **more: Any) -> Any:
    return item(id, *more.pop("keys", ["x"]), st={"group": group, **more.pop("st", {})}, **more)


async def test_one_entry_of_a_group_is_active_by_weight() -> None:
    entries = [grouped("a", st={"groupWeight": 0}), grouped("b"), grouped("c", st={"groupWeight": 900})]
    drawn = [active(await ask(entries, "x", seed=seed)) for seed in range(60)]
    assert all(len(each) == 1 for each in drawn)
    assert drawn.count(["a"]) == 0
    assert drawn.count(["c"]) > 40


async def test_override_scoring_and_sticky_come_before_chance() -> None:
    override = [grouped("a", priority=1), grouped("b", priority=2, st={"groupOverride": True})]
    score = [grouped("a", keys=["x", "y"]), grouped("b", st={"useGroupScoring": True})]
    for seed in range(10):
        assert active(await ask(override, "x", seed=seed)) == ["b"]
        assert active(await ask(score, "x y", seed=seed)) == ["a"]
    sticky = [grouped("a", keys=["k"], st={"sticky": 5}), grouped("b", priority=500, st={"groupOverride": True})]
    first = await ask(sticky, "k")
    assert active(await ask(sticky, "k", "x", remembered=first.remembered)) == ["a"]


async def test_a_member_of_two_groups_that_is_active_keeps_both_shut() -> None:
    entries = [grouped("a", "g, h", keys=["x"], text="next"), grouped("b", "g", keys=["next"])]
    found = await ask(entries, "x")
    assert active(found) == ["a"]
    assert line(found, "b").outcome is Outcome.GROUP
    assert line(found, "b").reason == "'a' of its group 'g' is active already"


async def test_the_winner_of_a_group_that_has_no_luck_leaves_the_group_empty() -> None:
    entries = [grouped("a", st={"groupOverride": True}, trigger_probability=0), grouped("b")]
    assert active(await ask(entries, "x")) == []


async def test_tags_name_inclusion_groups_too() -> None:
    entries = [item("a", "x", tags=["st_inclusion_group:g"]), item("b", "x", tags=["st_inclusion_group:g"])]
    assert len(active(await ask(entries, "x"))) == 1


async def test_recursion_follows_texts_as_deep_as_asked() -> None:
    entries = [item(name, name, text=after) for name, after in (("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"))]
    assert active(await ask(entries, "a", recursion=0)) == ["a"]
    assert active(await ask(entries, "a", recursion=1)) == ["a", "b"]
    found = await ask(entries, "a", recursion=1000)
    assert active(found) == ["a", "b", "c", "d"]
    assert line(found, "d").sweep == 3


async def test_recursion_can_be_kept_out_kept_in_and_waited_for() -> None:
    entries = [
        item("a", "x", text="deep"),
        item("out", "deep", st={"excludeRecursion": True}),
        item("quiet", "x", text="secret", st={"preventRecursion": True}),
        item("unheard", "secret"),
        item("late", "x", st={"delayUntilRecursion": True}),
        item("later", "x", st={"delayUntilRecursion": 2}),
    ]
    found = await ask(entries, "x")
    assert set(active(found)) == {"a", "quiet", "late", "later"}
    assert (line(found, "late").sweep, line(found, "later").sweep) == (1, 2)
    assert set(active(await ask(entries, "x", recursion=0))) == {"a", "quiet"}
    assert set(active(await ask(entries, "x", recursion=1))) == {"a", "quiet", "late"}


async def test_what_did_not_fit_calls_for_nothing() -> None:
    entries = [item("a", "x", text="deep down below"), item("b", "deep", text="b")]
    assert active(await ask(entries, "x", budget=2)) == []


async def test_what_does_not_fit_is_left_out_and_smaller_entries_still_get_in() -> None:
    entries = [item("big", "x", text="one two three four", priority=9), item("small", "x", text="one two", priority=1)]
    found = await ask(entries, "x", budget=3)
    assert active(found) == ["small"]
    assert line(found, "big").outcome is Outcome.BUDGET
    assert line(found, "big").reason.startswith("it would need 4 tokens, 3 were left")
    assert (line(found, "big").tokens, line(found, "big").budget) == (4, 3)
    assert (found.result.tokens, found.result.budget) == (2, 3)


async def test_a_text_exactly_as_long_as_what_is_left_fits() -> None:
    assert active(await ask([item("a", "x", text="one two three")], "x", budget=3)) == ["a"]


async def test_always_active_entries_are_kept_first_whatever_their_priority() -> None:
    entries = [item("a", "x", text="one two", priority=500), item("b", always=True, text="one two", priority=1)]
    assert active(await ask(entries, "x", budget=2)) == ["b"]


async def test_larger_priority_is_kept_first_and_stands_nearer_to_the_end() -> None:
    entries = [
        item("a", "x", text="w", priority=5),
        item("b", "x", text="w", priority=50),
        item("c", "x", text="w", priority=5),
    ]
    assert active(await ask(entries, "x")) == ["a", "c", "b"]
    assert active(await ask(entries, "x", budget=2)) == ["a", "b"], "at equal priority what is earlier is kept"


async def test_critical_entries_are_in_and_count() -> None:
    entries = [
        item("a", "x", text="one two three", token_budget_impact="critical", priority=1),
        item("b", "x", text="w", priority=9),
    ]
    found = await ask(entries, "x", budget=2)
    assert active(found) == ["a"]
    assert line(found, "b").reason.startswith("it would need 1 token, 0 were left")
    assert found.result.tokens == 3


async def test_texts_that_call_for_nothing_are_counted_all_the_same() -> None:
    entries = [
        item("a", "x", text="go 2 3 4", st={"preventRecursion": True}),
        item("b", "x", text="go 2", priority=50),
        item("c", "go", text="1 2 3"),
    ]
    found = await ask(entries, "x", budget=8)
    assert set(active(found)) == {"a", "b"}


async def test_decorators_are_honoured_and_taken_out_of_the_text() -> None:
    entries = [
        item("a", "never", text="@@activate\n@@role user\n@@depth 3\n\nhello"),
        item("b", "x", text="@@dont_activate\nhello"),
        item("c", "x", text="@@unheard_of 1\n@@@depth 7\nhello"),
        item("d", "x", text="@@position scenario\n@@depth 2\nhello"),
        item("e", "x", text="@@additional_keys y, z\nhello"),
        item("f", "x", text="@@exclude_keys x\nhello"),
        item("g", "x", text="@@is_greeting 2\nhello"),
        item("h", "x", text="@@reverse_depth 1\nhello"),
        item("i", "x", text="an @@activate in the midst"),
    ]
    found = await ask(entries, "one", "x", greeting=1)
    assert active(found) == ["a", "c", "d", "h", "i"]
    by_id = {each.entry: each for each in found.result.active}
    assert (by_id["a"].text, by_id["a"].role, by_id["a"].depth) == ("hello", "user", 3)
    assert by_id["c"].depth == 7
    assert (by_id["d"].placement, by_id["d"].depth) == ("scenario", None)
    assert by_id["h"].depth == 1
    assert line(found, "b").outcome is line(found, "g").outcome is Outcome.DECORATOR


async def test_decorators_count_what_the_assistant_said() -> None:
    entries = [
        item("after", "x", text="@@activate_only_after 2\nh"),
        item("every", "x", text="@@activate_only_every 2\nh"),
    ]
    answers = [Message("x", role="assistant")] * 4
    for number, expected in ((1, []), (2, ["after", "every"]), (3, ["after"])):
        assert active(await ask(entries, *answers[:number])) == expected


async def test_an_entry_can_stay_once_it_was_active() -> None:
    entry = item("a", "k", text="@@keep_activate_after_match\nhello")
    first = await ask([entry], "k")
    assert active(await ask([entry], "k", *["x"] * 9, remembered=first.remembered)) == ["a"]


async def test_the_first_to_go_when_it_is_full() -> None:
    entries = [item("a", "x", text="@@ignore_on_max_context\nw", priority=900), item("b", "x", text="w")]
    assert active(await ask(entries, "x", budget=1)) == ["b"]
    assert active(await ask(entries, "x", budget=2)) == ["b", "a"]


async def test_several_bases_share_budget_groups_and_recursion() -> None:
    one = base(grouped("a", text="next", st={"groupOverride": True}), item("b", "x", text="w w"), id="one", name="One")
    two = base(grouped("a"), item("c", "next", text="w"), id="two", name="Two")
    found = await ask([one, two], "x", budget=4)
    assert [(each.base, each.entry) for each in found.result.active] == [("one", "a"), ("one", "b"), ("two", "c")]


async def test_an_empty_text_is_active_and_not_inserted() -> None:
    found = await ask([item("a", "x", text="", defines={"seen": True}, prefix={"text": "<", "is_enabled": True})], "x")
    assert active(found) == []
    assert line(found, "a").outcome is Outcome.ACTIVE
    assert found.result.variables == {"seen": True}


async def test_what_becomes_of_an_active_entry_is_said() -> None:
    media = {"mime_type": "image/png", "path": "media/a.png", "alt_text": "a dragon"}
    entries = [
        item("a", "x", content=media, exclude_from_history=True, tags=["t"], entry_type="image_description"),
        item(
            "b",
            "x",
            text="b",
            st={"position": 7, "outletName": "side"},
            role="assistant",
            depth_offset=2,
            placement=None,
        ),
    ]
    found = await ask(entries, "x")
    one, two = found.result.active
    assert (one.text, one.media, one.exclude_from_history) == ("a dragon", ("media/a.png", "image/png"), True)
    assert (list(one.tags), one.entry_type) == (["t"], "image_description")
    assert (two.outlet, two.role, two.depth, two.placement) == ("side", "assistant", 2, "before_prompt")
    assert text_of(found, "b") == "b"


async def test_entries_that_did_not_match_are_listed_as_far_as_asked() -> None:
    entries = [item(f"e{number}", f"k{number}") for number in range(50)]
    found = await ask(entries, "k7", unmatched=5, explain=["e40"])
    assert len(found.result.trace) == 7
    assert line(found, "e40").outcome is Outcome.NO_MATCH
    assert len((await ask(entries, "k7")).result.trace) == 1


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    priorities=st.lists(st.integers(0, 3), min_size=12, max_size=12),
    budget=st.integers(0, 30),
)
def test_the_budget_is_never_overdrawn_and_never_wasted(sizes: list[int], priorities: list[int], budget: int) -> None:
    import trio

    entries = [
        item(f"e{number}", "x", text="w " * size, priority=priorities[number]) for number, size in enumerate(sizes)
    ]

    async def run() -> Any:
        return await ask(entries, "x", budget=budget)

    result = trio.run(run).result
    assert sum(each.tokens for each in result.active) == result.tokens <= budget
    left = budget - result.tokens
    assert all(each.tokens > left for each in result.trace if each.outcome is Outcome.BUDGET)


async def test_answers_do_not_hang_on_the_order_of_the_file_beyond_ties() -> None:
    entries = [item(f"e{number}", "x", text="w", priority=number, trigger_probability=0.7) for number in range(20)]
    assert active(await ask(entries, "x", budget=9)) == active(await ask(entries[::-1], "x", budget=9))


@pytest.mark.parametrize("messages", [0, 3000])
async def test_no_message_and_very_many_are_both_answered(messages: int) -> None:
    entries = [item("a", always=True), item("b", "k", st={"scanDepth": 1_000_000})]
    found = await ask(entries, *["k"] * messages, scan_depth=10_000_000)
    assert active(found) == (["a", "b"] if messages else ["a"])


async def test_entries_of_very_many_groups_are_decided_in_time() -> None:
    names = ",".join(f"g{number}" for number in range(400))
    tags = [f"st_inclusion_group:t{number}" for number in range(400)]
    entries = [item(f"e{number}", "x", st={"group": names}, tags=tags) for number in range(300)]
    assert len(active(await ask(entries, "x"))) == 1


async def test_a_trace_can_be_asked_for_a_bounded_number_of_entries() -> None:
    entries = [item(f"e{number}", "x") for number in range(1200)]
    ids = [f"e{number}" for number in range(1200)]
    assert len((await ask(entries, "y", explain=ids)).result.trace) == 1000
    assert len((await ask(entries, "y", unmatched=5000)).result.trace) == 1000
