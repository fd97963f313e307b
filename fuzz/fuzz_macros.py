"""Texts with macros: pieces of their grammar in any order, nested, repeated and torn.

Whatever it is: a text, the same each time, in bounded time and of bounded length, and nothing that was given changes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from fuzz.mutation import mutated, text
from fuzz.target import MIB, Target

from innkeeper.knowledge.macros.context import MOST_WORK, Context
from innkeeper.knowledge.macros.engine import rendered
from innkeeper.knowledge.macros.story import render_story

_PIECES = (
    "{{", "}}", "{{{", "}}}", "{", "}", "::", ":", ",", "\\,", " ", "\n", "!", "#", "/", "if", "/if", "else", "unless",
    "/unless", "setvar", "getvar", "addvar", "incvar", "/setvar", "char", "user", "random", "pick", "roll", "2d6+1",
    "reverse", "trim", "newline", "//", "///", "comment", ".v", "$v", "++", "--", "+=", "-=", "||", "??", "||=", "??=",
    "==", "!=", ">=", "<=", "<user>", "<BOT>", "time", "time_UTC+2", "datetimeformat", "YYYY", "outlet", "loop", "big",
    "description", "\\{\\{", "\\}\\}", "999999", "龙", "é",
)  # fmt: skip
_SEEDS = (
    "{{if .v}}{{setvar::x::{{char}}}}{{else}}{{random:a,b}}{{/if}}{{trim}}\n",
    "{{#if description}}{{description}}\n{{/if}}{{#unless x}}y{{/unless}}",
    "{{.x = 5}}{{.x++}}{{.x += 3}}{{.x}}{{.y ||= {{roll:2d6}}}}",
    "{{addvar::x::{{getvar::x}}}}" * 5,
)
_WORDS = tuple(piece.encode() for piece in _PIECES)
_CONTEXT = Context(
    char="Ignis",
    user="Ada",
    values={"description": "{{char}}{{big}}", "loop": "{{loop}}{{loop}}", "big": "{{user}}" * 50, "x": ""},
    outlets={"a": "b"},
    variables={"v": "3"},
    global_variables={"v": "g"},
    seed=7,
    stable="chat",
    now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)


class Fuzz(Target):
    """An input is a text in UTF-8; bytes that are none count as odd characters."""

    guided = True
    address_space = 1024 * MIB
    hang = 15.0

    def seeds(self) -> Sequence[bytes]:
        return tuple(seed.encode() for seed in _SEEDS)

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(6):
            case 0 | 1:
                return mutated(rng, rng.choice(pool), pool, _WORDS)
            case 2:
                return rng.choice(_WORDS) * rng.choice((3, 300, 30_000))
            case 3:
                inner = "".join(rng.choice(_PIECES) for _ in range(rng.randrange(6)))
                return ("{{" * rng.randrange(40) + inner + "}}" * rng.randrange(40)).encode()
            case _:
                pieces = (rng.choice(_PIECES) if rng.random() < 0.9 else text(rng) for _ in range(rng.randrange(40)))
                return "".join(pieces).encode("utf-8", "replace")

    async def check(self, data: bytes) -> str:
        given = data.decode("utf-8", "replace")
        before = time.thread_time()
        answer = rendered(given, _CONTEXT)
        assert len(answer.text) <= max(MOST_WORK, len(given)) + len(given)
        assert rendered(given, _CONTEXT) == answer
        assert isinstance(render_story(given, _CONTEXT), str)
        assert _CONTEXT.variables == {"v": "3"}
        assert time.thread_time() - before < 8
        shape = "".join(letter for letter in answer.text[:60] if letter in "{}:/#.$|?")
        return f"{answer.note} {len(answer.variables)} {len(answer.global_variables)} {shape[:12]}"
