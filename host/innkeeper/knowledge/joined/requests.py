"""What a guest or a command asks of activation and assembly, checked and made ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from innkeeper.knowledge.activation.interface import Active, Message, Request
from innkeeper.knowledge.assembly.inputs import Inputs

_UNMATCHED: Final = 1000
"""Entries without a match that a whole trace lists."""

_ROLES: Final = ("system", "user", "assistant")
_ACTIVE: Final[Mapping[str, tuple[type, ...]]] = {
    "base": (str,),
    "entry": (str,),
    "name": (str,),
    "text": (str,),
    "priority": (int, float),
    "placement": (str,),
    "role": (str, type(None)),
    "depth": (int, type(None)),
    "outlet": (str,),
    "tokens": (int,),
    "exclude_from_history": (bool,),
    "entry_type": (str,),
    "critical": (bool,),
}
_DEFAULTS: Final[Mapping[str, Any]] = {
    "base": "",
    "entry": "",
    "name": "",
    "text": "",
    "priority": 100,
    "placement": "before_prompt",
    "role": None,
    "depth": None,
    "outlet": "",
    "tokens": 0,
    "exclude_from_history": False,
    "entry_type": "",
    "critical": False,
}


def messages_of(given: Sequence[Any], where: str = "messages") -> list[Message]:
    """A conversation of plain data.

    Raises:
        ValueError: one of them is no message; says which.
    """
    found = []
    for at, each in enumerate(given):
        if not isinstance(each, Mapping):
            raise ValueError(f"{where}[{at}]: is no map of content, role and name")
        content, role, name = each.get("content"), each.get("role", "user"), each.get("name", "")
        if not isinstance(content, str):
            raise ValueError(f"{where}[{at}].content: is not text")
        if role not in _ROLES:
            raise ValueError(f"{where}[{at}].role: must be one of {', '.join(_ROLES)}")
        if not isinstance(name, str) or len(name) > 200:
            raise ValueError(f"{where}[{at}].name: must be text of at most 200 characters")
        found.append(Message(content, role, name))
    return found


def texts_of(given: Mapping[str, Any], where: str = "texts") -> dict[str, str]:
    """Texts by name.

    Raises:
        ValueError: one of them is no text.
    """
    for name, text in given.items():
        if not isinstance(text, str):
            raise ValueError(f"{where}.{str(name)[:60]}: is not text")
    return dict(given)


def request_of(given: Mapping[str, Any]) -> Request:
    """What activation is asked, of the arguments of `kb.activate`.

    Raises:
        ValueError: a message or a text is none.
    """
    return Request(
        messages=messages_of(given["messages"]),
        texts=texts_of(given["texts"]),
        injected=list(given["injected"]),
        scan_depth=given["scan_depth"],
        budget=given["budget"],
        recursion=given["recursion"],
        variables=dict(given["variables"]),
        session=given["session"],
        seed=given["seed"],
        trigger=given["trigger"],
        character=given["character"],
        character_tags=tuple(given["character_tags"]),
        user=given["user"],
        scope=tuple(given["scope"]),
        force=tuple(given["force"]),
        dry_run=given["dry_run"],
        related=given["related"],
        explain=tuple(given["explain"]),
        unmatched=_UNMATCHED if given["trace"] == "all" else 0,
    )


def inputs_of(given: Mapping[str, Any]) -> Inputs:
    """What a prompt is put together from, of the arguments of `kb.assemble`.

    Raises:
        ValueError: an entry, a message or a text is none.
    """
    return Inputs(
        active=[_active(each, f"active[{at}]") for at, each in enumerate(given["active"])],
        history=messages_of(given["history"], "history"),
        user_input=given["user_input"] or None,
        examples=list(given["examples"]),
        texts=texts_of(given["texts"]),
        llm_parameters=dict(given["parameters"]),
    )


def _active(given: Any, where: str) -> Active:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: is no map, as kb.activate gives them")
    values: dict[str, Any] = {}
    for name, kinds in _ACTIVE.items():
        value = given.get(name, _DEFAULTS[name])
        wrong = isinstance(value, bool) and bool not in kinds
        if wrong or not isinstance(value, kinds):
            raise ValueError(f"{where}.{name}: is not as kb.activate gives it")
        values[name] = value
    media, tags = given.get("media"), given.get("tags", ())
    if media is not None and not (_texts(media) and len(media) == 2):
        raise ValueError(f"{where}.media: must be nil, or a path and a MIME type")
    if not _texts(tags):
        raise ValueError(f"{where}.tags: must be a list of texts")
    if values["depth"] is not None and values["depth"] < 0:
        raise ValueError(f"{where}.depth: must not be below 0")
    return Active(**values, media=None if media is None else (media[0], media[1]), tags=tuple(tags))


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
