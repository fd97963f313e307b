"""What {{char}}, {{user}} and {{variable}} mean in keys and texts. What is unknown stays as it is written, and what a
value contains is text, never looked at again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from innkeeper.knowledge.activation.compiled import CompiledEntry, Key
from innkeeper.knowledge.activation.content import Placeholder, cut
from innkeeper.knowledge.activation.interface import Request
from innkeeper.knowledge.activation.operators import said
from innkeeper.knowledge.keywords.boundaries import Mode
from innkeeper.knowledge.keywords.keys import Pattern, pattern_of
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.regexes.interface import Regex

MOST_VALUE: Final = 65_536
"""Characters of a value that is inserted. A longer one leaves its placeholder."""

MOST_KEYS: Final = 4096
"""Keys with macros that one request looks for; further ones are not met."""

_SPECIAL = re.compile(r"[\\^$.*+?()\[\]{}|/]")


class Macros:
    """What macros mean for one request.

    Attributes:
        variables: values by name; entries that become active add theirs.
        revision: how often they were changed.
    """

    def __init__(self, request: Request) -> None:
        self.variables: dict[str, Any] = dict(request.variables)
        self.revision = 0
        self._people = {name: text for name, text in (("char", request.character), ("user", request.user)) if text}
        self._texts: dict[str, str | None] = {}
        self._keys: dict[tuple[Key, bool, Mode], Pattern | Regex | None] = {}

    def define(self, variables: Mapping[str, Any]) -> None:
        """Sets variables."""
        self.variables.update(variables)
        self.revision += 1
        for name in variables:
            self._texts.pop(name, None)

    def text(self, name: str) -> str | None:
        """What stands for {{name}}, or None where nobody knows it."""
        if name not in self._texts:
            found = self._people.get(name.lower())
            if name in self.variables:
                value = self.variables[name]
                found = value if isinstance(value, str) else "" if value is None else said(value, quoted=False)
            self._texts[name] = found if found is None or len(found) <= MOST_VALUE else None
        return self._texts[name]

    def pattern(self, key: Key, entry: CompiledEntry) -> Pattern | None:
        """The word that a key with macros means now; None where it means none."""
        if key.regex is not None:
            return None
        made = self._made(key, entry)
        return made if isinstance(made, Pattern) else None

    def regex(self, key: Key, entry: CompiledEntry) -> Regex | None:
        """The regular expression that a key means now: values in it stand for themselves."""
        if key.regex is None or not key.macro:
            return key.regex
        made = self._made(key, entry)
        return made if isinstance(made, Regex) else None

    def _made(self, key: Key, entry: CompiledEntry) -> Pattern | Regex | None:
        known = (key, entry.sensitive, entry.mode)
        # A key means the same through a whole activation: it was looked for in the messages only once.
        if known not in self._keys:
            self._keys[known] = self._make(key, entry) if len(self._keys) < MOST_KEYS else None
        return self._keys[known]

    def _make(self, key: Key, entry: CompiledEntry) -> Pattern | Regex | None:
        if key.regex is not None:
            pattern = self._filled(key.regex.pattern, escaped=True)
            return Regex(pattern, key.regex.flags) if len(pattern) <= bounds.MOST_KEY else None
        word = self._filled(key.written)
        return pattern_of(word, sensitive=entry.sensitive, mode=entry.mode) if len(word) <= bounds.MOST_KEY else None

    def _filled(self, text: str, *, escaped: bool = False) -> str:
        parts = []
        for piece in cut(text):
            if isinstance(piece, str):
                parts.append(piece)
            elif isinstance(piece, Placeholder):
                value = self.text(piece.name)
                if value is None:
                    parts.append(piece.written)
                else:
                    # Longer than any key may be: what counts then is only that it is too long.
                    value = value[: bounds.MOST_KEY + 1]
                    parts.append(_SPECIAL.sub(r"\\\g<0>", value) if escaped else value)
            else:
                parts.append("{{{" + piece.written + "}}}")
        return "".join(parts)
