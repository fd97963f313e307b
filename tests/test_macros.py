"""Macros say what SillyTavern's and the cards' specification say, and no text of macros costs more than its bounds."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.knowledge.macros.context import MOST_WORK, Context
from innkeeper.knowledge.macros.engine import render, rendered
from innkeeper.knowledge.macros.story import render_story

CONTEXT = Context(
    char="Ignis",
    user="Ada",
    group="Ignis, Bo",
    values={
        "description": "{{char}} the dragon",
        "personality": "",
        "loop": "a{{loop}}b",
        "wiBefore": "lore",
        "flag": "no",
    },
    outlets={"end": "the end"},
    variables={"mood": "calm", "n": "4", "Ignis_mood": "hot"},
    global_variables={"g": "7"},
    seed=1,
    stable="chat",
    now=datetime(2026, 3, 5, 14, 7, 9, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no macros", "no macros"),
        ("{{char}} and {{ USER }}, <BOT>, <user>", "Ignis and Ada, Ignis, Ada"),
        ("{{group}} {{charIfNotGroup}}", "Ignis, Bo Ignis, Bo"),
        ("{{description}}.", "Ignis the dragon."),
        ("{{loop}}", "aa{{loop}}bb"),
        ("{{unknown}} {{unknown::{{char}}}} {{}}", "{{unknown}} {{unknown::Ignis}} {{}}"),
        ("{{getvar::{{char}}_mood}}", "hot"),
        ("{{setvar::x::Hello, {{user}}!}}{{getvar::x}} {{getvar x}}", "Hello, Ada! Hello, Ada!"),
        ("{{ setvar :: x :: some value }}[{{ getvar :: x }}]", "[some value]"),
        ("{{addvar::n::2}}{{getvar::n}}{{addvar::mood::er}} {{getvar::mood}}", "6 calmer"),
        ("{{incvar::n}}{{incvar::n}}{{decvar::n}}", "565"),
        ("{{getglobalvar::g}}{{setglobalvar::g::8}}{{$g}}", "78"),
        ("{{hasvar::n}} {{hasvar::zz}} {{deletevar::n}}{{hasvar::n}}", "true false false"),
        ("{{.mood}} {{$g}} {{.nothing}}|", "calm 7 |"),
        ("{{.x = 5}}{{.x++}}{{.x--}}{{.x += 10}}{{.x}}{{.x -= 3}} {{.x}}", "6515 12"),
        ("{{.no || other}} {{.mood || other}} {{.no ?? {{char}}}}", "other calm Ignis"),
        ("{{.a ||= one}}{{.a ??= two}}{{.a}}", "oneoneone"),
        ("{{.n == 4}} {{.n != 4}} {{.n > 3}} {{.n >= 4}} {{.n < 4}} {{.n <= 3}}", "true false true true false false"),
        ("{{.mood > 3}}", "false"),
        ("{{if description}}yes{{else}}no{{/if}}", "yes"),
        ("{{if personality}}yes{{else}}no{{/if}}{{if !personality}}none{{/if}}", "nonone"),
        ("{{if flag}}on{{/if}}{{if .n == 4}}four{{/if}}{{if off}}x{{/if}}{{if any text}}y{{/if}}", "foury"),
        ("{{if {{getvar::n}}}}a{{if {{.zz}}}}b{{else}}c{{/if}}d{{/if}}", "acd"),
        ("{{if .n}}{{setvar::n::0}}{{else}}{{setvar::n::9}}{{/if}}{{.n}}", "0"),
        ("{{if n}}open", "{{if n}}open"),
        ("{{if::1::yes::no}} {{if::0::yes::no}}", "yes no"),
        ("{{ if description }}\n    # Heading\n    Some\n{{ /if }}", "# Heading\nSome"),
        ("{{#setvar code}}\n  x\n{{/setvar}}{{.code}}", "\n  x\n"),
        ("{{setvar v}}\n  a\n  b\n{{/setvar}}{{.v}}", "a\nb"),
        ("{{reverse::abc}} {{reverse:abc}} {{reverse abc}} {{reverse}}xyz{{/reverse}}", "cba cba cba zyx"),
        ("a{{// a comment}}b{{comment: c}}c{{hidden_key:k}}d{{noop}}", "abcd"),
        ("{{ // }}\n multi \n{{ /// }}x", "x"),
        ("a\n\n{{trim}}\n\nb", "ab"),
        ("a{{newline}}b{{newline::2}}c{{space}}d", "a\nb\n\nc d"),
        (r"\{\{char\}\}", "{{char}}"),
        ("{{{Name}}} {{{id=7}}}", "{{{Name}}} {{{id=7}}}"),
        ("{{outlet::end}}{{outlet::none}}", "the end"),
        ("{{time}} {{date}} {{weekday}} {{isotime}} {{isodate}}", "2:07 PM March 5, 2026 Thursday 14:07 2026-03-05"),
        ("{{time_UTC+2}} {{time_UTC-4}} {{datetimeformat::DD.MM.YY HH:mm [at]}}", "4:07 PM 10:07 AM 05.03.26 14:07 at"),
        ("{{random:x}} {{random::x}} {{pick:y}}", "x x y"),
        ("{{roll:0}} {{roll:x}} {{roll:9999999d6}}", "{{roll:0}} {{roll:x}} {{roll:9999999d6}}"),
        ("{{roll:1d1+3}} {{roll:d1}} {{roll 1}}", "4 1 1"),
        ("}} {{ {{char", "}} {{ {{char"),
        ("{{a.b}} {{1}}", "{{a.b}} {{1}}"),
    ],
)
def test_each_macro_says_what_it_should(text: str, said: str) -> None:
    assert render(text, CONTEXT) == said


def test_time_is_not_told_without_a_clock() -> None:
    assert render("{{time}} {{date}}", Context()) == "{{time}} {{date}}"


def test_options_can_have_commas_and_macros() -> None:
    found = {render(r"{{random:a\,b,{{user}},c}}", Context(user="Ada", seed=seed)) for seed in range(60)}
    assert found == {"a,b", "Ada", "c"}
    assert {render("{{random::a::b}}", Context(seed=seed)) for seed in range(40)} == {"a", "b"}


def test_the_same_seed_says_the_same_and_picks_stay_without_one() -> None:
    text = "{{random:1,2,3,4,5,6,7,8}}{{roll:1000000}}"
    assert render(text, CONTEXT) == render(text, CONTEXT)
    picks = "{{pick:1,2,3,4,5,6,7,8}}" * 20
    said = render(picks, Context(stable="a"))
    assert said == render(picks, Context(stable="a"))
    assert len(set(said)) > 3
    assert said != render(picks, Context(stable="b"))


def test_rendering_changes_nothing_but_its_answer() -> None:
    variables = {"n": "1"}
    answer = rendered("{{incvar::n}}{{setglobalvar::a::b}}{{deletevar::n}}", Context(variables=variables))
    assert variables == {"n": "1"}
    assert (answer.text, answer.variables, answer.global_variables) == ("2", {}, {"a": "b"})


def test_story_strings_are_rendered_as_text_presets_mean_them() -> None:
    story = (
        "{{#if system}}{{system}}\n{{/if}}{{#if wiBefore}}{{wiBefore}}\n{{/if}}{{#if persona}}{{persona}}\n"
        "{{else}}nobody\n{{/if}}{{#unless scenario}}nowhere{{/unless}}"
    )
    assert render_story(story, CONTEXT) == "lore\nnobody\nnowhere"
    assert render_story("a\n{{#if wiBefore}}\nb\n{{else}}\nc\n{{/if}}\nd{{! x }}\n", CONTEXT) == "a\nb\nd\n"


BOMBS = {
    "doubling": "{{setvar::x::aaaaaaaaaa}}" + "{{addvar::x::{{getvar::x}}}}" * 60,
    "deep": "{{reverse::" * 100_000 + "}}" * 100_000,
    "open": "{{" * 400_000,
    "closed": "}}" * 400_000,
    "escapes": "\\{\\{" * 200_000,
    "unclosed blocks": "{{if x}}" * 100_000,
    "closing blocks": "{{/if}}" * 100_000,
    "many": "{{newline::1000}}" * 50_000,
    "values": "{{a}}" * 1000,
    "triple": "{{{" * 300_000,
    "colons": "{{x" + "::" * 400_000 + "}}",
    "trims": "{{trim}}\n" * 100_000,
    "spaces": "{{" + " " * 900_000 + "}}",
    "hyphens": "{{a" + "-" * 900_000 + "}}",
    "story": "{{#if" + " " * 900_000,
    "commas": "{{random:" + "," * 900_000 + "}}",
    "picks": "{{pick::a::b}}" * 15_000 + "z" * 700_000,
    "dice": "{{roll:1000d6}}" * 15_000,
    "huge numbers": "{{newline::0000000000099999999999}}{{space::999999999999}}",
    "comments in values": "{{e}}" * 15_000,
    "unknown": "{{x " * 24 + "y" * 500_000 + "}}" * 24,
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_no_text_of_macros_costs_more_than_its_bounds(name: str) -> None:
    values = {
        "a": "{{b}}" * 50,
        "b": "{{c}}" * 50,
        "c": "{{d}}" * 50,
        "d": "x" * 100,
        "e": "{{//" + "x" * 500_000 + "}}",
    }
    before = time.thread_time()
    answer = rendered(BOMBS[name], Context(values=values))
    assert len(answer.text) <= max(MOST_WORK, len(BOMBS[name]))
    render_story(BOMBS[name], Context(values=values))
    assert time.thread_time() - before < 8


PIECES = [
    "{{", "}}", "{", "}", "if", "/if", "else", "::", ":", " ", "char", ".n", "++", "=", "x", "setvar", "trim", "random",
    ",", "\\", "#", "\n", "description", "loop", "//", "<user>",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40))
@settings(deadline=None, max_examples=300)
def test_whatever_is_written_becomes_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    answer = rendered(text, CONTEXT)
    assert isinstance(answer.text, str)
    assert render(text, CONTEXT) == answer.text
    assert isinstance(render_story(text, CONTEXT), str)


@given(st.text(max_size=60))
def test_text_without_braces_and_angles_is_left_alone(text: str) -> None:
    if not set(text) & {"{", "}", "<", "\\"}:
        assert render(text, CONTEXT) == text
