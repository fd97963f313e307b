"""Carries macros out: nested ones first, nothing twice, and no loops, so that every text ends."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

from innkeeper.knowledge.macros.builtins import FIELDS, FUNCTIONS, SIMPLE, Call
from innkeeper.knowledge.macros.chance import digest_of, picked
from innkeeper.knowledge.macros.clock import told
from innkeeper.knowledge.macros.context import (
    MOST_DEPTH,
    MOST_STEPS,
    MOST_TEXT,
    MOST_WORK,
    BoundError,
    Context,
    Rendered,
)
from innkeeper.knowledge.macros.joining import TRIM, Trim, dedented, joined
from innkeeper.knowledge.macros.syntax import Macro, Node, Raw, cut, paired, parse
from innkeeper.knowledge.macros.values import truthy
from innkeeper.knowledge.macros.variables import Variables, operate, operator_of

_LEGACY = re.compile(r"<(user|bot|char|group|charifnotgroup)>", re.IGNORECASE)
_NAMES: Final = {"user": "user", "bot": "char", "char": "char", "group": "group", "charifnotgroup": "charifnotgroup"}
_COMMENTS: Final = frozenset({"//", "comment", "hidden_key", "noop"})


def render(text: str, context: Context) -> str:
    """A text with its macros carried out. Touches nothing but its arguments, and changes neither.

    Args:
        text: of anybody.
        context: what macros can ask for.

    Returns:
        the text; as it was where a bound was met. Macros that are unknown stay, with those in them carried out.
    """
    return rendered(text, context).text


def rendered(text: str, context: Context, *, template: bool = False) -> Rendered:
    """As `render`, with the variables as they are afterwards and the bound that was met.

    Args:
        text: of anybody.
        context: what macros can ask for.
        template: whether a name that is unknown says nothing, as in templates, instead of staying.
    """
    if len(text) > MOST_TEXT:
        return _as_it_was(text, context, f"a text with macros has at most {MOST_TEXT:,} characters")
    if text.count("{{") > MOST_STEPS:
        return _as_it_was(text, context, f"a text has at most {MOST_STEPS:,} macros")
    if "{{" not in text and "<" not in text and "\\{" not in text:
        return _as_it_was(text, context, "")
    run = Run(text, context, template)
    try:
        out = run.text(parse(text))
        return Rendered(out, run.variables.all(), run.global_variables.all())
    except BoundError as bound:
        return _as_it_was(text, context, str(bound))


def _as_it_was(text: str, context: Context, note: str) -> Rendered:
    return Rendered(text, dict(context.variables), dict(context.global_variables), note)


class Run:
    """One text on its way."""

    def __init__(self, text: str, context: Context, template: bool) -> None:
        self.context = context
        self._template = template
        self.variables = Variables(context.variables)
        self.global_variables = Variables(context.global_variables)
        self.chance = random.Random(context.seed)  # noqa: S311 (no secret hangs on it)
        self._texts = [text]
        self._digests: dict[str, str] = {}
        self._values = {name.lower(): value for name, value in context.values.items()}
        self._inside: list[str] = []
        self._depth = 0
        self._steps = 0
        self._work = 0

    def text(self, nodes: Sequence[Node]) -> str:
        """What nodes say.

        Raises:
            BoundError: a bound was met.
        """
        out: list[str | Trim] = []
        for node in nodes:
            if isinstance(node, str):
                out.append(self._legacy(node))
            elif isinstance(node, Raw):
                out.append(node.text)
            else:
                said = self._macro(node)
                if isinstance(said, str):
                    self.spend(len(said))
                out.append(said)
        return joined(out)

    def pieces(self, nodes: Sequence[Node]) -> list[str]:
        """What each of several options says; commas separate them where nothing else does."""
        return [self.text(paired(piece)).strip().replace("\\,", ",") for piece in cut(nodes, ",")]

    def value(self, name: str) -> str | None:
        """What a macro without arguments says, or None where there is none of the name."""
        context = self.context
        match name:
            case "user":
                return context.user
            case "char":
                return context.char
            case "group":
                return context.group or context.char
            case "charifnotgroup":
                return context.group or context.char
        found = self._values.get(name)
        if found is None:
            return None
        if "{{" not in found and "<" not in found:
            return found
        if name in self._inside or len(self._inside) >= MOST_DEPTH:
            # It would say itself.
            return found
        if len(found) > MOST_TEXT or found.count("{{") > MOST_STEPS:
            raise BoundError(f"a value with macros has more than {MOST_TEXT:,} characters or {MOST_STEPS:,} macros")
        # Reading it is work, whatever it says.
        self.spend(len(found))
        self._inside.append(name)
        self._texts.append(found)
        try:
            return self.text(parse(found))
        finally:
            self._texts.pop()
            self._inside.pop()

    def spend(self, characters: int) -> None:
        """Counts work.

        Raises:
            BoundError: it was too much.
        """
        self._work += characters
        if self._work > MOST_WORK:
            raise BoundError(f"macros would make more than {MOST_WORK:,} characters")

    def _legacy(self, text: str) -> str:
        if "<" not in text:
            return text
        return _LEGACY.sub(lambda found: self.value(_NAMES[found[1].lower()]) or "", text)

    def _macro(self, macro: Macro) -> str | Trim:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise BoundError(f"a text has more than {MOST_STEPS:,} macros")
        if self._depth >= 4 * MOST_DEPTH:
            raise BoundError("macros stand too deep inside each other")
        self._depth += 1
        try:
            said = self._said(macro)
            return self._unknown(macro) if said is None else said
        finally:
            self._depth -= 1

    def _said(self, macro: Macro) -> str | Trim | None:
        if macro.scope:
            return self._short_form(macro)
        name = macro.name
        if not name or macro.flag == "/":
            return None
        if name in _COMMENTS:
            return ""
        if name in ("if", "unless"):
            return self._condition(macro)
        if name == "trim":
            return TRIM if macro.body is None else self.text(macro.body).strip()
        if not macro.arguments and macro.body is None:
            return self._alone(name)
        if name in ("random", "pick"):
            return self._one_of(macro)
        arguments = [self.text(paired(argument)).strip() for argument in macro.arguments]
        if macro.body is not None:
            arguments.append(self._scoped(macro))
        function = FUNCTIONS.get(name)
        if function is not None:
            return function(self, Call(name, arguments))
        if name == "outlet" and arguments:
            return self.context.outlets.get(arguments[0], "")
        if self.context.now is not None:
            return told(name, arguments, self.context.now)
        return None

    def _alone(self, name: str) -> str | None:
        simple = SIMPLE.get(name)
        if simple is not None:
            return simple
        found = self.value(name)
        if found is None and self.context.now is not None:
            found = told(name, [], self.context.now)
        return "" if found is None and self._template else found

    def _one_of(self, macro: Macro) -> str:
        if len(macro.arguments) == 1 and macro.body is None:
            options = self.pieces(macro.arguments[0])
        else:
            options = [self.text(paired(argument)).strip() for argument in macro.arguments]
            if macro.body is not None:
                options.append(self._scoped(macro))
        if macro.name == "random":
            return self.chance.choice(options)
        text = self._texts[-1]
        if text not in self._digests:
            self._digests[text] = digest_of(text)
        return picked(options, self.context.stable, self._digests[text], macro.at)

    def _condition(self, macro: Macro) -> str | None:
        branches, asked = [macro.body], macro.arguments[:1]
        if macro.body is None:
            if len(macro.arguments) < 2:
                return None
            branches = [list(argument) for argument in macro.arguments[1:3]]
        else:
            branches = _branches(macro.body)
        holds = self._holds(asked[0] if asked else [])
        chosen = (holds if macro.name == "if" else not holds) is False
        if chosen and len(branches) < 2:
            return ""
        branch = branches[int(chosen)] or []
        if macro.body is None:
            return self.text(paired(branch)).strip()
        said = self.text(branch)
        return said if macro.flag == "#" else dedented(said)

    def _holds(self, nodes: Sequence[Node]) -> bool:
        first = nodes[0] if nodes else ""
        negative = isinstance(first, str) and first.lstrip().startswith("!")
        found: str | None = None
        if isinstance(first, str) and len(nodes) == 1:
            # The name of a macro, or a variable's short form, stands for what it says.
            named = parse("{{" + first.strip().removeprefix("!") + "}}")
            if len(named) == 1 and isinstance(named[0], Macro) and (named[0].scope or not named[0].arguments):
                said = self._said(named[0])
                found = said if isinstance(said, str) else None
                if found is None and named[0].name in FIELDS:
                    found = ""
        if found is None:
            found = self.text(paired(nodes)).strip()
            found = found[1:] if negative else found
        return truthy(found) is not negative

    def _short_form(self, macro: Macro) -> str | None:
        variables = self.variables if macro.scope == "." else self.global_variables
        first, *others = macro.arguments[0]
        assert isinstance(first, str)
        operator, rest = operator_of(first)
        if not operator and (rest.strip() or others):
            return None
        nodes = [rest, *others]
        return operate(variables, macro.name, operator, lambda: self.text(paired(nodes)).strip())

    def _scoped(self, macro: Macro) -> str:
        said = self.text(macro.body or [])
        return said if macro.flag == "#" else dedented(said)

    def _unknown(self, macro: Macro) -> str:
        inner = self.text(paired(macro.parts))
        body = "" if macro.body is None else self.text(macro.body) + "{{/" + macro.name + "}}"
        return "{{" + inner + "}}" + body


def _branches(body: Sequence[Node]) -> list[list[Node] | None]:
    for at, node in enumerate(body):
        if isinstance(node, Macro) and node.name == "else" and not node.flag and node.body is None:
            return [list(body[:at]), list(body[at + 1 :])]
    return [list(body)]
