"""What the services offer, for people and for machines: docs/bridge.md and docs/bridge.json are made here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from innkeeper.bridge.offer import operations
from innkeeper.bridge.operation import Operation
from innkeeper.bridge.refusal import Refusal
from innkeeper.plugins.rights import FREE

_HEAD = """# The bridge: what a guest can ask the host for

Made by `python -m innkeeper.bridge md` from the declarations in `host/innkeeper/bridge/`; `docs/bridge.json` says the
same for machines. A test fails when either is out of date.

Each operation is a host function in the namespace `extism:host/user` that takes the offset of a block and returns one.
In the block given is a msgpack map of the arguments, in the one returned `{"ok": RESULT}` or `{"error": {"kind": KIND,
"message": TEXT, ...}}`. A plugin may import the functions of the capabilities that its manifest requests; one that
requests and was not granted gets `denied`, which its code can handle. An argument that is not given has its default.

| kind | when |
|---|---|
"""

_KINDS = {
    Refusal.DENIED: "the capability was not granted, or not for this scope; `capability` names it",
    Refusal.INVALID: "the arguments are not what the operation takes; the message says which",
    Refusal.NOT_FOUND: "there is no such thing",
    Refusal.CONFLICT: "something else is there than was expected; `current` is its version",
    Refusal.QUOTA: "a quota would be exceeded, or the plugin asks too often",
    Refusal.BUSY: "the host has too much to do; again later may work",
    Refusal.FAILED: "the service, or what it asked, did not do it; the host's log may say more",
    Refusal.CLOSED: "nobody is at the other end of the stream, or this end is closed",
    Refusal.CALLEE: "the function that was called did not end well; `cause` says how: `guest`, `limit`, `denied` ...",
    Refusal.UNAVAILABLE: "what it takes is not here or does not answer; asking again at once does not help",
}


def description() -> dict[str, Any]:
    """All operations as JSON data: name, import, capability, arguments as JSON Schema, result in words."""
    return {"namespace": "extism:host/user", "operations": [_as_data(each) for each in operations()]}


def as_json() -> str:
    """The text of docs/bridge.json."""
    return json.dumps(description(), indent=2, ensure_ascii=False) + "\n"


def as_markdown() -> str:
    """The text of docs/bridge.md."""
    lines = [_HEAD + "".join(f"| `{kind.value}` | {words} |\n" for kind, words in _KINDS.items())]
    service = ""
    for each in operations():
        if each.service != service:
            service = each.service
            lines.append(f"## `{service}`\n")
        lines.append(_section(each))
    return "\n".join(lines)


def _as_data(each: Operation) -> dict[str, Any]:
    return {
        "name": each.full_name,
        "import": each.import_name,
        "capability": each.capability,
        "scope_argument": each.use,
        "summary": each.summary,
        "arguments": _schema(each),
        "returns": each.returns,
    }


def _schema(each: Operation) -> dict[str, Any]:
    schema = each.arguments.model_json_schema()
    schema.pop("title", None)
    for name, field in schema.get("properties", {}).items():
        field.pop("title", None)
        field["description"] = each.described[name]
    return schema


def _section(each: Operation) -> str:
    schema = _schema(each)
    required = schema.get("required", ())
    rows = [
        f"| `{name}` | {_type(field)} | {'yes' if name in required else _default(field)} | {field['description']} |"
        for name, field in schema.get("properties", {}).items()
    ]
    relation = "for all that is in" if each.covers else "in the scope of"
    scope = f", {relation} `{each.use}`" if each.use else ""
    return "\n".join(
        [
            f"### `{each.full_name}`\n",
            f"{each.summary} Imported as `{each.import_name}`; {_needs(each, scope)}.\n",
            *([*_TABLE, *rows, ""] if rows else ()),
            f"Returns {each.returns}\n",
        ]
    )


def _needs(each: Operation, scope: str) -> str:
    return "needs no grant" if each.capability in FREE else f"needs `{each.capability}`{scope}"


_TABLE = ("| argument | type | required, or default | |", "|---|---|---|---|")


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return f"one of {', '.join(f'`{word}`' for word in field['enum'])}"
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    kind = kinds[0]
    name = {"string": "text", "integer": "integer", "number": "float", "boolean": "bool"}.get(
        kind.get("type", ""), {"array": "list", "object": "map"}.get(kind.get("type", ""), "any")
    )
    if kind.get("format") == "binary":
        name = "bytes"
    bounds = []
    if "minimum" in kind:
        bounds.append(f"at least {kind['minimum']:,}")
    if "exclusiveMinimum" in kind:
        bounds.append(f"above {kind['exclusiveMinimum']:g}")
    if "maximum" in kind:
        bounds.append(f"at most {kind['maximum']:,.0f}")
    if "maxLength" in kind:
        least = f"{kind['minLength']} to " if kind.get("minLength") else "at most "
        bounds.append(f"{least}{kind['maxLength']:,} {'bytes' if name == 'bytes' else 'characters'}")
    return f"{name}, {', '.join(bounds)}" if bounds else name


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    return "nil" if value is None else f"`{json.dumps(value)}`"
