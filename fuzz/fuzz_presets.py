"""Presets of SillyTavern: bytes, changed examples, and objects with the right keys and odd values.

Whatever it is: a preset that becomes a workflow, or KnowledgeError with lines that can be printed. The workflow is one
that this host reads, its template one that the assembler reads, and no value of a field for secrets is in it.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import Any

from fuzz.mutation import assert_printable, mutated, outline, plain, reshaped, text
from fuzz.target import MIB, Target

from innkeeper.knowledge.assembly.template import read_template
from innkeeper.knowledge.interchange.preset_workflow import workflow_of
from innkeeper.knowledge.interchange.presets import read_preset
from innkeeper.knowledge.interchange.secret_fields import is_secret
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.workflow.formats.payload import read_payload

_SECRET = "a-secret-value"
_PRESETS: tuple[dict[str, Any], ...] = (
    {
        "temperature": 1, "openai_max_context": 4096, "openai_max_tokens": 300, "proxy_password": _SECRET,
        "prompts": [
            {"identifier": "main", "content": "{{char}}", "role": "system"},
            {"identifier": "x", "content": "deep", "injection_position": 1, "injection_depth": 2},
            {"identifier": "chatHistory", "marker": True},
        ],
        "prompt_order": [{"character_id": 100001, "order": [
            {"identifier": "main", "enabled": True}, {"identifier": "x", "enabled": True},
            {"identifier": "chatHistory", "enabled": True}, {"identifier": "worldInfoBefore", "enabled": True}]}],
    },
    {"story_string": "{{#if system}}{{system}}{{/if}}", "chat_start": "***"},
    {"instruct": {"input_sequence": "<u>", "output_sequence": "<a>{{name}}"}, "sysprompt": {"content": "s"},
     "preset": {"temp": 1, "rep_pen": 1.1, "api_key": _SECRET}},
    {"main_prompt": "m", "jailbreak_prompt": "j"},
)  # fmt: skip
_KEYS = ("prompts", "prompt_order", "order", "identifier", "enabled", "content", "role", "injection_position",
         "injection_depth", "character_id", "story_string", "instruct", "context", "sysprompt", "preset", "temp",
         "proxy_password", "apiKey", "name", "names_behavior", "wrap", "stop_sequence", "input_suffix")  # fmt: skip
_WORDS = (
    *(f'"{key}"'.encode() for key in _KEYS),
    b"100001",
    b"true",
    b"null",
    b"{}",
    b"[]",
    b"-1",
    b"\xff",
    b"\\ud800",
)


class Fuzz(Target):
    """An input is the bytes of a file."""

    guided = True
    address_space = 1536 * MIB
    hang = 20.0

    def seeds(self) -> Sequence[bytes]:
        return tuple(json.dumps(preset).encode() for preset in _PRESETS)

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(6):
            case 0:
                return mutated(rng, rng.choice(pool), pool, _WORDS)
            case 1:
                odd = {rng.choice((*_KEYS, text(rng))): plain(rng, 3) for _ in range(rng.randrange(8))}
                return json.dumps(odd).encode("utf-8", "replace")
            case _:
                value: Any = rng.choice(_PRESETS)
                for _ in range(rng.choice((1, 2, 3, 5))):
                    value = reshaped(rng, value)
                return json.dumps(value).encode("utf-8", "replace")

    async def check(self, data: bytes) -> str:
        before = time.thread_time()
        try:
            preset = read_preset(data, "preset.json")
            made = workflow_of(preset)
            stored = workflow_of(preset, stored=True)
        except KnowledgeError as error:
            assert_printable(error.message, 25_000)
            return f"refused {outline(error.message)}"
        payload = read_payload(json.dumps(made, allow_nan=False).encode())
        template = next(node for node in payload.nodes if node.id == "assembler").config_values["template"]
        read_template(template)
        assert not list(_secrets(made))
        assert not list(_secrets(stored))
        assert time.thread_time() - before < 8
        return f"{preset.kind} {len(payload.nodes)} {len(preset.problems)} {len(preset.dropped)}"


def _secrets(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            if is_secret(key):
                yield key
            yield from _secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)
