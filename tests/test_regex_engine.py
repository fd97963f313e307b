"""Regular expressions have JavaScript's semantics, and none of them stalls, crashes or exhausts the host."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import innkeeper
from innkeeper.errors import GuestError, InnkeeperError, InternalError
from innkeeper.knowledge.regexes import batch, engine
from innkeeper.knowledge.regexes.engine import SandboxRegexEngine, open_regex_engine
from innkeeper.knowledge.regexes.interface import Regex, Verdict
from innkeeper.knowledge.regexes.keys import read_key
from innkeeper.knowledge.regexes.wire import decode_test, encode_begin, encode_regex
from innkeeper.knowledge.worldinfo.index import Word, occurs
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.limits import MIB, Limits
from innkeeper.sandbox.wasm import parse

ROOT = Path(__file__).resolve().parent.parent
GUEST = ROOT / "plugins" / "_regexes" / "regexes.wasm"
MATCH, NO, INVALID, TIMEOUT = Verdict.MATCH, Verdict.NO_MATCH, Verdict.INVALID, Verdict.TIMEOUT

Run = Callable[[Callable[[], Any]], Any]


class Both:
    """Our guest, and the node whose QuickJS is the measure, both on a host that runs in another thread."""

    def __init__(self, host: innkeeper.Host, node: innkeeper.Plugin, ours: SandboxRegexEngine, run: Run) -> None:
        self.host, self._node, self.ours, self._run = host, node, ours, run

    def test(self, regexes: Sequence[Regex], text: str) -> list[Verdict]:
        verdicts: list[Verdict] = self._run(lambda: self.ours.test(regexes, text))
        return verdicts

    def one(self, pattern: str, text: str, flags: str = "") -> Verdict:
        return self.test([Regex(pattern, flags)], text)[0]

    def call_guest(self, function: str, data: bytes) -> bytes:
        async def call() -> bytes:
            program = await self.host.engine.load(GUEST.read_bytes())
            return (await program.call(function, data, CallOptions(limits=Limits(memory=64 * MIB)))).output

        output: bytes = self._run(call)
        return output

    def measure(self, regex: Regex, text: str) -> Verdict:
        """What the ApplyRegex node makes of it."""
        rule = {"pattern": regex.pattern, "flags": regex.flags, "replacement": MARK}
        data = json.dumps({"inputs": {"inputText": text, "inlineRegexRules": [rule]}, "config": {}, "run": {}})

        async def call() -> bytes:
            return (await self._node.call("apply_regex", data.encode())).output

        try:
            found = json.loads(self._run(call))["outputs"]["outputText"]
        except InnkeeperError as error:
            if "is no regular expression" in str(error):
                return INVALID
            return TIMEOUT
        return MATCH if MARK in found else NO


MARK = "\N{SNOWMAN}mark"


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    started: Future[Both] = Future()
    ended = trio.Event()

    async def serve() -> None:
        async with innkeeper.open_host() as host, open_regex_engine(host.engine) as ours:
            token = trio.lowlevel.current_trio_token()
            node = await host.load(ROOT / "plugins" / "core-messages.wasm")
            started.set_result(Both(host, node, ours, lambda work: trio.from_thread.run(work, trio_token=token)))
            await ended.wait()

    with ThreadPoolExecutor(1) as executor:
        served = executor.submit(trio.run, serve)
        wait((started, served), return_when=FIRST_COMPLETED)
        if not started.done():
            served.result()
        made = started.result()
        yield made
        made._run(_setting(ended))
        served.result()


def _setting(event: trio.Event) -> Callable[[], Any]:
    async def work() -> None:
        event.set()

    return work


# Semantics

CASES = [
    ("a.c", "i", "xABC", MATCH),
    ("a.c", "", "a\nc", NO),
    ("a.c", "s", "a\nc", MATCH),
    ("^b$", "", "a\nb\n", NO),
    ("^b$", "m", "a\nb\n", MATCH),
    ("b$", "", "b\n", NO),
    (r"\bZoë\b", "", "Zoë!", NO),
    (r"(?:^|\W)龙(?:$|\W)", "", "红龙来了", MATCH),
    (r"\d", "", "٣", NO),
    ("s", "i", "ſ", NO),
    ("s", "iu", "ſ", MATCH),
    ("ı", "i", "I", NO),
    ("ß", "i", "ẞ", NO),
    ("ß", "iu", "ẞ", MATCH),
    ("é", "i", "É", MATCH),
    ("^.$", "", "🐉", NO),
    ("^.$", "u", "🐉", MATCH),
    ("^..$", "", "🐉", MATCH),
    (r"\u{1F409}", "u", "🐉", MATCH),
    (r"\u{1F409}", "", "🐉", NO),
    ("🐉", "", "🐉", MATCH),
    ("[🐉]", "u", "🐉", MATCH),
    ("^[🐉]$", "", "🐉", NO),
    (r"\ud83d", "", "🐉", MATCH),
    (r"\ud83d", "u", "🐉", NO),
    ("\ud83d", "", "🐉", MATCH),
    ("\ud83d", "", "x\ud83dx", MATCH),
    (r"\p{L}", "u", "龙", MATCH),
    (r"\p{L}", "", "龙", NO),
    (r"^\p{RGI_Emoji}$", "v", "👨‍👩‍👧", MATCH),
    ("b", "y", "ab", NO),
    ("b", "g", "ab", MATCH),
    ("b", "d", "ab", MATCH),
    ("b", "gg", "ab", INVALID),
    ("b", "uv", "ab", INVALID),
    ("b", "x", "ab", INVALID),
    ("b", "I", "ab", INVALID),
    ("[", "", "[", INVALID),
    ("(?<n>a)\\k<n>", "", "aa", MATCH),
    ("(?<=\\$)\\d+", "", "costs $42", MATCH),
    ("[^]", "", "\n", MATCH),
    ("[]", "", "anything", NO),
    ("", "", "", MATCH),
    ("a\0b", "", "a\0b", MATCH),
    ("\x01Al:[^\x01]*?hi", "", "\x01Al: oh hi", MATCH),
    (r"\x01Al:[^\x01]*?hi", "", "\x01Bo: oh\n\x01Al: hi", MATCH),
    (r"\cJ", "", "\n", MATCH),
    ("(?i:A)b", "", "ab", MATCH),
    ("a{2,1}", "", "aa", INVALID),
    ("(?<n>a)|(?<n>b)", "", "b", MATCH),
    ("\\", "", "\\", INVALID),
    ("]", "", "]", MATCH),
    ("]", "u", "]", INVALID),
]


@pytest.mark.parametrize(("pattern", "flags", "text", "expected"), CASES)
def test_an_expression_means_what_it_means_in_javascript(
    both: Both, pattern: str, flags: str, text: str, expected: Verdict
) -> None:
    assert both.one(pattern, text, flags) is expected
    if "\ud83d" not in text + pattern:
        assert both.measure(Regex(pattern, flags), text) is expected


ATOMS = st.one_of(
    st.sampled_from(list("abcAB09 _-,.^$|()[]{}*+?\\/\n\x01éß龙🐉ſK")),
    st.sampled_from(
        [
            *(r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\b", r"\B", r"\n", r"\x41", r"\u0041", r"\u{1F409}", r"\cA"),
            *(r"\1", r"\k<n>", r"\p{L}", r"\P{Lu}", r"\p{Script=Han}", r"\0", r"\/", r"\-", "a{2}", "{0,3}", "{2,}"),
            *("(?:", "(?=", "(?!", "(?<=", "(?<!", "(?<n>", "[^", "[a-z]", "[^]", "[]", "*?", "+?", "??", "(?i:", "&&"),
        ]
    ),
)
PATTERNS = st.lists(ATOMS, max_size=9).map("".join) | st.lists(
    st.sampled_from(["(a|b)*", "(?:ab)+", "[a-c]{1,3}", "(\\w)\\1", "(?<!a)b", "(?=B)", "龙|龍", "^a", "b$", "\\bA"]),
    max_size=4,
).map("".join)
FLAGS = st.sets(st.sampled_from("dgimsuvy"), max_size=4).map(lambda chosen: "".join(sorted(chosen)))
TEXTS = st.lists(
    st.sampled_from(["a", "b", "ab", "A", "B", "K", "ſ", "é", "É", "ß", "龙", "🐉", " ", "\n", "\x01", "0", "_", "-"]),
    max_size=12,
).map("".join)


@settings(deadline=None, max_examples=400)
@given(pattern=PATTERNS, flags=FLAGS, text=TEXTS)
def test_no_generated_expression_differs_from_the_engine_of_the_applyregex_node(
    both: Both, pattern: str, flags: str, text: str
) -> None:
    ours, theirs = both.one(pattern, text, flags), both.measure(Regex(pattern, flags), text)
    # The two count what an expression may cost each in its own way.
    assume(TIMEOUT not in (ours, theirs))
    assert ours is theirs


@settings(deadline=None, max_examples=150)
@given(
    needle=st.text(alphabet="aB1_-éΣς龙ß", min_size=1, max_size=3),
    text=st.text(alphabet="aAbB1_ -éÉΣσς龙\n", max_size=14),
)
def test_a_whole_word_of_world_info_is_what_its_expression_in_javascript_matches(
    both: Both, needle: str, text: str
) -> None:
    word = Word(needle.lower(), case_sensitive=False, whole=True)
    expression = f"(?:^|\\W)({word.text.replace('-', '[-]')})(?:$|\\W)"
    assert (both.one(expression, text.lower()) is MATCH) == occurs(word, text.lower())


def test_the_same_expression_twice_and_many_of_them_keep_their_order(both: Both) -> None:
    regexes = [Regex(f"x{at % 70}y") for at in range(200)]
    assert both.test(regexes, "x7y x69y") == [MATCH if at % 70 in (7, 69) else NO for at in range(200)]
    assert both.test([], "text") == []


# Attacks

BOMBS = [
    Regex("(a+)+$"),
    Regex("(a|aa)+$"),
    Regex("((a*)*)*Z"),
    Regex("(?=(a+))a*b\\1"),
    Regex("(.*)\\1\\1\\1\\1$"),
    Regex("(.*)(.*)(.*)\\3\\2\\1$", "i"),
    Regex("a{1000000000}"),
    Regex("(?:a{0,65535}){0,65535}b"),
    Regex("[^]*" * 200 + "q"),
    Regex(r"\p{RGI_Emoji}" * 150, "iv"),
]


def test_what_explodes_times_out_alone_and_the_rest_of_the_batch_is_answered(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is.
    monkeypatch.setattr(batch, "CPU_TOTAL", 600.0)
    mixed = [each for bomb in BOMBS for each in (bomb, Regex("ok"), Regex("ko"), Regex("("))]
    text = "a" * 5000 + "!ok"
    verdicts = both.test(mixed, text)
    assert verdicts[0::4] == [TIMEOUT] * len(BOMBS)
    assert verdicts[1::4] == [MATCH] * len(BOMBS)
    assert verdicts[2::4] == [NO] * len(BOMBS)
    assert verdicts[3::4] == [INVALID] * len(BOMBS)
    assert both.one("ok", text) is MATCH


@pytest.mark.parametrize(
    ("opening", "closing", "flags"),
    [("(", ")", ""), ("(?:", ")", ""), ("(?=", ")", ""), ("(?<!", ")", "u"), ("[", "]", "v"), ("[^", "]", "iv")],
)
def test_deep_nesting_ends_in_a_verdict(both: Both, opening: str, closing: str, flags: str) -> None:
    for depth in (10, 200, 400):
        pattern = opening * depth + "a" + closing * depth
        if len(pattern) <= 2000:
            assert both.one(pattern, "a", flags) in (MATCH, NO, INVALID)


def test_what_refused_expressions_leave_is_not_held_against_others(both: Both) -> None:
    refused = [Regex(f"(?<n{at}>[a-z{at}" + "(?:[\\w&&" * 9, "v" * (at % 2)) for at in range(300)]
    hungry = Regex("^(?:[^])*$")
    verdicts = both.test([hungry, *refused, hungry], "x" * 500_000)
    assert verdicts == [MATCH, *[INVALID] * 300, MATCH]


def test_a_pattern_that_no_entry_may_have_is_invalid_and_a_text_beyond_the_bound_is_not_looked_at(both: Both) -> None:
    assert both.one("a" * 2001, "a" * 3000) is INVALID
    assert both.test([Regex("a"), Regex("a", "?")], "a" * (engine.MOST_TEXT + 1)) == [TIMEOUT, INVALID]


def test_the_longest_text_is_matched_and_what_holds_too_much_of_it_times_out(both: Both) -> None:
    text = "红" * (engine.MOST_TEXT - 1) + "x"
    assert both.test([Regex("x$"), Regex("(?:红)*z"), Regex("^(红(红))*x"), Regex("^红")], text) == [
        MATCH,
        TIMEOUT,
        TIMEOUT,
        MATCH,
    ]


def test_a_batch_has_a_bound_and_says_timeout_beyond_it(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "STEPS_TOTAL", 2 * batch.STEPS_EACH)
    bombs = [Regex(f"(a+)+{at}$") for at in range(5)]
    assert both.test([*bombs, Regex("a")], "a" * 3000) == [*[TIMEOUT] * 5, MATCH]
    bombs = [Regex(f"(a+)+{at}$") for at in range(200)]
    assert both.test([*bombs, Regex("a")], "a" * 3000) == [TIMEOUT] * 201
    monkeypatch.setattr(batch, "CPU_TOTAL", 1e-9)
    assert both.test([Regex(f"b{at}") for at in range(batch.CHUNK + 1)], "b1 b32") == [
        MATCH if at in (1, 3) else NO if at < batch.CHUNK else TIMEOUT for at in range(batch.CHUNK + 1)
    ]


def test_equal_batches_have_equal_verdicts(both: Both) -> None:
    regexes = [Regex("(a|b)*c" + "a?" * at) for at in range(20)] + [Regex("(a+b)+(ab)+c"), Regex("(a|b|ab)*c")]
    text = "ab" * 100
    assert both.test(regexes, text) == both.test(regexes, text)


def test_a_cancelled_batch_leaves_an_engine_that_works(both: Both) -> None:
    async def cancelled() -> bool:
        with trio.move_on_after(0.02) as scope:
            await both.ours.test([Regex(f"(a+)+{at}$") for at in range(500)], "a" * 5000)
        return scope.cancelled_caught

    assert both._run(cancelled)
    assert both.one("a", "a") is MATCH


def test_many_batches_at_once_do_not_mix(both: Both) -> None:
    async def crowd() -> list[bool]:
        found: list[bool] = []

        async def one(number: int) -> None:
            regexes = [Regex(f"^t{other}$") for other in range(20)]
            verdicts = await both.ours.test(regexes, f"t{number}")
            found.append([verdict is MATCH for verdict in verdicts] == [other == number for other in range(20)])

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
        return found

    assert both._run(crowd) == [True] * 20


@settings(deadline=None, max_examples=150)
@given(function=st.sampled_from(["begin", "test"]), data=st.binary(max_size=60))
def test_no_bytes_make_the_guest_trap(both: Both, function: str, data: bytes) -> None:
    trapped = False
    try:
        both.call_guest(function, data)
    except GuestError as error:
        trapped = error.trap
    assert not trapped


def test_the_guest_can_ask_the_host_for_nothing() -> None:
    assert {wanted.module for wanted in parse(GUEST.read_bytes()).imports} == {"extism:host/env"}


def test_the_guest_and_its_sources_are_those_that_were_recorded_and_its_licences_are_in_it() -> None:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    again = "run `make plugins` and commit what it writes"
    record = tomllib.loads((GUEST.parent / "SOURCES.toml").read_text("utf-8"))["regexes.wasm"]
    assert digest(GUEST) == record["sha256"], again
    assert {path: digest(ROOT / path) for path in record["sources"]} == record["sources"], again
    own = {f"pdk-samples/regexes/{path.name}" for path in (ROOT / "pdk-samples" / "regexes").glob("*.[cp]*")}
    assert own < set(record["sources"]), again
    (licences,) = parse(GUEST.read_bytes()).custom["licenses"]
    assert b"Fabrice Bellard" in licences
    assert GUEST.stem not in {path.stem for path in (ROOT / "plugins").glob("*.wasm")}


async def test_a_guest_that_is_not_there_is_a_defect_of_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Place:
        plugins = tmp_path

    class Nothing:
        async def load(self, *_: object, **__: object) -> Any:
            raise AssertionError

    monkeypatch.setattr(engine, "shipped_place", Place)
    async with open_regex_engine(Nothing()) as made:  # type: ignore[arg-type]
        assert await made.test([Regex("(", "zz")], "text") == [INVALID]
        with pytest.raises(InternalError, match="cannot be read"):
            await made.test([Regex("a")], "text")


# What is written


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("/a.c/i", Regex("a.c", "i")),
        ("/a/b/", None),
        (r"/a\/b/", Regex(r"a\/b")),
        (r"/a\\/b/", Regex(r"a\\/b")),
        ("//", None),
        ("///", None),
        ("/a/x", None),
        ("/a/gg", Regex("a", "gg")),
        ("/a/gimsuy", Regex("a", "gimsuy")),
        ("/a/d", None),
        ("/a/v", None),
        ("/a", None),
        ("a/", None),
        (" /a/", None),
        ("/a/ ", None),
        ("/a\nb/m", Regex("a\nb", "m")),
        ("/[/]/", None),
        ("", None),
    ],
)
def test_a_key_between_slashes_is_an_expression_where_no_slash_inside_is_bare(key: str, expected: Regex | None) -> None:
    assert read_key(key) == expected


@given(st.text(max_size=30), st.text(alphabet="dgimsuvyx", max_size=4))
def test_any_pattern_can_be_sent(pattern: str, flags: str) -> None:
    sent = encode_regex(Regex(pattern, flags))
    assert (sent is None) == (len(set(flags)) < len(flags) or "x" in flags or {"u", "v"} <= set(flags))
    assert sent is None or int.from_bytes(sent[4:8], "little") == len(sent) - 8


def test_a_text_is_sent_as_javascript_keeps_it() -> None:
    assert encode_begin("é", 1, 2, 3)[12:] == b"\1\0\0\0\xe9"
    assert encode_begin("龙\ud83d", 1, 2, 3)[12:] == b"\2\0\0\0" + "龙".encode("utf-16-le") + b"\x3d\xd8"


@pytest.mark.parametrize("answer", [b"", b"\0", b"\7\0\0\0\0", bytes(6)])
def test_an_answer_that_is_none_of_the_guests_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match="something else"):
        decode_test(answer, 1)
