"""What a translation loses, kept beside the result, so that translating back gives the original, edits apart.

A translation makes `made` where the original is `own`. The residue lists only where they differ, each with what was
made. Later the same translation runs again: where it makes the same, the original returns; where it makes something
else, somebody edited it meanwhile, and the edit counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

_ABSENT: Final = object()
_SHORT = 100


def residue(own: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """What `restored` needs to make `own` of `made`.

    Args:
        own: the original, plain data.
        made: what a translation made of it and back.

    Returns:
        plain data; {} where they are equal, types of numbers and absence included.
    """
    found: dict[str, Any] = {}
    for key in (*own, *(key for key in made if key not in own)):
        mine, other = own.get(key, _ABSENT), made.get(key, _ABSENT)
        if _same(mine, other):
            continue
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            found[key] = {"in": residue(mine, other)}
            continue
        found[key] = _seen(other)
        if mine is not _ABSENT:
            found[key]["own"] = mine
    return found


def restored(made: Mapping[str, Any], rest: object) -> dict[str, Any]:
    """The original, except where `made` is not what it was.

    Args:
        made: what the translation makes now; not changed.
        rest: a residue; from a file, so anything at all: what does not fit is left out.
    """
    out = dict(made)
    if not isinstance(rest, Mapping):
        return out
    for key, each in rest.items():
        if not isinstance(each, Mapping):
            continue
        now = out.get(key, _ABSENT)
        if "in" in each:
            if isinstance(now, Mapping):
                out[key] = restored(now, each["in"])
        elif _same(_seen(now), {name: each[name] for name in ("made", "digest") if name in each}):
            if "own" in each:
                out[key] = each["own"]
            else:
                out.pop(key, None)
    return out


def _seen(value: object) -> dict[str, Any]:
    # Long texts are not kept twice.
    if value is _ABSENT:
        return {}
    if isinstance(value, int | float | None):
        return {"made": value}
    written = _written(value)
    if len(written) <= _SHORT:
        return {"made": value}
    return {"digest": hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()[:32]}


def _same(one: object, other: object) -> bool:
    # True == 1 == 1.0 in Python; they are three in a file.
    if type(one) is not type(other) or one != other:
        return False
    return not isinstance(one, dict | list) or _written(one) == _written(other)


def _written(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
