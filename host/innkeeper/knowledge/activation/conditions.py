"""`trigger_conditions`: what must hold beside the words of an entry.

    {"type": "variable_check", "variable": "is_night", "operator": "equals", "value": true}
    {"type": "plugin", "plugin": "weather", "function": "is_raining", "arguments": {"place": "harbour"}}
    {"type": "all", "conditions": [...]}, {"type": "any", "conditions": [...]}, {"type": "not", "condition": {...}}

What cannot be read holds never, and `kb check` names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from innkeeper.knowledge.activation.operators import OPERATORS, UNARY, cost_of, holds, said
from innkeeper.knowledge.activation.questions import Asked, RegexTest
from innkeeper.knowledge.keywords.keys import regex_of
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.regexes.interface import Regex

MOST_NESTED: Final = 8
"""Conditions inside each other."""

MOST_NODES: Final = 1000
"""Conditions of one entry, those inside of others included."""

MOST_TESTED: Final = 16_384
"""Characters of a variable that a regular expression looks at."""


@dataclass(frozen=True, slots=True)
class PluginCheck:
    """A question to a plugin's function.

    Attributes:
        base, entry: whose condition asks.
        plugin, function: who is asked.
        payload: what it is given: `arguments` as the author wrote them, `variables` that the condition names, `base`,
            `entry`, `session` and `trigger`.
        key: equal for equal questions, which are asked once.
    """

    base: str
    entry: str
    plugin: str
    function: str
    payload: Mapping[str, Any] = field(hash=False, compare=False)
    key: str


@dataclass(frozen=True, slots=True)
class Node:
    """A condition as it was read.

    Attributes:
        kind: "variable", "regex", "plugin", "all", "any", "not" or "broken".
        variable, operator, value: of a check of a variable.
        regex: of the operator "matches".
        plugin, function, arguments, variables: of a question to a plugin.
        key: of a question to a plugin: equal for equal questions.
        nodes: those inside.
        problem: why it is broken.
    """

    kind: str
    variable: str = ""
    operator: str = ""
    value: Any = None
    regex: Regex | None = None
    plugin: str = ""
    function: str = ""
    arguments: Any = None
    variables: tuple[str, ...] = ()
    key: str = ""
    nodes: tuple[Node, ...] = ()
    problem: str = ""

    @property
    def text(self) -> str:
        """What it asks for, as a part of a sentence."""
        if self.kind in ("variable", "regex"):
            value = "" if self.operator in UNARY else f" {said(self.value)}"
            return f"variable {self.variable!r} {OPERATORS[self.operator]}{value}"
        if self.kind == "plugin":
            return f"{self.plugin}.{self.function} says yes"
        if self.kind == "broken":
            return f"a condition that cannot be read ({self.problem})"
        if self.kind == "not":
            return f"not: {self.nodes[0].text}"
        shown = [node.text for node in self.nodes[:5]]
        more = f" and {len(self.nodes) - 5} more" if len(self.nodes) > 5 else ""
        return f"{self.kind} of ({'; '.join(shown)}{more})"


def read_conditions(documents: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """What an entry's conditions say.

    Args:
        documents: as the entry has them; plain data of any kind.
    """
    left = [MOST_NODES]
    return tuple(_read(document, 0, left) for document in documents)


def _broken(problem: str) -> Node:
    return Node("broken", problem=problem)


def _read(document: Any, depth: int, left: list[int]) -> Node:
    left[0] -= 1
    if left[0] < 0:
        return _broken(f"an entry has at most {MOST_NODES:,} conditions")
    if depth > MOST_NESTED:
        return _broken(f"conditions lie at most {MOST_NESTED} deep in each other")
    if not isinstance(document, Mapping):
        return _broken("it is no object")
    kind = document.get("type")
    if kind == "variable_check":
        return _read_variable(document)
    if kind == "plugin":
        return _read_plugin(document)
    if kind in ("all", "any"):
        inner = document.get("conditions")
        if not isinstance(inner, list) or not inner:
            return _broken(f"{kind!r} needs a list of conditions that is not empty")
        return Node(kind, nodes=tuple(_read(each, depth + 1, left) for each in inner[:MOST_NODES]))
    if kind == "not":
        return Node("not", nodes=(_read(document.get("condition"), depth + 1, left),))
    return _broken(f"its type {said(kind)} is unknown")


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= bounds.MOST_NAME


def _read_variable(document: Mapping[str, Any]) -> Node:
    variable, operator, value = document.get("variable"), document.get("operator", "equals"), document.get("value")
    if not _is_name(variable):
        return _broken("it names no variable")
    if not isinstance(operator, str) or operator not in OPERATORS:
        return _broken(f"its operator {said(operator)} is unknown")
    if operator not in UNARY and "value" not in document:
        return _broken(f"its operator {operator!r} needs a value")
    if operator == "matches":
        if not isinstance(value, str) or not value:
            return _broken("'matches' needs a regular expression as its value")
        return Node("regex", variable, operator, value, regex_of(value) or Regex(value))
    if operator == "in" and not isinstance(value, list | str):
        return _broken("'in' needs a list or a text as its value")
    return Node("variable", variable, operator, value)


def _read_plugin(document: Mapping[str, Any]) -> Node:
    plugin, function = document.get("plugin"), document.get("function")
    if not _is_name(plugin) or not _is_name(function):
        return _broken("it names no plugin and function")
    named = document.get("variables", [])
    if not isinstance(named, list) or not all(_is_name(each) for each in named):
        return _broken("its variables are no list of names")
    arguments = document.get("arguments")
    key = said([plugin, function, arguments, named], quoted=False)
    return Node("plugin", plugin=plugin, function=function, arguments=arguments, variables=tuple(named), key=key)


@dataclass(slots=True)
class Asker:
    """Whose conditions are looked at, and with what.

    Attributes:
        base, entry: whose.
        variables: values by name.
        context: what plugins are told beside the arguments: session and trigger.
        revision: of the variables: what was asked before with the same is not asked again.
        asked: answers so far, and what is still to be asked.
    """

    base: str
    entry: str
    variables: Mapping[str, Any]
    revision: int
    context: Mapping[str, str]
    asked: Asked


def value_of(variables: Mapping[str, Any], name: str) -> tuple[Any, bool]:
    """A variable's value, and whether it is there; "a.b" is also b inside of a."""
    if name in variables:
        return variables[name], True
    found: Any = variables
    for step in name.split(".")[:16]:
        if not isinstance(found, Mapping) or step not in found:
            return None, False
        found = found[step]
    return found, True


def decide(node: Node, asker: Asker) -> bool | None:
    """Whether a condition holds; None where an answer is awaited, which `Asked.open` then names."""
    if node.kind == "variable":
        value, there = value_of(asker.variables, node.variable)
        return asker.asked.affords(cost_of(value) + cost_of(node.value)) and holds(
            node.operator, value, there, node.value
        )
    if node.kind == "regex":
        value, _ = value_of(asker.variables, node.variable)
        assert node.regex is not None
        if not isinstance(value, str | int | float):
            return False
        text = said(value, quoted=False)[:MOST_TESTED]
        return asker.asked.regex(RegexTest(node.regex, text))
    if node.kind == "plugin":
        # Not by the values of variables, which may be megabytes: they change with their revision only.
        key = f"{asker.base}\0{asker.entry}\0{asker.revision}\0{node.key}"
        return asker.asked.affords(1) and asker.asked.plugin(key, lambda: _check(node, asker, key))
    if node.kind == "not":
        inner = decide(node.nodes[0], asker)
        # What cannot be read does not hold the other way round, either.
        return None if inner is None else not inner and not _is_broken(node.nodes[0])
    if node.kind in ("all", "any"):
        ends = node.kind == "any"
        # All are asked, also where the first is open: one round of questions is enough then.
        answers = [decide(each, asker) for each in node.nodes]
        return ends if ends in answers else None if None in answers else not ends
    return False


def _is_broken(node: Node) -> bool:
    return node.kind == "broken" or (node.kind != "all" and any(_is_broken(each) for each in node.nodes))


def _check(node: Node, asker: Asker, key: str) -> PluginCheck:
    named = {name: value_of(asker.variables, name)[0] for name in node.variables}
    payload = {"arguments": node.arguments, "variables": named, "base": asker.base, "entry": asker.entry}
    payload.update(asker.context)
    return PluginCheck(asker.base, asker.entry, node.plugin, node.function, payload, key)


def first_failing(nodes: Sequence[Node], asker: Asker) -> tuple[bool | None, str]:
    """Whether all conditions of an entry hold, None where answers are awaited; and the first that does not, said."""
    open_ = False
    # Variables are at hand: nobody is asked about an entry that they hold back.
    for node in sorted(nodes, key=_asks):
        answer = decide(node, asker)
        open_ = open_ or answer is None
        if answer is False:
            now = ""
            if node.kind in ("variable", "regex"):
                value, there = value_of(asker.variables, node.variable)
                now = f", it is {said(value)}" if there else ", it is not set"
            return False, f"its condition does not hold: {node.text}{now}"
    return (None if open_ else True), ""


def _asks(node: Node) -> bool:
    return node.kind in ("regex", "plugin") or any(_asks(each) for each in node.nodes)
