"""References of a run's project in what guests give and get: a guest knows its project's own bases by them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from innkeeper.bridge.caller import Caller


class References:
    """What the references of one caller's run stand for."""

    def __init__(self, caller: Caller) -> None:
        self._rights = caller.rights
        self._known = {} if caller.run is None else caller.run.run.bases
        local = [(reference, each) for reference, each in self._known.items() if each.base != each.own]
        self._own = {each.base: each.own for _, each in local}
        self._shown = {each.base: reference for reference, each in reversed(local)}

    def readable(self, base: str) -> bool:
        """Whether the caller may read a base, as services have it."""
        return self._rights.allows("kb.read", self._own.get(base, base))

    def resolved(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Rows that a guest gave, with the bases that their `base` stands for."""
        if not self._known:
            return rows
        return [
            {**row, "base": self._known[row["base"]].base}
            if isinstance(row, Mapping) and isinstance(row.get("base"), str) and row["base"] in self._known
            else row
            for row in rows
        ]

    def shown(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer of `kb.activate` or `kb.assemble` for the guest: its bases are what the guest asked for."""
        if not self._shown:
            return answer
        for name in ("active", "trace"):
            if name in answer:
                answer[name] = self._renamed(answer[name])
        if "sources" in answer:
            answer["sources"] = [self._renamed(each) for each in answer["sources"]]
        return answer

    def _renamed(self, rows: Sequence[Any]) -> list[Any]:
        return [{**row, "base": self._shown.get(row["base"], row["base"])} if "base" in row else row for row in rows]
